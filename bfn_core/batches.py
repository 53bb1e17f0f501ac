"""Data in batches, however they came."""

from collections.abc import Iterable, Iterator

from torch import Tensor

from bfn_core.beliefs import Condition, Data, cut, first, over


def batches_of(
    data: Data | Iterable[Tensor], condition: Condition, size: int
) -> Iterator[tuple[Data, Condition]]:
    """Batches of the data, each with its part of the condition.

    Args:
        data: (N, *shape), for mixed data a dict; or an iterable of batches of it, as `elbo` says.
        condition: (N, …) or a dict, cut along; None with an iterable.
        size: examples at a time, where data are one tensor or a dict.

    Raises:
        ValueError: data of another kind or of several shapes, or conditions that are not as many.
    """
    if not isinstance(data, (Tensor, dict)):
        if condition is not None:
            raise ValueError("condition needs data that are one tensor, or a dict, not batches")
        return ((batch, None) for batch in _batches(data))
    count = len(first(data))
    check_condition(condition, count)
    parts = (slice(start, start + size) for start in range(0, count, size))
    return ((cut(data, part), cut(condition, part)) for part in parts)


def check_condition(condition: Condition, count: int) -> None:
    """Raise ValueError unless each tensor of a condition has a row for each of `count` examples."""

    def check(part: Tensor) -> None:
        if len(part) != count:
            raise ValueError(f"condition must hold as much as the data, {count}, got {len(part)}")

    over(check, condition)


def _batches(data: Iterable[Tensor]) -> Iterator[Tensor]:
    """The batches of an iterable, those in a list or tuple of one taken out of it."""
    expected = "data must be a tensor (N, *shape), or an iterable of such tensors"
    if not isinstance(data, Iterable) or hasattr(data, "__array__"):
        raise ValueError(f"{expected}, got {type(data)}; torch.as_tensor makes one of an array")
    shape = None
    for batch in data:
        if isinstance(batch, (list, tuple)) and len(batch) == 1:
            (batch,) = batch
        if not isinstance(batch, Tensor):
            held = f"{type(batch)} in it; of a loader's (x, y) give x: (x for x, y in loader)"
            raise ValueError(f"{expected}, got {held}")
        other = tuple(batch.shape[1:])
        shape = other if shape is None else shape
        if other != shape:
            raise ValueError(f"data must hold examples of one shape, got {shape} and {other}")
        yield batch
