"""What things cost, as ratios measured in one run: `make bench`.

    python -m tools.bench              every table (a quarter of an hour, most of it for recipe)
    python -m tools.bench steps        only the named ones: steps, mixed, import, explorers,
                                       models, bins, data, recipe

Ratios, because a time alone says more about the machine and its other work than about the code.
Each ratio is the median over rounds, and within a round the things compared take turns.
"""

import argparse
import inspect
import os
import pkgutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow, MixedFlow
from bfn_core.training import settings_for
from bfn_core.training.memory import keep_memory
from bfn_core.training.tasks import build
from tools import bench_training

SHAPE = (16, 3, 32, 32)


class SmallConvolution(nn.Module):
    """Five 3×3 convolutions, which read a (B, 3, 32, 32) image; the output has `last` per pixel."""

    def __init__(self, last: int | None, channels: int = 32) -> None:
        super().__init__()
        layers = [nn.Conv2d(4, channels, 3, padding=1), nn.SiLU()]
        for _ in range(3):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.SiLU()]
        layers.append(nn.Conv2d(channels, 3 * (last or 1), 3, padding=1))
        self.layers, self.last = nn.Sequential(*layers), last

    def forward(self, inputs, t):
        image = inputs[..., 0] if inputs.dim() == 5 else inputs
        time_plane = t.reshape(-1, 1, 1, 1).expand(-1, 1, *image.shape[2:])
        out = self.layers(torch.cat([image, time_plane], 1))
        if self.last is None:
            return out
        return out.unflatten(1, (3, self.last)).movedim(2, -1)


def cases():
    """(name, BFN, x, inputs of the bare network) for each flow."""
    torch.manual_seed(0)
    pixels = torch.rand(SHAPE) * 2 - 1
    eight_bit = DiscretisedFlow(256, 1e-3)
    yield "continuous", BFN(ContinuousFlow(1e-3), SmallConvolution(None)), pixels
    yield "binary", BFN(DiscreteFlow(2, 9.0), SmallConvolution(2)), (pixels > 0).long()
    yield "256 bins", BFN(eight_bit, SmallConvolution(2)), eight_bit.quantise(pixels)


def recipes():
    """The same for networks that are really trained: MNIST and CIFAR-10 at laptop."""
    for data, name, of_bytes in (("mnist", "MNIST", False), ("cifar10", "CIFAR-10", True)):
        bfn = build(settings_for(data, "laptop"))
        shape = (16, 3, 32, 32) if of_bytes else (16, 1, 28, 28)
        grey = torch.rand(shape) * 2 - 1
        yield f"{name}'s", bfn, bfn.flow.quantise(grey) if of_bytes else (grey > 0).long()


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def training_step(bfn, x):
    bfn.zero_grad()
    bfn.loss(x).mean().backward()


def bare_step(bfn, inputs, t):
    bfn.zero_grad()
    bfn.network(inputs, t).sum().backward()


def bench_steps(rounds: int = 25) -> None:
    """A training step (loss and backward) over the bare network's forward and backward."""
    keep_memory()  # as training does; else each step waits for memory that the last one gave back
    print(f"Training step / bare network, at {SHAPE}, {torch.get_num_threads()} threads:")
    print(f"  {'flow':<12} {'network':>10} {'step':>10} {'ratio':>7}   quartiles of the ratio")
    prepared = []
    for name, bfn, x in [*cases(), *recipes()]:
        theta = bfn.flow.sample_flow(x, 0.5)
        inputs, t = bfn.flow.network_input(theta), torch.full((len(x),), 0.5)
        prepared.append((name, bfn, x, inputs, t, [], []))
    for round_ in range(rounds + 3):
        for name, bfn, x, inputs, t, bare, step in prepared:
            if name.endswith("'s") and round_ % 4:  # they take a second, and vary less
                continue
            pair = (
                seconds(lambda: bare_step(bfn, inputs, t)),
                seconds(lambda: training_step(bfn, x)),
            )
            if round_ >= 3:  # the first ones warm up
                bare.append(pair[0])
                step.append(pair[1])
    for name, *_, bare, step in prepared:
        ratios = [s / b for s, b in zip(step, bare, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        times = [1000 * statistics.median(part) for part in (bare, step)]
        print(
            f"  {name:<12} {times[0]:7.1f} ms {times[1]:7.1f} ms {middle:7.2f}"
            f"   {low:.2f} to {high:.2f}"
        )


class SideBySide(nn.Module):
    """The networks of several flows, each reading its own part."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, inputs, t):
        return {name: network(inputs[name], t) for name, network in self.networks.items()}


def bench_mixed(rounds: int = 25) -> None:
    """A training step of a MixedFlow over the sum of its parts' steps, as single flows."""
    keep_memory()
    parts = {name.replace(" ", "_"): (bfn, x) for name, bfn, x in cases()}
    networks = SideBySide({name: bfn.network for name, (bfn, _) in parts.items()})
    mixed = BFN(MixedFlow(**{name: bfn.flow for name, (bfn, _) in parts.items()}), networks)
    together = {name: x for name, (_, x) in parts.items()}
    ratios = []
    for round_ in range(rounds + 3):
        alone = sum(seconds(lambda b=bfn, x=x: training_step(b, x)) for bfn, x in parts.values())
        ratio = seconds(lambda: training_step(mixed, together)) / alone
        if round_ >= 3:
            ratios.append(ratio)
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"Training step of a MixedFlow / the steps of its {len(parts)} parts: {middle:.2f}   "
          f"(quartiles {low:.2f} to {high:.2f})")


def bench_import(rounds: int = 5) -> None:
    """Time to import bfn_core beyond torch, in fresh interpreters."""

    def fresh(code: str) -> float:
        timed = f"import time; a = time.perf_counter()\n{code}\nprint(time.perf_counter() - a)"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        command = [sys.executable, "-c", timed]
        return float(subprocess.check_output(command, env=environment, encoding="utf-8"))

    both, torch_alone = [], []
    for _ in range(rounds):
        torch_alone.append(fresh("import torch"))
        both.append(fresh("import torch\nimport bfn_core"))
    alone, together = statistics.median(torch_alone), statistics.median(both)
    print("Import:")
    print(f"  torch {alone:.2f} s; torch and bfn_core {together:.2f} s ({together / alone:.2f})")


def explorers():
    """(name, factory) of every function in bfn_core.views whose name ends in _explorer."""
    from bfn_core import views

    for module in pkgutil.iter_modules(views.__path__):
        imported = __import__(f"bfn_core.views.{module.name}", fromlist=["_"])
        for name, factory in inspect.getmembers(imported, inspect.isfunction):
            if name.endswith("_explorer") and factory.__module__ == imported.__name__:
                yield f"{module.name}.{name}", factory


def bench_explorers(moves: int = 20) -> None:
    """From a slider's move to the new picture in the kernel, per explorer."""
    from bfn_core.views.kit.explorer import Explorer

    print("Explorers, from a slider's move to the new picture (in the kernel; aim: under 100 ms):")
    for name, factory in explorers():
        parameters = inspect.signature(factory).parameters.values()
        if any(p.default is p.empty and p.kind != p.VAR_KEYWORD for p in parameters):
            print(f"  {name:<36} needs what its notebook has trained")
            continue
        start = time.perf_counter()
        explorer = factory()
        made = time.perf_counter() - start
        if not isinstance(explorer, Explorer):
            print(f"  {name:<36} moves in the browser, without the kernel")
            continue
        times = []
        for key, control in explorer.controls.items():
            if hasattr(control, "min"):
                for move in range(moves):
                    value = control.min + (control.max - control.min) * move / (moves - 1)
                    if hasattr(control, "base"):
                        value = control.base**value
                    value = type(control.value)(value)
                    if value != control.value:
                        times.append(1000 * seconds(lambda k=key, v=value: explorer.set(**{k: v})))
        if not times:
            print(f"  {name:<36} has no sliders; made in {made:.2f} s")
            continue
        late = sorted(times)[int(0.95 * (len(times) - 1))]
        print(
            f"  {name:<36} median {statistics.median(times):5.0f} ms, 95 % {late:5.0f} ms, "
            f"made in {made:.2f} s"
        )


TABLES = {"steps": bench_steps, "mixed": bench_mixed, "import": bench_import}
TABLES |= {"explorers": bench_explorers}
TABLES |= bench_training.TABLES

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"any of {', '.join(TABLES)}; all by default")
    chosen = parser.parse_args().tables or list(TABLES)
    unknown = sorted(set(chosen) - set(TABLES))
    if unknown:
        parser.error(f"no table named {', '.join(unknown)}; there are {', '.join(TABLES)}")
    for table in chosen:
        TABLES[table]()
