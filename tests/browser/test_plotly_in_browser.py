"""The tetrahedron in a real browser: it turns under the mouse, plays, and tells what is pointed at.

Here in JupyterLab; tests/browser/test_site.py puts the website's to the same test.
"""

import nbformat
import pytest

from tests.browser.lab import ROOT
from tests.browser.turning import STOPPED, Turning
from tools.notebooks import as_text, from_percent

pytestmark = pytest.mark.browser

ALIVE = """
# %%
from bfn_core.views import simplex

simplex.tetrahedron()
"""


def test_it_turns_and_plays_in_jupyterlab(server, open_notebook, artefacts):
    (server.book / "tetrahedron.ipynb").write_text(as_text(from_percent(ALIVE)), "utf-8")
    notebook = open_notebook("tetrahedron.ipynb")
    notebook.run_all()
    figure = Turning(notebook.page, notebook.page.locator(".jp-RenderedPlotly"))
    figure.test(artefacts)
    assert notebook.errors() == notebook.foreign == []
    assert [line for line in notebook.console if line not in STOPPED] == []


def test_it_is_alive_in_a_notebook_that_was_not_run(server, open_notebook):
    """The committed output is drawn at once: no cell is run, no mouse comes over a picture."""
    book = nbformat.read(ROOT / "notebooks" / "04_simplex.ipynb", as_version=4)
    book.cells = [cell for cell in book.cells if "simplex.tetrahedron()" in cell.source]
    (server.book / "stored.ipynb").write_text(as_text(book), "utf-8")
    notebook = open_notebook("stored.ipynb")
    figure = Turning(notebook.page, notebook.page.locator(".jp-RenderedPlotly"))
    figure.wait_until_drawn()
    figure.turn()
    assert notebook.foreign == []


CHART = """
# %%
from bfn_core import data
from bfn_core.views.kit import records

record = data.record("mnist")
records.curve(record, {"the paper": 77.87}, "A curve that falls from left to right, in nats.",
              limits=(75, 105))
"""


def test_a_chart_keeps_its_height_when_the_window_changes(server, open_notebook):
    (server.book / "chart.ipynb").write_text(as_text(from_percent(CHART)), "utf-8")
    notebook = open_notebook("chart.ipynb")
    notebook.run_all()
    chart = notebook.page.locator(".jp-RenderedPlotly .main-svg").first
    chart.wait_for()
    before = chart.bounding_box()
    notebook.page.set_viewport_size({"width": 1000, "height": 1500})
    notebook.page.wait_for_timeout(1500)
    after = chart.bounding_box()
    assert after["height"] == before["height"] > 300
    assert after["width"] < before["width"]  # and fits its place
