"""What the pages are made of on which the reader draws, or has lines filled.

    python -m tools.drawing FOLDER        write it into FOLDER, as `tools/website.py` does

The shipped networks of digits, that which knows labels, and of letters, as ONNX files (see
bfn_core/networks/onnx_graph.py); ONNX Runtime Web, which runs them in the browser, from the npm
registry, fetched once, checked and kept in the folder of data; the Bayesian flow and all the rest,
which are the explorers' own JavaScript; and pictures for where none of this runs. Runtime and
networks are packed, since not every server does that, and a page unpacks them.

One network serves all digits: told no label it draws any. The runtime is there twice: the larger
knows WebGPU, and is loaded where there is a graphics card to try.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from PIL import Image

from bfn_core.data import record
from bfn_core.data.files import DataError
from bfn_core.networks.onnx_graph import written
from bfn_core.training import shipped
from bfn_core.views import mnist, text8
from bfn_core.views.kit import browser, in_browser, style
from bfn_core.views.kit.explorer import JAVASCRIPT

LICENCE = Path(__file__).with_name("LICENCE-onnxruntime.txt")
SCRIPTS = ("page", "worker")
RUNTIME = tuple(name for name, _ in in_browser.PARTS.values())
MODEL = "mnist_conditional"
BITS = {MODEL: 16, "text8": 8}  # of each weight, on its way
LOADED = (*RUNTIME, f"{MODEL}.onnx.gz")  # when the reader asks, to draw
WRITES = (*RUNTIME, "text8.onnx.gz")  # and to write
WORDS = (
    "What is given stays, and the network draws the rest; here it was the upper half of a digit. "
    "On this page it can be done by hand, in a browser that runs JavaScript and WebAssembly."
)
LINE_WORDS = (
    "What is given stays, and the network finds the rest. On this page it can be done with a line "
    "of your own, in a browser that runs JavaScript and WebAssembly."
)
DENSITY = 2.0  # pixels per CSS pixel, of the pictures
LENGTH = 128  # letters of a window, as the network has learnt it

TABLE = """The page loads {all:.1f} MB when you ask for it, of which {model:.1f} MB are the network.

| | to start | a call | calls a second | a call for 4 candidates | 30 messages for 4 |
|---|---|---|---|---|---|
{rows}

Time of one thread in {browser}, which slowed itself down for the lower rows, without the loading;
`python -m tools.measure_drawing` measures it. {lost}"""
LOST = """With weights in 16 bits, {examples:,} test digits cost {whole:.2f} nats each, and with
weights in 32 as much: the difference is {more:.0f} ± {error:.0f} millionths of a nat (one standard
error; told no label, the same noise for both, one draw each, seed {seed})."""
LOST_LETTERS = """With weights in 32 bits, {examples:,} test sequences cost {whole:.3f} bits per
character; with weights in 8 bits the difference is {more:+.4f} ± {error:.4f} (one standard error;
the same noise for both, one draw each, seed {seed})."""


def write(folder: Path) -> None:
    """Put everything into `folder` that a page needs to draw and to write.

    Raises:
        DataError: the runtime cannot be had; nothing is written then.
    """
    files = {**in_browser.runtime(), **in_browser.runtime(card=True)}
    for name, bits in BITS.items():
        files[f"{name}.onnx.gz"] = in_browser.packed(written(shipped(name).network, bits))
    for name in SCRIPTS:
        files[f"{name}.js"] = browser.script(name).encode()
    figures = {"still.png": mnist.completing_figure(shipped(MODEL)),
               "still_line.png": text8.line_figure(shipped("text8"))}
    for name, figure in figures.items():
        files[name] = style.to_png(figure, DENSITY)
        style.release(figure)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for path in (LICENCE, JAVASCRIPT / "draw.css"):
        shutil.copy(path, folder)


def block(folder: Path, address: str, letters: bool = False) -> str:
    """The place on a page where the reader draws, or where lines are filled, as HTML.

    Args:
        folder: what `write` wrote.
        address: of that folder, as the page sees it.
    """
    name, loaded = ("text8", WRITES) if letters else (MODEL, LOADED)
    data = in_browser.settings(shipped(name), LENGTH if letters else None)
    data["bytes"] = sum((folder / file).stat().st_size for file in loaded)
    data["model"] = f"{name}.onnx.gz"
    picture, alt, words = (("still_line.png", text8.LINE_ALT, LINE_WORDS) if letters else
                           ("still.png", mnist.COMPLETING_ALT, WORDS))
    with Image.open(folder / picture) as image:
        width, height = (round(size / DENSITY) for size in image.size)
    return in_browser.place(data, address, picture, width, height, alt, words)


def table(letters: bool = False) -> str:
    """What drawing, or writing, weighs, costs and loses, as `tools/measure_drawing.py` found it, in
    Markdown.
    """
    found = record("drawing")
    name, loaded = ("text8", WRITES) if letters else (MODEL, LOADED)
    lost = {**found["lost"][name]}
    unit = 1.0 if letters else 1e6
    told = (LOST_LETTERS if letters else LOST).format(
        examples=lost["examples"], whole=lost["whole"], seed=lost["seed"],
        more=unit * lost["more"], error=unit * lost["standard error of more"])
    rows = []
    for slower, spent in found["milliseconds"][name].items():
        machine = "the machine that measured" if slower == "1" else f"one {slower} times slower"
        one, four = spent["1"], spent["4"]
        row = (f"| {machine} | {spent['start'] / 1000:.1f}_s | {one:.0f}_ms | "
               f"{1000 / one:.{0 if one < 200 else 1}f} | {four:.0f}_ms | "
               f"{31 * four / 1000:.1f}_s |")
        rows.append(row.replace("_", "&nbsp;"))
    return TABLE.format(
        all=sum(found["bytes"][file] for file in loaded) / 1e6,
        model=found["bytes"][loaded[-1]] / 1e6, rows="\n".join(rows), browser=found["browser"],
        lost=told,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    try:
        write(folder)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in dict.fromkeys((*LOADED, *WRITES)):
        print(f"{name}: {(folder / name).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
