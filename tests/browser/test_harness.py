"""The harness itself: what it must notice, it notices, on a notebook made for the purpose."""

import pytest

from tests.browser.lab import StillPicture
from tools.notebooks import as_text, from_percent

pytestmark = pytest.mark.browser

NOTEBOOK = '''
# %%
import struct, zlib
import anywidget, ipywidgets, traitlets
from IPython.display import HTML, display

def png(grey):
    """One grey pixel."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, grey]))
    return (b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel)
            + chunk(b"IEND", b""))

def explorer(*parts):
    box = ipywidgets.VBox(parts)
    box.add_class("bfn-explorer")
    display(box)

# %%
slider = ipywidgets.IntSlider(description="grey", min=0, max=255, value=255)
image = ipywidgets.Image(value=png(255), width=80, height=80)
button = ipywidgets.Button(description="back to the start")
slider.observe(lambda change: setattr(image, "value", png(change["new"])), "value")
button.on_click(lambda _: setattr(slider, "value", 255))
play = ipywidgets.Play(min=0, max=255, interval=60)
play.observe(lambda change: setattr(slider, "value", change["new"]), "value")
explorer(slider, play, button, image)

# %%
class Drawn(anywidget.AnyWidget):
    _esm = """
    function render({ el }) {
      const range = Object.assign(document.createElement("input"), { type: "range", value: 50 });
      range.dataset.lmSuppressShortcuts = "";
      const canvas = Object.assign(document.createElement("canvas"), { width: 120, height: 20 });
      const pen = canvas.getContext("2d");
      const draw = () => { canvas.width = 120; pen.fillRect(0, 0, range.valueAsNumber, 20); };
      range.addEventListener("input", draw);
      draw();
      el.append(range, canvas);
    }
    export default { render };
    """
explorer(Drawn())

# %%
explorer(ipywidgets.IntSlider(description="deaf"), ipywidgets.Image(value=png(80), width=80))

# %%
image4 = ipywidgets.Image(value=png(0), width=80, height=80)
slider4 = ipywidgets.IntSlider()
slider4.observe(lambda change: setattr(image4, "value", png(change["new"])), "value")
explorer(slider4, ipywidgets.Button(description="dead"), image4)

# %%
display(HTML('<img src="http://elsewhere.invalid/x.png"><script>console.error("ours")</script>'))

# %%
import sys
print("a warning", file=sys.stderr)
1 / 0
'''


@pytest.fixture
def notebook(server, open_notebook):
    (server.book / "harness.ipynb").write_text(as_text(from_percent(NOTEBOOK)), "utf-8")
    notebook = open_notebook("harness.ipynb")
    notebook.run_all()
    return notebook


def test_the_harness_notices_what_it_must(notebook, artefacts):
    live, drawn, deaf, dead_button = notebook.explorers()
    notebook.save_pictures(artefacts, tall=400)
    tops = {path.read_bytes() for path in artefacts.glob("notebook-*.png")}
    assert len(tops) > 2  # each shows another part

    live.tour(artefacts)
    assert len(live.latencies) >= 4 and all(0 < ms < 10_000 for ms in live.latencies)
    drawn.tour(artefacts)
    assert len(drawn.latencies) == 4
    assert len(live.redraws) == len(drawn.redraws) == 1
    assert live.redraws[0] > 0 and drawn.redraws[0] > 0
    deaf.patience = dead_button.patience = 2
    with pytest.raises(StillPicture, match="“deaf” was moved by keyboard"):
        deaf.tour(artefacts)
    with pytest.raises(StillPicture, match="“dead” was pressed"):
        dead_button.tour(artefacts)

    assert len(live.nameless()) == len(drawn.nameless()) == 1
    live.box.locator(".noUi-handle").evaluate("h => { h.parentElement.inert = true; }")
    with pytest.raises(StillPicture, match="Tab never comes"):
        live.walk_by_tab()

    assert any("ZeroDivisionError" in error for error in notebook.errors())
    assert any("a warning" in error for error in notebook.errors())
    assert any("ours" in line for line in notebook.console)
    assert set(notebook.foreign) == {"http://elsewhere.invalid/x.png"}
    ends = {p.name: p.read_bytes() for p in artefacts.glob("explorer-2-slider-1-*.png")}
    assert len(ends) == len(set(ends.values())) == 3  # min, middle and max look different
