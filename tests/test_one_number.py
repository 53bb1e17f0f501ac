"""One number, told to someone who knows which numbers there are, against the core."""

import math

import numpy
import pytest
import torch

from bfn_core import ContinuousFlow, ExactBFN
from bfn_core.data.toy import GaussianMixture
from bfn_core.one_number import SPLITS, drawn, exchange, flow_at, flow_over_data, split
from tests.oracles import generator

BUMPS = GaussianMixture()


@pytest.mark.parametrize("kind", SPLITS)
def test_the_parts_of_an_accuracy_add_up_to_it(kind):
    parts = split(24.0, 30, kind, generator(0))
    assert parts.shape == (30,)
    assert parts.min() > 0
    assert parts.sum() == pytest.approx(24)


def test_growing_parts_are_those_of_the_schedule():
    flow = ContinuousFlow(0.2)  # 1 + β(1) = 25
    parts = split(24.0, 5, "growing")
    assert parts.tolist() == pytest.approx([flow.alpha(i, 5) for i in range(1, 6)])


def test_an_unknown_way_to_cut_is_refused():
    with pytest.raises(ValueError, match="kind must be one of .* but is 'odd'"):
        split(1.0, 2, "odd")


def test_the_formula_is_the_flow_distribution_of_the_core():
    flow, runs = ContinuousFlow(0.2), 200_000
    means = flow.sample_flow(torch.full((runs,), 0.6), 0.4, generator=generator(0)).mean
    mean, std = flow_at(0.6, flow.beta(0.4))
    assert mean == pytest.approx(0.6 * flow.gamma(0.4))
    assert means.mean() == pytest.approx(mean, abs=5 * std / runs**0.5)
    assert means.std() == pytest.approx(std, rel=5 / (2 * runs) ** 0.5)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_sampled_paths_are_those_of_the_sampler(n):
    noise = torch.randn(n, 4000, dtype=torch.float64, generator=generator(0))
    _, ours = drawn(n, 0.1, noise, BUMPS)
    perfect = ExactBFN(ContinuousFlow(0.1), *BUMPS.grid(401))
    theirs = perfect.sample((4000, 1), n, generator=generator(0))
    edges = numpy.linspace(-1.2, 1.2, 25)
    one, two = (numpy.histogram(x, edges)[0] / 4000 for x in (ours, theirs[:, 0]))
    assert 0.5 * numpy.abs(one - two).sum() < 0.06  # two draws of 4000 differ by 0.04


def test_an_exchange_is_bayesian_updates_and_a_network_makes_it_cheaper():
    x, n, sigma_1 = 0.25, 12, 0.05
    flow = ContinuousFlow(sigma_1)
    noise = torch.randn(301, n, dtype=torch.float64, generator=generator(1))
    c = exchange(x, sigma_1, noise[0], BUMPS)
    assert torch.equal(c.guesses[0], c.mu)
    theta = flow.prior((1, 1))
    for i in range(1, n + 1):
        alpha = float(flow.alpha(i, n))
        assert c.alpha[i - 1] == pytest.approx(alpha, rel=1e-5)
        theta = flow.update(theta, c.y[i - 1].float().reshape(1, 1), alpha)
        assert c.mu[i] == pytest.approx(float(theta.mean), rel=1e-4, abs=1e-6)
        assert c.rho[i] == pytest.approx(float(theta.precision), rel=1e-5)
    bits = [exchange(x, sigma_1, z, BUMPS).bits[:, -1] for z in noise[1:]]
    alone, helped = torch.stack(bits).mean(0).tolist()
    # Without a network, x̂ − x has variance about 1/ρ: the bill is Σ α/2 (1/ρ) within its noise.
    before = 1 / c.rho[:-1]
    expected = float((0.5 * c.alpha * (before**2 * (x**2 + c.rho[:-1] - 1))).sum()) / math.log(2)
    assert alone == pytest.approx(expected, rel=0.2)
    assert helped < 0.8 * alone


@pytest.mark.parametrize("t", [0.02, 0.4, 1.0])
def test_the_landscape_is_the_flow_over_the_data(t):
    """A histogram of the means of `sample_flow`, for x from the data, against the density."""
    mixture = GaussianMixture(means=(-0.5, 0.6), std=0.1, weights=(0.3, 0.7))
    rng = generator(0)
    x = mixture.sample(40_000, generator=rng)
    means = ContinuousFlow(0.05).sample_flow(x, t, rng).mean[:, 0]
    mu = torch.linspace(-2.995, 2.995, 600, dtype=torch.float64)
    density = flow_over_data(mu, t, mixture, sigma_1=0.05).numpy()
    assert density.sum() * 0.01 == pytest.approx(1, abs=1e-6)
    share = (0.01 * density).reshape(-1, 10).sum(1)
    count = numpy.histogram(means, numpy.linspace(-3, 3, 61))[0]
    known = share > 1e-3
    error = (count[known] / 40_000 - share[known]) / numpy.sqrt(share[known] / 40_000)
    assert abs(error).max() < 4.5
