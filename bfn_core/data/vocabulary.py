"""Is it spelled right? Words of a text against a list of English words."""

from __future__ import annotations

import lzma
from collections.abc import Collection, Iterable
from functools import cache

import torch

from bfn_core.data.assets import asset
from bfn_core.likelihood import Estimate


@cache
def words() -> frozenset[str]:
    """English words in text8's 27 symbols: Debian's word list wamerican, which is part of SCOWL.

    `python -m tools.text8 words` made the list.

    Raises:
        DataError: it is not at hand.
    """
    return frozenset(lzma.decompress(asset("words.txt.xz").read_bytes()).decode().split())


def whole_words(text: str) -> list[str]:
    """The words of a piece of text that are not cut by its ends."""
    return [word for word in text.split(" ")[1:-1] if word]


def spelling(texts: Iterable[str], known: Collection[str]) -> Estimate:
    """The share of letters that stand in a listed word, among the letters of whole words.

    Letters are counted, not words, because nearly every short string is somebody's word.
    The standard error is over texts, whose words depend on each other: of the ratio of right
    letters to letters, by the usual linear approximation. Count is the number of texts.

    Raises:
        ValueError: there is not one whole word.
    """
    found = [whole_words(text) for text in texts]
    right = [sum(len(word) for word in row if word in known) for row in found]
    total = [sum(map(len, row)) for row in found]
    right, total = torch.tensor([right, total], dtype=torch.float64).reshape(2, -1)
    if not total.sum() > 0:
        raise ValueError("texts must hold at least one word that is not cut by their ends")
    share = right.sum() / total.sum()
    spread = (right - share * total) / total.mean()
    return Estimate(float(share), Estimate.of(spread).standard_error, len(total))
