"""Languages so small that all their strings can be listed: the truth about them is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from bfn_core.data.text import check_classes
from bfn_core.likelihood import Estimate


@dataclass(frozen=True)
class Strings:
    """Strings of one length, all equally likely.

    Attributes:
        words: the strings, without repetition.
        alphabet: their symbols; a symbol's place in it is its class.

    Raises:
        ValueError: no words, words of several lengths or twice, or a symbol outside the alphabet.
    """

    words: tuple[str, ...]
    alphabet: str

    def __post_init__(self) -> None:
        if not self.words or len({len(word) for word in self.words}) != 1:
            raise ValueError("words must be at least one string, all of the same length")
        if len(set(self.words)) != len(self.words):
            raise ValueError("words must hold each string once")
        self.encode(self.words)

    @property
    def classes(self) -> int:
        """K, the size of the alphabet."""
        return len(self.alphabet)

    @property
    def length(self) -> int:
        """L, symbols in a string."""
        return len(self.words[0])

    @property
    def entropy(self) -> float:
        """ln N, in nats per string: what the best possible code pays."""
        return math.log(len(self.words))

    @cached_property
    def data(self) -> Tensor:
        """All strings as classes, (N, L) int64."""
        return self.encode(self.words)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Classes, (B, L) int64.

        Raises:
            ValueError: on a symbol outside the alphabet.
        """
        strange = sorted(set("".join(texts)) - set(self.alphabet))
        if strange:
            raise ValueError(f"{strange[0]!r} is not in the alphabet {self.alphabet!r}")
        return torch.tensor([[self.alphabet.index(symbol) for symbol in text] for text in texts])

    def decode(self, x: Tensor) -> list[str]:
        """The strings of classes (B, L).

        Raises:
            ValueError: for what is no class.
        """
        check_classes("x", x, self.classes)
        return ["".join(self.alphabet[k] for k in row) for row in x.tolist()]

    def draw(self, count: int, generator: Generator | None = None) -> Tensor:
        """`count` strings drawn with equal probability, (count, L)."""
        return self.data[torch.randint(len(self.words), (count,), generator=generator)]

    def valid(self, x: Tensor) -> Tensor:
        """Which of the strings (B, L) belong to the language, (B,) bool."""
        known = set(self.words)
        return torch.tensor([word in known for word in self.decode(x)], dtype=torch.bool)

    def share(self, x: Tensor) -> Estimate:
        """The share of valid strings among (B, L), with its standard error."""
        return Estimate.of(self.valid(x))

    def marginal_entropies(self) -> Tensor:
        """Entropy of each position on its own, (L,), in nats."""
        counts = torch.nn.functional.one_hot(self.data, self.classes).double().mean(0)  # (L, K)
        return torch.special.entr(counts).sum(-1)


def sums(digits: int = 1) -> Strings:
    """All sums of two numbers of so many digits, with leading zeros.

    One digit gives 100 strings from "0+0=00" to "9+9=18", two digits give 10,000 from
    "00+00=000" to "99+99=198".

    Raises:
        ValueError: digits is not 1 or 2.
    """
    if digits not in (1, 2):
        raise ValueError(f"digits must be 1 or 2, got {digits!r}")
    numbers = range(10**digits)
    words = (f"{a:0{digits}}+{b:0{digits}}={a + b:0{digits + 1}}" for a in numbers for b in numbers)
    return Strings(tuple(words), "0123456789+=")


def palindromes(letters: str = "abcdef", half: int = 4) -> Strings:
    """All palindromes of 2 · half letters, such as "abbaabba"; 1,296 by default.

    Each letter is settled by one other, its mirror image, and by nothing else.

    Raises:
        ValueError: half is below 1.
    """
    if half < 1:
        raise ValueError(f"half must be at least 1, got {half!r}")
    halves = itertools.product(letters, repeat=half)
    return Strings(tuple("".join((*word, *word[::-1])) for word in halves), letters)
