"""What a label is worth to the shipped digits, and what guidance makes of them.

`python -m tools.guidance` measures assets/mnist_conditional.safetensors and writes
assets/guidance.json:

* "label": the bill, −ELBO at n = ∞, of test digits told nothing and told the label, by the same
  network and with the same noise, and the difference with the standard error of the pairs;
* "weights": for each weight of guidance the share of digits that the shipped classifier reads as
  what was asked for, and the mean distance of two digits of a class, in pixels (root mean squared
  difference) and in the classifier's features, with standard errors over digits and over classes;
* "real": the same of test digits.

A run that was stopped goes on where it was: rows that are in the record are kept, if the other
settings are the same.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bfn_core import BFN, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.frechet import classifier
from bfn_core.guidance import draw_told, spread_within
from bfn_core.likelihood import Estimate
from bfn_core.training import shipped
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests

NAME, TARGET = "mnist_conditional", CHECKOUT / "guidance.json"
SEED = 0


@torch.no_grad()
def label_worth(bfn: BFN, images: data.Images, count: int, batch: int = 100) -> dict[str, Any]:
    """Bills in nats per digit, of the first `count` test digits."""
    rng = torch.Generator().manual_seed(SEED)
    x = data.binarise(images.test[:count], generator=rng)
    bills: dict[str, list[Tensor]] = {"nothing": [], "told": []}
    for start in range(0, count, batch):
        part = x[start : start + batch]
        labels = images.test_labels[start : start + batch].long()
        for name, condition in (("nothing", None), ("told", labels)):
            rng = torch.Generator().manual_seed(SEED + start)  # the same messages for both
            options = {"condition": condition, "generator": rng}
            bills[name].append(bfn.loss(part, **options)
                               + bfn.reconstruction_loss(part, **options))
    each = {name: torch.cat(parts).double() for name, parts in bills.items()}
    each["saved"] = each["nothing"] - each["told"]
    found = {name: Estimate.of(bill) for name, bill in each.items()}
    return {"examples": count, **{name: {"nats": e.mean, "standard error": e.standard_error}
                                  for name, e in found.items()}}


def judged(x: Tensor, labels: Tensor) -> dict[str, float]:
    """How many are read as their label, and how far two of a class are apart."""
    net, pieces = classifier("mnist"), x.split(100)
    read = torch.cat([net(part).argmax(1) for part in pieces])
    features = torch.cat([net.features_of(part) for part in pieces])
    classes = [labels == k for k in labels.unique()]
    found = {
        "accuracy": Estimate.of((read == labels).double()),
        "diversity": Estimate.of(torch.tensor([spread_within(x[k], labels[k]) for k in classes])),
        "feature diversity": Estimate.of(
            torch.stack([torch.pdist(features[k]).mean() for k in classes])),
    }
    return {name + end: value for name, each in found.items()
            for end, value in (("", each.mean), (" error", each.standard_error))}


def measured(bfn: BFN, weight: float, each: int, n: int) -> dict[str, float]:
    """A row of "weights"."""
    labels = torch.arange(10).repeat(each)
    start, drawn = time.perf_counter(), []
    for seed, part in enumerate(labels.split(50)):
        drawn.append(draw_told(bfn, (1, 28, 28), part, weight, n, seed=SEED + seed))
    seconds = (time.perf_counter() - start) / len(labels)
    return {"weight": weight, **judged(torch.cat(drawn), labels), "seconds": round(seconds, 3)}


def main(words: list[str] | None = None, target: Path = TARGET) -> dict[str, Any]:
    """Measure what is not in the record yet, and write it down row by row."""
    parser = argparse.ArgumentParser(prog="python -m tools.guidance")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 0.5, 1, 2, 3, 4])
    parser.add_argument("--each", type=int, default=40, help="digits of each class")
    parser.add_argument("--steps", type=int, default=12, help="of the solver, ab2")
    parser.add_argument("--examples", type=int, default=5000, help="test digits, for the label")
    options = parser.parse_args(words)
    keep_memory()
    torch.set_num_threads(1)
    bfn, images = shipped(NAME).eval(), data.mnist(stand_in=False)
    facts = {
        "command": "python -m tools.guidance", "weights file": f"{NAME}.safetensors",
        "data": images.name, "split": "test", "seed": SEED, "device": "cpu", "threads": 1,
        "sampler": f"Solver('ab2'), {options.steps} steps, the mode of the last guess",
        "digits": 10 * options.each, "measures": ["accuracy", "diversity", "feature diversity"],
    }
    record = json.loads(target.read_text("utf-8")) if target.exists() else {}
    if {name: record.get(name) for name in facts} != facts:
        record = {**facts, "weights": []}

    def keep() -> None:
        record["weights"].sort(key=lambda row: row["weight"])
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")

    if record.get("label", {}).get("examples") != options.examples:
        record["label"] = label_worth(bfn, images, options.examples)
        x = data.binarise(images.test[:2000], generator=torch.Generator().manual_seed(SEED))
        record["real"] = judged(x, images.test_labels[:2000].long())
        keep()
    for weight in options.weights:
        if weight not in [row["weight"] for row in record["weights"]]:
            record["weights"].append(measured(bfn, weight, options.each, options.steps))
            keep()
            print(json.dumps(record["weights"]), flush=True)
    return record


if __name__ == "__main__":
    found = main()
    saved, most = found["label"]["saved"], math.log(10)
    print(f"the label saves {saved['nats']:.2f} ± {saved['standard error']:.2f} of {most:.2f} nats")
    renew_digests()
