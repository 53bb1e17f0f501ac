"""What each mistake of bfn_core.mistakes does to the bill and to the samples.

`python -m tools.mistakes` measures all of them with the perfect network of notebook 03's diary, and
writes assets/mistakes.json. About five minutes of one core.
"""

import time
from typing import Any

import torch

from bfn_core import Estimate
from bfn_core.data.assets import CHECKOUT
from bfn_core.mistakes import BETA_1, LAW, MISTAKES, RIGHT, Judgement, judge
from tools.record import renew_digests, versions, write

TARGET = CHECKOUT / "mistakes.json"
NS = (1, 2, 5, 10, 20, 50)
COUNT, DRAWS, SEED = 100_000, 40_000, 0


def row(found: Judgement, right: Judgement) -> dict[str, Any]:
    """What is kept of one mistake at one n; the bills in nats, and what they are above the right
    ones, example by example.
    """
    kept = {}
    for name in ("bill_n", "bill"):
        ours, theirs = getattr(found, name), getattr(right, name)
        bill, more = Estimate.of(ours), Estimate.of(ours - theirs)
        kept[name] = [round(value, 4) for value in (bill.mean, bill.standard_error)]
        kept[f"{name} more"] = [round(value, 4) for value in (more.mean, more.standard_error)]
    kept["shares"] = [[round(float(v), 5) for v in line] for line in found.shares]
    kept["distance"] = round(found.distance, 4)
    return kept


def main() -> None:
    torch.set_num_threads(1)
    began, rows, asked = time.perf_counter(), {}, {"count": COUNT, "draws": DRAWS, "seed": SEED}
    for n in NS:
        right = judge(RIGHT, LAW, n, **asked)
        for name, mistake in MISTAKES.items():
            found = right if mistake is RIGHT else judge(mistake, LAW, n, **asked)
            rows.setdefault(name, {})[str(n)] = row(found, right)
            print(n, name, rows[name][str(n)], flush=True)
    write(TARGET, {
        "command": "python -m tools.mistakes", "what": "nats per example",
        "beta_1": BETA_1, "examples": COUNT, "samples": DRAWS, "seed": SEED, "device": "cpu",
        "threads": 1, "versions": versions(), "seconds": round(time.perf_counter() - began, 1),
        "entropy": right.entropy, "floor": right.floor, "rows": rows,
    })
    renew_digests()


if __name__ == "__main__":
    main()
