"""What to do when a GPU is at hand for half an hour: see tools/GPU_DAY.md for what to type.

    python -m tools.gpu_day check                 is all well, and how fast is it
    python -m tools.gpu_day text8                 train for nine minutes, or go on; then judge
    python -m tools.gpu_day join FOLDER           put together what came back from the machine

Each piece ends by itself within `--minutes`, goes on where the one before it stopped, and leaves a
bundle in `--out`, cut into files of at most 15 MiB: settings, metrics, figures, samples and the
averaged weights in half precision. The figures are measured with these very weights.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from bfn_core.training import TrainingError, evaluate, load, sentences, settings_for, train
from bfn_core.training.devices import name_of, synchronise
from bfn_core.training.evaluation import bill, by_n, named
from bfn_core.training.loop import Trainer, accelerator_for
from bfn_core.training.runs import Run, save_weights
from bfn_core.training.scales import Settings
from bfn_core.training.tasks import load_task
from tools.bench_training import PEAKS

PART = 15 * 2**20  # bytes of a file that can come back
NS = (10, 25, 50, 100, None)
RESERVE = 45  # seconds of a piece for starting, saving and packing

# For each task the minutes of training that it is worth, and what differs from the gpu scale:
# networks of at most ten million parameters, whose weights in half precision are below 20 MB.
DAY = {
    "text8": (11, {
        "network_arguments": {"layers": 5, "heads": 6, "width": 384, "reach": 4, "dropout": 0.1},
        "muon": 0.02, "time_power": 0.5, "ema": 0.999,
    }),
    "cifar10": (10, {
        "network_arguments": {
            "image_channels": 3, "channels": 64, "multipliers": (1, 2, 2), "blocks": 3,
            "attention": (1, 2), "dropout": 0.1, "fourier": 2, "differences": 1e-3,
        },
        "learning_rate": 1e-3, "ema": 0.999, "step_examples": 1_000,
    }),
    "mnist": (7, {
        "network_arguments": {
            "channels": 80, "multipliers": (1, 2, 2), "blocks": 2, "attention": (1, 2),
            "dropout": 0.2,
        },
        "ema": 0.999,
    }),
}


def main(words: list[str] | None = None) -> int:
    """Do one piece; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_day", description=__doc__)
    parser.add_argument("piece", choices=("check", *DAY, "join"))
    parser.add_argument("folder", nargs="?", type=Path, help="with join: where the files lie")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which the piece ends")
    parser.add_argument("--in-all", type=float, help="minutes of training, over all pieces")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu_day"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "artefacts"))
    parser.add_argument("--scale", default="gpu", help="smoke tries everything on a CPU")
    options = parser.parse_args(words)
    options.ends = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    if options.piece == "join":
        join(options.folder or options.out, options.runs)
    elif options.piece == "check":
        check(options)
    else:
        piece_of(options.piece, options)
    return 0


# Training ----------------------------------------------------------------------------------------


def settings_of(name: str, scale: str) -> Settings:
    """What a task is trained with; at smoke, that scale's own."""
    return settings_for(name, scale, **(DAY[name][1] if scale != "smoke" else {}))


def piece_of(name: str, options: argparse.Namespace) -> None:
    """Train until the run or the time is at its end, then judge what there is, and pack it."""
    run = Run(options.runs / name)
    if run.settings.exists():
        settings = run.read_settings()["settings"]
    else:
        settings = settings_of(name, options.scale)
        minutes = options.in_all or DAY[name][0]
        if options.scale != "smoke":  # as many steps as the time is good for, so that the rate ends
            pace = pace_of(settings)["seconds a step"]
            settings = replace(settings, steps=max(100, int(60 * minutes / pace)))
    result = None
    if not run.weights.exists():
        # Once the last step is made, an alarm breaks off no more than the first judgement.
        with suppress(KeyboardInterrupt), alarm(options.ends - time.monotonic() - RESERVE):
            result = train(settings, run.folder, resume=True, say=say)
    rounded = options.out / f"{name}.safetensors"
    save_weights(rounded, halves(load(run.folder).network.state_dict()), settings,
                 step=result.step if result else settings.steps)
    if run.weights.exists():
        judge(name, run, rounded, options)
    pack(name, run, rounded, options.out)
    rounded.unlink()
    ended = "at its end" if run.weights.exists() else "to be gone on with: the same line again"
    say(f"{name}: {ended}; packed in {options.out}")


class alarm:
    """Ctrl-C after some seconds, which lets training end with a checkpoint."""

    def __init__(self, seconds: float) -> None:
        self.timer = threading.Timer(max(1.0, seconds), signal.raise_signal, [signal.SIGINT])
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *error) -> None:
        self.timer.cancel()


def halves(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in half precision."""
    return {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}


def judge(name: str, run: Run, weights: Path, options: argparse.Namespace) -> None:
    """The test figures of the packed weights for all n, as far as the time allows."""
    settings = run.read_settings()["settings"]
    device = accelerator_for().device
    bfn, task = load(weights).to(device), load_task(settings, device)
    before = run.read_json(run.evaluation) if run.evaluation.exists() else {}
    for n in sorted(NS, key=lambda n: n or 0):  # ∞ first, then the dear ones
        if before.get("half precision") and named(n) in before["elbo"]:
            continue
        if time.monotonic() > options.ends - RESERVE:
            say(f"{name}: no time is left to judge n = {named(n)} and beyond")
            break
        found = evaluate(bfn, task, settings, (n,))
        say(*sentences(found))
        elbo = {**(before["elbo"] if before.get("half precision") else {}), **found["elbo"]}
        before = {**before, **found, "half precision": True, "elbo": by_n(elbo)}
        if n is None:
            before["bill"] = bill(bfn, task, settings)
        run.write_json(run.evaluation, before)


# There and back ----------------------------------------------------------------------------------


def pack(name: str, run: Run, weights: Path, out: Path) -> list[Path]:
    """Write a run's files, but for its checkpoint, to NAME.tar.0, .1, … of at most PART bytes."""
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w") as archive:
        kept = ("settings.json", "metrics.jsonl", "evaluation.json", "samples.png", "samples.txt")
        for path in (run.folder / name for name in kept):
            if path.exists():
                archive.add(path, path.name)
        archive.add(weights, "weights.safetensors")
    content = bundle.getvalue()
    for old in out.glob(f"{name}.tar.*"):
        old.unlink()
    parts = []
    for start in range(0, len(content), PART):
        parts.append(out / f"{name}.tar.{len(parts)}")
        parts[-1].write_bytes(content[start : start + PART])
    return parts


def join(folder: Path, runs: Path) -> None:
    """Put bundles together again, each as a run's directory: `tools.record` takes it from there."""
    names = sorted({path.name.split(".tar.")[0] for path in folder.glob("*.tar.*")})
    if not names:
        raise SystemExit(f"{folder} holds no bundle (NAME.tar.0)")
    for name in names:
        parts = sorted(folder.glob(f"{name}.tar.*"), key=lambda path: int(path.suffix[1:]))
        content = io.BytesIO(b"".join(path.read_bytes() for path in parts))
        with tarfile.open(fileobj=content) as archive:
            archive.extractall(runs / name, filter="data")
        say(f"{name}: {len(parts)} files are now {runs / name}")


# The first minute --------------------------------------------------------------------------------


def check(options: argparse.Namespace) -> None:
    """The tests that need a device, the speed of its products, and of the three tasks' steps."""
    device = accelerator_for().device
    found = {"device": name_of(device), "torch": torch.__version__}
    found["products"] = products(device, small=options.scale == "smoke")
    say(json.dumps(found, indent=1, ensure_ascii=False))
    found["tests"] = tests(device, options)
    found["steps"] = []
    for name, changes in variants(device):
        if time.monotonic() > options.ends - 20:
            say("no time is left for further variants")
            break
        settings = replace(settings_of(name, options.scale), **changes)
        try:
            row = {"task": name, **changes, **pace_of(settings)}
        except (TrainingError, RuntimeError) as error:
            row = {"task": name, **changes, "failed": str(error).splitlines()[0]}
        say(json.dumps(row))
        found["steps"].append(row)
        text = json.dumps(found, indent=1)
        (options.out / "check.json").write_text(text, encoding="utf-8", newline="\n")


def variants(device: torch.device) -> list[tuple[str, dict]]:
    """What is timed, in the order of what it is worth to know."""
    asked = [("text8", {}), ("cifar10", {}), ("mnist", {}), ("cifar10", {"channels_last": False}),
             ("mnist", {"channels_last": False}), ("text8", {"deterministic": True}),
             ("mnist", {"deterministic": True})]
    if device.type == "cuda":
        asked += [(name, {"compile": True}) for name in DAY]
    return asked


def pace_of(settings: Settings, warm: int = 5, timed: int = 10) -> dict:
    """Seconds of a training step, found by the loop itself, and the memory that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(replace(settings, steps=10**6), Run(folder))
        trainer.begin(resume=False)
        if trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(warm):
            trainer.make_step()
        synchronise(trainer.device)
        began = time.perf_counter()
        for _ in range(timed):
            trainer.make_step()
        synchronise(trainer.device)
        seconds = (time.perf_counter() - began) / timed
        if trainer.board:
            trainer.board.close()
    found = {"seconds a step": seconds, "parameters": trainer.parameters}
    if trainer.device.type == "cuda":
        found["GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return found


def products(device: torch.device, small: bool) -> dict[str, str]:
    """TFLOP/s of a large matrix product in bf16, against the data sheet where it is known."""
    size, rounds = (256, 2) if small else (8192, 10)
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    for count in (3, rounds):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(count):
            a @ a
        synchronise(device)
    achieved = 2 * size**3 * rounds / (time.perf_counter() - began) / 1e12
    peak = next((p for key, p in PEAKS.items() if key in name_of(device)), None)
    share = f", {100 * achieved / peak:.0f} % of its data sheet" if peak else ""
    return {f"bf16, {size} × {size}": f"{achieved:.3g} TFLOP/s{share}"}


def tests(device: torch.device, options: argparse.Namespace) -> str:
    """The tests of training and of the library that can be run on a real device."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               "tests/test_on_device.py"]
    environment = {**os.environ, "BFN_TEST_GPU": "1", "BFN_SCALE": "smoke"}
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8",
                              errors="replace", timeout=max(30, options.ends - time.monotonic()))
        last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-300:]]
        say(done.stdout[-2000:] if done.returncode else last[0])
        return last[0]
    return "not ended in time"


def say(*sentences: str) -> None:
    for sentence in sentences:
        print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
