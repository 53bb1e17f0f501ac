"""`python -m bfn_core.compression pack|unpack MODEL FILE`: files of messages."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor

from bfn_core import BFN
from bfn_core.checks import whole
from bfn_core.compression import Packed, compress, decompress, files
from bfn_core.data.files import DataError, write_whole
from bfn_core.training import load, shipped
from bfn_core.training.progress import speak_plainly
from bfn_core.training.tasks import TrainingError

ENDING = ".bfn"
SHIPPED = ("mnist", "cifar10", "text8")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bfn_core.compression",
        description="Pack images or text into a file by a model's own code, or unpack such a file.",
    )
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument(
        "model", metavar="MODEL",
        help=f"a run's folder, a .safetensors file, or shipped weights: {', '.join(SHIPPED)}",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE",
        help="an array of images (.npy), a folder of PNG files or a text; or what was packed",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to; never overwritten")
    parser.add_argument("--n", type=int, default=25, metavar="N", help="messages (25)")
    parser.add_argument(
        "--lanes", type=int, default=8, metavar="N",
        help="examples at once (8): more is faster, and adds to the file",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bits lent")
    parser.add_argument(
        "--length", type=int, default=files.TEXT_LENGTH, metavar="N",
        help=f"characters in a sequence of a text ({files.TEXT_LENGTH})",
    )
    return parser.parse_args(words)


def model(name: str) -> BFN:
    """The model that is named on the command line."""
    return shipped(name) if name in SHIPPED and not Path(name).exists() else load(name)


def pack(options: argparse.Namespace) -> str:
    """Write a packed file; a sentence on it."""
    target = options.out or options.file.with_name(options.file.name + ENDING)
    absent(target)
    bfn = model(options.model)
    x, form = files.read(options.file, bfn.flow, whole("length", options.length))
    x = fitted(bfn, x)
    packed = compress(bfn, x, options.n, lanes=options.lanes, seed=options.seed)
    content = dataclasses.replace(packed, form=form).to_bytes()
    write_whole(target, content)
    return (
        f"{packed.count:,} examples in {len(content):,} bytes, {target}: {packed.net_bits / 8:,.0f}"
        f" for the data, {packed.seed_bits / 8:,.0f} lent and given back"
    )


def fitted(bfn: BFN, x: Tensor) -> Tensor:
    """Data as the network takes them: (N, H, W) as one channel, where it asks for channels.

    Raises:
        DataError: it takes examples of another shape.
    """
    for tried in (x.unsqueeze(1), x) if x.dim() == 3 else (x,):
        with contextlib.suppress(RuntimeError, ValueError), torch.no_grad():
            bfn.output(bfn.flow.prior((1, *tried.shape[1:])), 0.0)
            return tried
    raise DataError(f"the model does not take examples of shape {tuple(x.shape[1:])}")


def unpack(options: argparse.Namespace) -> str:
    """Write what was packed; a sentence on it."""
    name = options.file.name.removesuffix(ENDING)
    target = options.out or options.file.with_name(name)
    absent(target)
    try:
        packed = Packed.from_bytes(options.file.read_bytes())
    except ValueError as error:
        raise DataError(f"{options.file}: {error}") from None
    bfn = model(options.model)
    files.write(target, decompress(bfn, packed), bfn.flow, packed.form)
    return f"{packed.count:,} examples, {target}"


def absent(path: Path) -> None:
    """Raise DataError if something is there."""
    if path.exists():
        raise DataError(f"{path} exists already, and is left as it is: --out names another")


def main(words: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    speak_plainly()
    options = arguments(words)
    try:
        print(pack(options) if options.action == "pack" else unpack(options))
    except (DataError, TrainingError, ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
