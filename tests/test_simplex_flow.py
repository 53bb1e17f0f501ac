"""The flow over the simplex as a density and as an entropy, against beliefs that were drawn."""

import math

import pytest
import torch

from bfn_core import DiscreteFlow
from bfn_core.simplex_flow import expected_entropy, flow_density, flow_ring
from tests.oracles import generator, triangle_grid

FLOW = DiscreteFlow(3, 3.0)


@pytest.mark.parametrize("x", [0, 1, 2])
@pytest.mark.parametrize("t", [0.1, 0.2, 0.35])
def test_the_density_per_area_counts_beliefs(x, t):
    theta = triangle_grid(500)
    density = flow_density(theta, x, t, FLOW)
    assert float(density.mean()) == pytest.approx(1, abs=2e-3)
    drawn = FLOW.sample_flow(torch.full((100_000,), x), t, generator=generator(x)).probs
    for k in range(3):  # the share of beliefs in some piece of the triangle that cuts the flow
        piece = float((density * ((theta[:, k] > 0.3) & (theta[:, 0] < 0.5))).mean())
        share = float(((drawn[:, k] > 0.3) & (drawn[:, 0] < 0.5)).double().mean())
        assert share == pytest.approx(piece, abs=0.008)


def test_the_two_densities_differ_by_the_jacobian_of_softmax():
    ratios = torch.tensor([0.3, -0.4], dtype=torch.float64)
    up, across = torch.tensor([[2.0, -1, -1], [0, 1, -1]], dtype=torch.float64)
    axes = torch.stack([up / 6**0.5, across / 2**0.5])

    def chart(u):
        return (u @ axes).softmax(-1)[:2]

    jacobian = torch.autograd.functional.jacobian(chart, ratios).det().abs()
    theta = (ratios @ axes).softmax(-1)
    area = flow_density(theta, 1, 0.4, FLOW)
    ratio = flow_density(theta, 1, 0.4, FLOW, measure="log-ratio")
    # The triangle in the chart (θ_1, θ_2) has the area 1/2, and an even spread the density 2.
    assert float(area) == pytest.approx(float(ratio / jacobian / 2), rel=1e-9)


def test_the_density_over_two_classes_is_that_of_a_pixel():
    flow = DiscreteFlow(2, 2.0)
    p = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    density = flow_density(torch.stack([p, 1 - p], -1), 0, 0.5, flow)
    assert float(density.mean()) == pytest.approx(1, abs=1e-4)
    drawn = flow.sample_flow(torch.zeros(100_000, dtype=torch.int64), 0.5, generator=generator(1))
    assert float((density * p).mean()) == pytest.approx(float(drawn.probs[:, 0].mean()), abs=0.004)


def test_a_measure_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="'volume'"):
        flow_density(torch.ones(3) / 3, 0, 0.5, FLOW, measure="volume")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("x", "t"), [(0, 0.2), (1, 0.6), (2, 1.0)])
def test_a_ring_holds_its_share_at_one_density(share, x, t):
    ring = flow_ring(share, x, t, FLOW, points=36)
    level = flow_density(ring, x, t, FLOW, measure="log-ratio")
    peak = 1 / (2 * math.pi * 3 * FLOW.beta(t))
    assert torch.allclose(level, torch.full_like(level, peak * (1 - share)), rtol=1e-6)
    drawn = FLOW.sample_flow(torch.full((40_000,), x), t, generator=generator(0)).probs
    higher = flow_density(drawn, x, t, FLOW, measure="log-ratio") > peak * (1 - share)
    error = math.sqrt(share * (1 - share) / len(drawn))
    assert abs(float(higher.double().mean()) - share) < 4 * error


@pytest.mark.parametrize(
    ("classes", "beta"), [(2, 0.3), (2, 9.0), (3, 0.02), (3, 1.0), (27, 0.2), (256, 0.05)]
)
def test_the_expected_entropy_is_that_of_drawn_beliefs(classes, beta):
    x = torch.zeros(40_000, dtype=torch.int64)
    drawn = DiscreteFlow(classes, beta).sample_flow(x, 1.0, generator=generator(2)).probs
    entropy = torch.special.entr(drawn.double()).sum(-1)
    error = float(entropy.std()) / math.sqrt(len(x))
    assert abs(expected_entropy(beta, classes) - float(entropy.mean())) < 4 * error


def test_the_expected_entropy_of_two_classes_is_one_integral_over_the_odds():
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    weights = torch.exp(-0.5 * z.square())
    for beta in (0.01, 0.5, 3.0, 9.0, 40.0):
        odds = 2 * beta + math.sqrt(4 * beta) * z
        cost = torch.nn.functional.softplus(-odds) @ weights / weights.sum()
        assert expected_entropy(beta, 2) == pytest.approx(float(cost), abs=1e-7)


def test_the_expected_entropy_falls_from_the_whole_to_nothing():
    for classes in (2, 3, 27, 256):
        values = [expected_entropy(b / classes, classes) for b in (0, 1e-9, 1, 9, 120, 400)]
        assert values[0] == math.log(classes)
        assert values[1] == pytest.approx(values[0], abs=1e-6)
        assert values == sorted(values, reverse=True) and 0 <= values[-1] < 1e-6
    with pytest.raises(ValueError, match="-1"):
        expected_entropy(-1, 3)
