"""Tables with numbers and classes, and plucked strings.

`python -m tools.tables_and_sound [tables] [strings]` trains and measures, and writes
assets/tables_and_sound.json:

* "tables": iris and wine, four splits each: classes, gaps and new rows of held-out rows, beside
  what scikit-learn does with the same rows; bills on three paths. Width and steps were
  chosen for speed; dropout was tried on two splits of iris, changed nothing, and was left out.
* "strings": a network for `Strings`, in pieces of some minutes (what is half done lies in
  runs/strings.pt, and the same command goes on there), kept as assets/strings.safetensors in half
  precision.
"""

import json
import lzma
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import Generator

from bfn_core import BFN, Estimate, elbo
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.iris_and_wine import (
    LABEL,
    Scale,
    energy_distance,
    iris,
    numbers_of,
    spread_out,
    wine,
)
from bfn_core.data.sound import Strings, predicted_bits
from bfn_core.networks.clocked import PATHS, table_flow, table_model, train
from bfn_core.networks.waves import STRING_FLOW as FLOW
from bfn_core.networks.waves import WaveNetwork, string_model
from bfn_core.own_clocks import OwnClocks, expect
from bfn_core.samplers import Ancestral
from tools.record import measure

PATH = CHECKOUT / "tables_and_sound.json"
HALF_DONE = CHECKOUT.parent / "runs" / "strings.pt"
STRINGS, BATCH, STEPS, RATE, KEPT = 50_000, 128, 6000, 1.5e-3, 0.998
TABLE_STEPS, SEEDS = 1000, (0, 1, 2, 3)
GAPS = ("BFN", "column mean", "5 nearest neighbours", "linear regression")


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def train_strings() -> dict[str, Any]:
    """Train until `STEPS`; the weights that are kept are a running mean."""
    x = FLOW.index(FLOW.quantise(Strings().draw(STRINGS, seeded(0))[0])).to(torch.uint8)
    spread = FLOW.centres[x[:5000].long()].std(0)
    torch.manual_seed(0)
    bfn, rng = BFN(FLOW, WaveNetwork(FLOW.gamma, spread)), seeded(1)
    mean = {name: value.clone() for name, value in bfn.network.state_dict().items()}
    optimiser = torch.optim.AdamW(bfn.parameters(), RATE, betas=(0.9, 0.98))
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.05)
    step, seconds, curve = 0, 0.0, []
    if HALF_DONE.exists():
        at = torch.load(HALF_DONE)
        bfn.load_state_dict(at["model"])
        optimiser.load_state_dict(at["optimiser"])
        pace.load_state_dict(at["pace"])
        rng.set_state(at["rng"])
        step, seconds, mean, curve = at["step"], at["seconds"], at["mean"], at["curve"]
    HALF_DONE.parent.mkdir(exist_ok=True)
    start, recent = time.process_time(), []
    while step < STEPS:
        batch = FLOW.centres[x[torch.randint(STRINGS, (BATCH,), generator=rng)].long()]
        loss = bfn.loss(batch, generator=rng).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bfn.parameters(), 200.0)
        optimiser.step()
        pace.step()
        step += 1
        recent.append(float(loss.detach()))
        with torch.no_grad():
            kept = min(KEPT, step / (step + 10))
            for name, value in bfn.network.state_dict().items():
                mean[name].lerp_(value, 1 - kept)
        if step % 200 == 0:
            curve.append({"step": step, "nats": round(sum(recent) / len(recent), 1)})
            recent.clear()
            spent = seconds + time.process_time() - start
            torch.save({"model": bfn.state_dict(), "optimiser": optimiser.state_dict(),
                        "pace": pace.state_dict(), "rng": rng.get_state(), "step": step,
                        "seconds": spent, "mean": mean, "curve": curve}, HALF_DONE)
            print(curve[-1], round(spent), flush=True)
    seconds += time.process_time() - start
    save_file({name: value.half() for name, value in mean.items()},
              CHECKOUT / "strings.safetensors")
    return {"flow": repr(FLOW), "strings": STRINGS, "batch": BATCH, "steps": STEPS,
            "parameters": sum(p.numel() for p in bfn.parameters()),
            "CPU seconds of training": round(seconds), "curve": curve}


def measure_strings() -> dict[str, Any]:
    """What the shipped weights do, beside coders without a network."""
    facts = train_strings()
    strings, bfn = Strings(), string_model()
    x, pitch = strings.draw(256, seeded(10))
    codes = FLOW.index(FLOW.quantise(x))
    bill = elbo(bfn, FLOW.centres[codes], repeats=4, generator=seeded(11))
    scale = strings.length * math.log(2)
    rice, orders = predicted_bits(codes)
    packed = len(lzma.compress(codes.to(torch.uint8).numpy().tobytes(), preset=9)) * 8
    costs = {"messages": bill.messages, "last step": bill.reconstruction, "BFN": bill.total}
    bits: dict[str, list[float | None]]
    bits = {name: [cost.mean / scale, cost.standard_error / scale] for name, cost in costs.items()}
    each = Estimate.of(rice / strings.length)
    bits["linear prediction and Rice's code"] = [each.mean, each.standard_error]
    bits["lzma, all strings in one file"] = [packed / codes.numel(), None]
    drawn = bfn.sample((600, strings.length), 60, generator=seeded(12))
    about_means = bfn.sample((600, strings.length), 60, sampler=Ancestral(guess="mean"),
                             generator=seeded(12))
    noise = torch.randn(600, strings.length, generator=seeded(15))
    true, _ = strings.draw(600, seeded(13))
    found = torch.bincount(strings.pitch_of(drawn), minlength=12)
    expected = len(drawn) / 12
    tv = 0.5 * (found / len(drawn) - 1 / 12).abs().sum()
    dice = torch.rand(2000, len(drawn), generator=seeded(14)).mul(12).long()
    chance = torch.stack([torch.bincount(row, minlength=12) for row in dice])
    floor = 0.5 * (chance / len(drawn) - 1 / 12).abs().sum(1)
    hum = {"strings": strings.clearness(true), "samples": strings.clearness(drawn),
           "samples by messages about the mean": strings.clearness(about_means),
           "white noise": strings.clearness(noise)}
    guesses = {}
    for t in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
        theta = FLOW.sample_flow(FLOW.centres[codes], t, seeded(16))
        with torch.no_grad():
            guess = bfn.output(theta, t).mean
        guesses[str(t)] = {name: {
            "error": round(float((wave - x).square().mean().sqrt()), 4),
            "pitch right": round(float((strings.pitch_of(wave) == pitch).float().mean()), 4)}
            for name, wave in {"guess": guess, "belief": theta.mean / FLOW.gamma(t)}.items()}
    facts |= {
        "held out": len(x), "bits per sample": {
            name: [None if v is None else round(v, 4) for v in pair]
            for name, pair in bits.items()},
        "guesses": guesses, "orders": torch.bincount(orders, minlength=33).nonzero()[:, 0].tolist(),
        "pitch found of held-out strings": round(
            float((strings.pitch_of(x) == pitch).float().mean()), 4),
        "samples": {"count": len(drawn), "messages": 60, "pitches": found.tolist(),
                    "chi squared": round(float(((found - expected) ** 2 / expected).sum()), 2),
                    "total variation": round(float(tv), 4),
                    "total variation by chance": [round(float(floor.mean()), 4),
                                                  round(float(floor.std()), 4)],
                    "clearness": {k: [round(v.mean().item(), 4),
                                      round(v.std().item() / len(v) ** 0.5, 4)]
                                  for k, v in hum.items()}}}
    return facts


def judged(table: Any, seed: int) -> dict[str, Any]:
    """One split of a table: a trained model and its rivals on the rows that were held out."""
    learn, test = table.split(seed=seed)
    scale = Scale.of(learn)
    x, held = scale.columns(learn), scale.columns(test)
    torch.manual_seed(seed)
    bfn, start = table_model(learn, scale), time.process_time()
    train(bfn, x, TABLE_STEPS, seed=seed)
    seconds, k = time.process_time() - start, len(table.classes)
    a, b = numbers_of(x).numpy(), numbers_of(held).numpy()
    guess = expect(bfn, held, {name: name != LABEL for name in x})[LABEL].probs[:, 0]
    chance = guess.gather(1, test.label.unsqueeze(1))
    logistic = LogisticRegression(max_iter=3000).fit(a, learn.label)
    near = KNeighborsClassifier(5).fit(a, learn.label)
    sure = logistic.predict_proba(b)[range(len(test)), test.label]
    row: dict[str, Any] = {
        "seed": seed, "held out": len(test), "CPU seconds": round(seconds, 1),
        "right": {"BFN": float((guess.argmax(1) == test.label).double().mean()),
                  "logistic regression": float(logistic.score(b, test.label)),
                  "5 nearest neighbours": float(near.score(b, test.label))},
        "nats for the class": {"BFN": float(-chance.log().mean()),
                               "logistic regression": float(-np.log(sure).mean())}}
    full, rest = spread_out(x, k), spread_out(held, k)
    spread = full.std(0)
    errors: dict[str, list[float]] = {name: [] for name in GAPS}
    for j, name in enumerate(table.names):
        own = [i for i in range(full.shape[1]) if i != j]
        guesses = {
            "BFN": expect(bfn, held, {n: n != name for n in x})[name].mean[:, 0],
            "column mean": full[:, j].mean(),
            "5 nearest neighbours": torch.from_numpy(
                KNeighborsRegressor(5).fit(full[:, own], full[:, j]).predict(rest[:, own])),
            "linear regression": torch.from_numpy(
                LinearRegression().fit(full[:, own], full[:, j]).predict(rest[:, own]))}
        for who, values in guesses.items():
            errors[who].append(float(((values - rest[:, j]) / spread[j]).square().mean()))
    row["gap"] = {who: (sum(v) / len(v)) ** 0.5 for who, v in errors.items()}
    shape = dict.fromkeys(x, (1000, 1))
    drawn = bfn.sample(shape, 50, generator=seeded(seed))
    rng, normal = np.random.default_rng(seed), []
    for c in range(k):
        mine = a[learn.label == c]
        count = round(1000 * len(mine) / len(a))
        label = np.eye(k)[[c] * count]
        some = rng.multivariate_normal(mine.mean(0), np.cov(mine.T), count).clip(-1, 1)
        normal.append(np.hstack([some, label]))
    apart = torch.stack([c[torch.randperm(len(c), generator=seeded(j))]
                         for j, c in enumerate(full[:, : a.shape[1]].T)], 1)
    clouds = {"BFN": spread_out(drawn, k), "a normal for each class":
              torch.from_numpy(np.vstack(normal)).float(), "training rows": full,
              "columns shuffled": torch.cat([apart, full[:, a.shape[1] :]], 1)}
    row["distance"] = {name: energy_distance(cloud, rest) for name, cloud in clouds.items()}
    row["bill"] = {}
    for path in PATHS:
        own = OwnClocks(table_flow(table, path), bfn.network)
        row["bill"][path] = elbo(own, held, repeats=40, generator=seeded(seed)).messages.mean
    print(json.dumps(row), flush=True)
    return row


def measure_tables() -> dict[str, Any]:
    result: dict[str, Any] = {"steps": TABLE_STEPS, "batch": 128, "seeds": list(SEEDS)}
    for name, table in {"iris": iris(), "wine": wine()}.items():
        rows = [judged(table, seed) for seed in SEEDS]
        summary: dict[str, Any] = {}
        for what in ("right", "nats for the class", "gap", "distance", "bill"):
            summary[what] = {}
            for who in rows[0][what]:
                values = Estimate.of(torch.tensor([row[what][who] for row in rows]))
                summary[what][who] = [round(values.mean, 4), round(values.standard_error, 4)]
        result[name] = {"summary": summary, "rows": [
            {k: ({n: round(v, 4) for n, v in part.items()} if isinstance(part, dict) else part)
             for k, part in row.items()} for row in rows]}
    return result


PARTS = {"tables": measure_tables, "strings": measure_strings}


def main(names: list[str]) -> None:
    measure(PATH, PARTS, names, "tools.tables_and_sound")


if __name__ == "__main__":
    main(sys.argv[1:])
