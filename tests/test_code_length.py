"""The oracle of oracles: with the perfect network, nats sent = entropy of the data.

More exactly L^∞ + L^r = H(X) + [Σ_d H(X_d | θ₁) − H(X | θ₁)]: what the last fee takes to name the
variables one by one comes on top, until the messages leave nothing open.
"""

import math

import pytest
import torch

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Estimate, ExactBFN, elbo
from tests.oracles import (
    agree,
    correlated_bins,
    correlated_table,
    draw,
    excess,
    generator,
    normal_grid,
    table_entropy,
)


def discrete_case(beta_1: float = 9.0):
    points, weights = correlated_table(3, 3)
    return ExactBFN(DiscreteFlow(3, beta_1), points, weights), points, weights


def discretised_case(sigma_1: float = 0.05):
    flow = DiscretisedFlow(4, sigma_1)
    points, weights = correlated_bins(flow, 2)
    return ExactBFN(flow, points, weights), points, weights


@pytest.mark.parametrize("case", [discrete_case, discretised_case])
def test_continuous_time_code_length_is_the_entropy_where_messages_leave_nothing_open(case):
    bfn, points, weights = case()
    x = draw(points, weights, 100_000, seed=1)
    bill = elbo(bfn, x, batch_size=20_000, repeats=4, generator=generator(2))
    entropy = table_entropy(weights)
    assert bfn.entropy() == pytest.approx(entropy, abs=1e-5)
    assert bill.total.standard_error < 0.012
    assert agree(bill.total, entropy), (bill.total, entropy)
    assert abs(excess(bfn, x[:20_000], 15).mean) < 1e-4


def copies_case():
    """Two copies of one class, and messages that end early."""
    points = torch.arange(3).unsqueeze(1).expand(3, 2)
    return ExactBFN(DiscreteFlow(3, 0.5625), points), points, torch.ones(3) / 3


@pytest.mark.parametrize(
    ("case", "known"),
    [
        (copies_case, 0.411),
        (lambda: discrete_case(1.0), None),
        (lambda: discretised_case(0.4), None),
    ],
)
def test_where_messages_end_early_the_last_fee_takes_more_than_the_entropy(case, known):
    bfn, points, weights = case()
    x = draw(points, weights, 100_000, seed=16)
    bill = elbo(bfn, x, batch_size=20_000, repeats=2, generator=generator(17)).total
    entropy, more = table_entropy(weights), excess(bfn, x, 18)
    assert known is None or more.mean == pytest.approx(known, abs=0.004)
    error = math.hypot(bill.standard_error, more.standard_error)
    assert abs(bill.mean - entropy - more.mean) < 4 * error, (bill, entropy, more)
    assert bill.mean > entropy + 8 * error  # the entropy alone is a wrong answer, and is seen to be


@pytest.mark.parametrize("case", [discrete_case, discretised_case])
def test_n_step_code_length_falls_to_the_entropy_from_above(case):
    bfn, points, weights = case()
    x = draw(points, weights, 40_000, seed=3)
    entropy = table_entropy(weights)
    totals = []
    for n in (1, 3, 10, 100):
        bill = elbo(bfn, x, n, batch_size=20_000, generator=generator(4))
        totals.append(bill.total)
        assert bill.total.mean > entropy - 4 * bill.total.standard_error
    assert totals[0].mean > totals[1].mean > totals[2].mean > entropy
    assert agree(totals[3], entropy)


@pytest.mark.parametrize("classes", [2, 27])
@pytest.mark.parametrize("n", [1, 2, 10, None])
def test_independent_uniform_symbols_cost_ln_k_at_every_n(classes, n):
    """The widely copied loss, which splits the message into K mixtures, fails here."""
    table = torch.arange(classes).unsqueeze(1)
    bfn = ExactBFN(DiscreteFlow(classes, 1.0), table)
    x = torch.randint(classes, (80_000, 1), generator=generator(5))
    bill = elbo(bfn, x, n, batch_size=20_000, generator=generator(6))
    assert bill.total.standard_error < 0.02
    assert agree(bill.total, math.log(classes)), bill.total


def test_every_message_counts_once():
    """The n messages, costed one by one, add up to the estimate that draws i at random."""
    bfn, points, weights = discrete_case(3.0)
    x = draw(points, weights, 40_000, seed=7)
    one_by_one = sum(
        float(bfn.loss_n(x, 4, i, generator=generator(i)).mean()) / 4 for i in range(1, 5)
    )
    at_random = elbo(bfn, x, 4, generator=generator(8)).messages
    assert agree(at_random, one_by_one, 5)


def gaussian_case(std: float = 0.3, sigma_1: float = 0.05):
    flow = ContinuousFlow(sigma_1, data_range=None)
    points = normal_grid(std, 800)
    return ExactBFN(flow, points), points, std, sigma_1


def test_gaussian_data_in_continuous_time():
    bfn, points, std, sigma_1 = gaussian_case()
    truth = 0.5 * math.log(1 + std**2 * (sigma_1**-2 - 1))
    bill = elbo(bfn, points.repeat(100, 1), batch_size=2000, generator=generator(9))
    assert bill.messages.standard_error < 0.012
    assert agree(bill.messages, truth), (bill.messages, truth)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_gaussian_data_in_n_steps(n):
    bfn, points, std, sigma_1 = gaussian_case()
    beta = [sigma_1 ** (-2 * i / n) - 1 for i in range(n + 1)]
    truth = sum(
        (beta[i] - beta[i - 1]) / 2 * std**2 / (1 + std**2 * beta[i - 1]) for i in range(1, n + 1)
    )
    x = points.repeat(20, 1)
    costs = [bfn.loss_n(x, n, i, generator=generator(100 + i)) / n for i in range(1, n + 1)]
    assert agree(Estimate.of(torch.stack(costs).sum(0)), truth)


class PosteriorNoise(torch.nn.Module):
    """The best noise prediction for x ~ N(0, s²), in closed form: linear in the mean."""

    def __init__(self, flow: ContinuousFlow, std: float) -> None:
        super().__init__()
        self.flow, self.std = flow, std

    def forward(self, mean, t):
        gamma = self.flow.gamma(t).clamp(min=1e-12).unsqueeze(1)
        variance = gamma * self.std**2 + 1 - gamma  # of μ/√γ
        estimate = self.std**2 * mean / variance
        return (mean - gamma * estimate) / (gamma * (1 - gamma)).sqrt().clamp(min=1e-12)


def test_a_noise_predicting_network_pays_the_same_as_the_perfect_one():
    std, sigma_1 = 0.3, 0.05
    flow = ContinuousFlow(sigma_1, data_range=None)
    bfn = BFN(flow, PosteriorNoise(flow, std))
    x = std * torch.randn(40_000, 1, generator=generator(10))
    bill = elbo(bfn, x, batch_size=2000, generator=generator(11))
    assert agree(bill.messages, 0.5 * math.log(1 + std**2 * (sigma_1**-2 - 1)))


def test_an_imperfect_network_pays_more():
    """A network that knows each letter's frequency alone pays for what the letters share."""
    points, weights = correlated_table(3, 2)
    joint = weights.reshape(3, 3)
    independent = (joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)).reshape(-1)
    flow = DiscreteFlow(3, 9.0)
    x = draw(points, weights, 60_000, seed=12)
    bill = elbo(ExactBFN(flow, points, independent), x, repeats=4, generator=generator(13))
    cross_entropy = -float((weights.double() * independent.double().log()).sum())
    assert agree(bill.total, cross_entropy)
    assert cross_entropy > table_entropy(weights) + 0.05


@pytest.mark.parametrize("case", [discrete_case, discretised_case])
def test_samples_follow_the_data(case):
    bfn, points, weights = case()
    count = 40_000
    x = bfn.sample((count, points.shape[1]), 50, generator=generator(14))
    _, seen = torch.cat([points, x]).unique(dim=0, return_inverse=True)
    counts = torch.bincount(seen[len(points) :], minlength=len(points)).double()
    frequency = (counts / count)[seen[: len(points)]]
    distance = 0.5 * float((frequency - weights.double()).abs().sum())
    # For exact draws the distance is about Σ √(p(1−p)/(2πN)).
    chance = float((weights * (1 - weights) / (2 * math.pi * count)).sqrt().sum())
    assert distance < 2 * chance + 0.01, (distance, chance)
    shuffled = 0.5 * float((frequency.flip(0) - weights.double()).abs().sum())
    assert shuffled > 0.2  # the distance can tell another law from this one
