"""Measure what other codes need for the test data: `python -m tools.baselines cifar10`.

Writes assets/NAME_baselines.json: the command, the data and their split, and the figures, with
standard errors where they are means over examples. Beside them a model's record is judged.
"""

import json
import platform
import sys
from typing import Any

import PIL

from bfn_core import data
from bfn_core.baselines import images
from bfn_core.data.assets import CHECKOUT


def cifar10() -> dict[str, Any]:
    """Bits per dimension of CIFAR-10's 10,000 test images."""
    source = data.cifar10(stand_in=False)
    codes: dict[str, Any] = {"uniform": images.uniform()}
    counted = images.histogram(source.train, source.test)
    codes["histogram of each channel"] = counted
    for form in images.FORMATS:
        codes[f"{form}, file by file"] = images.files(source.test, form)
        codes[f"{form}, all in one"] = images.sheet(source.test, form)
    return {
        "data": source.name,
        "split": "test",
        "examples": len(source.test),
        "unit": "bits per dimension",
        "versions": {"python": platform.python_version(), "pillow": PIL.__version__},
        "codes": {name: figure(code) for name, code in codes.items()},
    }


def figure(code) -> dict[str, float]:
    """A figure as JSON holds it; a standard error where it is a mean over examples."""
    if isinstance(code, float):
        return {"bits": code}
    return {"bits": code.mean, "standard error": code.standard_error}


MEASURES = {"cifar10": cifar10}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in MEASURES:
        sys.exit(f"usage: python -m tools.baselines {'|'.join(MEASURES)}")
    name = sys.argv[1]
    measured = {"command": f"python -m tools.baselines {name}", **MEASURES[name]()}
    text = json.dumps(measured, indent=1, ensure_ascii=False) + "\n"
    (CHECKOUT / f"{name}_baselines.json").write_text(text, encoding="utf-8")
    print(text)
