"""Film the explorers, so that they move on the website, where there is no kernel to ask.

    python -m tools.films FOLDER notebooks/03_loss_in_bits.ipynb ...

An explorer is played through a grid of its controls' values, and each state becomes a picture. The
first is whole; of the others only the pixels that differ from it are kept, all else is transparent:
the page lays them over the first. All have the same few colours, which halves them once more. So a
state costs some kilobytes and is sharp.

The notebook is run up to its last explorer, as `tools/notebooks.py` runs it, but what it writes is
thrown away. For each explorer FOLDER gets a folder, named by `name_of` its description, that holds
the pictures and film.json (what the controls are called, their values, each state's caption).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import ipywidgets
import matplotlib
import nbformat
import numpy
import torch
from PIL import Image
from tqdm import tqdm

from bfn_core.views.kit.explorer import Explorer
from tools.notebooks import execute_book

ROOT = Path(__file__).resolve().parent.parent
EXPLORER = re.compile(r"_explorer\(")  # how a cell of the book makes one
DENSITY = 1.25  # pixels of a frame per CSS pixel
ROOM = 300_000  # bytes of an explorer's pictures
MOST = 72  # states of an explorer
LONGEST = 25  # values of one control
FEWEST = 5  # values of a slider; with fewer it is left where it stands
PRESSES = 4  # of a button, after which it begins again
COLOURS = 128
QUALITY = 60  # of frames full of photographs, which no lossless encoder makes small
TRIES = 4  # at the number of states
OPTIONS = 4  # of a list, if all its options are too many
RUN = "import sys, pathlib; from tools import films; films.run(*map(pathlib.Path, sys.argv[1:]))"
SLIDERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.FloatLogSlider,
           ipywidgets.SelectionSlider)
SHARP = 1.6  # how many times larger a frame may be that loses nothing


@dataclass
class Axis:
    """A control and the values that it takes in the film."""

    name: str
    label: str
    kind: str  # slide, choose or press
    values: list  # to be set, or how often it was pressed
    words: list[str]  # what the page shows for each
    start: int  # where it stands in the notebook


def name_of(description: str) -> str:
    """A folder's name for the explorer that is so described."""
    return hashlib.sha256(description.encode()).hexdigest()[:12]


# What a control can be set to. -------------------------------------------------------------------


def _spread(count: int, most: int, start: int) -> list[int]:
    """At most so many of range(count), evenly, with both ends and the start among them."""
    places = numpy.linspace(0, count - 1, min(count, most)).round().astype(int)
    if start not in places and len(places) > 2:  # in the place of the nearest, but of no end
        places[1 + numpy.abs(places[1:-1] - start).argmin()] = start
    return sorted({*places.tolist(), start})


def _slide(control) -> tuple[list, int]:
    """All values of a slider, and where it stands among them."""
    if isinstance(control, ipywidgets.SelectionSlider):
        return [value for _, value in control._options_full], control.index
    if isinstance(control, ipywidgets.FloatLogSlider):
        count = round((control.max - control.min) / control.step) + 1
        powers = numpy.linspace(control.min, control.max, count)
        values = [float(control.base**power) for power in powers]
    elif isinstance(control, ipywidgets.IntSlider):
        values = list(range(control.min, control.max + 1, control.step))
    else:
        count = round((control.max - control.min) / control.step) + 1
        values = [round(control.min + i * control.step, 9) for i in range(count)]
    start = int(numpy.abs(numpy.array(values) - control.value).argmin())
    values[start] = control.value  # to the last digit
    return values, start


def _spelled(control, value) -> str:
    form = getattr(control, "readout_format", "")
    try:
        return format(value, form) if form else str(value)
    except ValueError:  # JavaScript's forms are a few more than Python's
        return f"{value:.3g}"


def axis(name: str, control) -> Axis | None:
    """All that a control can be set to; None if it is no such control."""
    label = control.description
    if isinstance(control, ipywidgets.Button):
        return Axis(name, label, "press", list(range(PRESSES)), [""] * PRESSES, 0)
    if isinstance(control, ipywidgets.Checkbox):
        return Axis(name, label, "choose", [False, True], ["no", "yes"], int(control.value))
    if isinstance(control, SLIDERS):
        values, start = _slide(control)
        return Axis(name, label, "slide", values, [_spelled(control, v) for v in values], start)
    if isinstance(control, (ipywidgets.ToggleButtons, ipywidgets.Dropdown)):
        words, values = zip(*control._options_full, strict=True)
        return Axis(name, label, "choose", list(values), list(words), control.index)
    return None


def _thinned(made: Axis, count: int) -> Axis:
    """The same control with fewer values."""
    kept = _spread(len(made.values), count, made.start)
    values, words = [made.values[i] for i in kept], [made.words[i] for i in kept]
    return replace(made, values=values, words=words, start=kept.index(made.start))


def plan(explorer: Explorer, states: int) -> list[Axis]:
    """The axes of a film of at most so many states.

    As many of the controls that are to be filmed as there is room for; the others stay where they
    stand. The more states, the finer the sliders.
    """
    counts: dict[str, int] = {}
    axes = {}
    for name in explorer.filmed:
        made = axis(name, explorer.controls[name])
        if made is None or len(made.values) < 2:
            continue
        least = FEWEST if counts else min(FEWEST + 3, states)  # the first one shall glide
        count = min(len(made.values), least if made.kind == "slide" else OPTIONS)
        if count * math.prod(counts.values()) <= states:
            counts[name], axes[name] = count, made
    growing = list(counts)
    while growing:
        name = min(growing, key=lambda name: counts[name] / (2 if name == growing[0] else 1))
        more = {**counts, name: counts[name] + 1}
        largest = min(LONGEST, len(axes[name].values))
        if more[name] <= largest and math.prod(more.values()) <= states:
            counts = more
        else:
            growing.remove(name)
    return [_thinned(axes[name], counts[name]) for name in explorer.controls if name in counts]


# The pictures. -----------------------------------------------------------------------------------


def _packed(pixels: numpy.ndarray) -> numpy.ndarray:
    """(…, 3) bytes as one number a pixel."""
    return pixels.astype(numpy.int32) @ numpy.array([1 << 16, 1 << 8, 1], numpy.int32)


class Palette:
    """COLOURS colours for some pictures: the most frequent as they are, and some between them."""

    def __init__(self, frames: list[numpy.ndarray]):
        whole = numpy.concatenate(frames)
        colours, counts = numpy.unique(_packed(whole), return_counts=True)
        often = colours[counts.argsort()[::-1][: COLOURS // 2]]
        exact = numpy.stack([often >> 16, often >> 8 & 255, often & 255], 1)
        between = Image.fromarray(whole).quantize(COLOURS // 2, dither=Image.Dither.NONE)
        others = numpy.array(between.getpalette()).reshape(-1, 3)
        self.colours = numpy.concatenate([exact, others]).astype(numpy.uint8)
        # The nearest of every colour that was met so far. (Pillow's own search is not exact: it
        # takes a white page for the nearly white ground of the axes.)
        self._nearest = numpy.full(1 << 24, -1, numpy.int16)

    def __call__(self, frame: numpy.ndarray) -> numpy.ndarray:
        """A picture in these colours."""
        packed = _packed(frame)
        unknown = packed[self._nearest[packed] < 0]
        if len(unknown):
            new = numpy.unique(unknown)
            each = numpy.stack([new >> 16, new >> 8 & 255, new & 255], 1)
            for i in range(0, len(new), 4096):  # in parts, for the memory
                far = each[i : i + 4096, None] - self.colours.astype(numpy.int32)
                self._nearest[new[i : i + 4096]] = (far**2).sum(-1).argmin(1)
        return self.colours[self._nearest[packed]]


def over(first: numpy.ndarray, frame: numpy.ndarray) -> Image.Image:
    """A picture that, laid over the first, gives the frame: see-through where they are equal."""
    differs = (first != frame).any(-1)
    layers = numpy.dstack([frame * differs[..., None], 255 * differs.astype(numpy.uint8)])
    return Image.fromarray(layers)


def encode(picture: Image.Image, **how) -> bytes:
    """A picture as WebP."""
    buffer = io.BytesIO()
    picture.save(buffer, "webp", method=4, **how)
    return buffer.getvalue()


def _states(axes: list[Axis]) -> list[dict]:
    """The values of the controls in every state, the last control's changing first."""
    names = [made.name for made in axes]
    product = itertools.product(*(made.values for made in axes))
    return [dict(zip(names, values, strict=True)) for values in product]


def _first(axes: list[Axis]) -> int:
    """Which of the states is the one in which the explorer stands."""
    place = 0
    for made in axes:
        place = place * len(made.values) + made.start
    return place


@dataclass
class _Camera:
    """How the pictures of one film are made: in few colours, or as photographs are."""

    first: numpy.ndarray
    colours: Palette | None
    how: dict
    whole: bytes = b""
    each: float = 0.0  # bytes of a frame, roughly

    @classmethod
    def fit(cls, first: numpy.ndarray, some: list[numpy.ndarray]) -> _Camera:
        """Whichever way makes the smaller film, as long as they differ much."""
        colours = Palette([first, *some])
        drawn = cls(colours(first), colours, {"lossless": True})
        photographed = cls(first, None, {"quality": QUALITY})
        for camera in (drawn, photographed):
            camera.whole = encode(Image.fromarray(camera.first), **camera.how)
            camera.each = sum(len(camera.shot(frame)) for frame in some) / len(some)
        return drawn if drawn.each < SHARP * photographed.each else photographed

    def shot(self, frame: numpy.ndarray) -> bytes:
        """What is laid over the first picture."""
        if self.colours:
            frame = self.colours(frame)
        return encode(over(self.first, frame), **self.how)


def film(explorer: Explorer, folder: Path) -> dict:
    """Film an explorer into a new folder; return what film.json says.

    Raises:
        ValueError: not even a handful of states have room, or the folder is there already, as that
            of another explorer with the same description is.
    """
    if folder.exists():
        raise ValueError(f"two explorers are described alike, or one is shown twice: "
                         f"{explorer.description!r}")
    first, _ = explorer.shot(DENSITY)
    # A few states, far apart, tell how to make the pictures, and what one costs.
    states = _states(plan(explorer, MOST))
    some = [states[i] for i in _spread(len(states), 6, 0)[1:]]
    camera = _Camera.fit(first, [explorer.shot(DENSITY, **state)[0] for state in some])
    whole = camera.whole
    best, count = None, min(MOST, int((ROOM - len(whole)) / camera.each))
    for _ in range(TRIES):
        axes = plan(explorer, max(count, FEWEST))
        states, start = _states(axes), _first(axes)
        pictures: dict[bytes, str] = {}
        frames, captions = [], []
        for place, state in enumerate(states):
            pixels, caption = explorer.shot(DENSITY, **state)
            captions.append(caption)
            if place == start:
                frames.append(None)
                continue
            frames.append(pictures.setdefault(camera.shot(pixels), f"{place:02}.webp"))
        total = len(whole) + sum(map(len, pictures))
        if total <= ROOM and (best is None or len(frames) > len(best[1])):
            best = axes, frames, captions, pictures, total
        wanted = min(MOST, int(0.95 * len(frames) * (ROOM - len(whole)) / (total - len(whole))))
        if total <= ROOM and wanted < 1.4 * count:
            break
        count = wanted
    if best is None:
        raise ValueError(f"no film of {explorer.description!r} has {ROOM:,} bytes or less")
    axes, frames, captions, pictures, total = best
    folder.mkdir(parents=True)
    (folder / "first.webp").write_bytes(whole)
    for data, name in pictures.items():
        (folder / name).write_bytes(data)
    filmed = {made.name for made in axes}
    told = {
        "description": explorer.description,
        "width": round(first.shape[1] / DENSITY),
        "height": round(first.shape[0] / DENSITY),
        "seconds": explorer.seconds,
        "controls": [
            {"label": made.label, "kind": made.kind, "words": made.words, "start": made.start,
             "play": made.name == explorer.plays}
            for made in axes
        ],
        "first": _first(axes),
        "frames": frames,
        "captions": captions if len(set(captions)) > 1 else captions[:1],
        "still": [control.description for name, control in explorer.controls.items()
                  if name not in filmed and control.description],
        "bytes": total,
    }
    (folder / "film.json").write_text(json.dumps(told), "utf-8", newline="\n")
    return told


# The notebook. -----------------------------------------------------------------------------------


def watch(folder: str) -> None:
    """From now on, film every explorer that is shown."""
    shown = Explorer._ipython_display_

    def display(self, **options):
        film(self, Path(folder) / name_of(self.description))
        return shown(self, **options)

    Explorer._ipython_display_ = display


def run(path: Path, folder: Path, scale: str = "smoke") -> None:
    """Run a notebook up to its last explorer, and film each into `folder`."""
    book = nbformat.read(path, as_version=4)
    making = [
        place for place, cell in enumerate(book.cells)
        if cell.cell_type == "code" and EXPLORER.search(cell.source)
    ]
    if making:
        begin = (f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tools import films\n"
                 f"films.watch({str(folder)!r})")
        book.cells = [nbformat.v4.new_code_cell(begin), *book.cells[: making[-1] + 1]]
        execute_book(book, path.resolve().parent, scale, timeout=1200)


def _shared() -> bytes:
    """A digest of what the films of all notebooks depend on: the package, what was recorded."""
    found = hashlib.sha256()
    files = [Path(__file__), *(ROOT / "bfn_core").rglob("*.py"), *(ROOT / "assets").glob("*.json"),
             *(ROOT / "assets").glob("*.safetensors")]
    for file in sorted(files):
        found.update(file.read_bytes())
    found.update(f"{matplotlib.__version__} {torch.__version__}".encode())
    return found.digest()


def _digest(path: Path, shared: bytes) -> str:
    """Of all that a notebook's films depend on: its code, and what they share with the others."""
    found = hashlib.sha256(shared)
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            found.update(cell.source.encode())
    return found.hexdigest()


def _book() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def missing(folder: Path, notebooks: list[Path] | None = None) -> dict[Path, str]:
    """The notebooks, of the whole book by default, that were not filmed into `folder` as they are
    now, each with what digest.txt will say when they are.
    """
    shared = _shared()
    found = {path: _digest(path, shared) for path in (_book() if notebooks is None else notebooks)}

    def made(path: Path) -> bool:
        told = folder / path.stem / "digest.txt"
        return told.exists() and told.read_text("utf-8") == found[path]

    return {path: digest for path, digest in found.items() if not made(path)}


def gather(folder: Path, notebooks: list[Path] | None = None, processes: int = 2) -> Path:
    """Film the explorers of all notebooks that were not filmed as they are now.

    Args:
        folder: gets a folder a notebook; films that are there already are kept.
        notebooks: their files; None for the whole book.
        processes: how many notebooks are run at a time.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = missing(folder, notebooks)

    def one(path: Path, digest: str) -> None:
        made = folder / path.stem
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        # A process of its own: the event loop that talks with the kernel ends with it.
        command = [sys.executable, "-c", RUN, str(path), str(made)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8",
                             errors="replace", check=False)
        if ran.returncode:
            raise RuntimeError(f"{path.name} could not be filmed:\n{ran.stderr[-4000:]}")
        (made / "digest.txt").write_text(digest, "utf-8", newline="\n")

    with ThreadPoolExecutor(processes) as pool, tqdm(total=len(waiting), unit="notebook") as bar:
        running = [pool.submit(one, path, digest) for path, digest in waiting.items()]
        bar.set_description("filming the explorers")
        try:
            for done in as_completed(running):
                done.result()  # raises what went wrong
                bar.update()
        except KeyboardInterrupt:  # also of what runs; the rest shall not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("notebooks", nargs="+", type=Path)
    chosen = parser.parse_args(arguments)
    gather(chosen.folder.resolve(), chosen.notebooks)


if __name__ == "__main__":
    main()
