"""Notebooks that train, on a pretended GPU: the cells that follow use a CPU's tensors."""

import os

import pytest
import torch

from tests.accelerator import Pretend
from tests.book import ROOT
from tests.cells import code_cells, needed, run_cell, training  # noqa: F401

TRAINS = ("07_mnist", "09_text8")  # 08 goes on as 07 does, and takes longer
AFTER = 4  # code cells after the one that trains, of which some use what was trained


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("name", TRAINS)
def test_what_follows_training_works_on_a_gpu(kind, name, run_cell, one_thread):  # noqa: F811
    sources = [source for _, source in code_cells(name)]
    at = training(sources)
    names = {"__name__": "notebook"}
    with Pretend(kind) as device:
        for place in [*needed(sources, at), *range(at + 1, at + 1 + AFTER)]:
            run_cell(sources[place], names)
        assert device.calls  # it was trained there
    bfn = names["result"].bfn
    assert {p.device.type for p in bfn.parameters()} == {"cpu"}
    assert os.getcwd() == str(ROOT / "notebooks") and not torch.cuda.is_available()
