"""Images side by side."""

import math

import torch
from torch import Tensor

from . import style
from .style import COLOURS


def tile(images: Tensor, columns: int) -> Tensor:
    """Images (N, H, W) side by side in rows of `columns`, with a pixel of NaN between them."""
    count, high, wide = images.shape
    missing = -count % columns
    padded = torch.nn.functional.pad(images.float(), (0, 1, 0, 1, 0, missing), value=math.nan)
    rows = padded.reshape(-1, columns, high + 1, wide + 1).transpose(1, 2)
    return rows.reshape(-1, columns * (wide + 1))[:-1, :-1]


def framed(axis, title: str = "", colour: str = COLOURS.text) -> None:
    """Axes for a picture: a faint frame, no ticks."""
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.set_title(title, color=colour, fontsize=10, loc="center")
    for spine in axis.spines.values():
        spine.set(visible=True, color=COLOURS.faint)


def grey(axis, images: Tensor, columns: int, title: str = ""):
    """Images (N, H, W) with values in [−1, 1]; returns the picture, whose data may change."""
    shown = axis.imshow(tile(images, columns).numpy(), cmap="gray", vmin=-1, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
    return shown


def images_figure(images: Tensor, columns: int = 10, size=(9, 2.0), title: str = ""):
    """Images (N, H, W) with values in [−1, 1], in rows of `columns`."""
    figure, axis = style.subplots(size=size)
    grey(axis, images, columns, title)
    return figure
