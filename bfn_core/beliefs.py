"""Beliefs θ, and what is done alike to all tensors of a belief, of data and of a condition."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from bfn_core.numerics import at_least_single, softmax

# Which of these it is depends on the flow, so a type checker is told no more.
Data = Any  # a tensor (B, *shape); of mixed data a dict of them
Parameters = Any  # θ: GaussianParameters, CategoricalParameters, or a dict of them
Condition = Any  # a tensor (B, …), a dict of them, or None


@dataclass(frozen=True)
class GaussianParameters:
    """θ of a Gaussian belief: mean (B, *shape), and one precision for all variables, (B,)."""

    mean: Tensor
    precision: Tensor


@dataclass(frozen=True)
class CategoricalParameters:
    """θ of a categorical belief, as normalised log-probabilities, (B, *shape, K).

    Log space because a confident belief overflows e^y and underflows its losers.
    """

    logits: Tensor

    @property
    def probs(self) -> Tensor:
        """Probabilities, (B, *shape, K)."""
        return softmax(self.logits)


def over(change: Callable[[Tensor], Any], value: Any) -> Any:
    """What has the same parts as data, a belief or a condition, each tensor of it changed."""
    if isinstance(value, dict):
        return {name: over(change, part) for name, part in value.items()}
    if is_dataclass(value):
        return type(value)(*(over(change, getattr(value, field.name)) for field in fields(value)))
    return value if value is None else change(value)


def first(value: Any) -> Tensor:
    """One tensor of data, a belief or a condition, for what all share: how many there are."""
    if isinstance(value, dict):
        return first(next(iter(value.values())))
    return getattr(value, fields(value)[0].name) if is_dataclass(value) else value


def cut(value: Any, part: slice | Tensor) -> Any:
    """Some examples' share of a batch of data, beliefs or conditions."""
    return over(lambda tensor: tensor[part], value)


def joined(values: list[Any]) -> Any:
    """Several batches of data, beliefs or conditions of one kind as one batch."""
    if isinstance(values[0], dict):
        return {name: joined([value[name] for value in values]) for name in values[0]}
    if is_dataclass(values[0]):
        parts = ([getattr(value, field.name) for value in values] for field in fields(values[0]))
        return type(values[0])(*(joined(part) for part in parts))
    return torch.cat(values)


def in_precision(value: Any, dtype: torch.dtype) -> Any:
    """Data in a precision; whole numbers, such as classes, stay what they are."""
    return over(lambda part: part.to(dtype) if part.is_floating_point() else part, value)


def told(condition: Any) -> dict[str, Any]:
    """The keyword by which a BFN takes a condition; none where there is none."""
    return {} if condition is None else {"condition": condition}


def per_example(value: float | Tensor, like: Tensor) -> Tensor:
    """A float or (B,) as a tensor that broadcasts against `like`, (B, …), and has its dtype, but at
    least single precision: in 16 bits accuracies overflow and times are too coarse.
    """
    dtype = at_least_single(like.dtype)
    if isinstance(value, (int, float)):  # filled in by the device, which nothing waits for
        value = torch.full((), value, dtype=dtype, device=like.device)
    value = torch.as_tensor(value, dtype=dtype, device=like.device)
    if value.dim() > 1 or (value.dim() == 1 and value.shape[0] not in (1, like.shape[0])):
        raise ValueError(
            f"t, i and alpha must be a number or of shape ({like.shape[0]},), "
            f"got shape {tuple(value.shape)}"
        )
    return value.reshape(-1, *[1] * (like.dim() - 1))
