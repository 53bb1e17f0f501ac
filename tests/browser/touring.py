"""A notebook in a real browser: all cells run, and all that can be moved moves its picture.

Two files of tests share the notebooks, so that two processes can.
"""

import os

from tests.browser.lab import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVEN = [path for path in NOTEBOOKS if int(path.stem[:2]) % 2 == 0]
ODD = [path for path in NOTEBOOKS if path not in EVEN]


def tour(path, open_notebook, artefacts, record):
    """Open a notebook, run it, and move everything."""
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
    assert notebook.console == [], notebook.console
    assert notebook.foreign == []
