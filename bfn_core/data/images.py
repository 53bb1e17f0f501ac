"""MNIST and CIFAR-10 as bytes in memory, and what stands in for them where there is no network."""

from __future__ import annotations

import gzip
import importlib.util
import io
import tarfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor

from bfn_core.checks import whole, within
from bfn_core.data.files import (
    DataError,
    NoNetwork,
    RemoteFile,
    data_dir,
    find,
    locate,
    locked,
    read_checked,
    write_whole,
)


class StandInWarning(UserWarning):
    """The data asked for is not at hand, and something else takes its place."""


class HeldAsBytes:
    """What the data sets share: dataclasses of byte tensors with a `notice`."""

    notice: str

    @property
    def stand_in(self) -> bool:
        """Whether this takes the place of the data set that was asked for."""
        return bool(self.notice)

    def to(self, device: torch.device | str):
        """The same data on `device`."""
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(cast(Any, self), **tensors)


@dataclass(frozen=True)
class Images(HeldAsBytes):
    """A data set of images, held as bytes, usually on the device that trains on them."""

    name: str  # what it really is: "MNIST", or "digits stand-in"
    train: Tensor  # (N, C, H, W), uint8
    train_labels: Tensor  # (N,), uint8
    test: Tensor  # (M, C, H, W), uint8
    test_labels: Tensor  # (M,), uint8
    notice: str = ""  # one sentence on what stands in for what, and why; empty for the real data


def mnist(stand_in: bool | None = None) -> Images:
    """MNIST: 60,000 training and 10,000 test images of 28 × 28 grey pixels, (N, 1, 28, 28).

    Args:
        stand_in: True gives scikit-learn's handwritten digits instead and touches neither
            network nor disk; False never does; None does, with a StandInWarning, if MNIST is
            not at hand and there is no network.

    Raises:
        DataError: a file is damaged or cannot be had.
    """
    return _or_stand_in(_mnist, _digits, "MNIST", stand_in)


def cifar10(stand_in: bool | None = None) -> Images:
    """CIFAR-10: 50,000 training and 10,000 test images of 32 × 32 colours, (N, 3, 32, 32).

    Args:
        stand_in: as for `mnist`; crops of scikit-learn's two photographs take its place, and
            their label is the photograph.

    Raises:
        DataError: a file is damaged or cannot be had.
    """
    return _or_stand_in(_cifar10, _crops, "CIFAR-10", stand_in)


def _or_stand_in(real, substitute, name: str, stand_in: bool | None) -> Images:
    if stand_in:
        return substitute(f"This is not {name}: {substitute.__doc__} stand in for it, as asked.")
    try:
        return real()
    except NoNetwork:
        if stand_in is False:
            raise
    data = substitute(
        f"NO NETWORK, and {name} is not in {data_dir()}: {substitute.__doc__} stand in for it, so "
        f"no figure from here on is a figure on {name}."
    )
    warnings.warn(data.notice, StandInWarning, stacklevel=3)
    return data


def _scikit_learn_file(name: str) -> Path:
    """A file that scikit-learn ships, found without importing it, which would take seconds."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError(f"scikit-learn, which holds {name}, is not installed: pip install "
                        "scikit-learn")
    return Path(found.origin).parent / "datasets" / name


# MNIST ------------------------------------------------------------------------------------------

MNIST_FOLDERS = ("mnist", "", "MNIST/raw")
_MNIST_HOMES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz":
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz":
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz":
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz":
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_FILES = tuple(
    RemoteFile(name, sha256, tuple(home + name for home in _MNIST_HOMES))
    for name, sha256 in _MNIST_SHA256.items()
)


def _mnist() -> Images:
    contents = [read_checked(locate(file, MNIST_FOLDERS), file) for file in MNIST_FILES]
    train, train_labels, test, test_labels = [_idx(gzip.decompress(c)) for c in contents]
    return Images("MNIST", train[:, None], train_labels, test[:, None], test_labels)


def _idx(content: bytes) -> Tensor:
    """The array of an idx file of bytes: two zeros, type 8, the rank, the sizes, the values."""
    rank = content[3]
    sizes = np.frombuffer(content, ">i4", count=rank, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    return torch.from_numpy(values.reshape(sizes).copy())


def _digits(notice: str) -> Images:
    """scikit-learn's 1,797 handwritten digits (8 × 8, enlarged)"""
    with gzip.open(_scikit_learn_file("data/digits.csv.gz"), "rt", encoding="ascii") as file:
        rows = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))  # (1797, 65)
    small = rows[:, :64].reshape(-1, 1, 8, 8) / 16
    # 20 × 20 within 28 × 28, as in MNIST
    large = torch.nn.functional.interpolate(small, size=(20, 20), mode="bicubic")
    images = torch.nn.functional.pad(large.clamp(0, 1), (4, 4, 4, 4))
    images = (images * 255).round().to(torch.uint8)
    labels = rows[:, 64].to(torch.uint8)
    return Images("digits stand-in", images[:1500], labels[:1500], images[1500:], labels[1500:],
                  notice)


# CIFAR-10 ---------------------------------------------------------------------------------------

CIFAR10_FOLDERS = (
    "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar10", "",
)
CIFAR10_ARCHIVE = RemoteFile(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    tuple(
        f"{home}/cifar-10-binary.tar.gz"
        for home in (
            "https://www.cs.toronto.edu/~kriz",
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets",
        )
    ),
    megabytes=170,
)
_CIFAR10_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CIFAR10_FILES = tuple(
    RemoteFile(name, sha256, CIFAR10_ARCHIVE.urls) for name, sha256 in _CIFAR10_SHA256.items()
)


def _cifar10() -> Images:
    paths = [path for file in CIFAR10_FILES if (path := find(file.name, CIFAR10_FOLDERS))]
    if len(paths) < len(CIFAR10_FILES):
        paths = _unpack(locate(CIFAR10_ARCHIVE, ("", "cifar10")))
    batches = [_records(read_checked(*pair)) for pair in zip(paths, CIFAR10_FILES, strict=True)]
    labels, images = zip(*batches, strict=True)
    return Images(
        "CIFAR-10", torch.cat(images[:5]), torch.cat(labels[:5]), images[5], labels[5]
    )


def _unpack(archive: Path) -> list[Path]:
    """Write the six batches of CIFAR-10's archive beside it, once; their paths."""
    folder = data_dir() / CIFAR10_FOLDERS[0]
    content = io.BytesIO(read_checked(archive, CIFAR10_ARCHIVE))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), tarfile.open(fileobj=content) as tar:
            for file in CIFAR10_FILES:
                if not (folder / file.name).is_file():
                    member = tar.getmember(f"cifar-10-batches-bin/{file.name}")
                    with cast(IO[bytes], tar.extractfile(member)) as content_of:
                        write_whole(folder / file.name, content_of.read())
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked to {folder} ({error.strerror})") from None
    return [folder / file.name for file in CIFAR10_FILES]


def _records(content: bytes) -> tuple[Tensor, Tensor]:
    """Labels (N,) and images (N, 3, 32, 32) of a batch: one label byte, then the three planes."""
    records = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, 3073).copy())
    return records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)


def _crops(notice: str) -> Images:
    """crops of scikit-learn's two photographs"""
    from PIL import Image

    train, test = [], []
    for label, name in enumerate(("china", "flower")):
        photograph = np.array(Image.open(_scikit_learn_file(f"images/{name}.jpg")))  # (427, 640, 3)
        pixels = torch.from_numpy(photograph).permute(2, 0, 1)
        crops = pixels.unfold(1, 32, 16).unfold(2, 32, 16)  # (3, rows, columns, 32, 32)
        # The lowest rows are for testing, and one row between keeps the two sets apart.
        for part, rows in ((train, crops[:, :-5]), (test, crops[:, -3:])):
            flat = rows.permute(1, 2, 0, 3, 4).reshape(-1, 3, 32, 32)
            part.append((flat, torch.full((len(flat),), label, dtype=torch.uint8)))
    (train, train_labels), (test, test_labels) = (
        [torch.cat(x) for x in zip(*part, strict=True)] for part in (train, test)
    )
    return Images("photograph crops stand-in", train, train_labels, test, test_labels, notice)


def photographs(shrink: int = 5) -> Tensor:
    """scikit-learn's two photographs, `shrink` times as small, in tiles: (N, 3, 32, 32), uint8.

    16 tiles for a shrink of 5, first eight of a temple by a lake, then eight of a flower, each row
    by row from the top. Shrunk like that they have edges and flat areas as CIFAR-10's images do,
    which were once larger too.

    Raises:
        ValueError: `shrink` leaves no room for a tile, or is below 1.
    """
    from PIL import Image

    if not 1 <= shrink <= 13:
        raise ValueError(f"shrink must be between 1 and 13, got {shrink!r}")
    tiles = []
    for name in ("china", "flower"):
        photograph = Image.open(_scikit_learn_file(f"images/{name}.jpg"))  # 640 × 427
        height, width = (side // shrink // 32 for side in (427, 640))
        small = torch.from_numpy(np.array(photograph.reduce(shrink))).permute(2, 0, 1)
        top, left = (small.shape[1] - 32 * height) // 2, (small.shape[2] - 32 * width) // 2
        middle = small[:, top : top + 32 * height, left : left + 32 * width]
        cells = middle.unfold(1, 32, 32).unfold(2, 32, 32)  # (3, rows, columns, 32, 32)
        tiles.append(cells.permute(1, 2, 0, 3, 4).flatten(0, 1))
    return torch.cat(tiles)


def folder(path: str | Path) -> Tensor:
    """All PNG files of a folder, in the order of their names: (N, C, H, W), uint8.

    C is 1 if all of them are stored as grey, or black and white, else 3. What lies in folders
    within it is left out, and so are hidden files, such as macOS leaves on other systems' disks.

    Raises:
        DataError: naming the file, if there is none, one cannot be read, they are not all of
            one size, or one has transparent parts or 16 bits to a pixel, which are not bytes of
            grey or colour.
    """
    try:
        files = png_files(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a folder ({error.strerror})") from None
    if not files:
        raise DataError(f"{path} holds no PNG file (a name that ends in .png)")
    pictures = [_picture(file) for file in files]
    sizes = [picture.shape[1:] for picture in pictures]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            one, other = (" × ".join(map(str, s)) for s in (size, sizes[0]))
            raise DataError(f"{file} is {one} pixels high and wide, but {files[0].name} is {other}:"
                            " images must be of one size")
    channels = max(len(picture) for picture in pictures)
    return torch.stack([picture.expand(channels, -1, -1) for picture in pictures])


def png_files(path: str | Path) -> list[Path]:
    """The PNG files of a folder that are not hidden, in the order of their names.

    Paths themselves are ordered otherwise on Windows, where A and a are equal.

    Raises:
        OSError: it cannot be read.
    """
    found = (p for p in Path(path).iterdir()
             if p.suffix.lower() == ".png" and not p.name.startswith("."))
    return sorted(found, key=lambda p: p.name)


def _picture(path: Path) -> Tensor:
    """An image file as (1, H, W), where it is grey, or (3, H, W)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode = image.mode
            transparent = mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            if not transparent and mode in ("1", "L", "P", "RGB"):
                pixels = np.array(image.convert("L" if mode in ("1", "L") else "RGB"))
                if mode == "P" and (pixels == pixels[..., :1]).all():  # a palette of greys
                    pixels = pixels[..., 0]
    except (OSError, SyntaxError, ValueError) as error:  # a damaged PNG is a SyntaxError to Pillow
        raise DataError(f"{path} cannot be read as an image ({error})") from None
    if transparent:
        raise DataError(f"{path} has transparent parts: put it on a background first, as Pillow's "
                        "Image.alpha_composite does")
    if mode not in ("1", "L", "P", "RGB"):
        raise DataError(f"{path} is of Pillow's mode {mode}, and only 8-bit grey or colour is read")
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())


# From bytes to what the flows take ---------------------------------------------------------------


def binarise(pixels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw every pixel as 0 or 1, independently ("dynamic binarisation").

    Args:
        pixels: any shape; uint8 with P(1) = pixel / 255; floats in [0, 1], which are P(1); or
            bool, where True gives 1.

    Returns:
        int64 of that shape, the classes of a DiscreteFlow(2, …).

    Raises:
        ValueError: for anything else, see `quantise`.
    """
    _check_pixels(pixels)
    uniform = torch.rand(pixels.shape, generator=generator, device=pixels.device)
    return (uniform < (pixels / 255 if pixels.dtype == torch.uint8 else pixels.float())).long()


def quantise(pixels: Tensor, bins: int = 256) -> Tensor:
    """The bin centres (2k+1)/bins − 1 in (−1, 1) of 8-bit pixels, k = ⌊pixel · bins / 256⌋.

    Args:
        pixels: any shape; uint8; floats in [0, 1], as image loaders make them, which stand for
            the byte nearest to 255 times them; or bool, for black and white. What is in [−1, 1]
            already is for that flow's `quantise`.

    Returns:
        float32 of that shape, the data of a DiscretisedFlow(bins, …).

    Raises:
        ValueError: for any other dtype, since its numbers say not whether they count to 1, 255
            or 65,535; for floats outside [0, 1] or NaN; and if `bins` is not between 2 and 256.
    """
    _check_pixels(pixels)
    if (bins := whole("bins", bins, 2)) > 256:
        raise ValueError(f"bins must be between 2 and 256, got {bins}")
    if pixels.dtype != torch.uint8:
        pixels = (pixels.float() * 255).round()
    return (2 * (pixels.int() * bins // 256) + 1) / bins - 1


def _check_pixels(pixels: Tensor) -> None:
    """Only floats are looked at: the other two dtypes can hold nothing wrong."""
    if not isinstance(pixels, Tensor):
        raise ValueError(f"pixels must be a tensor, got {type(pixels)}; torch.as_tensor makes one")
    if pixels.dtype in (torch.uint8, torch.bool):
        return
    if not pixels.is_floating_point():
        raise ValueError(
            f"pixels must be uint8, bool, or floats in [0, 1], got {pixels.dtype}; bytes held in "
            "another dtype are made plain by pixels.to(torch.uint8), 16-bit numbers by "
            "pixels.float() / 65535, and zeros and ones by pixels.bool()"
        )
    if not within(pixels, 0.0, 1.0):
        raise ValueError(
            f"pixels of {pixels.dtype} must be in [0, 1] without NaN, got values from "
            f"{pixels.min().item():g} to {pixels.max().item():g}; from [−1, 1] they come there by "
            "(pixels + 1) / 2, from 0…255 by pixels / 255"
        )


def to_bytes(x: Tensor) -> Tensor:
    """8-bit pixels of data in [−1, 1]: the inverse of `quantise` for 256 bins.

    What lies outside is moved to black or white.

    Raises:
        ValueError: for what is no float tensor.
    """
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        raise ValueError(
            f"x must be a float tensor in [−1, 1], got {getattr(x, 'dtype', type(x))}"
        )
    return ((x.float() + 1) * 128).floor().clamp(0, 255).to(torch.uint8)


def shades(x: Tensor) -> Tensor:
    """Shades (N, H, W), from 0 to 1, of images (N, H, W), or of the first channel of (N, C, H, W).

    Classes 0 and 1, of any dtype without a point, stay as they are; floats in [−1, 1] are moved.
    """
    x = x if x.dim() == 3 else x[:, 0]
    return 0.5 * (x + 1) if x.is_floating_point() else x.float()
