"""Measure what other codes need for the test data: `python -m tools.baselines cifar10|text8`.

Writes assets/NAME_baselines.json: the command, the data and their split, and the figures, with
standard errors where they are means over examples. Beside them a model's record is judged.
"""

import json
import platform
import sys
from typing import Any

import PIL
import torch

from bfn_core import data
from bfn_core.baselines import images, text
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


LENGTH = 128  # characters in a sequence of the shipped weights


def text8() -> dict[str, Any]:
    """Bits per character of the test part of text8, or of the prefix that is at hand."""
    source = data.text8(stand_in=False)
    sequences = source.test.unfold(0, LENGTH, LENGTH)
    codes: dict[str, Any] = {"uniform": text.uniform(len(source.alphabet))}
    for order, name in enumerate(("unigram", "bigram", "trigram", "4-gram", "5-gram"), 1):
        codes[name] = text.ngram(source.train, sequences, len(source.alphabet), order)
    for name in text.COMPRESSORS:
        codes[f"{name}, test part alone"] = text.compressor(name, source.test)
        codes[f"{name}, after the training part"] = text.compressor(
            name, source.test, source.train
        )
    whole = torch.cat([source.train, source.validation, source.test])
    codes["lzma, the whole text"] = text.compressor("lzma", whole)
    return {
        "data": source.name,
        "split": f"the last 5 % of {len(whole):,} characters; n-grams start anew in each of "
        f"{len(sequences):,} sequences of {LENGTH}",
        "characters": len(source.test),
        "unit": "bits per character",
        "versions": {"python": platform.python_version()},
        "codes": {name: figure(code) for name, code in codes.items()},
    }


def figure(code) -> dict[str, float]:
    """A figure as JSON holds it; a standard error where it is a mean over examples."""
    if isinstance(code, float):
        return {"bits": code}
    return {"bits": code.mean, "standard error": code.standard_error}


MEASURES = {"cifar10": cifar10, "text8": text8}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in MEASURES:
        sys.exit(f"usage: python -m tools.baselines {'|'.join(MEASURES)}")
    sys.stdout.reconfigure(errors="backslashreplace")  # Windows's pipes lack some letters
    name = sys.argv[1]
    measured = {"command": f"python -m tools.baselines {name}", **MEASURES[name]()}
    text = json.dumps(measured, indent=1, ensure_ascii=False) + "\n"
    (CHECKOUT / f"{name}_baselines.json").write_text(text, encoding="utf-8", newline="\n")
    print(text)
