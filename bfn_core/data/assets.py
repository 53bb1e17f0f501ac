"""What this repository ships beside its code: trained weights, their records, what they drew.

In a checkout it lies in assets/. Where bfn_core was installed without one (in Colab, say), a file
is fetched from the repository when it is first asked for, checked and kept like any data file.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bfn_core.data.files import DataError, RemoteFile, locate

CHECKOUT = Path(__file__).resolve().parents[2] / "assets"
DIGESTS = Path(__file__).with_name("assets.json")  # the SHA-256 of each; tools/record.py writes it


def asset(name: str) -> Path:
    """The path of a shipped file, such as "mnist.safetensors".

    Raises:
        DataError: there is no such file, or it is not at hand and cannot be fetched whole.
    """
    if (path := CHECKOUT / name).is_file():
        return path
    digests = json.loads(DIGESTS.read_text("utf-8"))
    if name not in digests:
        raise DataError(f"no file {name!r} is shipped, only {', '.join(sorted(digests))}")
    file = RemoteFile(name, digests[name], (_home() + name,), newest=True)
    return locate(file, ("assets",), checked=True)


def _home() -> str:
    """Where the repository's assets can be fetched one by one.

    Raises:
        DataError: bfn_core's folder was copied without assets/, so nothing tells where that is.
    """
    try:
        urls = importlib.metadata.metadata("bfn_core").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(f"{CHECKOUT} is not there, and bfn_core is not installed, so where to "
                        "fetch what it ships is not known; install it with pip") from None
    found = dict(url.split(", ", 1) for url in urls)
    repository = found.get("Repository", "").rstrip("/")
    return repository.replace("//github.com/", "//raw.githubusercontent.com/") + "/main/assets/"


def record(name: str) -> dict[str, Any]:
    """What was measured when the weights `name` ("mnist", "mnist_conditional", "mnist_enlarge",
    "cifar10", "text8", "text8_chain", "text8_guess") were trained; or those that shipped before
    them ("mnist_patch", "mnist_adamw", "mnist_muon", "cifar10_first", "cifar10_patch",
    "cifar10_adamw", "cifar10_muon", "text8_first").

    Among others: "command", "settings", "device", "parameters", "curve" (a list of step and nats),
    "validation", and "evaluation" with the test figures for each n.
    """
    return json.loads(asset(f"{name}.json").read_text(encoding="utf-8"))


def drawn_digits() -> Tensor:
    """64 binary digits that the shipped MNIST weights drew, (64, 1, 28, 28) int64 of 0 and 1.

    They are at hand without a download, where MNIST itself is not.
    """
    from PIL import Image

    sheet = torch.from_numpy(np.array(Image.open(asset("mnist.png"))))  # 8 × 8, with a gap of 2
    digits = sheet.reshape(8, 30, 8, 30)[:, :28, :, :28].transpose(1, 2)
    return (digits.reshape(64, 1, 28, 28) > 127).long()
