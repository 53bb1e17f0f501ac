"""Data on a grid, and a model that does not know it: who pays what."""

import math

import pytest
import torch

from bfn_core import ExactBFN, elbo
from bfn_core.grid import grid_bills, grid_models


def test_the_two_bills_of_the_grid():
    """Who knows the grid pays the entropy; who does not goes on paying ln(σ/σ') per variable."""
    t, knowing, smooth = grid_bills(0.02)
    model, fine = grid_models(0.02)
    assert isinstance(model, ExactBFN)
    assert float(knowing[-1]) == pytest.approx(model.entropy() / math.log(2), abs=0.05)
    assert float(fine.log_weights.exp().sum()) == pytest.approx(1)
    bill = elbo(fine, model.data[[0, 4]].repeat(60, 1), generator=torch.Generator().manual_seed(0))
    assert float(smooth[-1]) > float(knowing[-1]) + 3
    assert float(smooth[-1]) == pytest.approx(bill.messages.bits().mean, abs=1.0)
    slope = (smooth[-1] - smooth[-15]) / (t[-1] - t[-15])  # bits per unit of time, two variables
    assert float(slope) == pytest.approx(2 * math.log2(1 / 0.02), rel=0.15)
