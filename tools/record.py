"""Keep the record of a finished run: `python -m tools.record RUN assets/NAME ["a remark"]`.

Writes assets/NAME.json (the command, the settings, the machine, the curve and the figures with
their standard errors, as the run left them), NAME.safetensors (the averaged weights) and NAME.png
or NAME.txt (samples drawn with them). A figure in the README or in a notebook that comes from
training has such a record. The remark says what the run cannot know, such as what else the
machine had to do. `python -m tools.record` alone renews the digests of all that is in assets/, by
which a copy that was fetched is known to be whole, and the README's results.
"""

import json
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bfn_core.data.assets import CHECKOUT, DIGESTS
from bfn_core.data.files import digest
from bfn_core.training.scales import Settings, command
from tools import results

POINTS = 50  # of the curve


def record(run: Path, target: Path, remark: str = "") -> dict:
    """Gather the run's files into one JSON file beside its samples; returns what was written.

    Raises:
        SystemExit: the run has not ended, though it may have been evaluated.
    """
    if not (run / "weights.safetensors").exists():
        raise SystemExit(f"{run} holds no weights.safetensors: the run has not ended, so it has no "
                         "record; --resume goes on with it")
    facts = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    steps = [line for line in metrics if "loss" in line]
    every = max(1, len(steps) // POINTS)
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    bill = evaluation.pop("bill", None)
    evaluation.pop("step", None)  # the last, which the settings say
    written = {
        "command": command(Settings.from_dict(facts["settings"])),
        **{name: value for name, value in facts.items() if name != "command"},
        "remark": remark,
        "curve": [
            {"step": line["step"], "nats": round(line["loss"], 3)}
            for line in steps[every - 1 :: every]
        ],
        "validation": [line for line in metrics if "loss" not in line],
        "evaluation": evaluation,
        "bill": bill,
    }
    write(target.with_suffix(".json"), written)
    for name in ("weights.safetensors", "samples.png", "samples.txt"):
        if (run / name).exists():
            shutil.copyfile(run / name, target.with_suffix(Path(name).suffix))
    return written


def versions() -> dict[str, str]:
    """Of what a figure depends on."""
    return {"python": platform.python_version(), "torch": torch.__version__}


def write(path: Path, record: dict) -> None:
    """Write a record as all records in assets/ are written."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def measure(
    path: Path, parts: dict[str, Callable[[], dict]], names: list[str], module: str, **about: Any
) -> None:
    """Measure the named parts of a record, or all, on one thread; each is kept once it is there.

    Args:
        path: of the record; other parts that it holds stay.
        parts: by name, what measures it.
        module: whose command it is.
        about: what else the record says of itself.
    """
    torch.set_num_threads(1)
    record = json.loads(path.read_text("utf-8")) if path.exists() else {}
    record |= {"command": f"python -m {module}", "device": "cpu", "threads": 1,
               "torch": torch.__version__, **about}
    for name in names or parts:
        start = time.process_time()
        record[name] = parts[name]()
        record[name]["CPU seconds in all"] = round(time.process_time() - start)
        write(path, record)
    renew_digests()


def renew_digests() -> dict[str, str]:
    """Write down the SHA-256 of every file in assets/ but hidden ones; returns them by name."""
    digests = {path.name: digest(path) for path in sorted(CHECKOUT.iterdir())
               if not path.name.startswith(".")}
    DIGESTS.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8", newline="\n")
    return digests


def weights(name: str) -> str:
    """Which weights are shipped as NAME: the first 8 digits of their file's SHA-256.

    A record of what they do keeps it, so that one can tell when they have been renewed since.
    """
    return digest(CHECKOUT / f"{name}.safetensors")[:8]


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3, 4):
        sys.exit(__doc__.splitlines()[0])
    if len(sys.argv) > 1:
        run, target, *remark = sys.argv[1:]
        print(json.dumps(record(Path(run), Path(target), *remark)["evaluation"], indent=1))
    renew_digests()
    results.write()
