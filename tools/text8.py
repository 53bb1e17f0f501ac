"""What the shipped text8 model writes and knows: `python -m tools.text8 words|writing|…`.

words [FILE]  writes assets/words.txt.xz, against which spelling is judged: the words of Debian's
              package wamerican (/usr/share/dict/american-english, from SCOWL) in text8's 27
              symbols. The notice of its authors is in assets/words_notice.txt.
writing       writes assets/text8_writing.json: how much of what the shipped weights write is
              spelled right, for several numbers of messages, and when which kind of letter is
              settled. It needs the text too, to see how many of its own words the list knows.
              (writing text8_chain, or text8_guess: the same of those weights.)
guesses RUNS  writes assets/text8_guesses.json: what a guess that is read is worth. RUNS is a folder
              with three finished runs of 200 steps, begun from the same weights, in which the
              transformer beside the table reads nothing but the belief (race_none), the table's
              guess too (race_told), or that and its own (race_both); their commands are in the
              record. All are priced by the same messages, so that differences are known well.
memory        writes assets/text8_memory.json: how text8_guess spells where each step reads
              the guess of the step before, in one call, and not a first guess of its own.
calibration   writes assets/text8_calibration.json: how often the likeliest letters are the true
              ones, by their probability, on test text; the same for sharpened guesses, and for
              the text backwards, a language that the weights have not learnt.
heart         writes assets/text8_heart.json: what the text that the weights were trained on costs
              them, and what the text that they never read does.
experts       writes assets/text8_experts.json: what the same test text costs a table of four
              letters (networks/chains.py), the shipped transformer, and text8_chain, in which
              they are multiplied; in all, and by the time.
"""

import json
import lzma
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bfn_core import BFN, data, elbo
from bfn_core.baselines.text import ngram
from bfn_core.calibration import reliability
from bfn_core.characters import KINDS, settled
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.vocabulary import spelling, whole_words
from bfn_core.likelihood import Estimate
from bfn_core.modes import evaluating
from bfn_core.networks.transformer import Remembering
from bfn_core.tempered import Tempered
from bfn_core.training import bill, load, load_task, settings_for, shipped
from bfn_core.training.loop import text_of
from bfn_core.training.runs import Run
from bfn_core.training.scales import command
from tools.record import renew_digests, weights, write

STEPS = (5, 10, 25, 50, 100, 200)
FEW = (10, 25, 100)  # for the others, whose calls are several times as dear
COUNT = 32  # samples for each
# Messages and temperatures at which samples are drawn from sharpened guesses, too.
SHARPENED = {"text8": [(50, 0.7)], "text8_chain": [(100, 0.7), (100, 0.5)],
             "text8_guess": [(100, 0.7), (100, 0.5)]}
WATCHED = 100  # of STEPS, the one whose steps are watched
TIMES = (0.2, 0.4, 0.6, 0.8)  # at which guesses are held against the truth
JUDGED = 256  # sequences, spread evenly over the test text
HEARD = 1000  # sequences of either part, spread evenly over it, each priced at so many times:
REPEATS = 4
PRICED = 3000  # sequences
RACED = 1000  # sequences, spread evenly over the test text


def words(source: Path = Path("/usr/share/dict/american-english")) -> None:
    """Write the list; what stands behind an apostrophe is a word of its own, as in text8."""
    listed = sorted(set(data.normalise(source.read_text(encoding="utf-8")).split()))
    content = "".join(word + "\n" for word in listed).encode()
    path = CHECKOUT / "words.txt.xz"
    path.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(listed):,} words, {path.stat().st_size:,} bytes")


def writing(name: str = "text8") -> dict[str, Any]:
    """Samples of the shipped weights of that name, for each number of messages."""
    bfn, known = shipped(name), data.words()
    length = bfn.network.length
    generator = torch.Generator().manual_seed(0)
    rows, settling = {}, {}
    for n in STEPS if name == "text8" else FEW:
        guesses = []
        for step in bfn.sampling_steps((COUNT, length), n, generator=generator):
            guesses.append(step.output.mode)
        x = step.output.sample(generator=generator)
        rows[str(n)] = _row(data.decode(x), known)
        print(n, rows[str(n)], flush=True)
        if n == WATCHED:
            settling = _settling(torch.stack(guesses, 1), n)
    text = data.text8(stand_in=False)
    test = text.test.unfold(0, length, length)[:: len(text.test) // length // 1000]
    return {
        "weights": weights(name),
        "data": text.name,
        "samples": COUNT,
        "length": length,
        "listed words": len(known),
        "spelling": rows,
        "spelling of the test text": _row(data.decode(test), known),
        "settling": settling,
        "sharpened": [sharpened(bfn, known, *each) for each in SHARPENED[name]],
    }


def sharpened(bfn: BFN, known: frozenset[str], n: int, temperature: float) -> dict[str, Any]:
    """The same for samples of which every guess is sharpened, and the first two of them."""
    cool = Tempered(bfn, temperature)
    generator = torch.Generator().manual_seed(1)
    x = cool.sample((COUNT, bfn.network.length), n, generator=generator)
    texts = data.decode(x)
    row = _row(texts, known)
    print(n, temperature, row, flush=True)
    return {"n": n, "temperature": temperature, "row": row, "texts": texts[:2]}


def memory(name: str = "text8_guess") -> dict[str, Any]:
    """Samples with two calls a step and with one, by the same messages' noise."""
    bfn, known, rows = shipped(name), data.words(), {}
    for n in FEW:
        ways = {"guesses twice": bfn, "remembers": BFN(bfn.flow, Remembering(bfn.network)).eval()}
        rows[str(n)] = {}
        for way, model in ways.items():
            generator, started = torch.Generator().manual_seed(2), time.process_time()
            x = model.sample((2 * COUNT, bfn.network.length), n, generator=generator)
            seconds = round(time.process_time() - started, 1)
            rows[str(n)][way] = {**_row(data.decode(x), known), "CPU seconds": seconds}
            print(n, way, rows[str(n)][way], flush=True)
    return {"weights": weights(name), "device": "cpu", "threads": torch.get_num_threads(),
            "seed": 2, "samples": 2 * COUNT, "length": bfn.network.length, "spelling": rows}


def calibration() -> dict[str, Any]:
    """How often guesses of the shipped weights come true; every row hears messages of one seed."""
    bfn, ((_, temperature),) = shipped("text8"), SHARPENED["text8"]
    length, text = bfn.network.length, data.text8(stand_in=False)
    pieces = text.test.unfold(0, length, length)
    x = pieces[:: max(1, len(pieces) // JUDGED)][:JUDGED].long()
    rows = {"plain": (bfn, x), "sharpened": (Tempered(bfn, temperature), x),
            "backwards": (bfn, x.flip(1))}
    found = {}
    for name, (model, read) in rows.items():
        generator = torch.Generator().manual_seed(0)
        seen = reliability(model, read, TIMES, generator=generator)
        found[name] = seen.row()
        print(name, [round(gap, 4) for gap in seen.gap.tolist()], flush=True)
    return {"weights": weights("text8"), "device": "cpu", "seed": 0,
            "data": text.name, "sequences": len(x), "length": length,
            "temperature": temperature, "rows": found}


def heart() -> dict[str, Any]:
    """The bill L^∞ + L^r of what was read in training and of what never was, bits per character."""
    bfn, text = shipped("text8"), data.text8(stand_in=False)
    length = bfn.network.length
    rows = {}
    for name, part in (("training", text.train), ("test", text.test)):
        pieces = part.unfold(0, length, length)
        x = pieces[:: len(pieces) // HEARD][:HEARD].long()
        generator = torch.Generator().manual_seed(0)
        bill = elbo(bfn, x, repeats=REPEATS, generator=generator).total
        unit = length * math.log(2)
        rows[name] = {"bits per character": bill.mean / unit,
                      "standard error": bill.standard_error / unit}
        print(name, rows[name], flush=True)
    return {"weights": weights("text8"), "device": "cpu", "seed": 0, "data": text.name,
            "sequences": HEARD, "length": length, "times": REPEATS, "rows": rows}


def experts() -> dict[str, Any]:
    """The bills of a table, a transformer and their product: of the same text and messages."""
    both = shipped("text8_chain")
    table = BFN(both.flow, both.network.chain)
    settings = settings_for("text8", "laptop", test_examples=PRICED)
    task, rows = load_task(settings), {}
    x = task.prepare(task.test)
    unit = both.network.length * math.log(2)
    for name, bfn in (("table", table), ("transformer", shipped("text8")), ("both", both)):
        started = time.process_time()
        all_told = elbo(bfn, x, generator=torch.Generator().manual_seed(0)).total
        rows[name] = {"bits per character": all_told.mean / unit,
                      "standard error": all_told.standard_error / unit,
                      "bill": bill(bfn, task, settings),
                      "CPU seconds": round(time.process_time() - started, 1)}
        print(name, rows[name], flush=True)
    code = ngram(text_of(task), task.test, both.flow.classes, both.network.chain.order)
    return {"weights": {name: weights(name) for name in ("text8", "text8_chain")},
            "device": "cpu", "seed": settings.seed, "data": task.name, "sequences": len(x),
            "length": both.network.length, "order": both.network.chain.order, "rows": rows,
            "code": {"bits per character": code.mean, "standard error": code.standard_error}}


def guesses(folder: Path) -> dict[str, Any]:
    """The bills of three runs of a race, of the same text and messages, and by how much the others
    are less than the first.
    """
    runs = {name: Run(folder / f"race_{name}") for name in ("none", "told", "both")}
    settings = replace(runs["none"].read_settings()["settings"], test_examples=None)
    task = load_task(settings)
    x = task.prepare(task.test)
    x = x[:: max(1, len(x) // RACED)][:RACED]
    unit, rows = task.variables * math.log(2), {}
    without = priced(load(runs["none"].folder), x) / unit

    def add(name: str, costs: torch.Tensor, **about: Any) -> None:
        rows[name] = {**about, **_bits(costs)}
        if name != "none":
            rows[name]["less"] = _bits(without - costs)
        print(name, rows[name], flush=True)

    for name, run in runs.items():
        facts, judged = run.read_settings(), json.loads(run.evaluation.read_text("utf-8"))
        add(name, without if name == "none" else priced(load(run.folder), x) / unit,
            command=command(facts["settings"]), parameters=facts["parameters"],
            **{"initial weights": facts["initial weights"],
               "training seconds": judged["training seconds"]})
    return {"command": "python -m tools.text8 guesses RUNS", "device": "cpu", "data": task.name,
            "sequences": len(x), "length": task.variables, "steps": settings.steps, "rows": rows}


def priced(bfn: BFN, x: torch.Tensor, piece: int = 250) -> torch.Tensor:
    """L^∞ + L^r of each sequence, (N,) nats, one draw of each; the same draws for every model."""
    found = []
    with torch.no_grad(), evaluating(bfn):
        for number, part in enumerate(x.split(piece)):
            generator = torch.Generator().manual_seed(number)
            cost = bfn.loss(part, generator=generator)
            found.append(cost + bfn.reconstruction_loss(part, generator=generator))
    return torch.cat(found).double()


def _bits(values: torch.Tensor) -> dict[str, float]:
    """A mean and its standard error, of bits per character."""
    found = Estimate.of(values)
    return {"bits per character": found.mean, "standard error": found.standard_error}


def _keep(what: str, measured: dict[str, Any], name: str = "text8") -> None:
    """Write assets/NAME_{what}.json, and the digests anew."""
    command = ["python -m tools.text8", what] + [name] * (name != "text8")
    write(CHECKOUT / f"{name}_{what}.json", {"command": " ".join(command), **measured})
    renew_digests()


def _row(texts, known) -> dict[str, float]:
    share, count = spelling(texts, known), sum(len(whole_words(text)) for text in texts)
    return {"share": share.mean, "standard error": share.standard_error, "words": count}


def _settling(guesses: torch.Tensor, n: int) -> dict[str, Any]:
    """For each kind of letter the share that is settled after 0…n messages."""
    after = settled(guesses)  # (B, L)
    found = {"n": n, "kinds": {}}
    for name, kind in KINDS.items():
        mine = after[kind(guesses[:, -1])]
        shares = [(mine <= i).double().mean().item() for i in range(n + 1)]
        found["kinds"][name] = {
            "letters": len(mine),
            "mean t": mine.double().mean().item() / n,
            "settled": [round(share, 4) for share in shares],
        }
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["words"]:
        words(*map(Path, sys.argv[2:]))
    elif sys.argv[1:2] == ["writing"] and len(sys.argv) < 4:
        _keep("writing", writing(*sys.argv[2:]), *sys.argv[2:])
    elif sys.argv[1:] == ["memory"]:
        _keep("memory", memory())
    elif sys.argv[1:] == ["calibration"]:
        _keep("calibration", calibration())
    elif sys.argv[1:] == ["heart"]:
        _keep("heart", heart())
    elif sys.argv[1:2] == ["guesses"] and len(sys.argv) == 3:
        _keep("guesses", guesses(Path(sys.argv[2])))
    elif sys.argv[1:] == ["experts"]:
        _keep("experts", experts())
    else:
        sys.exit(__doc__)
