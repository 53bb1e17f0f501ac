"""How well the shipped models sample with few calls: `python -m tools.fast_samplers [NAME …]`.

For each of mnist, text8 and cifar10, samples of every sampler at equally many calls of the network,
judged by statistics that need no likelihood. Writes assets/fast_samplers.json, row by row; a row
that is there is not measured again, so that a run that was broken off goes on. Rows of weights
that are no longer shipped are dropped.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core import Estimate, FixedNoise, Solver, data
from bfn_core.baselines.text import ngram
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.vocabulary import spelling
from bfn_core.frechet import features, frechet
from bfn_core.samplers import Ancestral
from bfn_core.solvers import steps_within
from bfn_core.training import shipped
from tools.record import renew_digests, versions, weights, write

PATH = CHECKOUT / "fast_samplers.json"
SAMPLERS: dict[str, Any] = {
    "ancestral": Ancestral(),
    "ab2": Solver("ab2"),
    "ab2, noise 1": Solver("ab2", noise=1.0),
    "ab2, even in ln β": Solver("ab2", "log"),
    "ab2, ln β, noise 1": Solver("ab2", "log", noise=1.0),
    "midpoint": Solver("midpoint"),
    "euler": Solver("euler"),
    "fixed noise": FixedNoise(),
}
LONG = ("ancestral", "ab2", "ab2, even in ln β", "ab2, ln β, noise 1", "fixed noise")  # at 51 calls
CALLS = (21, 51, 11)  # in the order of their worth, should the time run out
COUNTS = {"mnist": 200, "text8": 16, "cifar10": 100}
BATCH = 50
REFERENCE = 2_000  # real examples to compare with
ORDER, READ = 4, 2_000_000  # of the n-gram that reads the samples, and what it has read itself
SEED = 0


def energy_distance(
    x: Tensor, y: Tensor, *, resamples: int = 100, generator: Generator | None = None
) -> Estimate:
    """2 E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖, 0 if and only if the laws agree, without bias.

    Its standard error is the bootstrap's, over the rows of x; y is taken as it is.

    Args:
        x, y: (N, …) and (M, …), at least two each.

    Source: Székely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    across, within = torch.cdist(x, y).mean(1), torch.cdist(x, x)
    among_y = torch.cdist(y, y).sum() / (len(y) * (len(y) - 1))

    def distance(weights: Tensor) -> float:  # a row that was drawn twice makes no pair with itself
        pairs = weights @ within @ weights / (1 - weights.square().sum())
        return float(2 * weights @ across - pairs - among_y)

    count = len(x)
    again = []
    for _ in range(resamples):
        rows = torch.randint(count, (count,), generator=generator)
        again.append(distance(torch.bincount(rows, minlength=count).double() / count))
    even = torch.full((count,), 1 / count, dtype=torch.float64)
    return Estimate(distance(even), float(torch.tensor(again).std()), count)


def _shown(estimate: Estimate, digits: int = 4) -> dict[str, float]:
    return {"mean": round(estimate.mean, digits), "error": round(estimate.standard_error, digits)}


def _images(name: str, real: Tensor) -> Callable[[Tensor], dict]:
    """What judges images, (N, C, H, W), against real ones."""
    look = features(name)
    looked = look(real)

    def judge(x: Tensor) -> dict:
        generator = torch.Generator().manual_seed(SEED)
        floats = x.double()
        found = {"energy distance": _shown(energy_distance(x, real, generator=generator))}
        if name == "mnist":
            found["ink"] = _shown(Estimate.of(floats.flatten(1).mean(1)))
        else:
            rough = (floats[..., 1:] - floats[..., :-1]).abs().flatten(1).mean(1)
            found["difference of neighbours"] = _shown(Estimate.of(rough))
        distance = frechet(look(x), looked, lambda same: same, generator=generator)
        found["Fréchet distance"] = _shown(distance, 2)
        return found

    return judge


def _task(name: str) -> tuple[Any, tuple, Callable[[Tensor], dict], Tensor]:
    """The shipped model, the shape of a sample, what judges samples, and real ones."""
    bfn, generator, count = shipped(name), torch.Generator().manual_seed(SEED), COUNTS[name]
    if name == "text8":
        text, known, length = data.text8(stand_in=False), data.words(), bfn.network.length

        def judge(x: Tensor) -> dict:
            x = x.to(torch.uint8)
            return {
                "spelling": _shown(spelling(data.decode(x), known)),
                "bits per character": _shown(ngram(text.train[:READ], x, 27, ORDER)),
            }

        rows = text.test.unfold(0, length, length)
        return bfn, (length,), judge, rows[torch.randperm(len(rows), generator=generator)][:count]
    images = getattr(data, name)(stand_in=False)
    rows = torch.randperm(len(images.test), generator=generator)[: REFERENCE + count]
    x = images.test[rows]
    x = data.binarise(x, generator=generator) if name == "mnist" else data.quantise(x)
    return bfn, tuple(x.shape[1:]), _images(name, x[count:]), x[:count]


def measured(name: str, calls: int, record: dict[str, Any], task: tuple) -> None:
    """Fill in a model's rows of so many calls, where missing; the record is written after each."""
    bfn, shape, judge, real = task
    of = {"weights": weights(name), "samples": COUNTS[name]}
    if name not in record or {key: record[name].get(key) for key in of} != of:
        record[name] = {**of, "real": judge(real), "rows": {}}
    rows = record[name]
    for label, sampler in SAMPLERS.items():
        key = f"{label}, {calls} calls"
        if key in rows["rows"] or (calls == max(CALLS) and label not in LONG):
            continue
        n, generator = steps_within(calls, sampler), torch.Generator().manual_seed(SEED)
        began, drawn = time.process_time(), []
        for start in range(0, COUNTS[name], BATCH):
            size = (min(BATCH, COUNTS[name] - start), *shape)
            drawn.append(bfn.sample(size, n, sampler=sampler, generator=generator))
        seconds = (time.process_time() - began) / COUNTS[name]
        rows["rows"][key] = {
            "sampler": label, "steps": n, "calls": sampler.calls(n),
            "seconds": float(f"{seconds:.3g}"), **judge(torch.cat(drawn)),
        }
        write(PATH, record)
        print(name, key, rows["rows"][key], flush=True)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    record = json.loads(PATH.read_text("utf-8")) if PATH.exists() else {}
    record = {
        "command": "python -m tools.fast_samplers", "seed": SEED, "device": "cpu", "threads": 1,
        "versions": versions(),
        "remark": "seconds are those of the processor, per sample; errors are over samples, "
                  "of one seed", **record,
    }
    tasks = {name: _task(name) for name in names or COUNTS}
    for calls in CALLS:
        for name, task in tasks.items():
            measured(name, calls, record, task)
    renew_digests()


if __name__ == "__main__":
    if not set(sys.argv[1:]) <= set(COUNTS):
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1:])
