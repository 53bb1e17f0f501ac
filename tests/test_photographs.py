"""Photographs told step by step: a walk follows the flow, its bits add up, and edges are found."""

import math

import pytest
import torch

from bfn_core import BFN, DiscretisedFlow, GaussianParameters, data, photographs
from tests.oracles import Copy

SIGMA = 1e-3
X = data.quantise(data.photographs()[[1, 7, 8, 13]])


@pytest.fixture(scope="module")
def copying():
    return BFN(DiscretisedFlow(256, SIGMA), Copy())


@pytest.fixture(scope="module")
def walk(copying):
    return photographs.walk(copying, X, n=16, seed=1)


def test_a_walk_follows_the_flow(copying, walk):
    """Sixteen updates leave Bob where one draw from the flow would (77)."""
    assert walk.times.tolist() == [i / 16 for i in range(17)]
    assert torch.equal(walk.beliefs[0], torch.zeros_like(X))
    for i in (3, 9, 16):
        gamma = copying.flow.gamma(i / 16)
        noise = (walk.beliefs[i] - gamma * X) / math.sqrt(gamma * (1 - gamma))
        assert abs(float(noise.mean())) < 0.05 and float(noise.std()) == pytest.approx(1, abs=0.05)
    again = photographs.walk(copying, X, n=16, seed=1)
    assert torch.equal(walk.beliefs, again.beliefs)
    assert not torch.equal(walk.beliefs, photographs.walk(copying, X, n=16, seed=2).beliefs)


def test_whoever_copies_pays_minus_log2_sigma(walk):
    """−ln σ₁/γ nats per unit of time, but where the ends of [−1, 1] or the single bins help."""
    for i in (9, 10, 12):
        gamma = walk.bfn.flow.gamma(i / 16)
        assert float(walk.rates[i].mean()) == pytest.approx(math.log2(1000) / gamma, rel=0.05)
    assert float(walk.rates[16].mean()) < 1
    exact = walk.bfn.flow.rate_cost(X, walk.bfn.output(_theta(walk, 8), 0.5), 0.5)
    torch.testing.assert_close(walk.rates[8], exact / math.log(2), rtol=1e-4, atol=1e-4)


def _theta(walk, i):
    precision = 1 + walk.bfn.flow.beta(float(walk.times[i]))
    return GaussianParameters(walk.beliefs[i], torch.full((len(X),), precision))


def test_bits_add_up(walk):
    assert torch.equal(walk.spent[0], torch.zeros_like(X))
    one = 1 / 16 * walk.rates[1]  # at t = 0 nobody was asked
    torch.testing.assert_close(walk.spent[1], one)
    torch.testing.assert_close(walk.spent[2], one + (walk.rates[1] + walk.rates[2]) / 32)
    torch.testing.assert_close(walk.bill, walk.spent[-1] + walk.naming[-1])
    at_half = walk.bfn.output(_theta(walk, 8), 0.5)
    torch.testing.assert_close(walk.naming[8], -at_half.log_prob(X) / math.log(2), atol=1e-3,
                               rtol=1e-3)


def test_contrast_is_the_difference_to_the_neighbours():
    flat = torch.zeros(1, 3, 8, 8)
    assert float(photographs.contrast(flat).abs().max()) == 0
    flat[0, 0, 4, 4] = 3 * 2 / 256
    found = photographs.contrast(flat)
    assert float(found[0, 0, 4, 4]) == pytest.approx(3)
    assert float(found[0, 0, 4, 5]) == float(found[0, 0, 3, 4]) == pytest.approx(0.75)
    assert float(found.sum()) == pytest.approx(6)


def test_groups_by_contrast_hold_every_value_once(walk):
    contrast, bits = photographs.by_contrast(walk, groups=4)
    assert contrast.tolist() == sorted(contrast.tolist())
    assert float(contrast.mean()) == pytest.approx(float(photographs.contrast(X).mean()), rel=1e-5)
    assert float(bits.mean()) == pytest.approx(float(walk.bill.mean()), rel=1e-5)
