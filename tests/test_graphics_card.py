"""Networks on a graphics card, in a browser whose processor acts as one (SwiftShader)."""

import pytest
import torch
from torch import nn

from bfn_core.data.files import DataError
from bfn_core.networks.onnx_graph import written
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.views.kit import browser, in_browser
from tests.chromium import FLAGS, playing, unavailable
from tests.files import served

pytestmark = pytest.mark.browser
SCRIPT = "network"
ON = [flag for flag in FLAGS if flag != "--disable-gpu"] + ["--enable-unsafe-webgpu"]

# Small, and made so that each operator of the shipped ones comes up.
NETWORKS = {
    "UNet": lambda: UNet(1, classes=2, channels=8, multipliers=(1, 2), blocks=1, labels=10,
                         attention=(14,), patch=1),
    "Transformer": lambda: Transformer(27, 16, layers=1, heads=2, width=16, positions="rotary"),
}
OPEN = """async ([kind, names, theta, t, label]) => {
  const { fetched, hasCard, ofLetters, ofPixels, open } = await import("./network.js");
  const get = (name) => fetched(name, () => 0);
  const [model, ...runtime] = await Promise.all(["model.onnx", ...names].map(get));
  const run = await open(runtime, model, "webgpu");
  const network = kind === "UNet" ? ofPixels(run) : ofLetters(run, 27);
  return [[...await network(Float32Array.from(theta), t, label)], await hasCard()];
}"""
COMPARE = """async ([calls, patience]) => {
  const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const made = ([ms, values, words]) => async (inputs) => {
    await wait(ms);
    if (words) throw new Error(words);
    return values.map((value) => value === "nan" ? NaN : value * inputs);
  };
  const [wasm, card] = calls.map(made);
  const opening = wait(calls[1][3] ?? 0).then(() => card);
  const { run, why, milliseconds } = await window.ours.compared(wasm, opening, 2, patience);
  return [why ?? (run === card ? "card" : "?"), milliseconds];
}"""


@pytest.fixture(scope="module")
def chromium():
    """A Chromium that may compute on a card."""
    with playing("no graphics card was tried") as launch, launch(args=ON) as found:
        yield found


@pytest.mark.parametrize(("card", "end"), [
    ([5, [1, -3]], "card"),
    ([5, [1.0004, -3.002]], "card"),
    ([5, [1, -3.01]], "the graphics card computes something else"),
    ([5, [1, "nan"]], "the graphics card computes something else"),
    ([90, [1, -3]], "the graphics card is not quicker"),
    ([5, [1, -3], "lost"], "the graphics card failed: lost"),
    ([5, [1, -3], "", 3000], "it is not ready in time"),
])
def test_a_card_is_taken_if_it_gives_the_same_sooner(chromium, card, end):
    page = chromium.new_page()
    page.evaluate("async (script) => { window.ours = await import(URL.createObjectURL("
                  "new Blob([script], { type: 'text/javascript' }))); }", browser.script(SCRIPT))
    found, spent = page.evaluate(COMPARE, [[[40, [1, -3]], card], 2000])
    page.close()
    assert found == end
    if end == "card":
        assert spent["webgpu"] < spent["wasm"] and spent["wasm"] >= 39


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_card_says_what_torch_says(chromium, tmp_path, kind):
    try:
        files = in_browser.runtime(card=True)
    except DataError as error:
        unavailable(f"No network ran on a card: {error}")
    page = chromium.new_page()
    (tmp_path / "empty.html").write_text("<!doctype html>", "utf-8")
    torch.manual_seed(0)
    network = NETWORKS[kind]().eval()
    for weight in network.parameters():  # zeros would hide what they multiply
        nn.init.normal_(weight, std=0.2)
    t = torch.tensor([0.2, 0.9])
    shape = (2, 1, 28, 28, 2) if kind == "UNet" else (2, 12, 27)
    theta = torch.rand(shape).softmax(-1)
    label = torch.tensor([3, -1])
    with torch.no_grad():
        raw = network(theta, t, label) if kind == "UNet" else network(theta, t)
    for name, content in {**files, "model.onnx": written(network, 32),
                          "network.js": browser.script(SCRIPT).encode()}.items():
        (tmp_path / name).write_bytes(content)
    with served(tmp_path) as address:
        page.goto(f"{address}empty.html")
        if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
            unavailable("This Chromium has nothing that acts as a graphics card (SwiftShader).")
        found, real = page.evaluate(
            OPEN, [kind, list(files), theta.flatten().tolist(), t.tolist(), label.tolist()])
    page.close()
    assert (torch.tensor(found).view_as(raw) - raw).abs().max() < 1e-3
    assert not real  # a processor that acts as a card is none to go over to
