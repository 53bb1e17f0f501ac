"""Arrays of images, folders of PNG files and texts, as the data of a model, and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bfn_core import data
from bfn_core.data.files import DataError, write_whole
from bfn_core.data.images import png_files
from bfn_core.data.text import ALPHABET, read_text
from bfn_core.flows import DiscreteFlow, DiscretisedFlow

TEXT_LENGTH = 128  # characters in a sequence, as the shipped weights had them


def read(path: Path, flow: Any, length: int = TEXT_LENGTH) -> tuple[Tensor, dict]:
    """Data of a model and what `write` must know to make the same of it.

    Args:
        path: an array (.npy) of levels or classes 0…K − 1, (N, …); a folder of PNG files; or else
            a text in the flow's 27 symbols.
        flow: of the model.
        length: of the sequences that a text is cut into.

    Raises:
        DataError: in one sentence, what cannot be packed without loss.
    """
    if path.is_dir():
        pixels = data.folder(path)
        names = [file.name for file in png_files(path)]
        return _of_levels(_levels(pixels, flow, path), flow, path), {"kind": "png", "names": names}
    if path.suffix.lower() == ".npy":
        return _of_array(path, flow)
    return _of_text(path, flow, length)


def _of_array(path: Path, flow: Any) -> tuple[Tensor, dict]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array ({error})") from None
    form = {"kind": "npy", "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.ndim < 2 or array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(f"{path} must hold an array (N, …) of numbers, got {form['dtype']} of "
                        f"shape {tuple(array.shape)}")
    if array.dtype.kind == "f":
        if isinstance(flow, (DiscreteFlow, DiscretisedFlow)):
            raise DataError(f"{path} holds real numbers, and the model knows levels: whole numbers")
        return _of_numbers(torch.from_numpy(array), flow, path), form
    return _of_levels(torch.from_numpy(array.astype(np.int64)), flow, path), form


def _of_numbers(x: Tensor, flow: Any, path: Path) -> Tensor:
    try:
        flow.check(x)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return x


def _levels(pixels: Tensor, flow: Any, path: Path) -> Tensor:
    """Bytes as levels; black and white for two classes."""
    if isinstance(flow, DiscreteFlow) and flow.classes == 2:
        if bool(((pixels > 0) & (pixels < 255)).any()):
            raise DataError(f"{path} holds greys, and the model knows black and white alone")
        return (pixels > 0).long()
    return pixels.long()


def _of_levels(levels: Tensor, flow: Any, path: Path) -> Tensor:
    """0…K − 1 as the flow has them."""
    count = flow.classes if isinstance(flow, DiscreteFlow) else getattr(flow, "bins", 0)
    if not count:
        raise DataError(f"{path} holds whole numbers, and the model knows real ones")
    if levels.numel() and not (int(levels.min()) >= 0 and int(levels.max()) < count):
        raise DataError(f"{path} must hold whole numbers in 0…{count - 1} for this model, got "
                        f"{int(levels.min())} to {int(levels.max())}")
    return levels if isinstance(flow, DiscreteFlow) else flow.centres[levels]


def _of_text(path: Path, flow: Any, length: int) -> tuple[Tensor, dict]:
    if getattr(flow, "classes", 0) != len(ALPHABET):
        raise DataError(f"{path} is no .npy file and no folder, and this model is not one of text")
    text = read_text(path)
    try:
        classes = data.encode(text)
    except ValueError as error:
        raise DataError(f"{path}: {error}; data.normalise gives a text in these symbols") from None
    rows = -(-len(classes) // length)
    padded = torch.zeros(rows * length, dtype=torch.int64)  # with spaces
    padded[: len(classes)] = classes.long()
    return padded.reshape(rows, length), {"kind": "text", "characters": len(classes)}


def write(path: Path, x: Tensor, flow: Any, form: dict[str, Any]) -> None:
    """Write data as the file or folder that they were.

    Raises:
        DataError: the path exists, or cannot be written, or two pictures would be one file.
    """
    if path.exists():
        raise DataError(f"{path} exists already, and is left as it is")
    try:
        if form["kind"] == "png":
            _write_pictures(path, x, flow, form["names"])
        elif form["kind"] == "npy":
            levels = x if x.dtype == torch.int64 or not hasattr(flow, "index") else flow.index(x)
            array = levels.numpy().astype(form["dtype"]).reshape(form["shape"])
            content = io.BytesIO()
            np.save(content, array)
            write_whole(path, content.getvalue())
        else:
            text = data.decode(x.flatten()[: form["characters"]])
            write_whole(path, str(text).encode())
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror or error})") from None


def _write_pictures(folder: Path, x: Tensor, flow: Any, names: list[str]) -> None:
    from PIL import Image

    levels = x * (255 if flow.classes == 2 else 1) if x.dtype == torch.int64 else flow.index(x)
    folder.mkdir(parents=True)
    for name, picture in zip(names, levels.to(torch.uint8), strict=True):
        file = folder / Path(name).name
        if file.exists():  # as a.png does after A.png where the case of names is ignored
            raise DataError(f"{file} is the same file as another picture here, which would be "
                            "lost; unpack where A.png and a.png are two files")
        array = picture.permute(1, 2, 0).contiguous().numpy()
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        content = io.BytesIO()
        image.save(content, "PNG", optimize=True)
        write_whole(file, content.getvalue())
