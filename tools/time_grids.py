"""Ten messages at the paper's times, or at others: `python -m tools.time_grids [mnist|text8 …]`.

For the shipped models, whose schedule stays what it was in training: only the times of the messages
are chosen anew, on validation data, and L^10 of test data is measured on each grid. Writes
assets/time_grids.json. The grids are

* "paper": even in t;
* "equal bits" and "finest": even in ½ ∫ e dβ and in ∫ √(−e') dβ of the model's own curve of errors
  (bfn_core/mmse.py);
* "left sum": the cheapest by that curve's left Riemann sum;
* "messages": the cheapest by what messages between any two times really cost.

Differences to the paper's grid are of the same examples with the same seed, and their standard
errors over examples. After weights have been renewed: `python -m tools.time_grids text8`.
"""

import sys
import time
from typing import Any

import torch
from torch import Tensor

from bfn_core import BFN, Estimate, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.mmse import ErrorCurve, cheapest, grid, grid_bill, message_costs
from bfn_core.training import shipped
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests, versions, weights, write

PATH = CHECKOUT / "time_grids.json"
SEED, MESSAGES = 0, 10
NODES = {"mnist": 40, "text8": 30}  # times between which grids are chosen, a multiple of MESSAGES
CHOSEN_ON = {"mnist": 300, "text8": 128}  # examples that are not of the test
COUNTS = {"mnist": 1000, "text8": 256}  # test examples
BATCH = {"mnist": 100, "text8": 32}


def examples(name: str, bfn: BFN) -> tuple[Tensor, Tensor]:
    """To choose on, and of the test."""
    rng = torch.Generator().manual_seed(SEED)
    if name == "text8":
        text, length = data.text8(stand_in=False), bfn.network.length
        parts = [part.unfold(0, length, length) for part in (text.validation, text.test)]
        parts = [rows[torch.randperm(len(rows), generator=rng)[:count]].long() for rows, count in
                 zip(parts, (CHOSEN_ON[name], COUNTS[name]), strict=True)]
        return parts[0], parts[1]
    images = data.mnist(stand_in=False)
    chosen, test = images.train[-CHOSEN_ON[name] :], images.test[: COUNTS[name]]
    return data.binarise(chosen, generator=rng), data.binarise(test, generator=rng)


def grids(bfn: BFN, x: Tensor, count: int, n: int = MESSAGES) -> tuple[dict[str, Tensor], dict]:
    """Accuracies of n messages by name, and the curve that they were chosen by."""
    beta = grid(bfn.flow.schedule, count)
    curve = ErrorCurve.of(bfn, x, beta, seed=SEED)
    costs = message_costs(bfn, x, beta, seed=SEED)
    found = {
        "paper": grid(bfn.flow.schedule, n),
        "equal bits": grid(curve.equal_bits(), n),
        "finest": grid(curve.finest(), n),
        "left sum": curve.falling.best(n),
        "messages": beta[cheapest(costs, n)],
    }
    shown = {"accuracy": [round(b, 5) for b in beta.tolist()],
             "error": [round(e, 4) for e in curve.error.tolist()], "least": round(curve.least, 3),
             "left sums": {name: round(curve.bill(g), 3) for name, g in found.items()}}
    return found, shown


def measured(bfn: BFN, chosen: Tensor, test: Tensor, count: int, batch: int) -> dict[str, Any]:
    """L^n on each grid, and its difference to the paper's."""
    found, curve = grids(bfn, chosen, count)
    bills, rows = {}, {}
    for name, beta in found.items():
        rng, parts = torch.Generator().manual_seed(SEED + 1), test.split(batch)
        bills[name] = torch.cat([grid_bill(bfn, x, beta.tolist(), generator=rng) for x in parts])
        change = Estimate.of(bills[name] - bills["paper"])
        each = Estimate.of(bills[name])
        rows[name] = {
            "times": [round(float(bfn.flow.schedule.time(b)), 4) for b in beta.tolist()],
            "nats": round(each.mean, 3), "standard error": round(each.standard_error, 3),
            "difference": round(change.mean, 3),
            "error of the difference": round(change.standard_error, 3),
        }
        print(name, rows[name], flush=True)
    return {"curve": curve, "grids": rows}


def main(names: list[str]) -> None:
    keep_memory()
    torch.set_num_threads(1)
    record = data.record("time_grids") if PATH.exists() else {}
    record |= {
        "command": "python -m tools.time_grids", "seed": SEED, "device": "cpu", "threads": 1,
        "versions": versions(),
        "messages": MESSAGES,
    }
    for name in names or list(COUNTS):
        began, bfn = time.process_time(), shipped(name).eval()
        chosen, test = examples(name, bfn)
        record[name] = {
            "weights": weights(name), "chosen on": len(chosen), "examples": len(test),
            "split": "test", "variables": test[0].numel(),
            **measured(bfn, chosen, test, NODES[name], BATCH[name]),
            "seconds": round(time.process_time() - began),
        }
        write(PATH, record)
    renew_digests()


if __name__ == "__main__":
    if not set(sys.argv[1:]) <= set(COUNTS):
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1:])
