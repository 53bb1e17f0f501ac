"""Notebook 07's training cell in a real browser: its button stops the run while the cell runs."""

import nbformat
import pytest

from tests.cells import code_cells, needed, training
from tools.notebooks import METADATA

pytestmark = pytest.mark.browser
STEPS = "steps=40"


def page(folder):
    """The training cell, what it needs and the cells that follow, with a run that is too long."""
    sources = [source for _, source in code_cells("07_mnist")]
    at = training(sources)
    kept = [*needed(sources, at), *range(at + 1, at + 5)]
    assert sum(sources[place].count(STEPS) for place in kept) == 1
    cells = [sources[place].replace(STEPS, "steps=100_000") for place in kept]
    cells = [cell.replace('MODEL = "shipped"', 'MODEL = "mine"') for cell in cells]
    cells.append("print(result.step, choose('mnist', 'mine', folder).says)")
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.write(book, folder / "training.ipynb")


def test_the_button_stops_the_run_and_what_follows_has_the_model(server, open_notebook, artefacts):
    page(server.book)
    notebook = open_notebook("training.ipynb")
    seen = notebook.page
    seen.evaluate("() => { window.ended = jupyterapp.commands.execute('notebook:run-all-cells') }")
    box = seen.locator(".bfn-live")
    box.get_by_text("to go").first.wait_for(timeout=240_000)
    box.locator(".widget-image").nth(1).wait_for(timeout=240_000)  # samples: it was judged once
    box.screenshot(path=artefacts / "running.png")
    box.get_by_role("button").click()
    seen.set_default_timeout(240_000)
    seen.evaluate("() => window.ended")
    box.scroll_into_view_if_needed()
    box.screenshot(path=artefacts / "stopped.png")
    notebook.save_pictures(artefacts)
    assert notebook.errors() == [] and notebook.console == []
    assert box.get_by_text("Stopped after step").is_visible()
    said = seen.locator(".jp-OutputArea-output").last.inner_text()
    assert "Your model" in said and "of 100,000 steps" in said and not said.startswith("100000 ")
