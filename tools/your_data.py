"""How much data is enough, and what learning by heart looks like: the figures of notebook 17.

`python -m tools.your_data [iris] [cats]` trains and measures, and writes assets/your_data.json:

* "iris": scikit-learn's 150 flowers, a tenth of the cells blanked, 50 rows held out; what rows cost
  that are learnt from and rows that are not, as training goes on, with dropout and without.
* "cats": grey 16 × 16 pictures of CIFAR-10's cats, as many steps on 100 of them as on 1,000 and
  4,000; the same, judged by 300 cats of the test set. And what other codes make of those.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core import BFN, Estimate, data, elbo
from bfn_core.baselines import images as image_codes
from bfn_core.baselines.tables import KINDS, column_by_column
from bfn_core.beliefs import cut, first
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.examples import write_iris
from bfn_core.model import stratified
from bfn_core.networks.tables import TableNetwork
from bfn_core.networks.unet import UNet
from bfn_core.training import Settings, own_settings
from bfn_core.training.losses import objective
from tools.record import measure

PATH = CHECKOUT / "your_data.json"
CATS = (100, 1000, 4000)
SEEDS = (0, 1)


def learn(
    bfn: BFN, train: Any, held_out: Any, steps: int, settings: Settings, *, every: int, seed: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """Train at a steady rate; every so often, what examples cost that were seen, or were not."""
    rng, count = Generator().manual_seed(seed), len(first(train))
    optimiser = torch.optim.AdamW(bfn.parameters(), settings.learning_rate, betas=(0.9, 0.98))
    seen = cut(train, torch.randperm(count, generator=rng)[: len(first(held_out))])
    rows, start = [], time.process_time()
    for step in range(1, steps + 1):
        bfn.train()
        x = cut(train, torch.randint(count, (settings.batch,), generator=rng))
        t = stratified(settings.batch, like=torch.empty(0), generator=rng)
        output = bfn.output(bfn.flow.sample_flow(x, t, rng), t)
        aim, _ = objective(bfn.flow, x, output, t, settings)
        optimiser.zero_grad()
        (aim.sum() / settings.batch).backward()
        torch.nn.utils.clip_grad_norm_(bfn.parameters(), 1.0)
        optimiser.step()
        if step % every == 0:
            costs = (elbo(bfn, x, repeats=repeats, generator=Generator().manual_seed(9)).total
                     for x in (seen, held_out))
            row = {"step": step, "CPU seconds": round(time.process_time() - start)}
            rows.append(row | dict(zip(("seen", "held out"), map(stated, costs), strict=True)))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def stated(nats: Estimate, variables: int = 1) -> dict[str, float]:
    bits = nats.bits(variables)
    return {"bits": round(bits.mean, 4), "standard error": round(bits.standard_error, 4)}


def measure_iris() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        table = data.read_table(write_iris(Path(folder) / "iris.csv"))
    order = torch.randperm(len(table), generator=Generator().manual_seed(0))
    train, held_out = cut(table.x, order[:100]), cut(table.x, order[100:])
    runs, settings = [], own_settings(batch=64, learning_rate=2e-3, **table.settings)
    for dropout in (0.0, 0.3):
        for seed in SEEDS:
            torch.manual_seed(seed)
            bfn = BFN(table.flow(), TableNetwork(table.flow(), dropout=dropout))
            curve = learn(bfn, train, held_out, 1200, settings, every=100, seed=seed, repeats=20)
            runs.append({"dropout": dropout, "seed": seed, "curve": curve})
    codes = {kind: stated(column_by_column(table, train, held_out, kind)[0]) for kind in KINDS}
    return {"table": table.notice, "rows learnt from": 100, "rows held out": 50,
            "settings": {**table.settings, "batch": 64, "learning rate": 2e-3},
            "unit": "bits per row", "runs": runs, "codes": codes}


def cats(images: Tensor, labels: Tensor) -> data.Pictures:
    """The cats, grey and half as large."""
    few = images[labels == 3].float().mean(1, keepdim=True)
    small = torch.nn.functional.avg_pool2d(few, 2).round().to(torch.uint8)
    return data.Pictures(small, "grey", tuple(map(str, range(len(small)))), {}, "")


def measure_cats() -> dict[str, Any]:
    source = data.cifar10(stand_in=False)
    train = cats(source.train, source.train_labels)
    test = cats(source.test, source.test_labels).pixels[:300]
    held_out, pixels = data.quantise(test), test[0].numel()
    runs, settings = [], own_settings(batch=32, learning_rate=2e-3, **train.settings)
    for count in CATS:
        torch.manual_seed(0)
        network = UNet(**train.unet, channels=32, multipliers=(1, 2), blocks=1, attention=(1,),
                       patch=2)
        curve = learn(BFN(train.flow(), network), train.x[:count], held_out, 500, settings,
                      every=100, seed=0, repeats=2)
        for row in curve:
            for name in ("seen", "held out"):
                row[name] = {key: round(bits / pixels, 4) for key, bits in row[name].items()}
        runs.append({"pictures": count, "curve": curve})
    codes = {"PNG, side by side": {"bits": round(image_codes.sheet(test, "PNG"), 4)},
             "histogram of 4,000": {
                 "bits": round(image_codes.histogram(train.pixels[:4000], test).mean, 4)}}
    return {"data": source.name, "held out": 300, "seed": 0,
            "settings": {**train.settings, "batch": 32, "learning rate": 2e-3},
            "parameters": sum(p.numel() for p in network.parameters()), "unit": "bits per pixel",
            "runs": runs, "codes": codes}


PARTS = {"iris": measure_iris, "cats": measure_cats}


def main(names: list[str]) -> None:
    measure(PATH, PARTS, names, "tools.your_data")


if __name__ == "__main__":
    main(sys.argv[1:])
