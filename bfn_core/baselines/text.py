"""Codes for text that know nothing of Bayesian Flow Networks, in bits per character.

Texts are classes, (N,) or (sequences, length), uint8, as `data.text8()` holds them.
"""

from __future__ import annotations

import bz2
import lzma
import math

import torch
from torch import Tensor

from bfn_core.checks import real, whole
from bfn_core.data.text import check_classes
from bfn_core.likelihood import Estimate

COMPRESSORS = ("bz2", "lzma")


def uniform(classes: int) -> float:
    """log₂ K: every symbol equally likely."""
    return math.log2(classes)


def ngram(train: Tensor, test: Tensor, classes: int, order: int, weight: float = 2.0) -> Estimate:
    """A character from the order − 1 before it: order 1 is a unigram, 3 a trigram.

    A probability is counted in the training text and leans on the next shorter context, as if that
    had been seen `weight` times: p(c | h) = (count(hc) + weight · p(c | h')) / (count(h) + weight).
    At the start of each sequence the contexts are as short as they must be.

    Args:
        train: (N,).
        test: (sequences, length); the standard error is over sequences.
        classes: K; K to the power of order must fit into memory.
        order: at least 1.

    Raises:
        ValueError: no training text, no test sequences, texts of anything but the classes 0…K − 1,
            an order below 1, or a weight that is not above 0.
    """
    order, weight = whole("order", order), real("weight", weight, 0.0)
    for name, text in (("train", train), ("test", test)):
        check_classes(name, text, whole("classes", classes))
    if train.dim() != 1 or test.dim() != 2 or min(len(train), test.numel()) < 1:
        raise ValueError(
            f"train (N,) and test (sequences, length) must not be empty, got {tuple(train.shape)} "
            f"and {tuple(test.shape)}"
        )
    cost = torch.zeros(test.shape, dtype=torch.float64)
    for size, probs in enumerate(contexts(train, classes, order, weight), 1):
        if test.shape[1] >= size:
            # A later, longer context overwrites the shorter one, where it exists.
            cost[:, size - 1 :] = -probs.flatten()[_codes(test, size, classes)].log2()
    return Estimate.of(cost.mean(1))


def contexts(train: Tensor, classes: int, order: int, weight: float) -> list[Tensor]:
    """The tables that `ngram` counts, for contexts of 0 to order − 1 characters: (K,), (K, K), …,
    float64, the character itself last.
    """
    tables = []
    for size in range(1, order + 1):
        count = torch.bincount(_codes(train, size, classes), minlength=classes**size).double()
        count = count.reshape((classes,) * size)
        shorter = tables[-1] if tables else torch.full((classes,), 1.0 / classes).double()
        seen = count.sum(-1, keepdim=True)
        tables.append((count + weight * shorter) / (seen + weight))
    return tables


def _codes(text: Tensor, size: int, classes: int) -> Tensor:
    """Each run of `size` symbols as one number in 0…K^size − 1, the last symbol the last digit."""
    count = text.shape[-1] - size + 1
    codes = torch.zeros((*text.shape[:-1], max(0, count)), dtype=torch.int64)
    for place in range(size if count > 0 else 0):
        codes = codes * classes + text[..., place : place + count].long()
    return codes


def compressor(name: str, test: Tensor, before: Tensor | None = None) -> float:
    """What bz2 or lzma needs for the test text at its highest setting, headers counted.

    Args:
        before: a text that the compressor has packed already, so that only what the test text
            adds is counted: the compressor learns from the same text as the others.

    Raises:
        ValueError: for another name, an empty text, or one of other numbers than bytes.
    """
    check_classes("test", test, 256)
    if before is not None:
        check_classes("before", before, 256)
    if name not in COMPRESSORS or not test.numel():
        raise ValueError(f"name must be one of {COMPRESSORS}, and test not empty, got {name!r}")

    best = 9 | lzma.PRESET_EXTREME

    def size(text: Tensor) -> int:
        raw = text.to(torch.uint8).numpy().tobytes()  # one byte per character, however it is held
        return 8 * len(bz2.compress(raw, 9) if name == "bz2" else lzma.compress(raw, preset=best))

    test = test.flatten()
    if before is None:
        return size(test) / test.numel()
    return (size(torch.cat([before, test])) - size(before)) / test.numel()

