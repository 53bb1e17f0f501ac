"""Pack test data into real bytes, beside what else a person would use.

`python -m tools.compression mnist|digits|cifar10|text8` codes the first test examples with the
shipped weights (for the 8 × 8 digits a small network is trained first, on L^n + L^r), decodes them,
and writes how many bytes and seconds that took, and what PNG, WebP, CCITT G4, bz2 and lzma need for
the same, into assets/compression.json.
"""

import argparse
import bz2
import io
import itertools
import json
import lzma
import time
from collections.abc import Callable

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Generator, Tensor

from bfn_core import BFN, DiscretisedFlow, data, elbo
from bfn_core.baselines.images import FORMATS, arrange, encode
from bfn_core.compression import compress, decompress
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.digits import LEVELS, digits
from bfn_core.networks.mlp import MLP
from bfn_core.training import shipped
from bfn_core.training.brief import fit
from tools.record import renew_digests, versions, write

SEED = 0
TARGET = CHECKOUT / "compression.json"
COUNTS = {"mnist": 1000, "digits": 360, "cifar10": 100, "text8": 200}
# The seed of 64 pixels is cheap, the others' not.
LANES = {"mnist": 1, "digits": 10, "cifar10": 1, "text8": 1}
NS = {"mnist": (10, 25), "digits": (20,), "cifar10": (25, 50), "text8": (10,)}
LENGTH = 128  # characters in a sequence of the shipped weights


def seeded() -> Generator:
    return Generator().manual_seed(SEED)


# What there is to code: (model, data, names and sizes of other files of the same, units).


def mnist(count: int):
    x = data.binarise(data.mnist(stand_in=False).test[:count], generator=seeded())
    bits = np.packbits(x.numpy().astype(np.uint8), axis=-1)
    others = {**pictures(x.bool(), "1"), **general(bits)}
    return shipped("mnist"), x, others, "MNIST, test images in black and white drawn once"


def cifar10(count: int):
    bfn, pixels = shipped("cifar10"), data.cifar10(stand_in=False).test[:count]
    others = {**pictures(pixels, "RGB"), **general(pixels.numpy())}
    return bfn, bfn.flow.centres[pixels.long()], others, "CIFAR-10, the first test images"


def text8(count: int):
    text = data.text8(stand_in=False)
    x = text.test[: count * LENGTH].reshape(count, LENGTH).long()
    return shipped("text8"), x, general(letters(x)), f"{text.name}, the beginning of the test part"


def letters(x: Tensor) -> np.ndarray:
    return np.frombuffer("".join(data.decode(x)).encode(), np.uint8)


def small_digits(count: int):
    flow, parts = DiscretisedFlow(LEVELS, 0.02), digits()
    bfn = trained(flow, flow.centres[parts.train], NS["digits"][0])
    levels = parts.test[:count]
    grey = (levels * 15).to(torch.uint8)[:, None]  # 17 levels, 0…240
    others = {**pictures(grey, "L"), **general(levels.numpy().astype(np.uint8))}
    return bfn, flow.centres[levels], others, "scikit-learn's 8 × 8 digits, hands never seen"


def trained(flow: DiscretisedFlow, x: Tensor, n: int, steps: int = 600) -> BFN:
    """Notebook 06's network, trained on the bill of a code of n messages."""
    torch.manual_seed(SEED)
    network = MLP(64, (8, 8, 2), hidden=256, depth=3)
    torch.nn.init.zeros_(network.head[-1].weight)
    bfn = BFN(flow, network)

    def draw(rng: Generator) -> Tensor:
        return x[torch.randint(len(x), (128,), generator=rng)]

    def bill(x: Tensor, rng: Generator) -> Tensor:
        bill = bfn.loss_n(x, n, generator=rng) + bfn.reconstruction_loss(x, generator=rng)
        return bill / 64

    fit(bfn, draw, steps, seed=SEED, price=bill)
    return bfn


SOURCES: dict[str, Callable] = {
    "mnist": mnist, "digits": small_digits, "cifar10": cifar10, "text8": text8,
}


# What else there is.


def pictures(images: Tensor, mode: str) -> dict[str, int]:
    """Bytes of (N, C, H, W) as lossless files, one for each image and one for all side by side."""
    forms = {name: (name, options) for name, options in FORMATS.items()}
    if mode == "1":
        forms["CCITT G4 (TIFF)"] = ("TIFF", {"compression": "group4"})
    sizes = {}
    for name, (form, options) in forms.items():
        each = [len(written(image, mode, form, options)) for image in images]
        sizes[f"{name}, file by file"] = sum(each)
        sizes[f"{name}, all in one"] = len(written(arrange(images), mode, form, options))
    return sizes


def written(image: Tensor, mode: str, form: str, options: dict) -> bytes:
    """An image, (C, H, W) of bytes, or of bools in mode "1", as a lossless file."""
    if mode != "1":
        return encode(image, form)
    picture = Image.fromarray((image[0].numpy() * 255).astype(np.uint8)).convert("1")
    content = io.BytesIO()
    (picture.convert("L") if form == "WebP" else picture).save(content, form, **options)
    return content.getvalue()


def general(array: np.ndarray) -> dict[str, int]:
    """Bytes of an array by compressors that know nothing of it, at their highest setting."""
    raw = array.tobytes()
    return {
        "as it is": len(raw),
        "bz2": len(bz2.compress(raw, 9)),
        "lzma": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
    }


def clock() -> tuple[float, float]:
    """Seconds on the wall, and of the processor, which another's work does not lengthen much."""
    return time.perf_counter(), time.process_time()


def coded(bfn: BFN, x: Tensor, n: int, lanes: int) -> dict:
    """What the messages take, and whether nothing is lost."""
    clocks = [clock()]
    packed = compress(bfn, x, n, lanes=lanes, seed=SEED)
    clocks.append(clock())
    back = decompress(bfn, packed)
    clocks.append(clock())
    pack, unpack = (
        [float(later - earlier) for earlier, later in zip(*pair, strict=True)]
        for pair in itertools.pairwise(clocks)
    )
    bill = elbo(bfn, x, n, repeats=4, batch_size=50, generator=seeded()).total.bits()
    row = {
        "file bytes": packed.file_bytes,
        "net bytes": round(packed.net_bits / 8, 1),
        "seed bytes": packed.seed_bits // 8,
        "-ELBO(n) bytes": round(bill.mean * len(x) / 8, 1),
        "standard error": round(bill.standard_error * len(x) / 8, 1),
        "nothing lost": bool(torch.equal(back, x)),
        "seconds to pack": round(pack[0], 1),
        "seconds to unpack": round(unpack[0], 1),
        "CPU seconds to pack": round(pack[1], 1),
        "CPU seconds to unpack": round(unpack[1], 1),
    }
    print(n, row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(SOURCES))
    parser.add_argument("--count", type=int, help="examples")
    parser.add_argument("--n", type=int, nargs="+", help="messages")
    parser.add_argument("--lanes", type=int, help="examples coded at once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count, ns = options.count or COUNTS[options.name], options.n or NS[options.name]
    lanes = options.lanes or LANES[options.name]
    bfn, x, others, name = SOURCES[options.name](count)
    print(name, others, flush=True)
    words = [f"python -m tools.compression {options.name}"]
    words += [f"--count {options.count}"] if options.count else []
    words += [f"--n {' '.join(map(str, ns))}"] if options.n else []
    words += [f"--lanes {options.lanes}"] if options.lanes else []
    facts = {
        "data": name, "examples": len(x), "variables": x[0].numel(), "seed": SEED,
        "device": "cpu", "threads": 1,
        "weights bytes": sum(4 * p.numel() for p in bfn.parameters()),
        "other codes": others,
    }
    about = {
        "command": " ".join(words), "lanes": lanes,
        "versions": {**versions(), "pillow": PIL.__version__},
    }
    for n in ns:
        row = {**coded(bfn, x, n, lanes), **about}
        record = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
        keep(record, options.name, facts, row, n)
        write(TARGET, {name: timed(record[name]) for name in SOURCES if name in record})
    renew_digests()


def keep(record: dict, name: str, facts: dict, row: dict, n: int) -> None:
    """Put a row into the record, beside those of the same data that it has."""
    entry = record.get(name, {})
    same = all(entry.get(key) == value for key, value in facts.items())
    rows = {**(entry["messages"] if same else {}), str(n): row}
    record[name] = {**facts, "messages": dict(sorted(rows.items(), key=lambda pair: int(pair[0])))}


def timed(entry: dict) -> dict:
    """The entry, whose rows say how fast it went: kB of the data as they are, by the processor's
    clock, or where that was not read by the one on the wall.
    """
    size = entry["other codes"]["as it is"] / 1000
    for row in entry["messages"].values():
        clock = "CPU seconds" if "CPU seconds to pack" in row else "seconds"
        for way in ("pack", "unpack"):
            row[f"kB/s {way}ed"] = float(f"{size / row[f'{clock} to {way}']:.3g}")
        row["kB/s by"] = clock
    return entry


if __name__ == "__main__":
    main()
