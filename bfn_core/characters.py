"""Text character by character: read, written, or with holes, in text8's 27 symbols."""

import math
import re
from dataclasses import dataclass

import torch

from bfn_core.data.text import ALPHABET, encode, normalise
from bfn_core.model import BFN, SamplingStep
from bfn_core.step_by_step import Telling, tell, watch


def bits_per_character(nats: float, length: int) -> float:
    """Nats per sequence as bits per character."""
    return nats / (length * math.log(2))


def read(bfn: BFN, text: str, n_steps: int = 40, seed: int = 1) -> Telling:
    """Send one text, of L characters, in n messages, and ask the network after each."""
    generator = torch.Generator().manual_seed(seed)
    return tell(bfn, encode(text).long(), n_steps, generator=generator)


# Text as it forms


VOWELS = torch.tensor([ALPHABET.index(c) for c in "aeiou"])


def _neighbour(x, by):
    """Whether the next letter (by = 1) or the one before (by = −1) is a space; none at the ends."""
    space = torch.zeros_like(x, dtype=torch.bool)
    if by > 0:
        space[:, :-1] = x[:, 1:] == 0
    else:
        space[:, 1:] = x[:, :-1] == 0
    return space


def _inner(x):
    return (x != 0) & ~_neighbour(x, -1) & ~_neighbour(x, 1)


KINDS = {  # from a name to a function: x, (B, L), to which letters are of that kind
    "spaces": lambda x: x == 0,
    "first letters of words": lambda x: (x != 0) & _neighbour(x, -1),
    "last letters of words": lambda x: (x != 0) & ~_neighbour(x, -1) & _neighbour(x, 1),
    "vowels inside words": lambda x: _inner(x) & torch.isin(x, VOWELS),
    "consonants inside words": lambda x: _inner(x) & ~torch.isin(x, VOWELS),
}


def settled(guesses: torch.Tensor) -> torch.Tensor:
    """After how many messages a letter is settled: from then on it is the likeliest, to the end.

    Args:
        guesses: the likeliest letters after 0…n messages, (B, n + 1, L).

    Returns:
        (B, L) in 0…n.
    """
    steps = torch.arange(1, guesses.shape[1] + 1).reshape(-1, 1)
    return ((guesses != guesses[:, -1:]) * steps).amax(1)


@dataclass(frozen=True)
class Writing:
    """One batch of samples on its way: likeliest letters and their probabilities, (B, n + 1, L)."""

    guesses: torch.Tensor
    probs: torch.Tensor


def write(bfn: BFN, count: int, n_steps: int, seed: int) -> Writing:
    """Draw `count` samples, and keep what the network guessed on the way."""
    def likeliest(step: SamplingStep):
        return step.output.probs.max(-1)

    generator, shape = torch.Generator().manual_seed(seed), (count, bfn.network.length)
    (probs, guesses), _ = watch(bfn, shape, n_steps, likeliest, generator=generator)
    return Writing(guesses.transpose(0, 1), probs.transpose(0, 1))


# Gaps


@dataclass(frozen=True)
class Gap:
    """A sentence with holes, in the middle of a window that the network can read.

    Attributes:
        x: (L,), a space where nothing is known.
        known: (L,) bool; what lies around the sentence is not known either.
        start, size: where the sentence is.
    """

    x: torch.Tensor
    known: torch.Tensor
    start: int
    size: int

    @property
    def holes(self):
        """The positions of the holes, (H,)."""
        inside = torch.arange(self.start, self.start + self.size)
        return inside[~self.known[inside]]


def gap(sentence: str, length: int) -> Gap:
    """Read a sentence in which each `_` is a missing character; all else becomes text8's symbols.

    Raises:
        ValueError: nothing is missing, nothing is known, or it is too long.
    """
    parts = re.split("(_+)", sentence)
    plain = "".join(part if part.startswith("_") else _plain(part) for part in parts).strip()
    if "_" not in plain or not plain.strip("_ "):
        raise ValueError("the sentence needs letters, and a _ for each character that is missing")
    if len(plain) > length:
        raise ValueError(f"the sentence has {len(plain)} characters, and {length} is the most")
    start = (length - len(plain)) // 2
    x = torch.zeros(length, dtype=torch.int64)
    known = torch.zeros(length, dtype=torch.bool)
    inside = slice(start, start + len(plain))
    x[inside] = encode(plain.replace("_", " ")).long()
    known[inside] = torch.tensor([c != "_" for c in plain])
    return Gap(x, known, start, len(plain))


def _plain(part):
    """A piece between holes in text8's symbols, its spaces at the ends kept."""
    inside = normalise(part)
    left = " " if part and not part[0].isalnum() else ""
    right = " " if inside and not part[-1].isalnum() else ""
    return left + inside + right
