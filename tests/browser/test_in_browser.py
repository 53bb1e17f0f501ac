"""A network that draws in JupyterLab: the kernel hands over, and then it is not asked again."""

import base64
import hashlib

import pytest

from bfn_core.data.files import DataError
from bfn_core.views.kit import in_browser
from tests.browser.turning import PATIENCE
from tests.chromium import unavailable
from tools.notebooks import as_text, from_percent

pytestmark = pytest.mark.browser

# Untrained networks, which are quick.
NOTEBOOK = """
# %%
import matplotlib.pyplot as plt
import torch
from bfn_core import BFN, DiscreteFlow
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.views.kit.in_browser import InBrowser

torch.manual_seed(0)
small = UNet(1, classes=2, channels=8, multipliers=(1, 2), blocks=1, labels=10)
figure, _ = plt.subplots(figsize=(3, 2))
drawn = InBrowser(BFN(DiscreteFlow(2, 9.0), small), figure, description="A picture.")
drawn
# %%
figure, _ = plt.subplots(figsize=(3, 2))
letters = Transformer(27, 128, layers=1, width=32, positions="rotary")
written = InBrowser(BFN(DiscreteFlow(27, 0.6), letters), figure, description="A line.",
                    length=128, bits=8)
written
# %%
import bfn_core.views.kit.in_browser as module

def missing():
    raise module.DataError("it could not be fetched")

LATER
"""
MISSING = "module.runtime = missing"
DONE = ("place => place.dataset.done === 'yes'"
        " && place.dataset.state.split('/')[0] === place.dataset.state.split('/')[1]")


@pytest.fixture(scope="module")
def files():
    """The runtime's files."""
    try:
        return in_browser.runtime()
    except DataError as error:
        unavailable(f"No network ran in a notebook: {error}")


@pytest.fixture
def opened(server, open_notebook, files):
    """A function that opens the notebook, with a last line of its own."""
    notebooks = []

    def opened(later=""):
        text = as_text(from_percent(NOTEBOOK.replace("LATER", later or "pass")))
        (server.book / "in_browser.ipynb").write_text(text, "utf-8")
        notebooks.append(open_notebook("in_browser.ipynb"))
        notebooks[-1].run_all()
        return notebooks[-1]

    yield opened
    assert [(n.errors(), n.console) for n in notebooks] == [([], [])] * len(notebooks)


def begun(notebook, number):
    """Press the button of one, and wait until its network has drawn or written."""
    place = notebook.page.locator(".draw").nth(number)
    place.scroll_into_view_if_needed()
    assert place.locator(".draw-still").is_visible()
    place.locator(".draw-invite button").click()
    rest(notebook, place)
    assert not place.locator(".draw-still").is_visible()
    return place


def rest(notebook, place):
    """Wait until the newest picture is whole."""
    notebook.page.wait_for_function(DONE, arg=place.element_handle(), timeout=PATIENCE)


def test_it_draws_when_asked_and_the_kernel_is_not_asked_again(opened, artefacts):
    notebook = opened()
    page = notebook.page
    place = begun(notebook, 0)
    assert notebook.foreign == []
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    canvas = place.locator(".draw-pad canvas")
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    page.mouse.move(area["x"] + 90, area["y"] + 90)
    page.mouse.down()
    page.mouse.move(area["x"] + 190, area["y"] + 190, steps=5)
    page.mouse.up()
    rest(notebook, place)
    assert "nats for your pixels" in place.inner_text()
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):  # Lab would go to another cell
        page.keyboard.press(key)
    rest(notebook, place)
    assert canvas.evaluate("c => c === document.activeElement")
    place.locator("select[name=quick]").select_option("1")
    rest(notebook, place)
    assert "10 of 10" in place.inner_text() and "no price" in place.inner_text()
    place.screenshot(path=artefacts / "drawn.png")


def test_it_writes_too(opened, artefacts):
    notebook = opened()
    place = begun(notebook, 1)
    line = place.locator("input[name=line]")
    line.fill("a d_d line")  # in Lab two d's would delete the cell
    rest(notebook, place)
    assert place.locator(".write-sheet .gap").count() == 1
    assert place.locator(".write-sheet .given").count() == 9
    place.screenshot(path=artefacts / "written.png")


def test_where_the_kernel_has_no_runtime_the_browser_fetches_what_has_its_digests(opened, files):
    notebook = opened(MISSING)
    asked, files = [], dict(files)

    def answer(route):
        asked.append(route.request.url)
        name = route.request.url.removeprefix(in_browser.HOST)
        headers = {"access-control-allow-origin": "*"}
        kind = "text/javascript" if name.endswith("mjs") else "application/wasm"
        route.fulfill(body=files[in_browser.PARTS[name][0]], headers=headers, content_type=kind)

    notebook.page.route(f"{in_browser.HOST}**", answer)
    files["ort.wasm.gz"] = in_browser.gzip.decompress(files["ort.wasm.gz"])
    begun(notebook, 0)
    assert asked == [in_browser.HOST + part for part in in_browser.PARTS]
    notebook.foreign.clear()
    files["ort.mjs"] += b" "  # another file than was promised
    place = notebook.page.locator(".draw").nth(1)
    place.locator(".draw-invite button").click()
    alert = place.locator("[role=alert]")
    alert.wait_for(timeout=PATIENCE)
    assert "could not start it" in alert.inner_text()
    assert place.locator(".draw-still").is_visible()
    notebook.console.clear()  # that the digest is wrong is told there


def test_the_digests_are_those_of_the_files(files):
    for part, (name, digest) in in_browser.PARTS.items():
        content = files[name]
        content = in_browser.gzip.decompress(content) if name.endswith(".gz") else content
        assert base64.b64encode(hashlib.sha256(content).digest()).decode() == digest, part
    assert sum(map(len, files.values())) == pytest.approx(in_browser.RUNTIME_BYTES, rel=0.02)
