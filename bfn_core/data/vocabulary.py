"""Is it spelled right? Words of a text against the words that text8 uses."""

from __future__ import annotations

import lzma
from collections.abc import Collection, Iterable
from functools import cache

import torch

from bfn_core.data.assets import asset
from bfn_core.likelihood import Estimate


@cache
def words() -> frozenset[str]:
    """The words that occur at least five times in the training part of text8's beginning.

    `python -m tools.text8 words` made the list. Raises DataError if it is not at hand.
    """
    return frozenset(lzma.decompress(asset("text8_words.txt.xz").read_bytes()).decode().split())


def whole_words(text: str) -> list[str]:
    """The words of a piece of text that are not cut by its ends."""
    return [word for word in text.split(" ")[1:-1] if word]


def spelling(texts: Iterable[str], known: Collection[str]) -> Estimate:
    """The share of whole words that are in the list.

    The standard error is over texts, whose words depend on each other: of the ratio of right words
    to words, by the usual linear approximation. Count is the number of texts.

    Raises ValueError if there is not one whole word.
    """
    pairs = [(sum(w in known for w in found), len(found)) for found in map(whole_words, texts)]
    right, total = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).unbind(1)
    if not total.sum() > 0:
        raise ValueError("texts must hold at least one word that is not cut by their ends")
    share = right.sum() / total.sum()
    spread = (right - share * total) / total.mean()
    return Estimate(float(share), Estimate.of(spread).standard_error, len(total))
