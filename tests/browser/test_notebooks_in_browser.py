"""Every notebook in a real browser: all cells run, and all that can be moved moves its picture."""

import os

import pytest

from tests.browser.lab import ROOT

pytestmark = pytest.mark.browser
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_its_explorers_move(path, open_notebook, artefacts, record):
    notebook = open_notebook(f"notebooks/{path.name}")
    notebook.run_all()
    notebook.save_pictures(artefacts)
    assert notebook.errors() == []
    # Nobody looks at pictures that a CI machine made, and they take half of the time.
    pictures = os.environ.get("CI") != "true"
    explorers = notebook.explorers()
    assert explorers, "the notebook shows no explorer"
    for explorer in explorers:
        explorer.tour(artefacts, pictures=pictures)
        assert explorer.nameless() == []
        record(f"{path.stem} {explorer.number}", explorer)
    assert notebook.errors() == []
    assert notebook.console == []
    assert notebook.foreign == []
