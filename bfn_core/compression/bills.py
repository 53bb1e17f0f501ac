"""What packed data weigh: net bits of real files, and beside them what other codes need."""

import bz2
import lzma
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from bfn_core import data
from bfn_core.beliefs import Data
from bfn_core.compression.codec import compress, decompress
from bfn_core.compression.packed import Packed
from bfn_core.model import BFN

GENERAL = {
    "as it is": len,
    "zlib": lambda raw: len(zlib.compress(raw, 9)),
    "bz2": lambda raw: len(bz2.compress(raw, 9)),
    "lzma": lambda raw: len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
}  # bytes that other codes need for some bytes


@dataclass(frozen=True)
class Posted:
    """A text that was packed, and unpacked again.

    Attributes:
        text: in the network's symbols.
        filled: spaces behind it, up to whole rows of the network's length.
        packed: the file of messages.
        others: bytes that other codes need for the text, by name.
    """

    text: str
    filled: int
    packed: Packed
    others: dict[str, int]


def posted(bfn: BFN, text: str, n: int = 10, rows: int = 4) -> Posted:
    """Pack a text of any letters, as text8's 27 symbols, in n messages for each row.

    Raises:
        ValueError: nothing is left of it, or it needs more than so many rows.
    """
    text, length = data.normalise(text), bfn.network.length
    count = -(-len(text) // length)
    if not 1 <= count <= rows:
        raise ValueError(f"text must have 1 to {rows * length} letters, got {len(text)}")
    x = data.encode(text.ljust(count * length)).long().reshape(count, length)
    packed = compress(bfn, x, n)
    assert torch.equal(decompress(bfn, packed), x)
    others = {name: code(text.encode()) for name, code in GENERAL.items()}
    return Posted(text, x.numel() - len(text), packed, others)


def perfect_bills(
    bfn: BFN, x: Data, ns: Iterable[int], *, parts: int = 10, lanes: int = 100
) -> dict[int, tuple[float, float]]:
    """Net bits per example of real files, by n: the mean of some equal parts of the data, and its
    standard error.

    Args:
        bfn: the model.
        x: data, (N, *shape); what is left over by equal parts is not packed.
        ns: numbers of messages.
        parts: equal parts of x, each a file of its own, with the number of the part as its seed.
        lanes: examples that are coded at once.

    Raises:
        ValueError: see `compress`.
        ImportError: constriction is not installed.
    """
    found = {}
    for n in ns:
        size = len(x) // parts
        net = torch.tensor([
            compress(bfn, x[k * size : (k + 1) * size], n, lanes=lanes, seed=k).net_bits / size
            for k in range(parts)
        ], dtype=torch.float64)
        found[n] = float(net.mean()), float(net.std()) / math.sqrt(parts)
    return found
