"""A folder of photos or drawings of any size, as the images of one size that a model takes."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bfn_core.checks import whole
from bfn_core.data.files import DataError
from bfn_core.data.images import quantise
from bfn_core.flows import BayesianFlow, DiscreteFlow, DiscretisedFlow

# What Pillow knows by name only, or leaves to another program: data, films, drawings.
UNREAD = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
MODES = ("colour", "grey", "binary")
FITS = ("crop", "pad")
# Pillow's names of what has 8 bits for each pixel and colour.
PLAIN, TRANSPARENT = ("1", "L", "P", "RGB", "CMYK", "YCbCr"), ("LA", "PA", "RGBA")


@dataclass(frozen=True)
class Pictures:
    """Images of one size, as bytes, with the names of their files."""

    pixels: Tensor  # (N, C, H, W), uint8; C is 3 for colour, else 1
    mode: str  # "colour", "grey" or "binary"
    files: tuple[str, ...]  # names, in the order of `pixels`
    skipped: dict[str, str]  # names of what else lies there, and why it is no picture here
    notice: str  # what was read, and what was done to it

    def __len__(self) -> int:
        return len(self.files)

    def __str__(self) -> str:
        return self.notice

    @property
    def x(self) -> Tensor:
        """As the flow takes them: bin centres in (−1, 1); of binary ones 0 and 1, int64."""
        return (self.pixels >= 128).long() if self.mode == "binary" else quantise(self.pixels)

    def flow(self) -> BayesianFlow:
        """The paper's for such data: β(1) = 9 for two classes, σ₁ = 0.001 for 256 bins."""
        return DiscreteFlow(2, 9.0) if self.mode == "binary" else DiscretisedFlow(256, 1e-3)

    @property
    def unet(self) -> dict[str, Any]:
        """Arguments by which a `networks.unet.UNet` reads and writes such images."""
        if self.mode == "binary":
            return {"classes": 2}
        return {"outputs": 2, "image_channels": self.pixels.shape[1], "fourier": 2,
                "differences": 1e-3}

    @property
    def settings(self) -> dict[str, Any]:
        """What `training.own_settings` should say for such images, beside steps and batch."""
        return {} if self.mode == "binary" else {"width_weight": 1.0}

    def bytes_of(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) as `x` has them, such as samples, as bytes 0…255."""
        return (255 * x if self.mode == "binary" else ((x + 1) * 128).floor().clamp(0, 255)).to(
            torch.uint8
        )


def pictures(
    path: str | Path, size: int | Sequence[int] | None = 32, mode: str = "colour", *,
    fit: str = "crop", background: str | None = None, skip_broken: bool = False,
) -> Pictures:
    """All images in a folder that Pillow can read, in the order of their names, at one size.

    What lies in folders within it is left out, and so are files of other kinds and hidden ones;
    `skipped` and `notice` say which. Photos are turned as their camera says. Of animated images the
    first one is taken.

    Args:
        path: of the folder.
        size: height and width, one number for both; None leaves images as large as they are, and
            all must be of one size. Multiples of 4 suit a `UNet` of up to three levels.
        mode: "colour"; "grey"; or "binary", where a pixel is white from 128 of 255 on.
        fit: "crop" makes the shorter side fit and cuts off, evenly, what is too much of the
            longer; "pad" makes the longer side fit, and fills up with black.
        background: the colour to lay transparent images on, such as "white".
        skip_broken: pass over damaged files instead of raising.

    Raises:
        DataError: naming the file: there is no image, or one is damaged, is transparent with no
            background given, has 16 bits to a pixel, or is of another size where that matters.
        ValueError: an argument out of its range.
    """
    from PIL import Image

    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    sides = None if size is None else _sides(size)
    folder = Path(path)
    if os.path.isfile(folder):  # which does not mind a folder that may not be entered
        raise DataError(f"{path} is a file, and the folder that it lies in is expected: "
                        f"{folder.parent}")
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path} cannot be read as a folder ({error.strerror})") from None
    Image.init()
    known = {ending for ending, form in Image.EXTENSION.items()
             if form in Image.OPEN and form not in UNREAD}
    arrays, files, skipped, changed = [], [], {}, 0
    for entry in entries:
        if entry.is_dir():
            skipped[entry.name] = "a folder"
        elif entry.suffix.lower() not in known:
            skipped[entry.name] = f"{entry.suffix or 'no ending'}, which Pillow does not read"
        else:
            try:
                array, other = _read(entry, sides, mode, fit, background)
            except _Broken as error:
                if not skip_broken:
                    raise DataError(f"{error}; delete it, or pass over such files with "
                                    "skip_broken=True") from None
                skipped[entry.name] = "damaged"
                continue
            arrays.append(array)
            files.append(entry.name)
            changed += other
    if not arrays:
        raise DataError(_nothing(path, skipped))
    for name, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{folder / name} is {_size(array)} pixels high and wide, but {files[0]} is "
                f"{_size(arrays[0])}: give size=32, say, and all are brought to one size"
            )
    pixels = torch.from_numpy(np.stack(arrays))
    pixels = pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels.unsqueeze(1)
    notice = f"{len(files):,} images of {folder.name}, {_size(arrays[0])} pixels, {mode}"
    if changed:
        how = "cut at the edges" if fit == "crop" else "padded with black"
        notice += f"; {changed:,} were scaled, and {how} where the form was another"
    if skipped:
        notice += f"; passed over: {_some([f'{name} ({why})' for name, why in skipped.items()])}"
    return Pictures(pixels.contiguous(), mode, tuple(files), skipped, notice + ".")


def _sides(size: Any) -> tuple[int, int]:
    """Height and width."""
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size must be a number of pixels or (height, width), got {size!r}")
    height, width = (whole("size", side, 4) for side in sides)
    return height, width


class _Broken(Exception):
    """A file that is no image inside."""


def _read(path: Path, sides, mode: str, fit: str, background: str | None):
    """An image as an array, (H, W) or (H, W, 3), and whether its size was another."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on odd but readable files
        try:
            with Image.open(path) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
        except Exception as error:  # noqa: BLE001 - anything, of some formats
            size = path.stat().st_size
            reason = "it has 0 bytes" if size == 0 else str(error).replace(str(path), "it")
            raise _Broken(f"{path} cannot be read as an image ({reason})") from None
        if image.mode not in PLAIN + TRANSPARENT:
            raise DataError(
                f"{path} has more than 8 bits to a pixel (Pillow's mode {image.mode}), and which "
                "of them matter only you know: save it with 8 bits in an image program"
            )
        if image.mode in TRANSPARENT or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema()[0] < 255:  # type: ignore
                if background is None:
                    raise DataError(f"{path} has transparent parts: say what lies behind them, "
                                    'with background="white", for instance')
                try:
                    below = Image.new("RGBA", image.size, background)
                except ValueError:
                    raise ValueError("background must be a colour that Pillow knows, such as "
                                     f'"white" or "#aabbcc", got {background!r}') from None
                image = Image.alpha_composite(below, image)
        image = image.convert("RGB" if mode == "colour" else "L")
        other = sides is not None and image.size != sides[::-1]
        if sides is not None and other:
            shape, best = sides[::-1], Image.Resampling.LANCZOS
            image = (ImageOps.fit(image, shape, best) if fit == "crop"
                     else ImageOps.pad(image, shape, best))
        pixels = np.array(image)
        return (np.where(pixels >= 128, 255, 0).astype(np.uint8) if mode == "binary" else pixels,
                other)


def _nothing(path, skipped: dict[str, str]) -> str:
    """What to say of a folder without an image."""
    said = f"{path} holds no image that Pillow can read"
    if not skipped:
        return said + ": it is empty; is it the right folder?"
    folders = sum(why == "a folder" for why in skipped.values())
    endings = Counter(Path(name).suffix.lower() or "no ending"
                      for name, why in skipped.items() if why != "a folder")
    parts = [f"{count} of {ending}" for ending, count in endings.most_common(3)]
    parts += [f"{folders} {'folder' if folders == 1 else 'folders'}"] if folders else []
    said += f", but {', '.join(parts)}"
    if ".heic" in endings:
        return said + "; phones save .heic: export them as JPEG"
    if folders and not endings:
        return said + "; images in folders within it are not looked for: give one of those"
    return said + "; JPEG and PNG files are sure to be read"


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} × {array.shape[1]}"


def _some(words: list[str], most: int = 3) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
