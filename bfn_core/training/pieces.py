"""Parts of examples, of beliefs and of conditions: tensors, or tensors in dicts and dataclasses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator

from bfn_core.beliefs import first, over

Tree = Any  # examples or conditions: one tensor, or several by name in a dict


def count(tree: Tree) -> int:
    """How many examples there are."""
    return len(first(tree))


def split(tree: Tree, size: int) -> Iterator[slice]:
    """The parts of at most `size` examples each."""
    return (slice(start, start + size) for start in range(0, count(tree), size))


def dropped(condition: Tree, rate: float, generator: Generator) -> Tree:
    """The same with each example's condition taken away with probability `rate`.

    What is taken away is −1 in whole numbers, such as classes, and 0 in all others; of a dict all
    parts go together. A network tells the two apart: `nn.Embedding(classes + 1, width)` reads a
    class by `embedding(condition + 1)`.
    """
    like = first(condition)
    gone = torch.rand(len(like), generator=generator, device=like.device) < rate

    def without(tensor: torch.Tensor) -> torch.Tensor:
        whole = not (tensor.is_floating_point() or tensor.dtype == torch.bool)
        tensor = tensor.long() if whole else tensor  # bytes hold no −1
        where = gone.reshape(-1, *[1] * (tensor.dim() - 1))
        return tensor.masked_fill(where, -1 if whole else 0)

    return over(without, condition)
