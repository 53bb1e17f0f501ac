"""Notebooks that train, on a pretended GPU: the cells that follow use a CPU's tensors."""

import os

import matplotlib
import nbformat
import pytest
import torch

from tests.accelerator import Pretend
from tests.book import ROOT

# Of each notebook, how many code cells after the one that trains use what was trained.
AFTER = {"07_mnist": 1, "09_text8": 1}  # 08 trains two models and keeps their figures only


def cells_until_used(name, after):
    """The code cells up to the training cell, without the one for Colab, and `after` more."""
    book = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    code = [c.source for c in book.cells if c.cell_type == "code" and "google" not in c.source]
    (at,) = [i for i, source in enumerate(code) if "= train(" in source]
    return code[: at + 1 + after]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("name", AFTER)
def test_what_follows_training_works_on_a_gpu(kind, name, monkeypatch, one_thread):
    monkeypatch.chdir(ROOT / "notebooks")
    matplotlib.use("Agg")
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    names = {"__name__": "notebook"}
    with Pretend(kind) as device:
        for source in cells_until_used(name, AFTER[name]):
            exec(compile(source, f"<cell of {name}>", "exec"), names)
        assert device.calls  # it was trained there
    bfn = names["result"].bfn
    assert {p.device.type for p in bfn.parameters()} == {"cpu"}
    assert os.getcwd() == str(ROOT / "notebooks") and not torch.cuda.is_available()
