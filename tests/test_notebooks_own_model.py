"""The notebooks that train, with the reader's own model in the place of the shipped one."""

import re

import pytest

from bfn_core.training import load
from tests.book import ROOT
from tests.cells import TRAINS, code_cells, needed, run_cell, training  # noqa: F401

SHOWS = re.compile(r"\bbfn\b(?!_core)")  # in a cell: it shows the model
SWITCH = 'MODEL = "shipped"'


def files():
    """What lies in the checkout, but for what Python itself leaves."""
    folders = ("notebooks", "runs", "assets", "bfn_core")
    return {path for folder in folders for path in (ROOT / folder).rglob("*")
            if "__pycache__" not in path.parts}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINS)
def test_every_section_shows_the_readers_model(name, run_cell, capsys, one_thread):  # noqa: F811
    before = files()
    cells = code_cells(name)
    sources = [source for _, source in cells]
    assert sum(source.count(SWITCH) for source in sources) == 1
    names, at = {"__name__": "notebook"}, training(sources)
    for place in needed(sources, at):
        run_cell(sources[place], names)
    assert names["result"].finished and names["chosen"].name == "the shipped model"

    said = {}
    capsys.readouterr()
    for section, source in cells:  # as whoever comes back to it
        run_cell(source.replace(SWITCH, 'MODEL = "mine"'), names)
        said[section] = said.get(section, "") + capsys.readouterr().out
    assert "is complete" in names["panel"].said[0]
    learnt = load(names["folder"]).state_dict()
    shown = names["bfn"].state_dict()
    assert all(bool((shown[key] == learnt[key]).all()) for key in learnt)
    for section in {section for section, source in cells if SHOWS.search(source)}:
        if section != "Exercises":
            assert re.search("[Yy]our model", said[section]), f"{section}: {said[section]}"
    assert files() == before
