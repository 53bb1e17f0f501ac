"""The code cells of a notebook, run one by one in this process."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import matplotlib
import nbformat
import pytest

from bfn_core.training import reader
from tests.book import ROOT, assigned

TRAINS = ("07_mnist", "08_cifar10", "09_text8")  # the notebooks with a run of the reader's own


def code_cells(name: str) -> list[tuple[str, str]]:
    """Of each code cell the section it stands in and its source; without the one for Colab."""
    book, section, found = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4), "", []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            heads = [line for line in cell.source.splitlines() if line.startswith("## ")]
            section = heads[-1].removeprefix("## ") if heads else section
        elif "google" not in cell.source:
            found.append((section, cell.source))
    return found


def training(sources: list[str]) -> int:
    """The place of the cell that trains."""
    (at,) = [i for i, source in enumerate(sources) if "train_or_load(settings" in source]
    return at


def needed(sources: list[str], at: int) -> list[int]:
    """The places of the cells without which that at `at` cannot run, and its own."""
    places, wanted = [], set()
    for place in range(at, -1, -1):
        tree = ast.parse(sources[place])
        nodes = list(ast.walk(tree))
        imported = {alias.asname or alias.name for node in nodes
                    if isinstance(node, ast.ImportFrom | ast.Import) for alias in node.names}
        if place == at or wanted & (imported | assigned(tree)):
            wanted |= {node.id for node in nodes if isinstance(node, ast.Name)}
            places.append(place)
    return places[::-1]


@pytest.fixture
def run_cell(monkeypatch, tmp_path):
    """A function (source, names) that runs a cell as Jupyter would, in the notebooks' folder."""
    # A folder of its own, so that no run of another test is gone on with.
    monkeypatch.setattr(reader, "_temporary", lambda name: SimpleNamespace(name=tmp_path / name))
    monkeypatch.chdir(ROOT / "notebooks")
    matplotlib.use("Agg")
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    return lambda source, names: exec(compile(source, "<cell>", "exec"), names)
