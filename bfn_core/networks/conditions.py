"""What a network may be told beside the belief: a class of the whole, or numbers at each place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bfn_core.checks import on_accelerator, whole, within


def coarse_hints(x: Tensor, size: int) -> Tensor:
    """What a coarse picture says of every pixel: the mean of its block, as a network's hints.

    Args:
        x: images (B, C, H, W); floats in [−1, 1], or int64 classes 0 and 1, whose mean m is told
            as 2 m − 1.
        size: pixels along the edge of a block.

    Returns:
        (B, C, H, W) floats in [−1, 1], the same within each block.

    Raises:
        ValueError: blocks of that size do not tile the images.
    """
    size = whole("size", size)
    height, width = x.shape[-2:]
    if x.dim() != 4 or height % size or width % size:
        raise ValueError(f"x must be (B, C, H, W) with H and W multiples of size = {size}, got "
                         f"shape {tuple(x.shape)}")
    x = x if x.is_floating_point() else 2.0 * x - 1
    return F.interpolate(F.avg_pool2d(x, size), scale_factor=size, mode="nearest")


class Conditions(nn.Module):
    """Reads a condition: `conditions(condition, like)` gives an embedding and hints.

    A condition is the label, int64 (B,), or the hints, of the shape of `like` but for its own
    number of channels; or a dict of both, {"label": …, "hints": …}. A label of −1 is unknown, and
    so are all labels where there is no condition; hints that are not given are zeros. To train a
    network that does with a condition and without, leave it out of some examples that way.

    Args:
        labels: classes of the label; 0 where there is none.
        hints: channels of the hints; 0 where there are none.
        width: of the label's embedding.

    Raises:
        ValueError: a condition of another kind, or a label outside −1…labels − 1 (on a CPU).
    """

    def __init__(self, labels: int, hints: int, width: int) -> None:
        super().__init__()
        self.labels, self.hints = labels, hints
        self.label = nn.Embedding(labels + 1, width) if labels else None  # the last: unknown
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)

    def forward(
        self, condition: Tensor | dict[str, Tensor] | None, like: Tensor, channels: int
    ) -> tuple[Tensor | float, Tensor | None]:
        """The label's embedding (B, width), or 0; and hints like `like`, its dimension `channels`
        of size `hints`, or None.
        """
        if isinstance(condition, Tensor):
            condition = {"hints" if condition.is_floating_point() else "label": condition}
        told = condition or {}
        known = {"label": self.labels, "hints": self.hints}
        if wrong := [name for name in told if not known.get(name)]:
            raise ValueError(
                f"condition holds {wrong}, but this network has labels={self.labels} and "
                f"hints={self.hints}"
            )
        return self._embedded(told.get("label"), like), self._hinted(told, like, channels)

    def _embedded(self, label: Tensor | None, like: Tensor) -> Tensor | float:
        if self.label is None:
            return 0.0
        if label is None:
            label = torch.full((len(like),), -1, device=like.device)
        if label.shape != like.shape[:1] or label.dtype != torch.int64:
            raise ValueError(
                f"the label must be int64 of shape ({len(like)},), got {label.dtype} of shape "
                f"{tuple(label.shape)}"
            )
        if not on_accelerator(label) and not within(label, -1, self.labels - 1):
            raise ValueError(
                f"the label must lie in −1…{self.labels - 1}, where −1 is unknown, got values from "
                f"{label.min()} to {label.max()}"
            )
        return self.label(torch.where(label < 0, self.labels, label))

    def _hinted(self, told: dict[str, Tensor], like: Tensor, channels: int) -> Tensor | None:
        if not self.hints:
            return None
        shape = list(like.shape)
        shape[channels] = self.hints
        hints = told.get("hints")
        hints = like.new_zeros(shape) if hints is None else hints.to(like.dtype)
        if list(hints.shape) != shape:
            raise ValueError(f"the hints must have shape {tuple(shape)}, got {tuple(hints.shape)}")
        return hints
