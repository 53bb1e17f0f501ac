"""Parts of examples, of beliefs and of conditions: tensors, or tensors in dicts and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor

Tree = Tensor | dict[str, Tensor]  # examples or conditions: one tensor, or several by name


def mapped(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same with every tensor in it changed; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: mapped(change, part) for name, part in tree.items()}
    if dataclasses.is_dataclass(tree):
        fields = (field.name for field in dataclasses.fields(tree))
        return type(tree)(*(mapped(change, getattr(tree, name)) for name in fields))
    return change(tree)


def cut(tree: Any, part: slice | Tensor) -> Any:
    """Some examples' share of a batch of data, conditions or input parameters."""
    return mapped(lambda tensor: tensor[part], tree)


def count(tree: Tree) -> int:
    """How many examples there are."""
    return len(next(iter(tree.values())) if isinstance(tree, dict) else tree)


def split(tree: Tree, size: int) -> Iterator[slice]:
    """The parts of at most `size` examples each."""
    return (slice(start, start + size) for start in range(0, count(tree), size))


def dropped(condition: Tree, rate: float, generator: Generator) -> Tree:
    """The same with each example's condition taken away with probability `rate`.

    What is taken away is −1 in whole numbers, such as classes, and 0 in all others; of a dict all
    parts go together. A network tells the two apart: `nn.Embedding(classes + 1, width)` reads a
    class by `embedding(condition + 1)`.
    """
    first = next(iter(condition.values())) if isinstance(condition, dict) else condition
    gone = torch.rand(len(first), generator=generator, device=first.device) < rate

    def without(tensor: Tensor) -> Tensor:
        whole = not (tensor.is_floating_point() or tensor.dtype == torch.bool)
        tensor = tensor.long() if whole else tensor  # bytes hold no −1
        where = gone.reshape(-1, *[1] * (tensor.dim() - 1))
        return tensor.masked_fill(where, -1 if whole else 0)

    return mapped(without, condition)


def with_condition(condition: Tree | None) -> dict[str, Tree]:
    """The keyword by which a BFN takes a condition; none where there is none."""
    return {} if condition is None else {"condition": condition}
