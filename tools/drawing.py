"""What the page on which the reader draws is made of, beside `website_static/draw`.

    python -m tools.drawing FOLDER        write it into FOLDER, as `tools/website.py` does

The shipped MNIST network that knows labels, as an ONNX file (see onnx_model.py); ONNX Runtime Web,
which runs it in the browser, from the npm registry, fetched once, checked and kept in the folder of
data; the Bayesian flow, which is the explorers' own JavaScript; and a picture for where none of
this runs. Runtime and model are packed, since not every server does that, and a page unpacks them.

One model serves all: told no label it draws any digit. WebGPU is left out: it needs a runtime of
twice the size, and a call of so small a network is a matter of milliseconds without it.
"""

from __future__ import annotations

import argparse
import gzip
import html
import shutil
import sys
import tarfile
from pathlib import Path

import torch

from bfn_core import BFN
from bfn_core.data import drawn_digits, record
from bfn_core.data.files import DataError, RemoteFile, locate
from bfn_core.infilling import filling_steps
from bfn_core.training import shipped
from bfn_core.views.kit import browser, style

PAGE = Path(__file__).resolve().parent / "website_static" / "draw"  # scripts and style sheet
MODEL = "mnist_conditional"
# Its WebAssembly has 11.2 MB, unpacked; newer ones grow, to 14.2 MB in 1.30.
RUNTIME = RemoteFile(
    "onnxruntime-web-1.22.0.tgz",
    "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea",
    ("https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.22.0.tgz",),
)
PARTS = {  # of its dist folder, and what they are called here
    "ort.wasm.min.mjs": "ort.mjs", "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm": "ort.wasm.gz",
}
LOADED = (*PARTS.values(), "model.onnx.gz")  # when the reader asks
DIGIT, SEED, MESSAGES, CANDIDATES = 19, 3, 30, 8  # of the picture
ALT = (
    "Four squares: the upper half of a handwritten eight, given; the grainy belief after ten of "
    "thirty messages; the network's guess from it; and the whole digit, whose lower half the "
    "network has drawn."
)
WORDS = (
    "What is given stays, and the network draws the rest; here it was the upper half of a digit. "
    "On this page it can be done by hand, in a browser that runs JavaScript and WebAssembly."
)
BLOCK = """<div class="draw" data-bytes="{bytes}" data-beta1="{beta_1}">
<img class="draw-still" src="{folder}/still.png" width="{width}" height="{height}" alt="{alt}">
<p class="draw-words">{words}</p>
</div>"""

TABLE = """The page loads {all:.1f} MB when you ask for it, of which {model:.1f} MB are the network.

| | to start | a call | calls a second | a call for 4 candidates | 30 messages for 4 |
|---|---|---|---|---|---|
{rows}

Time of one thread in {browser}, which slowed itself down for the lower rows, without the loading;
`python -m tools.measure_drawing` measures it. With weights in 16 bits, {digits:,} test digits cost
{nats:.2f} nats each, and with weights in 32 as much: the difference is {more:.0f} ± {error:.0f}
millionths of a nat (one standard error; told no label, the same noise for both, one draw each, seed
{seed})."""


def unpack_runtime(folder: Path) -> None:
    """Put ONNX Runtime Web into `folder`.

    Raises:
        DataError: it is not at hand and cannot be fetched.
    """
    with tarfile.open(locate(RUNTIME, ("onnxruntime",))) as archive:
        for part, name in PARTS.items():
            content = archive.extractfile(f"package/dist/{part}").read()
            (folder / name).write_bytes(packed(content) if name.endswith(".gz") else content)


def packed(content: bytes) -> bytes:
    """The same bytes each time."""
    return gzip.compress(content, 9, mtime=0)


def still(bfn: BFN) -> bytes:
    """The picture that stands in the page's place, as a PNG."""
    x = drawn_digits()[DIGIT].long().reshape(1, 28, 28)
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, :14] = True
    rng = torch.Generator().manual_seed(SEED)
    steps = list(filling_steps(bfn, x, known, MESSAGES, CANDIDATES, generator=rng))
    early, late = steps[MESSAGES // 3], steps[-1]
    best = int(late.log_weights.argmax())
    whole = torch.where(known, x, late.output.probs[best, ..., 1])
    pictures = {
        "given": torch.where(known, x.float(), 0.35), "belief": early.theta.probs[best, ..., 1],
        "guess": early.output.probs[best, ..., 1], "completed": whole,
    }
    figure, axes = style.subplots(1, 4, size=(7.2, 2.1))
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        ax.imshow(picture[0].numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(title)
        ax.set_axis_off()
    png = style.to_png(figure)
    style.release(figure)
    return png


def write(folder: Path) -> None:
    """Put everything into `folder` that a page needs to draw.

    Raises:
        DataError: the runtime cannot be had; nothing is written then.
        ImportError: onnx is missing.
    """
    from tools import onnx_model  # which needs onnx, and who only tests may not have it

    folder.mkdir(parents=True, exist_ok=True)
    unpack_runtime(folder)
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    bfn = shipped(MODEL)
    model = onnx_model.graph(bfn.network).SerializeToString()
    (folder / "model.onnx.gz").write_bytes(packed(model))
    (folder / "pixels.js").write_text(browser.script("pixels"), "utf-8", newline="\n")
    (folder / "still.png").write_bytes(still(bfn))


def block(folder: Path, address: str) -> str:
    """The place on a page where the reader draws, as HTML.

    Args:
        folder: what `write` wrote.
        address: of that folder, as the page sees it.
    """
    return BLOCK.format(
        folder=address, width=720, height=210, alt=html.escape(ALT), words=html.escape(WORDS),
        bytes=sum((folder / name).stat().st_size for name in LOADED),
        beta_1=shipped(MODEL).flow.beta_1,
    )


def table() -> str:
    """What drawing weighs, costs and loses, as `tools/measure_drawing.py` found it, in Markdown."""
    found = record("drawing")
    sizes, lost = found["bytes"], found["lost"]
    rows = []
    for slower, spent in found["milliseconds"].items():
        name = "the machine that measured" if slower == "1" else f"one {slower} times slower"
        one, four = spent["1"], spent["4"]
        row = (f"| {name} | {spent['start'] / 1000:.1f}_s | {one:.0f}_ms | {1000 / one:.0f} | "
               f"{four:.0f}_ms | {31 * four / 1000:.1f}_s |")
        rows.append(row.replace("_", "&nbsp;"))
    return TABLE.format(
        all=sum(sizes.values()) / 1e6, model=sizes["model.onnx.gz"] / 1e6,
        rows="\n".join(rows), browser=found["browser"],
        digits=lost["digits"], nats=lost["nats"], seed=lost["seed"],
        more=1e6 * lost["more"], error=1e6 * lost["standard error of more"],
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
    for name in LOADED:
        print(f"{name}: {(folder / name).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
