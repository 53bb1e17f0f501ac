"""What is asked of numbers, times, message indices and tensors: a bad one is a ValueError."""

import math
import operator
from numbers import Real
from typing import Any

import torch
from torch import Tensor


def within(value: float | Tensor, low: float, high: float) -> bool:
    """Whether every entry of `value` lies in [low, high]; NaN does not."""
    if not isinstance(value, Tensor):
        return low <= value <= high
    if torch.compiler.is_compiling() or value.numel() == 0:
        return True  # a test on values would cut a compiled graph in two
    smallest, largest = torch.aminmax(value.detach())
    if not value.is_floating_point():  # in int8, say, 200 would be −56
        smallest, largest = smallest.long(), largest.long()
    return bool((smallest >= low) & (largest <= high))


def _shown(value: float | Tensor) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    return f"values from {value.min().item():g} to {value.max().item():g}"


def on_accelerator(value: float | Tensor) -> bool:
    """Whether reading a value of this tensor would wait for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def whole(name: str, value: int, least: int = 1) -> int:
    """A whole number of at least `least` as Python's int, from NumPy's integers too.

    Raises:
        ValueError: naming it, for anything else; True and False are no numbers here.
    """
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def real(name: str, value: float, low: float, high: float = math.inf) -> float:
    """A number between `low` and `high`, and neither of them: NumPy's as Python's float, a
    tensor of one number as it is.

    Raises:
        ValueError: naming it, for anything else.
    """
    number = isinstance(value, Real) or (isinstance(value, Tensor) and value.dim() == 0)
    if isinstance(value, bool) or not number or not low < value < high:
        bounds = f"lie between {low:g} and {high:g}"
        bounds = f"be above {low:g} and finite" if high == math.inf else bounds
        raise ValueError(f"{name} must {bounds}, got {value!r}")
    return value if isinstance(value, Tensor) else float(value)


def check_time(t: float | Tensor, wait: bool = False) -> None:
    """Raise ValueError unless every time lies in [0, 1]; on an accelerator only if `wait`."""
    if not isinstance(t, (Real, Tensor)):
        raise ValueError(f"t must be a number or a tensor (B,) in [0, 1], got {type(t)}")
    if (wait or not on_accelerator(t)) and not within(t, 0.0, 1.0):
        raise ValueError(f"t must lie in [0, 1], got {_shown(t)}")


def check_step(i: Any, n: int) -> tuple[Any, int]:
    """i and n, NumPy's integers as Python's.

    Raises:
        ValueError: unless n ≥ 1 and every i in 1…n.
    """
    n = whole("n", n)
    if not isinstance(i, Tensor):
        i = whole("i", i)
    if not on_accelerator(i) and not within(i, 1, n):
        raise ValueError(f"i must lie in 1…{n} for n = {n}, got {_shown(i)}")
    return i, n


def check_shape(name: str, got: torch.Size, expected: tuple[int, ...]) -> None:
    """Raise ValueError, naming it, unless a shape is the expected one."""
    if tuple(got) != tuple(expected):
        raise ValueError(f"{name} must have shape {tuple(expected)}, got {tuple(got)}")


def kind_of(x: object) -> str:
    """What was given, for a message."""
    return f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(type(x))


def check_floating(name: str, x: Tensor, least: int = 1) -> None:
    """Raise ValueError, naming it, unless x is floating and has `least` dimensions or more."""
    if not (isinstance(x, Tensor) and x.is_floating_point() and x.dim() >= least):
        shape = " of shape (B, *shape)" if least else ""
        raise ValueError(f"{name} must be a floating-point tensor{shape}, got {kind_of(x)}")


def check_range(name: str, x: Tensor, low: float, high: float) -> None:
    """Raise ValueError, naming x, unless it lies in [low, high], but for rounding."""
    if not within(x, low - 1e-5, high + 1e-5):
        raise ValueError(
            f"{name} must lie in [{low:g}, {high:g}] without NaN, got values from "
            f"{x.min().item():g} to {x.max().item():g}"
        )
