"""`python -m bfn_core.training mnist|cifar10|text8 --run DIR`: train, resume, evaluate."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from dataclasses import replace
from typing import Any

from bfn_core.data import DataError, StandInWarning, alphabet_of
from bfn_core.training.progress import speak_plainly
from bfn_core.training.scales import (
    DATA_SETS,
    SCALES,
    SHIPPED,
    Settings,
    changed,
    of_pixels,
    on_text,
    settings_for,
)
from bfn_core.training.tasks import TrainingError

NS = (10, 25, 50, 100, None)  # the paper's table of MNIST


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bfn_core.training",
        description="Train a Bayesian Flow Network, or go on with a run, or evaluate one.",
    )
    parser.add_argument("data", choices=DATA_SETS, help="what to learn")
    parser.add_argument("--run", metavar="DIR", help="the run's directory")
    parser.add_argument(
        "--scale", choices=SCALES, help="default: BFN_SCALE, else what this machine does in an hour"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--steps", type=whole(1), metavar="N", help="steps in all")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of weights and noise")
    parser.add_argument(
        "--text", metavar="FILE", help="with text8: learn this text file (UTF-8) in its place"
    )
    parser.add_argument(
        "--own-alphabet", action="store_true",
        help="with --text: keep the file's own symbols, not text8's 27",
    )
    parser.add_argument(
        "--bins", type=int, metavar="N", help="with cifar10: 256 (as it is) or 16 grey levels"
    )
    parser.add_argument(
        "--continuous", action="store_true", help="with cifar10: take pixels as real numbers"
    )
    parser.add_argument(
        "--initial", metavar="WEIGHTS",
        help="begin from these weights: a .safetensors file, a run's folder, or the word shipped "
             "(a U-Net may have more channels than theirs, and begins by computing the same)",
    )
    parser.add_argument(
        "--set", action="append", default=[], type=setting, metavar="NAME=VALUE", dest="changes",
        help="change any other setting, such as precision=bf16 or network_arguments.channels=64",
    )
    parser.add_argument(
        "--evaluate", action="store_true",
        help="only evaluate a run's averaged weights on the test set, for n = 10, 25, 50, 100, ∞",
    )
    parser.add_argument(
        "--n", type=whole(1), nargs="+", metavar="N", help="with --evaluate: these n, and ∞"
    )
    parser.add_argument(
        "--published", action="store_true",
        help="with --evaluate: the paper's own model, fetched the first time, in place of a run",
    )
    parser.add_argument(
        "--official", action="store_true",
        help="with --published: with the habits of the authors' code, see bfn_core/official.py",
    )
    options = parser.parse_args(words)
    if options.published and not options.evaluate:
        parser.error("--published goes with --evaluate: the paper's own models are trained already")
    if options.published and (options.run or options.text or options.resume or options.steps):
        parser.error("--published takes no --run, --text, --resume or --steps")
    if options.official and not options.published:
        parser.error("--official goes with --published")
    if not (options.run or options.published):
        parser.error("the following arguments are required: --run")
    return options


def whole(least: int):
    """A reader of whole numbers from `least` on, for argparse."""

    def number(word: str) -> int:
        if not word.isdigit() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from {least} on")
        return int(word)

    return number


def setting(word: str) -> tuple[str, Any]:
    """NAME=VALUE, the value read as JSON where it is JSON, else as a word."""
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def chosen(options: argparse.Namespace) -> Settings:
    """The settings of the command line; a run that is resumed or evaluated lends its own."""
    from bfn_core.training.runs import Run

    run = Run(options.run)
    if (options.resume or options.evaluate) and run.settings.exists():
        settings = run.read_settings()["settings"]
        for name in ("data", "scale", "seed"):
            asked = getattr(options, name)
            if asked is not None and asked != getattr(settings, name):
                raise TrainingError(
                    f"{options.run} holds a run with {name} {getattr(settings, name)}, not {asked}"
                )
    elif options.evaluate:
        raise TrainingError(f"{options.run} holds no run to evaluate")
    else:
        settings = settings_for(options.data, options.scale)
    if options.text is not None:
        alphabet = alphabet_of(options.text) if options.own_alphabet else settings.alphabet
        settings = on_text(settings, options.text, alphabet)
    elif options.own_alphabet and settings.alphabet is None:
        raise TrainingError("--own-alphabet is for a text of one's own: add --text FILE")
    if options.bins or options.continuous:
        settings = of_pixels(settings, options.bins, options.continuous)
    if options.initial is not None:
        path = options.initial if options.initial == SHIPPED else os.path.abspath(options.initial)
        settings = replace(settings, initial=path)
    for name, value in options.changes:
        settings = changed(settings, name, value)
    changes = {"steps": options.steps, "seed": options.seed}
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def main(words: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    speak_plainly()
    options = arguments(words)
    warnings.simplefilter("ignore", StandInWarning)  # said once, by the loop
    try:
        if options.published:
            return evaluate_published(options)
        return evaluate_run(options) if options.evaluate else train_run(options)
    except (TrainingError, DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = f" What {options.run} held is intact; --resume goes on." if options.run else ""
        print(f"\nStopped.{kept}", file=sys.stderr)
        return 130


def train_run(options: argparse.Namespace) -> int:
    settings = chosen(options)
    from bfn_core.training.evaluation import sentences
    from bfn_core.training.loop import train

    result = train(settings, options.run, resume=options.resume, say=say, progress=True)
    if not result.finished:
        return 130
    if result.evaluation:
        for line in sentences(result.evaluation):
            say(line)
        say(f"Weights, samples, metrics and figures are in {options.run}.")
    return 0


def evaluate_run(options: argparse.Namespace) -> int:
    settings = chosen(options)
    from bfn_core.training.evaluation import bill, by_n, evaluate, named, sentences
    from bfn_core.training.loop import accelerator_for
    from bfn_core.training.runs import Run, load
    from bfn_core.training.tasks import load_task

    device = accelerator_for().device  # as in training
    run = Run(options.run)
    bfn = load(options.run).to(device)
    task = load_task(settings, device)
    begun = run.read_settings()
    if begun["data"] != task.name:
        raise TrainingError(f"{options.run} was trained on {begun['data']}, but only {task.name} "
                            "is at hand to evaluate it on")
    found = evaluate(bfn, task, settings, (*options.n, None) if options.n else NS)
    found["step"] = run.last_step()
    for line in sentences(found):
        say(line)
    before = run.read_json(run.evaluation) if run.evaluation.exists() else {}
    same = bool(before) and before.get("step", begun["settings"].steps) == found["step"]
    if same and all(before[name] == found[name] for name in ("examples", "draws per example")):
        found["elbo"] = by_n({**before["elbo"], **found["elbo"]})
    elif same and {*map(named, NS), *before["elbo"]} - found["elbo"].keys():
        say(f"{run.evaluation} stays as it is, of {before['examples']:,} examples with "
            f"{before['draws per example']} draws each: what is found without --n replaces it.")
        return 0
    found["bill"] = bill(bfn, task, settings)
    if "training seconds" not in before and run.checkpoint.exists():
        # A run that was killed while it was judged has left them there alone.
        found["training seconds"] = round(run.read_checkpoint()["seconds"], 1)
        found["parameters"] = sum(p.numel() for p in bfn.network.parameters())
    run.write_json(run.evaluation, {**before, **found})
    return 0


def evaluate_published(options: argparse.Namespace) -> int:
    from bfn_core.training.evaluation import evaluate, sentences
    from bfn_core.training.loop import accelerator_for
    from bfn_core.training.pretrained import model, published
    from bfn_core.training.tasks import load_task

    parts = [options.data]
    parts += ["continuous"] if options.continuous else []
    parts += [str(options.bins)] if options.bins not in (None, 256) else []
    name = "-".join(parts)
    settings = model(name).settings
    for change in options.changes:
        settings = changed(settings, *change)
    if options.seed is not None:
        settings = replace(settings, seed=options.seed)
    device = accelerator_for().device
    bfn = published(name, official=options.official, say=say).to(device)
    task = load_task(settings, device)
    if task.notice:
        say(task.notice)
    for line in sentences(evaluate(bfn, task, settings, (*options.n, None) if options.n else NS)):
        say(line)
    if figure := model(name).figure:
        say(f"In the paper, n = ∞: {figure}")
    return 0


def say(sentence: str) -> None:
    """Print above the progress bar, at once."""
    from tqdm import tqdm

    tqdm.write(sentence)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
