"""What each part of the networks buys: `python -m tools.ablations` measures it, on one thread.

Writes assets/networks.json, which notebook 10 shows, study by study. In each study bfn_core's own
network is trained by `train` as it is, and again with one thing changed; data, steps and seeds
stay. What is compared is −ELBO = L^∞ + L^r of test examples, in nats. All networks of a study are
judged with the same times and the same noise, so a difference is taken example by example, and its
standard error is over the examples. What another seed would change it does not hold: --seeds 2
trains all twice, and puts each seed's difference beside it. Seconds are the processor's, so that
they hold on a machine with more to do.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow, Estimate, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.digits import LEVELS, digits
from bfn_core.data.strings import palindromes
from bfn_core.flows import BayesianFlow
from bfn_core.model import stratified
from bfn_core.modes import evaluating
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.training import load_task, own_settings, settings_for, train
from bfn_core.training.seeds import mix
from bfn_core.training.tasks import Task, arguments_of, build_flow, network_class
from tools.record import versions, write

TARGET = CHECKOUT / "networks.json"


@dataclass(frozen=True)
class Trial:
    """One thing that is changed: arguments of the network, settings of the run, or a part of it.

    without: takes a network and returns it with that part out of order.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    without: Callable[[nn.Module], nn.Module] = lambda network: network


@dataclass(frozen=True)
class Study:
    """What is learnt, and by what; the first trial changes nothing, the others are held to it."""

    task: Task
    flow: BayesianFlow
    network: Callable[..., nn.Module]
    settings: dict[str, Any]
    trials: tuple[Trial, ...]
    repeats: int  # draws of the ELBO for each test example


# Taking a part away


class Blind(nn.Module):
    """A network that is told t = ½ at all times."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        return self.network(inputs, torch.full_like(t, 0.5))


class Nothing(nn.Module):
    """What is added to a residual stream, and is nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def without_skips(network: UNet) -> UNet:
    """The blocks on the way up get zeros for what the way down saw."""

    def hide(width: int, block: nn.Module, given: tuple[Tensor, Tensor]):
        h, told = given
        below, across = h[:, :-width], h[:, -width:]
        return torch.cat([below, torch.zeros_like(across)], 1), told

    for down, up in zip(network.down, network.up, strict=True):
        for block in up:
            block.register_forward_pre_hook(partial(hide, down[-1].conv2.out_channels))
    return network


def without_norms(network: nn.Module) -> nn.Module:
    """Every group or layer norm passes on what it gets."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.GroupNorm, nn.LayerNorm)):
                setattr(module, name, nn.Identity())
    return network


def without_attention(network: Transformer) -> Transformer:
    """No position reads another one, but for the first layer's neighbours."""
    for block in network.blocks:
        block.out = Nothing()
    return network


# The studies


def small_digits() -> Study:
    """scikit-learn's digits, 8 × 8 pixels of 17 levels; bfn_core's U-Net on the CPU's scale."""
    flow, images = DiscretisedFlow(LEVELS, 0.02), digits()
    parts = [flow.centres[part].unsqueeze(1) for part in
             (images.train, images.validation, images.test)]
    arguments = {"outputs": 2, "channels": 16, "multipliers": (1, 2), "blocks": 1,
                 "attention": (1,)}
    return Study(
        Task("scikit-learn's digits", "", *parts),
        flow,
        partial(UNet, **arguments),
        {"steps": 400, "batch": 32, "learning_rate": 4e-3, "warmup": 40, "ema": 0.98,
         "channels_last": True},
        (
            Trial("as it is"),
            Trial("t not told", without=Blind),
            Trial("no skip connections", without=without_skips),
            Trial("no attention", {"attention": ()}),
            Trial("no group norm", without=without_norms),
            Trial("patch = 2", {"patch": 2}),
            Trial("differences", {"differences": 0.02}),
            Trial("learning rate kept", settings={"decay": False}),
        ),
        repeats=8,
    )


def mirror() -> Study:
    """Palindromes of eight letters out of six, all of them, whose perfect bill is 4 ln 6."""
    language = palindromes()
    arguments = {"classes": language.classes, "length": language.length, "layers": 2, "heads": 2,
                 "width": 32}
    return Study(
        Task("palindromes", "", language.data, language.data[:10], language.data),
        DiscreteFlow(language.classes, 3.0),
        partial(Transformer, **arguments),
        {"steps": 400, "batch": 64, "learning_rate": 4e-3, "warmup": 40, "ema": 0.98},
        (
            Trial("as it is"),
            Trial("no attention", without=without_attention),
            Trial("t not told", without=Blind),
            Trial("no layer norm", without=without_norms),
            Trial("no prior_skip", {"prior_skip": False}),
            Trial("reach = 2", {"reach": 2}),
            Trial("rotary positions", {"positions": "rotary"}),
        ),
        repeats=4,
    )


def writing(length: int = 32) -> Study:
    """Text of 27 symbols, `length` at a time; a transformer."""
    text = data.text8(stand_in=False)
    test = text.test.unfold(0, length, length)
    parts = text.train[:200_000].unfold(0, length, 1), test[-10:], test[:400]
    arguments = {"classes": 27, "length": length, "layers": 2, "heads": 4, "width": 64}
    return Study(
        Task(text.name, "", *parts, prepare=as_classes),
        DiscreteFlow(27, 0.5625),
        partial(Transformer, **arguments),
        {"steps": 300, "batch": 32, "learning_rate": 4e-3, "warmup": 30, "ema": 0.98,
         "cross_entropy": 1.0, "time_power": 0.5},
        (
            Trial("as it is"),
            Trial("reach = 4", {"reach": 4}),
            Trial("no prior_skip", {"prior_skip": False}),
            Trial("rotary positions", {"positions": "rotary"}),
        ),
        repeats=2,
    )


def photographs() -> Study:
    """CIFAR-10, 32 × 32 pixels of three colours of 256 levels; a U-Net."""
    images = data.cifar10(stand_in=False)
    arguments = {"image_channels": 3, "outputs": 2, "channels": 16, "multipliers": (1, 2),
                 "blocks": 1, "attention": (1,), "patch": 2, "differences": 1e-3}
    return Study(
        Task(images.name, "", images.train[:2000], images.train[-10:], images.test[:50],
             prepare=as_bins),
        DiscretisedFlow(256, 1e-3),
        partial(UNet, **arguments),
        {"steps": 150, "batch": 8, "learning_rate": 2e-3, "warmup": 20, "ema": 0.97,
         "channels_last": True},
        (
            Trial("as it is"),
            Trial("no differences", {"differences": None}),
            Trial("patch = 1", {"patch": 1}),
        ),
        repeats=4,
    )


RECIPE = ("batch", "learning_rate", "cooldown", "betas", "weight_decay", "muon", "width_weight",
          "channels_last")


def laptop(name: str, steps: int, test: int, *trials: Trial) -> Study:
    """The recipe of a laptop's training in few steps, with the trials beside it; the average of
    the weights is as much shorter.
    """
    settings = settings_for(name, "laptop")
    task = load_task(settings, torch.device("cpu"))
    return Study(
        replace(task, test=task.test[:test]),
        build_flow(settings),
        partial(network_class(settings.network), **arguments_of(settings)),
        {"steps": steps, "warmup": 100, "ema": 0.998,
         **{setting: getattr(settings, setting) for setting in RECIPE}},
        (Trial("as it is"), *trials),
        repeats=2,
    )


def mnist() -> Study:
    """MNIST in two colours, as in notebook 07: other blocks; an average in place of the decay.

    (In so few steps no decay of the average above 0.9955 is reached, see `MovingAverage`.)
    """
    return laptop(
        "mnist", 2000, 2000,
        Trial("depthwise = 7", {"depthwise": 7}),
        Trial("learning rate kept", settings={"ema": 0.9995, "cooldown": 0.0, "decay": False}),
    )


def cifar10() -> Study:
    """CIFAR-10, as in notebook 08: other blocks, of the same width or of the same size."""
    return laptop(
        "cifar10", 1200, 500,
        Trial("depthwise = 7", {"depthwise": 7}),
        Trial("wider depthwise", {"depthwise": 7, "channels": 32}, {"steps": 800}),
    )


def as_classes(content: Tensor, *, generator: Generator | None = None) -> Tensor:
    return content.long()


def as_bins(content: Tensor, *, generator: Generator | None = None) -> Tensor:
    return data.quantise(content)


STUDIES = {
    "palindromes": mirror,
    "digits": small_digits,
    "photographs": photographs,
    "text": writing,
    "mnist": mnist,
    "cifar10": cifar10,
}


# Measuring


@torch.no_grad()
def costs(bfn: BFN, x: Tensor, repeats: int) -> Tensor:
    """−ELBO of each example, (N,), over the same times and noise for every network."""
    found, generator = [], Generator().manual_seed(0)
    with evaluating(bfn):
        for part in x.split(250):
            start = stratified(len(part), like=torch.empty(0), generator=generator)
            draws = []
            for repeat in range(repeats):
                t = (start + repeat / repeats) % 1.0
                draws.append(bfn.loss(part, t, generator=generator)
                             + bfn.reconstruction_loss(part, generator=generator))
            found.append(torch.stack(draws).mean(0))
    return torch.cat(found).double()


@dataclass(frozen=True)
class Outcome:
    """What one training gave: costs of the test examples by the averaged and the last weights."""

    averaged: Tensor
    last: Tensor
    seconds: float
    parameters: int


def outcome(study: Study, trial: Trial, seed: int) -> Outcome:
    """Train once, and judge."""
    quiet = {"checkpoint_every": 10**6, "validate_every": 10**6, "test_examples": 4,
             "step_examples": 4, "test_draws": 1, "sample_count": 1, "sample_steps": 2,
             "seed": seed}
    settings = own_settings(**study.settings | trial.settings | quiet)
    torch.manual_seed(mix(seed, "weights"))
    bfn = BFN(study.flow, trial.without(study.network(**trial.arguments)))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(settings, folder, task=study.task, bfn=bfn)
    seconds = time.process_time() - began
    if not result.finished:  # `train` ends in good order when it is interrupted; so must this
        raise KeyboardInterrupt
    x = study.task.prepare(study.task.test, generator=Generator().manual_seed(0))  # ink is drawn
    averaged, last = (costs(model, x, study.repeats) for model in (result.bfn, bfn))
    return Outcome(averaged, last, seconds, sum(p.numel() for p in bfn.parameters()))


def row(trial: Trial, outcomes: list[Outcome], base: list[Outcome]) -> dict[str, Any]:
    """A line of the record: means over the seeds, standard errors over the examples."""

    def mean(results: list[Outcome], weights: str) -> Tensor:
        return torch.stack([getattr(result, weights) for result in results]).mean(0)

    own, theirs = mean(outcomes, "averaged"), mean(base[: len(outcomes)], "averaged")
    apart = [float((a.averaged - b.averaged).mean()) for a, b in zip(outcomes, base, strict=False)]
    return {
        "trial": trial.name,
        "changed": {**trial.arguments, **trial.settings},
        **figures(Estimate.of(own)),
        "more than as it is": {**figures(Estimate.of(own - theirs)), "seed by seed": apart},
        "last weights, not averaged": figures(Estimate.of(mean(outcomes, "last"))),
        "parameters": outcomes[0].parameters,
        "seconds": sum(result.seconds for result in outcomes) / len(outcomes),
    }


def figures(estimate: Estimate) -> dict[str, float]:
    return {"nats": estimate.mean, "standard error": estimate.standard_error}


def described(study: Study, outcomes: dict[str, list[Outcome]]) -> dict[str, Any]:
    """A study's part of the record."""
    base = outcomes[study.trials[0].name]
    return {
        "data": study.task.name,
        "test examples": len(study.task.test),
        "variables": study.task.variables,
        "flow": repr(study.flow),
        "network": study.network.func.__name__,
        "arguments": study.network.keywords,
        "settings": study.settings,
        "draws per example": study.repeats,
        "seeds": list(range(len(base))),
        "trials": [row(trial, outcomes[trial.name], base) for trial in study.trials],
    }


def measure(study: Study, seeds: int) -> dict[str, Any]:
    """Run every trial of a study with each of the seeds; returns its part of the record."""
    outcomes: dict[str, list[Outcome]] = {trial.name: [] for trial in study.trials}
    for seed in range(seeds):
        for trial in study.trials:
            found = outcome(study, trial, seed)
            outcomes[trial.name].append(found)
            print(f"seed {seed}, {trial.name}: {Estimate.of(found.averaged)} nats, "
                  f"{found.seconds:.0f} s", flush=True)
    return described(study, outcomes)


def keep(name: str, found: dict[str, Any]) -> None:
    """Put a study into the record; the others stay as they are."""
    record = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
    studies = {**record.get("studies", {}), name: found}
    record = {"unit": "nats per example",
              "studies": {name: studies[name] for name in STUDIES if name in studies}}
    write(TARGET, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", default=list(STUDIES), help=", ".join(STUDIES))
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each trial")
    options = parser.parse_args()
    if unknown := set(options.studies) - set(STUDIES):
        parser.error(f"there is no study {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    machine = {
        "device": "cpu",
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    for name in options.studies:
        print(name)
        found = measure(STUDIES[name](), options.seeds)
        command = f"python -m tools.ablations {name} --seeds {options.seeds}"
        keep(name, {"command": command, **machine, **found})


if __name__ == "__main__":
    main()
