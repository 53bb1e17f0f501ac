"""BFN beside diffusion and flow matching, on equal terms: `python -m tools.diffusion [PART …]`.

Writes assets/diffusion.json, part by part; the parts are

* "inputs": the two claims that a BFN's inputs are less noisy than those of diffusion and that
  networks could learn faster from them. The same networks with the same weights at the start, the
  same batches and noise and the same loss read the belief in four scales (networks/scaled.py), on
  the 8 × 8 digits and on four bumps; the bill L^∞ of held-out data at some numbers of steps;
* "race": the same network trained as a BFN, as variational diffusion and by flow matching, each
  with its own input, clock, loss and schedule; bits per dimension on test digits, and the distance
  of samples from the data against calls of the network, by each one's own grid;
* "clip": the BFN of the race once more, trained without keeping x̂ in the data's range. It is
  compared with the race's, which must be in the record.

Seconds are those of one thread of a CPU. Standard errors are over seeds.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bfn_core import BFN, ContinuousFlow, DiscretisedFlow, Estimate, Solver
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.digits import LEVELS, digits
from bfn_core.data.toy import GaussianMixture
from bfn_core.frechet import frechet, frechet_distance
from bfn_core.mmse import ErrorCurve
from bfn_core.model import stratified
from bfn_core.networks.convnet import ConvNet
from bfn_core.networks.mlp import MLP
from bfn_core.networks.scaled import Scaled, Velocity
from bfn_core.numerics import draw_normal
from bfn_core.samplers import Ancestral
from bfn_core.schedules import LogLinearSchedule, StraightPathSchedule
from bfn_core.solvers import steps_within
from tools.record import renew_digests, versions, write

PATH = CHECKOUT / "diffusion.json"
INPUTS, BATCH = ("mean", "latent", "unit", "plain"), 128
BUMPS = GaussianMixture(weights=(0.1, 0.2, 0.3, 0.4))
FIRST_SNR = 1e-3  # at which variational diffusion begins


@dataclass(frozen=True)
class Plan:
    """How much work is done; a test does less."""

    seeds: int = 6
    checkpoints: tuple[int, ...] = (50, 100, 200, 400, 800)
    race_seeds: int = 5
    race_steps: int = 2500
    calls: tuple[int, ...] = (6, 11, 21, 51)
    samples: int = 1000
    reader_steps: int = 600
    nodes: int = 96  # accuracies at which a curve of errors is measured


def images() -> tuple[DiscretisedFlow, Tensor, Tensor]:
    """The flow whose bins hold them, and digits to fit and of the test, (N, 64), on its centres."""
    flow, found = DiscretisedFlow(LEVELS, 0.03), digits()
    return flow, *(flow.centres[part].flatten(1) for part in (found.fit, found.test))


def nodes(beta_1: float, count: int) -> Tensor:
    """Accuracies from 0 to β(1), dense where errors fall."""
    beta = LogLinearSchedule(beta_1, 0.02).beta(torch.linspace(0, 1, count, dtype=torch.float64))
    beta[-1] = beta_1
    return beta


def bill(bfn: BFN, x: Tensor, plan: Plan) -> float:
    """L^∞ in bits per number, over the same noise and accuracies for every network."""
    curve = ErrorCurve.of(bfn, x, nodes(float(bfn.flow.beta(1.0)), plan.nodes))
    return curve.least / math.log(2) / x[0].numel()


def shown(values: list[float], digits: int = 4) -> dict[str, Any]:
    """One value for each seed: their mean and its standard error, and they themselves."""
    found = Estimate.of(torch.tensor(values))
    return {"mean": round(found.mean, digits), "error": round(found.standard_error, digits),
            "each": [round(value, digits) for value in values]}


# The two claims ----------------------------------------------------------------------------------


def input_errors(x: Tensor, seeds: int) -> dict[str, Any]:
    """The mean squared distance of two inputs from x, per number, and what formulas say."""
    found, square = {}, float(x.square().mean())
    for beta in (0.1, 1.0, 10.0, 100.0):
        gamma, errors = beta / (1 + beta), {"mean": [], "latent": []}
        for seed in range(seeds):
            rng = torch.Generator().manual_seed(seed)
            mean = gamma * x + (gamma * (1 - gamma)) ** 0.5 * draw_normal(x, rng)
            errors["mean"].append(float((mean - x).square().mean()))
            errors["latent"].append(float((mean / gamma**0.5 - x).square().mean()))
        found[f"{beta:g}"] = {
            **{kind: shown(each) for kind, each in errors.items()},
            "formulas": {"mean": (1 - gamma) ** 2 * square + gamma * (1 - gamma),
                         "latent": (1 - gamma**0.5) ** 2 * square + 1 - gamma},
        }
    return {"E x²": square, "by accuracy": found}


def learned(
    kind: str, seed: int, fit: Tensor, held_out: Tensor, sigma_1: float, plan: Plan
) -> list[float]:
    """The bill of held-out data at the checkpoints, for a network that reads `kind`."""
    torch.manual_seed(seed)
    size, flow = fit.shape[1], ContinuousFlow(sigma_1)
    net = MLP(size, (size,), hidden=128 if size > 1 else 64, depth=3 if size > 1 else 2)
    square = float(fit.square().mean())
    bfn = BFN(flow, Scaled(net, flow, kind, square=square))
    optimiser, rng = torch.optim.Adam(bfn.parameters(), 1e-3), Generator().manual_seed(seed)
    bills = []
    for step in range(1, max(plan.checkpoints) + 1):
        rows = torch.randint(len(fit), (BATCH,), generator=rng)
        optimiser.zero_grad()
        bfn.loss(fit[rows], generator=rng).mean().backward()
        optimiser.step()
        if step in plan.checkpoints:
            bills.append(bill(bfn, held_out, plan))
    return bills


def inputs(plan: Plan) -> dict[str, Any]:
    """The part "inputs"."""
    _, fit, test = images()
    draw = torch.Generator().manual_seed(0)
    toy = BUMPS.sample(4000, draw), BUMPS.sample(2000, draw)
    found = {}
    for name, sigma_1, (known, held_out) in (("digits", 0.1, (fit, test)), ("bumps", 0.02, toy)):
        rows = {kind: [learned(kind, seed, known, held_out, sigma_1, plan)
                       for seed in range(plan.seeds)] for kind in INPUTS}
        columns = {}
        for place, steps in enumerate(plan.checkpoints):
            at = {kind: [each[place] for each in rows[kind]] for kind in INPUTS}
            columns[str(steps)] = {
                kind: {**shown(values), "above mean": shown(
                    [value - own for value, own in zip(values, at["mean"], strict=True)], 5)}
                for kind, values in at.items()
            }
        found[name] = {"sigma_1": sigma_1, "batch": BATCH, "seeds": plan.seeds,
                       "input error": input_errors(known, plan.seeds), "steps": columns}
        print(name, {k: {i: v[i]["mean"] for i in v} for k, v in columns.items()}, flush=True)
    return found


# The race ----------------------------------------------------------------------------------------


def as_bfn(net: nn.Module, sigma_1: float) -> tuple[BFN, Callable]:
    """Reads μ on the geometric schedule; the loss (101)."""
    bfn = BFN(ContinuousFlow(sigma_1), net)
    return bfn, lambda x, rng: bfn.loss(x, generator=rng)


def as_diffusion(net: nn.Module, sigma_1: float) -> tuple[BFN, Callable]:
    """Reads √γ x + √(1 − γ) ε; ½ (d ln β/dt) ‖ε − ε̂‖² with ln β even from FIRST_SNR on (VDM)."""
    beta_1 = sigma_1**-2 - 1
    flow = ContinuousFlow(schedule=LogLinearSchedule(beta_1, FIRST_SNR))
    span, reads = math.log(beta_1 / FIRST_SNR), Scaled(net, flow, "latent")

    def loss(x: Tensor, rng: Generator) -> Tensor:
        beta = FIRST_SNR * torch.exp(span * stratified(len(x), like=x, generator=rng))
        t, noise = flow.schedule.time(beta), draw_normal(x, rng)
        guess = reads(_mean(x, noise, beta), t)
        return 0.5 * span * (noise - guess).square().sum(1)

    return BFN(flow, reads), loss


def by_flow_matching(net: nn.Module, sigma_1: float) -> tuple[BFN, Callable]:
    """Reads (1 − s) ε + s x; ‖x − ε − v̂‖² with s even up to where β(1) is reached."""
    flow = ContinuousFlow(schedule=StraightPathSchedule(sigma_1**-2 - 1))
    reads = Velocity(net, flow)

    def loss(x: Tensor, rng: Generator) -> Tensor:
        t, noise = stratified(len(x), like=x, generator=rng), draw_normal(x, rng)
        root = flow.schedule.beta(t).sqrt().unsqueeze(1)
        place = (noise + root * x) / (1 + root)
        return (x - noise - net(place, t)).square().sum(1)

    return BFN(flow, reads), loss


CONTESTANTS = {"BFN": as_bfn, "diffusion": as_diffusion, "flow matching": by_flow_matching}
SAMPLERS = {"Euler": Solver("euler"), "ab2": Solver("ab2"),
            "ancestral": Ancestral()}


def _mean(x: Tensor, noise: Tensor, beta: Tensor) -> Tensor:
    """μ of one ε at accuracies β, (B,)."""
    beta = beta.unsqueeze(1)
    return (beta * x + beta.sqrt() * noise) / (1 + beta)


def trained(make: Callable, seed: int, fit: Tensor, sigma_1: float, steps: int) -> BFN:
    """A contestant after its training; all begin at the same weights."""
    torch.manual_seed(seed)
    bfn, loss = make(MLP(64, (64,), hidden=128), sigma_1)
    optimiser, rng = torch.optim.Adam(bfn.parameters(), 2e-3), Generator().manual_seed(seed)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(fit), (BATCH,), generator=rng)
        optimiser.zero_grad()
        loss(fit[rows], rng).mean().backward()
        nn.utils.clip_grad_norm_(bfn.parameters(), 100.0)
        optimiser.step()
        fall.step()
    return bfn.eval()


def last_bits(bins: DiscretisedFlow, x: Tensor, seed: int = 0) -> float:
    """Bits per number of the level itself at t = 1, read off its belief alone, without a network.

    The chance of a level is that of the belief under it; diffusion ends with the same fee (VDM).
    """
    theta = bins.sample_flow(x, 1.0, generator=torch.Generator().manual_seed(seed))
    beta = bins.beta(1.0)
    at = theta.mean.double().unsqueeze(-1) * (1 + beta) / beta - bins.centres.double()
    chance = (-0.5 * beta * at.square()).log_softmax(-1)
    return float(-chance.gather(-1, bins.index(x).unsqueeze(-1)).mean() / math.log(2))


def reader(fit: Tensor, steps: int) -> tuple[nn.Module, float]:
    """A small classifier of the digits, whose features samples are judged in, and its accuracy."""
    torch.manual_seed(0)
    net, labels = ConvNet(1, widths=(16, 32, 32, 32, 32)), digits(labels=True)
    optimiser, rng = torch.optim.Adam(net.parameters(), 2e-3), torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(fit), (BATCH,), generator=rng)
        optimiser.zero_grad()
        nn.functional.cross_entropy(_square(net, fit[rows]), labels.fit[rows]).backward()
        optimiser.step()
    net.eval().requires_grad_(False)
    test = images()[2]
    return net, float((_square(net, test).argmax(1) == labels.test).double().mean())


def _square(net: nn.Module, x: Tensor) -> Tensor:
    return net(x.reshape(-1, 1, 8, 8))


class Judge:
    """How far samples are from the digits, in the features of one classifier."""

    def __init__(self, fit: Tensor, plan: Plan) -> None:
        self.fit, (self.net, self.accuracy) = fit, reader(fit, plan.reader_steps)

    def features(self, x: Tensor) -> Tensor:
        return self.net.features(x.reshape(-1, 1, 8, 8))

    def apart(self, x: Tensor) -> float:
        """The Fréchet distance between some images, (N, 64), and those that were fitted."""
        return frechet(x.float().clamp(-1, 1), self.fit, self.features, resamples=2).mean

    def samples(self, bfn: BFN, plan: Plan, seed: int) -> dict[str, float]:
        """That of samples, by sampler and calls."""
        found = {}
        for way, sampler in SAMPLERS.items():
            for calls in plan.calls:
                rng = torch.Generator().manual_seed(seed)
                x = bfn.sample((plan.samples, 64), steps_within(calls, sampler), sampler=sampler,
                               generator=rng)
                found[f"{way}, {calls} calls"] = self.apart(x)
        return found

    def yardsticks(self, test: Tensor, count: int) -> dict[str, float]:
        rows = torch.randperm(len(self.fit), generator=torch.Generator().manual_seed(0))
        halves = [self.features(self.fit[part]).double() for part in rows.chunk(2)]
        between = frechet_distance(
            *(moment for half in halves for moment in (half.mean(0), half.T.cov())))
        torch.manual_seed(0)  # of the normal's draws
        spread = self.fit.T.cov() + 1e-6 * torch.eye(64)
        normal = torch.distributions.MultivariateNormal(self.fit.mean(0), spread)
        return {
            "digits of other hands (the test's)": round(self.apart(test), 2),
            "one half of the data from the other": round(float(between), 2),
            "a normal with the data's mean and covariance": round(
                self.apart(normal.sample((count,))), 2),
        }


def race(plan: Plan) -> dict[str, Any]:
    """The part "race"."""
    bins, fit, test = images()
    judge, fee = Judge(fit, plan), last_bits(bins, test)
    bits: dict[str, list] = {name: [] for name in CONTESTANTS}
    far: dict[str, list] = {}
    seconds = dict.fromkeys(CONTESTANTS, 0.0)
    for seed in range(plan.race_seeds):
        for name, make in CONTESTANTS.items():
            began = time.process_time()
            bfn = trained(make, seed, fit, bins.sigma_1, plan.race_steps)
            seconds[name] += (time.process_time() - began) / plan.race_seeds
            bits[name].append(bill(bfn, test, plan) + fee)
            for way, distance in judge.samples(bfn, plan, seed).items():
                far.setdefault(f"{name}, {way}", []).append(distance)
        print(seed, {name: round(each[-1], 4) for name, each in bits.items()}, flush=True)
    return {
        "sigma_1": bins.sigma_1, "levels": LEVELS, "steps": plan.race_steps, "batch": BATCH,
        "seeds": plan.race_seeds, "samples": plan.samples, "first SNR of diffusion": FIRST_SNR,
        "parameters": sum(p.numel() for p in MLP(64, (64,), hidden=128).parameters()),
        "seconds of training": {name: round(each, 1) for name, each in seconds.items()},
        "bits of the last fee": round(fee, 4), "classifier's accuracy": round(judge.accuracy, 4),
        "bits per dimension": {name: shown(each) for name, each in bits.items()},
        "bits above the BFN": {name: shown([a - b for a, b in zip(each, bits["BFN"], strict=True)])
                               for name, each in bits.items()},
        "Fréchet distance": {key: shown(each, 2) for key, each in far.items()},
        "yardsticks": judge.yardsticks(test, plan.samples),
    }


def unclipped(plan: Plan) -> dict[str, Any]:
    """The part "clip": in training x̂ may be anything, afterwards it is clipped as ever."""
    bins, fit, test = images()

    def make(net: nn.Module, sigma_1: float) -> tuple[BFN, Callable]:
        free = BFN(ContinuousFlow(sigma_1, data_range=None), net)
        return as_bfn(net, sigma_1)[0], lambda x, rng: free.loss(x, generator=rng)

    judge, fee = Judge(fit, plan), last_bits(bins, test)
    bits, far = [], {}
    for seed in range(plan.race_seeds):
        bfn = trained(make, seed, fit, bins.sigma_1, plan.race_steps)
        bits.append(bill(bfn, test, plan) + fee)
        for way, distance in judge.samples(bfn, plan, seed).items():
            far.setdefault(way, []).append(distance)
        print(seed, bits[-1], {way: round(each[-1], 2) for way, each in far.items()}, flush=True)
    return {
        "steps": plan.race_steps, "seeds": plan.race_seeds, "bits per dimension": shown(bits),
        "Fréchet distance": {way: shown(each, 2) for way, each in far.items()},
    }


PARTS = {"inputs": inputs, "race": race, "clip": unclipped}


def measured(names: list[str], plan: Plan) -> dict[str, Any]:
    """The parts by their names, and the processor's seconds that each took."""
    torch.set_num_threads(1)
    found = {}
    for name in names:
        began = time.process_time()
        found[name] = PARTS[name](plan)
        found[name]["seconds"] = round(time.process_time() - began)
    return found


def main(names: list[str]) -> None:
    for name in names or list(PARTS):
        found = measured([name], Plan())
        record = json.loads(PATH.read_text("utf-8")) if PATH.exists() else {}
        record |= {
            "command": "python -m tools.diffusion", "seed": "0 and up", "device": "cpu",
            "threads": 1,
            "versions": versions(),
            **found,
        }
        write(PATH, record)
    renew_digests()


if __name__ == "__main__":
    if not set(sys.argv[1:]) <= set(PARTS):
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1:])
