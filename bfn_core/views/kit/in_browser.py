"""A network that draws or writes in the reader's own browser: the kernel only hands over.

When the reader asks for it, the kernel gives the browser two things: the network, as an ONNX file
that it writes itself, and ONNX Runtime Web, which runs it. That is fetched from the npm registry
once, checked and kept in the folder of data; where the kernel cannot fetch it, the browser takes
the same files, checked by the same digests, from a public host of npm's packages. From then on the
kernel has nothing to do. The notebook stores none of this, but a picture. `tools/drawing.py` makes
pages of the website from the same parts.
"""

import functools
import gzip
import html
import tarfile

import anywidget
import traitlets

from bfn_core.data.files import DataError, RemoteFile, locate
from bfn_core.data.text import ALPHABET
from bfn_core.model import BFN
from bfn_core.networks.onnx_graph import written

from . import style
from .browser import Live, script
from .explorer import JAVASCRIPT

VERSION = "1.22.0"  # its WebAssembly has 11.2 MB, unpacked; newer ones grow, to 14.2 MB in 1.30
RUNTIME = RemoteFile(
    f"onnxruntime-web-{VERSION}.tgz",
    "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea",
    (f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz",),
)
# Files of its dist folder, as network.js asks for them: what they are called beside a page, and
# their SHA-256 in base 64, as a browser checks it.
PARTS = {
    "ort.wasm.min.mjs": ("ort.mjs", "bvcm81W3kRKffd8/YueHeha5t3er6HAEuKswbmuc8mU="),
    "ort-wasm-simd-threaded.mjs":
        ("ort-wasm-simd-threaded.mjs", "MN2FHZwAYilAUA9x3dL/iCDFy2UnCBYIAXW5WHBThag="),
    "ort-wasm-simd-threaded.wasm":
        ("ort.wasm.gz", "ca7wSVnFwbbeRhtlOOIFjjBmEANKharSdC0Mf9RTP+Q="),
}
# The same, and what computes on a graphics card: for pages of the website, which try one.
CARD = {"ort.webgpu.min.mjs": "card.mjs", "ort-wasm-simd-threaded.jsep.mjs": "card-wasm.mjs",
        "ort-wasm-simd-threaded.jsep.wasm": "card.wasm.gz"}
HOST = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
LONGEST_LINE = 96  # of what can be typed, as write.js has it
RUNTIME_BYTES = 2_933_500  # of the three, packed; about, since that depends on zlib


def packed(content: bytes) -> bytes:
    """The same bytes each time."""
    return gzip.compress(content, 9, mtime=0)


@functools.lru_cache(maxsize=2)
def runtime(card: bool = False) -> dict[str, bytes]:
    """The files of ONNX Runtime Web, by their names beside a page; the largest is packed.

    Args:
        card: those for a graphics card instead.

    Raises:
        DataError: they are not at hand and cannot be fetched.
    """
    found = {}
    parts = CARD if card else {part: name for part, (name, _) in PARTS.items()}
    with tarfile.open(locate(RUNTIME, ("onnxruntime",), checked=True)) as archive:
        for part, name in parts.items():
            file = archive.extractfile(f"package/dist/{part}")
            assert file is not None
            content = file.read()
            found[name] = packed(content) if name.endswith(".gz") else content
    return found


def settings(bfn: BFN, length: int | None = None) -> dict[str, int | float]:
    """What the scripts must know of a model: β(1), and of pixels how many labels there are, of
    letters how many they are and how long a line is.

    Raises:
        ValueError: letters that are not those which can be typed, or lines too short for them.
    """
    flow, network = bfn.flow, bfn.network
    found = {"beta1": float(flow.beta_1)}
    if length is None:
        return {**found, "labels": network.conditions.labels}
    if flow.classes != len(ALPHABET) or length < LONGEST_LINE:
        raise ValueError(f"what is typed has {len(ALPHABET)} symbols and up to {LONGEST_LINE} "
                         f"letters, got a network of {flow.classes} symbols and {length} letters")
    return {**found, "classes": flow.classes, "length": length}


class InBrowser(Live):
    """A picture and a button; pressed, a network draws or writes in the browser in its place.

    Args:
        bfn: of binary pixels with a UNet, or of letters with a Transformer.
        figure: a Matplotlib figure that shows what it does, for wherever it does not run.
        description: one sentence on that figure, the same in every run.
        length: of a line of letters; None for pixels.
        bits: of each of the network's numbers on its way to the browser.

    Raises:
        ValueError: a network that cannot be written as ONNX, or letters as for `settings`.
    """

    def __init__(self, bfn, figure, *, description, length=None, bits=16):
        self.description = description
        self.model = packed(written(bfn.network, bits))
        self.handed = 0  # how often the browser was given all it needs
        self._width = figure.get_figwidth() * style.CSS_DPI
        self._png = style.to_png(figure)
        style.release(figure)
        traits = {
            "_esm": script("in_notebook"),
            "_css": (JAVASCRIPT / "draw.css").read_text(encoding="utf-8"),
            "settings": traitlets.Dict().tag(sync=True),
            "worker": traitlets.Unicode().tag(sync=True),
            "picture": traitlets.Bytes().tag(sync=True),
        }
        given = {**settings(bfn, length), "bytes": RUNTIME_BYTES + len(self.model),
                 "words": description, "width": self._width, "host": HOST,
                 "parts": [[name, f"sha256-{digest}"] for name, (_, digest) in PARTS.items()]}
        kind = type("InBrowser", (anywidget.AnyWidget,), traits)
        self.drawing = kind(settings=given, worker=script("worker"), picture=self._png)
        self.drawing.on_msg(self._asked)
        super().__init__((self.drawing,))
        self.add_class("bfn-explorer")

    def _asked(self, _, message, buffers):
        """Hand over the network, and the runtime if it can be had here."""
        try:
            files, words = list(runtime().values()), ""
        except DataError as error:
            files, words = [], str(error)
        self.handed += 1
        self.drawing.send({"to": message["from"], "words": words}, [self.model, *files])


PLACE = """<div class="draw" {data}>
<img class="draw-still" src="{folder}/{picture}" width="{width}" height="{height}" alt="{alt}">
<p class="draw-words">{words}</p>
</div>"""


def place(data, folder, picture, width, height, alt, words):
    """The same on a page, as HTML: `data` is what the scripts must know, by name."""
    written = " ".join(f'data-{name}="{html.escape(str(value))}"' for name, value in data.items())
    return PLACE.format(data=written, folder=folder, picture=picture, width=width, height=height,
                        alt=html.escape(alt), words=html.escape(words))
