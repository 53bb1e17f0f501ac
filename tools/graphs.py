"""Networks for trees and for molecules of three atoms, beside the perfect ones.

`python -m tools.graphs [trees] [molecules]` trains and measures, and writes assets/graphs.json:

* "trees": an MLP and the edge network on the 1,296 trees of six nodes, for each seed: the bill,
  −ELBO at n = ∞, what it is above the perfect network's for the same messages, and of samples the
  share that are trees and how often each shape came. Of the first seed the edge network's weights
  are kept, assets/trees.safetensors.
* "molecules": the E(3)-equivariant network on the family `Bent`, one network for each way in which
  kinds and places may be told: messages in n steps and in continuous time, and those of the perfect
  network.

Nothing is held out: the trees are all that there are, and molecules are drawn anew for each step.
What is measured is how near a network comes to a law that is known.
"""

import json
import math
import sys
import time
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from bfn_core import BFN, Estimate, ExactBFN
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.molecules import BENT_PATHS, Bent, PerfectBent
from bfn_core.data.trees import TREE_FLOW, is_tree, shape_of, trees
from bfn_core.model import stratified
from bfn_core.networks.edges import EdgeNetwork
from bfn_core.networks.mlp import MLP
from bfn_core.networks.points import PointNetwork
from bfn_core.training.brief import fit
from tools.record import measure

PATH = CHECKOUT / "graphs.json"
SEEDS = (0, 1)
STEPS = {"trees": 1500, "molecules": 1500}
MESSAGES = (5, 10, 20)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


@torch.no_grad()
def bills(bfn: BFN, x: Any, *, n: int | None = None, repeats: int, last: bool = True) -> Tensor:
    """Nats of each example, (B,), by the same times and messages for every network of a flow."""
    count, like = len(next(iter(x.values())) if isinstance(x, dict) else x), torch.empty(0)
    rng, total = seeded(100), torch.zeros(count, dtype=torch.float64)
    for _ in range(repeats):
        t = stratified(count, like=like, generator=rng)
        t = t[torch.randperm(count, generator=rng)]
        if n is None:
            cost = bfn.loss(x, t, generator=rng)
        else:
            cost = bfn.loss_n(x, n, (t * n).long().clamp(max=n - 1) + 1, generator=rng)
        total += cost.double()
        if last:
            total += bfn.reconstruction_loss(x, generator=rng).double()
    return total / repeats


def stated(values: Tensor) -> dict[str, float]:
    estimate = Estimate.of(values)
    return {"nats": round(estimate.mean, 4), "standard error": round(estimate.standard_error, 4)}


def judged(x: Tensor) -> dict[str, Any]:
    """Of graphs (B, E): the share that are trees, and how often each shape came."""
    share, found = Estimate.of(is_tree(x).double()), shape_of(x)
    counts = {str(k): int((found == k).sum()) for k in shape_of(trees(6)).unique().tolist()}
    return {"trees": round(share.mean, 4), "standard error": round(share.standard_error, 4),
            "shapes": counts}


def measure_trees() -> dict[str, Any]:
    x, rows = trees(6), []
    perfect = ExactBFN(TREE_FLOW, x)
    best = bills(perfect, x, repeats=16)
    makers = {"edge network": lambda: EdgeNetwork(6, 2),
              "MLP": lambda: MLP(30, (15, 2), hidden=128, depth=3)}
    models: list[tuple[str, int, BFN, float]] = [("perfect", 0, perfect, 0.0)]
    for name, make in makers.items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            bfn, start = BFN(TREE_FLOW, make()), time.process_time()
            fit(bfn, lambda rng: x[torch.randint(len(x), (128,), generator=rng)], STEPS["trees"],
                seed=seed)
            models.append((name, seed, bfn, time.process_time() - start))
    for name, seed, bfn, seconds in models:
        cost = bills(bfn, x, repeats=16)
        row = {"network": name, "seed": seed, "CPU seconds": round(seconds, 1),
               "parameters": sum(p.numel() for p in bfn.parameters()), "bill": stated(cost),
               "above the perfect": stated(cost - best)}
        row["samples"] = {str(n): judged(bfn.sample((4000, 15), n, generator=seeded(n)))
                          for n in MESSAGES}
        rows.append(row)
        print(json.dumps(row), flush=True)
        if name == "edge network" and seed == SEEDS[0]:
            save_file(bfn.network.state_dict(), CHECKOUT / "trees.safetensors")
    return {"entropy": math.log(len(x)), "flow": repr(TREE_FLOW), "steps": STEPS["trees"],
            "batch": 128, "samples of each": 4000, "rows": rows}


def measure_molecules() -> dict[str, Any]:
    family, rows = Bent(), []
    x = family.draw(1000, seeded(7))
    options = {"repeats": 8, "last": False}
    for path, flow in BENT_PATHS.items():
        perfect = PerfectBent(flow, family)
        best = {n: bills(perfect, x, n=n, **options) for n in (*MESSAGES, None)}
        models: list[tuple[str, int, BFN, float]] = [("perfect", 0, perfect, 0.0)]
        for seed in SEEDS:
            torch.manual_seed(seed)
            bfn = BFN(flow, PointNetwork(3, 2, flow.flows["places"].gamma))
            start = time.process_time()
            fit(bfn, lambda rng: family.draw(256, rng), STEPS["molecules"], seed=seed)
            models.append(("learned", seed, bfn, time.process_time() - start))
        for name, seed, bfn, seconds in models:
            costs = {n: bills(bfn, x, n=n, **options) for n in (*MESSAGES, None)}
            rows.append({"network": name, "path": path, "seed": seed,
                         "CPU seconds": round(seconds, 1),
                         **{f"n = {n or '∞'}": stated(cost) for n, cost in costs.items()},
                         "above the perfect": stated(costs[None] - best[None])})
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    return {"flows": {name: repr(flow) for name, flow in BENT_PATHS.items()},
            "steps": STEPS["molecules"], "batch": 256, "molecules": 1000, "rows": rows}


PARTS = {"trees": measure_trees, "molecules": measure_molecules}


def main(names: list[str]) -> None:
    measure(PATH, PARTS, names, "tools.graphs", seeds=list(SEEDS))


if __name__ == "__main__":
    main(sys.argv[1:])
