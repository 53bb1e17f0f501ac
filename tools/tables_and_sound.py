"""Tables with numbers and classes, plucked strings, and three beats of a heart.

`python -m tools.tables_and_sound [tables] [strings] [stranger] [unet] [heart]` trains and measures,
and writes assets/tables_and_sound.json:

* "tables": iris and wine, four splits each: classes, gaps and new rows of held-out rows, beside
  what scikit-learn does with the same rows; bills on three paths. Width and steps were
  chosen for speed; dropout was tried on two splits of iris, changed nothing, and was left out.
* "strings": a `SubspaceNetwork` for `PluckedStrings`, kept as assets/strings.safetensors, its bill
  beside coders without a network, and how its samples sound.
* "stranger": an MLP on the same strings, which is told nothing of what they are.
* "unet": a U-Net in one dimension on the same strings, which is told that sound has neighbours; its
  samples judged as those of "strings", three of them kept to be heard (the first three, not
  chosen). Its weights are not shipped.
* "heart": three beats of one heart (`ecg`), each quarter of them told by what small networks learnt
  from the other three, beside coders without a network.

Training may be stopped: what is half done lies in the folder of runs (BFN_RUNS_DIR), and the same
command goes on there.
"""

import base64
import json
import lzma
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import Generator, Tensor

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
from bfn_core.data.sound import PluckedStrings, ecg, predicted_bits, windows
from bfn_core.networks.mlp import MLP
from bfn_core.networks.wave_unet import WaveUNet
from bfn_core.networks.waves import (
    PITCHES,
    SubspaceNetwork,
    WaveNetwork,
    string_model,
)
from bfn_core.networks.waves import STRING_FLOW as FLOW
from bfn_core.own_clocks import PATHS, OwnClocks, expect, table_flow, table_model
from bfn_core.solvers import Solver
from bfn_core.training.brief import fit, fit_apart
from bfn_core.training.runs import runs_dir
from tools.record import measure

PATH = CHECKOUT / "tables_and_sound.json"
STRINGS, GROUPED, STEPS, RATE = 50_000, 20_000, 1000, 3e-3
TIMES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
UNET_STEPS = 8000
QUARTER, PIECE = 256, 64  # samples of the heart
HEART_STEPS = {"U-Net": 300, "MLP": 1000}  # for each quarter
WAYS = {"samples, 60 messages": (60, None), "samples, 200 messages": (200, None),
        "samples, 60 steps of ab2": (60, Solver("ab2"))}
TABLE_STEPS, SEEDS = 1000, (0, 1, 2, 3)
GAPS = ("BFN", "column mean", "5 nearest neighbours", "linear regression")


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def learn(name: str, network: torch.nn.Module, x: Tensor, steps: int, rate: float,
          batch: int = 128, *, kept: float = 0.998) -> tuple[BFN, dict[str, Any]]:
    """Train on codes x, and go on where it was left; the weights kept are a running mean."""
    path = runs_dir() / f"strings-{name}.pt"
    bfn, rng = BFN(FLOW, network), seeded(1)
    mean = {name: value.clone() for name, value in network.state_dict().items()}
    slow = [p for name, p in bfn.named_parameters() if name.endswith("basis")]
    quick = [p for name, p in bfn.named_parameters() if not name.endswith("basis")]
    groups = [{"params": quick}, {"params": slow}] if slow else [{"params": quick}]
    rates = [rate, 1e-3 * rate][: len(groups)]  # a basis that is known to 1 in 1,000 is soon lost
    optimiser = torch.optim.AdamW(groups, rate, betas=(0.9, 0.98),
                                  weight_decay=0.0 if slow else 0.01)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, steps, pct_start=0.05)
    step, seconds, curve = 0, 0.0, []
    if path.exists():
        at = torch.load(path)
        bfn.load_state_dict(at["model"])
        optimiser.load_state_dict(at["optimiser"])
        pace.load_state_dict(at["pace"])
        rng.set_state(at["rng"])
        step, seconds, mean, curve = at["step"], at["seconds"], at["mean"], at["curve"]
    path.parent.mkdir(exist_ok=True, parents=True)
    start, recent = time.process_time(), []
    while step < steps:
        own = FLOW.centres[x[torch.randint(len(x), (batch,), generator=rng)].long()]
        loss = bfn.loss(own, generator=rng).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bfn.parameters(), 200.0)
        optimiser.step()
        pace.step()
        step += 1
        recent.append(float(loss.detach()))
        with torch.no_grad():
            own_share = min(kept, step / (step + 10))
            for key, value in network.state_dict().items():
                mean[key].lerp_(value, 1 - own_share)
        if step % 100 == 0 or step == steps:
            curve.append([step, round(sum(recent) / len(recent), 1)])
            recent.clear()
            spent = seconds + time.process_time() - start
            torch.save({"model": bfn.state_dict(), "optimiser": optimiser.state_dict(),
                        "pace": pace.state_dict(), "rng": rng.get_state(), "step": step,
                        "seconds": spent, "mean": mean, "curve": curve}, path)
            print(name, *curve[-1], "nats", round(spent), "s", flush=True)
    seconds += time.process_time() - start
    network.load_state_dict(mean)
    facts = {"steps": steps, "batch": batch,
             "parameters": sum(p.numel() for p in network.parameters()),
             "CPU seconds of training": round(seconds), "curve": curve}
    return bfn.eval(), facts


def strings_to_learn() -> Tensor:
    """As codes, (STRINGS, L) uint8."""
    return FLOW.index(FLOW.quantise(PluckedStrings().draw(STRINGS, seeded(0))[0])).to(torch.uint8)


def held_out() -> tuple[Tensor, Tensor, Tensor]:
    """Strings that no network saw, quantised; their codes and their pitches."""
    x, pitch = PluckedStrings().draw(256, seeded(10))
    codes = FLOW.index(FLOW.quantise(x))
    return FLOW.centres[codes], codes, pitch


def bits_of(bfn: BFN) -> dict[str, list[float]]:
    """Bits per sample of the strings held out, with their standard errors."""
    x, _, _ = held_out()
    bill, scale = elbo(bfn, x, repeats=4, generator=seeded(11)), x.shape[1] * math.log(2)
    costs = {"messages": bill.messages, "last step": bill.reconstruction, "BFN": bill.total}
    return {name: [round(cost.mean / scale, 4), round(cost.standard_error / scale, 4)]
            for name, cost in costs.items()}


def stranger() -> dict[str, Any]:
    """A network that is told nothing of what strings are: an MLP, and what it learns in minutes."""
    codes = strings_to_learn()
    spread = FLOW.centres[codes[:5000].long()].std(0)
    torch.manual_seed(0)
    bfn, facts = learn("MLP", WaveNetwork(FLOW.gamma, spread), codes, 6000, 1.5e-3)
    drawn = bfn.sample((96, codes.shape[1]), 60, generator=seeded(12))
    return facts | {"bits per sample": bits_of(bfn), "sounds": judge_sounds(drawn)}


def train_unet() -> tuple[BFN, dict[str, Any]]:
    """A U-Net that is told that sound has neighbours and a beginning, and nothing of strings."""
    codes = strings_to_learn()
    spread = FLOW.centres[codes[:5000].long()].std(0)
    torch.manual_seed(0)
    network = WaveNetwork(FLOW.gamma, spread, WaveUNet(codes.shape[1]))
    return learn("U-Net", network, codes, UNET_STEPS, 2e-3, 32, kept=0.999)


def train_strings() -> dict[str, Any]:
    """Groups by their spectra, principal components of each, then training by the bill."""
    codes = strings_to_learn()
    some = FLOW.centres[codes[:GROUPED].long()]
    spectra = torch.fft.rfft(some * torch.hann_window(some.shape[1])).abs()
    spectra = spectra / spectra.norm(dim=1, keepdim=True)
    start = time.process_time()
    groups = KMeans(PITCHES, n_init=10, random_state=0).fit(spectra.numpy()).labels_
    network = SubspaceNetwork.near(FLOW.gamma, some, torch.from_numpy(groups).long())
    seconds = time.process_time() - start
    before = bits_of(BFN(FLOW, network).eval())
    bfn, facts = learn("subspaces", network, codes, STEPS, RATE, kept=0.99)
    save_file({name: value.contiguous() for name, value in bfn.network.state_dict().items()},
              CHECKOUT / "strings.safetensors")
    return {"flow": repr(FLOW), "strings": STRINGS, "CPU seconds of grouping": round(seconds),
            "bits before training": before, **facts}


def judge_sounds(x: Tensor) -> dict[str, Any]:
    """How strings x (B, L) sound: clear ones, loudness, and how fast the note falls."""
    strings = PluckedStrings()
    clear = strings.clearness(x)
    true, _ = strings.draw(2000, seeded(20))
    bar = strings.clearness(true).quantile(0.05)
    half = Estimate.of((clear > bar).double())
    fell = strings.decay_of(x[clear > bar]) if bool((clear > bar).any()) else torch.zeros(0)
    loud = Estimate.of(x.square().mean(1).sqrt())
    report = {"clearness": Estimate.of(clear), "as clear as 95 % of strings": half,
              "root mean square": loud}
    out = {name: [round(e.mean, 4), round(e.standard_error, 4)] for name, e in report.items()}
    colour = strings.harmonics_of(x)
    out["power at the first four harmonics"] = [round(v, 4) for v in colour.mean(0).tolist()]
    if len(fell) > 1:
        quarter = fell.quantile(torch.tensor([0.25, 0.5, 0.75]))
        out["decay of those, quartiles"] = [round(v, 1) for v in quarter.tolist()]
    return out


def measure_strings() -> dict[str, Any]:
    """What the shipped weights do."""
    facts = train_strings()
    strings, bfn = PluckedStrings(), string_model()
    x, _, pitch = held_out()
    _, sounds, pitches = sounds_of(bfn, tuple(WAYS))
    sounds = {"strings": judge_sounds(strings.draw(600, seeded(13))[0]), **sounds,
              "white noise": judge_sounds(0.2 * torch.randn((600, 1024), generator=seeded(15)))}
    return facts | {
        "held out": len(x), "bits per sample": bits_of(bfn), "guesses": guesses_of(bfn),
        "pitch found of held-out strings": round(
            float((strings.pitch_of(x) == pitch).float().mean()), 4),
        "sounds": sounds, "pitches": pitches}


def measure_coders() -> dict[str, Any]:
    """What coders without a network pay for the strings held out. The periods of the strings are
    10 to 18 samples, so all numbers of samples about those are offered.
    """
    x, codes, _ = held_out()
    rice, orders = predicted_bits(codes, (2, 8, *range(10, 25), 32))
    each = Estimate.of(rice / x.shape[1])
    packed = len(lzma.compress(codes.to(torch.uint8).numpy().tobytes(), preset=9)) * 8
    return {
        "held out": len(x),
        "bits per sample": {
            "linear prediction and Rice's code": [round(each.mean, 4),
                                                  round(each.standard_error, 4)],
            "lzma, all strings in one file": [round(packed / codes.numel(), 4), None]},
        "orders": torch.bincount(orders, minlength=33).nonzero()[:, 0].tolist()}


def sounds_of(
    bfn: BFN, ways: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """600 strings drawn in each of the ways; how they sound, and how often each pitch came."""
    drawn = {name: bfn.sample((600, 1024), WAYS[name][0], sampler=WAYS[name][1],
                              generator=seeded(12)) for name in ways}
    return (drawn, {name: judge_sounds(x) for name, x in drawn.items()},
            {name: pitch_counts(x) for name, x in drawn.items()})


def guesses_of(bfn: BFN) -> dict[str, Any]:
    """How far belief and guess are from the strings held out, at some times."""
    strings, (x, _, pitch), guesses = PluckedStrings(), held_out(), {}
    for t in TIMES:
        theta = FLOW.sample_flow(x, t, seeded(16))
        with torch.no_grad():
            guess = bfn.output(theta, t).mean
        guesses[str(t)] = {name: {
            "error": round(float((wave - x).square().mean().sqrt()), 4),
            "pitch right": round(float((strings.pitch_of(wave) == pitch).float().mean()), 4)}
            for name, wave in {"guess": guess, "belief": theta.mean / FLOW.gamma(t)}.items()}
    return guesses


def measure_unet() -> dict[str, Any]:
    """A U-Net on the strings, by the same measures as the shipped weights."""
    bfn, facts = train_unet()
    ways = ("samples, 60 messages", "samples, 60 steps of ab2")
    drawn, sounds, pitches = sounds_of(bfn, ways)
    heard = FLOW.index(FLOW.quantise(drawn[ways[1]][:3].clamp(-1, 1))).to(torch.uint8)
    return facts | {
        "bits per sample": bits_of(bfn), "guesses": guesses_of(bfn), "sounds": sounds,
        "pitches": pitches,
        "drawn": [base64.b64encode(wave.numpy().tobytes()).decode() for wave in heard]}


def heart_networks(learn: Tensor) -> dict[str, tuple[torch.nn.Module, int]]:
    """For pieces (B, PIECE) to learn from: networks by name, and for how many steps."""
    spread = learn.square().mean(0).sqrt()
    near = SubspaceNetwork.near(FLOW.gamma, learn, torch.zeros(len(learn), dtype=torch.int64), 24)
    power = torch.linalg.eigvalsh(learn.double().T @ learn.double() / len(learn))
    with torch.no_grad():
        near.log_rest.fill_(power[:-24].mean().log())  # pieces of a heart leave more than rounding
    torch.manual_seed(0)
    bodies = {"U-Net": WaveUNet(PIECE, (16, 16, 16)),
              "MLP": MLP(PIECE, (PIECE + PIECE // 16,), hidden=128, depth=2)}
    return {**{f"BFN, {name}": (WaveNetwork(FLOW.gamma, spread, body), HEART_STEPS[name])
               for name, body in bodies.items()},
            "BFN, one subspace": (near, 0)}


def measure_heart() -> dict[str, Any]:
    """Bits per sample of each quarter of `ecg`, by what the other three have taught."""
    x, scale = FLOW.quantise(ecg()), PIECE * math.log(2)
    quarters = FLOW.index(x).reshape(-1, QUARTER)
    rice, orders = predicted_bits(quarters, (1, 2, 3, 4, 8, 16))
    bits: dict[str, list[float]] = {}
    facts: dict[str, dict[str, float]] = {}
    for first in range(0, len(x), QUARTER):
        learn = windows(x, PIECE, without=(first, first + QUARTER))
        held = x[first : first + QUARTER].reshape(-1, PIECE)
        for name, (network, steps) in heart_networks(learn).items():
            bfn, start = BFN(FLOW, network).eval(), time.process_time()
            if steps:
                fit(bfn, lambda rng, own=learn: own[torch.randint(len(own), (64,), generator=rng)],
                    steps)
            facts[name] = {"parameters": sum(p.numel() for p in network.parameters()),
                           "CPU seconds": round(time.process_time() - start, 1)}
            for what, pieces, repeats in (("", held, 64), (", what it has seen", learn, 1)):
                bill = elbo(bfn, pieces, repeats=repeats, generator=seeded(0)).total
                bits.setdefault(name + what, []).append(bill.mean / scale)
            print(name, bits[name][-1], flush=True)
    bits["linear prediction and Rice's code"] = (rice / QUARTER).tolist()
    named = {name: torch.tensor(values) for name, values in bits.items()}
    named["U-Net less linear prediction"] = named["BFN, U-Net"] - rice / QUARTER
    means: dict[str, list[float | None]] = {}
    for name, values in named.items():
        each = Estimate.of(values)
        means[name] = [round(each.mean, 4), round(each.standard_error, 4)]
    packed = len(lzma.compress(quarters.to(torch.uint8).numpy().tobytes(), preset=9)) * 8
    means["lzma, all in one file"] = [round(packed / len(x), 4), None]
    return {"steps": HEART_STEPS, "batch": 64, "piece": PIECE, "orders": orders.tolist(),
            "networks": facts, "bits per sample": means,
            "quarters": {name: [round(v, 4) for v in values.tolist()]
                         for name, values in named.items()}}


def pitch_counts(x: Tensor) -> dict[str, Any]:
    """How often each pitch was drawn, and how far that is from the law."""
    found = torch.bincount(PluckedStrings().pitch_of(x), minlength=12)
    expected = len(x) / 12
    dice = torch.rand(2000, len(x), generator=seeded(14)).mul(12).long()
    chance = torch.stack([torch.bincount(row, minlength=12) for row in dice])
    floor = 0.5 * (chance / len(x) - 1 / 12).abs().sum(1)
    tv = 0.5 * (found / len(x) - 1 / 12).abs().sum()
    return {"counts": found.tolist(),
            "chi squared": round(float(((found - expected) ** 2 / expected).sum()), 2),
            "total variation": round(float(tv), 4),
            "total variation by chance": [round(float(floor.mean()), 4),
                                          round(float(floor.std()), 4)]}


def judged(table: Any, seed: int) -> dict[str, Any]:
    """One split of a table: a trained model and its rivals on the rows that were held out."""
    learn, test = table.split(seed=seed)
    scale = Scale.of(learn)
    x, held = scale.columns(learn), scale.columns(test)
    torch.manual_seed(seed)
    bfn, start = table_model(learn, scale), time.process_time()
    fit_apart(bfn, x, TABLE_STEPS, seed=seed)
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


PARTS = {"tables": measure_tables, "strings": measure_strings, "coders": measure_coders,
         "stranger": stranger, "unet": measure_unet, "heart": measure_heart}


def main(names: list[str]) -> None:
    measure(PATH, PARTS, names, "tools.tables_and_sound")


if __name__ == "__main__":
    main(sys.argv[1:])
