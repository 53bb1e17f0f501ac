"""What drawing in the browser weighs, costs and loses; writes assets/drawing.json.

    python -m tools.measure_drawing              with Chromium, onnxruntime and MNIST at hand

Times are the processor's, of a page's only thread: those of a clock would be of whatever else the
machine does, too. Chromium slows the thread down to act as a weaker machine. What the weights lose
in 16 bits is the difference of two bills of the same test digits with the same noise, once by torch
in 32 bits and once by ONNX Runtime with the file that the page loads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import sys
import tempfile
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from bfn_core import BFN, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.likelihood import Estimate
from bfn_core.training import shipped
from tests.chromium import playing
from tests.files import served
from tools import drawing
from tools.record import renew_digests, weights, write

TARGET = CHECKOUT / "drawing.json"
SLOWER = (1, 4, 6)  # times
COUNTS = (1, 4, 8)  # candidates of one call
CALLS = 20
DIGITS, SEED = 1000, 0

OPEN = """async () => {
  const { open } = await import("./network.js");
  window.network = await open();
}"""
CALL = """async ([count, calls]) => {
  const theta = new Float32Array(count * 1568).fill(0.5);
  for (let k = 0; k < calls; k++) {
    await window.network(theta, Array(count).fill(k / calls), Array(count).fill(3));
  }
}"""


class Engine(nn.Module):
    """The network in the file, run by ONNX Runtime."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(model)

    def forward(self, theta, t, label=None):
        label = torch.full(t.shape, -1) if label is None else label
        inputs = {"theta": theta.numpy(), "t": t.numpy(), "label": label.numpy()}
        return torch.from_numpy(self.session.run(["raw"], inputs)[0])


def lost(model: bytes) -> dict:
    """Nats per digit by either engine, and their difference."""
    bfn = shipped(drawing.MODEL)
    pixels = data.mnist(stand_in=False).test[:DIGITS]
    test = data.binarise(pixels, generator=torch.Generator().manual_seed(SEED))

    @torch.no_grad()
    def bill(bfn):
        rng = torch.Generator().manual_seed(SEED)
        return torch.cat([bfn.loss(x, generator=rng) + bfn.reconstruction_loss(x, generator=rng)
                          for x in test.split(100)])

    whole, rounded = bill(bfn), bill(BFN(bfn.flow, Engine(model)))
    more = Estimate.of(rounded - whole)
    return {"digits": len(test), "seed": SEED, "nats": float(whole.mean()),
            "nats in 16 bits": float(rounded.mean()), "more": more.mean,
            "standard error of more": more.standard_error}


def times(browser, address: str, slower: int) -> dict:
    """Milliseconds of the thread to start, and of one call for so many candidates."""
    page = browser.new_page()
    page.goto(f"{address}empty.html")
    asked = page.context.new_cdp_session(page)
    asked.send("Performance.enable", {"timeDomain": "threadTicks"})
    asked.send("Emulation.setCPUThrottlingRate", {"rate": slower})

    def spent() -> float:
        metrics = asked.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    before = spent()
    page.evaluate(OPEN)
    found = {"start": spent() - before}
    for count in COUNTS:
        page.evaluate(CALL, [count, 3])
        before = spent()
        page.evaluate(CALL, [count, CALLS])
        found[str(count)] = (spent() - before) / CALLS
    page.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drawing.write(folder)
        (folder / "empty.html").write_text("<!doctype html>", "utf-8", newline="\n")
        record = {
            "command": "python -m tools.measure_drawing",
            "weights": weights(drawing.MODEL),
            "bytes": {name: (folder / name).stat().st_size for name in drawing.LOADED},
            "lost": lost(gzip.decompress((folder / "model.onnx.gz").read_bytes())),
        }
        with playing("nothing was measured") as launch, launch() as browser, \
                served(folder) as address:
            record["milliseconds"] = {str(s): times(browser, address, s) for s in SLOWER}
            record["browser"] = f"Chromium {browser.version}"
    record["machine"] = platform.machine()
    write(TARGET, record)
    renew_digests()
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
