"""Small data sets that stand in for a reader's own files: drawn shapes, irises, and a long text."""

from pathlib import Path
from typing import Any

import numpy
from PIL import Image


def write_shapes(folder: str | Path, count: int = 240, side: int = 24, seed: int = 0) -> Path:
    """A folder of `count` PNG files of white discs, squares and triangles on black; the folder."""
    folder, rng = Path(folder), numpy.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    down, right = numpy.mgrid[:side, :side]
    for i in range(count):
        size = rng.uniform(0.22, 0.34) * side
        y, x = down - rng.uniform(0.4, 0.6) * side, right - rng.uniform(0.4, 0.6) * side
        inside = (y**2 + x**2 < size**2, numpy.maximum(abs(y), abs(x)) < 0.85 * size,
                  (y < 0.8 * size) & (2 * abs(x) < y + 1.1 * size))[i % 3]
        pixels = numpy.where(inside, 255, 0).astype(numpy.uint8)
        Image.fromarray(pixels).save(folder / f"shape {i:03}.png")
    return folder


def spoil(folder: Path, name: str, *, mode: str = "L", size: tuple[int, int] = (24, 24)) -> None:
    """Write an empty image of Pillow's `mode`, to see what is said about it."""
    Image.new(mode, size).save(folder / name)


def write_iris(path: str | Path, blank: float = 0.1, seed: int = 0) -> Path:
    """scikit-learn's 150 irises as a CSV file, every cell left empty with probability `blank`."""
    from sklearn.datasets import load_iris

    iris: Any = load_iris()
    rng = numpy.random.default_rng(seed)
    names = [name.removesuffix(" (cm)") for name in iris.feature_names]
    lines = [",".join([*names, "species"])]
    for numbers, kind in zip(iris.data, iris.target, strict=True):
        row = [f"{number:.1f}" for number in numbers] + [str(iris.target_names[kind])]
        lines.append(",".join("" if rng.random() < blank else cell for cell in row))
    Path(path).write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return Path(path)


def write_documentation(path: str | Path, characters: int = 60_000) -> Path:
    """Python's own documentation, which comes with Python, as a text file."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    plain = text.encode("ascii", "ignore").decode()[:characters]
    Path(path).write_text(plain, "utf-8", newline="\n")
    return Path(path)
