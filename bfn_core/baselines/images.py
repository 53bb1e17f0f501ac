"""What images cost without a model of their own: codes for a Bayesian Flow Network to beat.

Images are uint8, (N, C, H, W). Every figure is in bits per dimension: bits of an image over C·H·W.
"""

from __future__ import annotations

import io
import math

import torch
from torch import Tensor

from bfn_core.likelihood import Estimate

# What Pillow is asked for: the smallest file that holds every pixel as it is.
FORMATS = {
    "PNG": {"optimize": True},
    "WebP": {"lossless": True, "quality": 100, "method": 6, "exact": True},
}


def uniform(levels: int = 256) -> float:
    """log₂ K: every level equally likely."""
    return math.log2(levels)


def histogram(train: Tensor, test: Tensor, levels: int = 256) -> Estimate:
    """Each colour channel by how often its levels occur in the training images.

    One is added to every count, so that no level is impossible. The standard error is over the
    test images.

    Raises:
        ValueError: images of another form, or of other channels than those trained on.
    """
    _check(train)
    _check(test)
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"test images have {test.shape[1]} channels, but {train.shape[1]} are expected"
        )
    per_image = torch.zeros(len(test), dtype=torch.float64)
    for channel in range(train.shape[1]):
        counts = torch.bincount(train[:, channel].flatten().int(), minlength=levels) + 1.0
        bits = -(counts / counts.sum()).double().log2()
        per_image += bits[test[:, channel].long()].flatten(1).sum(1)
    return Estimate.of(per_image / test[0].numel())


def files(images: Tensor, form: str) -> Estimate:
    """One lossless file per image, as Pillow writes it: form "PNG" or "WebP".

    A file of so few pixels is for a good part header; `sheet` does without.

    Raises:
        ValueError: images of another form, or another word for form.
    """
    _check(images)
    sizes = torch.tensor([float(len(encode(image, form))) for image in images])
    return Estimate.of(8 * sizes / images[0].numel())


def sheet(images: Tensor, form: str, *, binary: bool = False) -> float:
    """All images side by side in one lossless file, so that headers do not count.

    With `binary` they are black and white, 0 and 255, and the file has one bit for a pixel.

    Raises:
        ValueError: images of another form, or another word for form.
    """
    _check(images)
    return 8 * len(encode(arrange(images), form, binary=binary)) / images.numel()


def arrange(images: Tensor) -> Tensor:
    """(N, C, H, W) as one picture, (C, rows · H, columns · W), as square as N without gaps is."""
    rows = max(d for d in range(1, math.isqrt(len(images)) + 1) if len(images) % d == 0)
    cells = images.unflatten(0, (rows, -1))  # (rows, columns, C, H, W)
    return cells.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def encode(image: Tensor, form: str, *, binary: bool = False) -> bytes:
    """An image, (C, H, W) uint8 with 1 or 3 channels, as a lossless file; see `sheet`."""
    from PIL import Image

    if form not in FORMATS:
        raise ValueError(f"form must be one of {', '.join(FORMATS)}, got {form!r}")
    array = image.permute(1, 2, 0).contiguous().numpy()
    content = io.BytesIO()
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    picture = picture.convert("1") if binary else picture
    picture.save(content, form, **FORMATS[form])
    return content.getvalue()


def _check(images: Tensor) -> None:
    good = isinstance(images, Tensor) and images.dtype == torch.uint8 and images.dim() == 4
    if not good or images.shape[1] not in (1, 3) or not len(images):
        found = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else images
        raise ValueError(f"images must be uint8 (N, C, H, W) with C = 1 or 3, got {found}")
