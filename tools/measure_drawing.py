"""What drawing and writing in the browser weigh, cost and lose; writes assets/drawing.json.

    python -m tools.measure_drawing              with Chromium, onnxruntime, MNIST and text8 at hand

Times are the processor's, of a page's only thread: those of a clock would be of whatever else the
machine does, too. Chromium slows the thread down to act as a weaker machine. What the weights lose
in 16 or 8 bits is the difference of two bills of the same test data with the same noise, once by
torch in 32 bits and once by ONNX Runtime with the file that the page loads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
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
from bfn_core.views.kit.browser import script
from tests.chromium import playing
from tests.files import served
from tools import drawing
from tools.record import renew_digests, weights, write

TARGET = CHECKOUT / "drawing.json"
COUNTS = (1, 4)  # candidates of one call
CALLS = {1: 20, 4: 6, 6: 4}  # of a thread that is so many times slower
DIGITS, LINES, SEED = 1000, 300, 0

OPEN = """async ([runtime, model]) => {
  const { fetched, ofLetters, ofPixels, open } = await import("./network.js");
  const files = await Promise.all(runtime.map((name) => fetched(name, () => 0)));
  const run = await open(files, await fetched(model, () => 0));
  window.network = model.startsWith("text8") ? ofLetters(run, 27) : ofPixels(run);
}"""
CALL = """async ([count, calls, numbers, value]) => {
  const theta = new Float32Array(count * numbers).fill(value);
  for (let k = 0; k < calls; k++) {
    await window.network(theta, Array(count).fill(k / calls), Array(count).fill(3));
  }
}"""
INPUTS = {drawing.MODEL: [1568, 1 / 2], "text8": [drawing.LENGTH * 27, 1 / 27]}


class Engine(nn.Module):
    """The network in the file, run by ONNX Runtime."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(model)

    def forward(self, theta, t, label=None):
        label = torch.full(t.shape, -1) if label is None else label
        inputs = {"theta": theta.numpy(), "t": t.numpy(), "label": label.numpy()}
        wanted = {one.name: inputs[one.name] for one in self.session.get_inputs()}
        return torch.from_numpy(self.session.run(["raw"], wanted)[0])


def examples(name: str) -> tuple[torch.Tensor, float]:
    """Test data, and how many nats of an example are one of the unit that bills are told in."""
    if name == drawing.MODEL:
        pixels = data.mnist(stand_in=False).test[:DIGITS]
        return data.binarise(pixels, generator=torch.Generator().manual_seed(SEED)), 1.0
    test = data.text8(stand_in=False).test.long()
    lines = test[: len(test) // drawing.LENGTH * drawing.LENGTH].view(-1, drawing.LENGTH)
    chosen = torch.randperm(len(lines), generator=torch.Generator().manual_seed(SEED))[:LINES]
    return lines[chosen], drawing.LENGTH * math.log(2)


def lost(name: str, model: bytes) -> dict:
    """Nats per digit, or bits per character, by torch, and how much more by the page's engine."""
    bfn = shipped(name)
    test, unit = examples(name)

    @torch.no_grad()
    def bill(bfn):
        rng = torch.Generator().manual_seed(SEED)
        return torch.cat([bfn.loss(x, generator=rng) + bfn.reconstruction_loss(x, generator=rng)
                          for x in test.split(50)]) / unit

    whole, rounded = bill(bfn), bill(BFN(bfn.flow, Engine(model)))
    more = Estimate.of(rounded - whole)
    return {"examples": len(test), "seed": SEED, "bits": drawing.BITS[name],
            "whole": float(whole.mean()), "more": more.mean,
            "standard error of more": more.standard_error}


def times(browser, address: str, name: str, slower: int) -> dict:
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
    page.evaluate(OPEN, [drawing.RUNTIME, f"{name}.onnx.gz"])
    found = {"start": spent() - before}
    for count in COUNTS:
        page.evaluate(CALL, [count, 2, *INPUTS[name]])
        before = spent()
        page.evaluate(CALL, [count, CALLS[slower], *INPUTS[name]])
        found[str(count)] = (spent() - before) / CALLS[slower]
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
        (folder / "network.js").write_text(script("network"), "utf-8", newline="\n")
        (folder / "empty.html").write_text("<!doctype html>", "utf-8", newline="\n")
        record = {
            "command": "python -m tools.measure_drawing",
            "weights": {name: weights(name) for name in drawing.BITS},
            "bytes": {name: (folder / name).stat().st_size
                      for name in dict.fromkeys((*drawing.LOADED, *drawing.WRITES))},
            "lost": {name: lost(name, gzip.decompress((folder / f"{name}.onnx.gz").read_bytes()))
                     for name in drawing.BITS},
        }
        with playing("nothing was measured") as launch, launch() as browser, \
                served(folder) as address:
            record["milliseconds"] = {
                name: {str(s): times(browser, address, name, s) for s in CALLS}
                for name in drawing.BITS}
            record["browser"] = f"Chromium {browser.version}"
    record["machine"] = platform.machine()
    write(TARGET, record)
    renew_digests()
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
