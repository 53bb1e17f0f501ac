"""Bayes' rule, the flow distribution and the schedules, against each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bfn_core import (
    CategoricalParameters,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    GaussianParameters,
)
from bfn_core.distributions import Delta
from tests.oracles import generator

FLOWS = [ContinuousFlow(0.1), DiscretisedFlow(16, 0.02), DiscreteFlow(5, 2.0)]
accuracies = st.lists(st.floats(1e-3, 50.0), min_size=1, max_size=6)
values = st.lists(st.floats(-5.0, 5.0), min_size=6, max_size=6)


def ids(flow):
    return type(flow).__name__


@pytest.mark.parametrize("flow", FLOWS, ids=ids)
@pytest.mark.parametrize("n", [1, 7, 100])
def test_accuracies_of_n_messages_add_up(flow, n):
    assert flow.beta(0.0) == 0
    alphas = [flow.alpha(i, n) for i in range(1, n + 1)]
    assert sum(alphas) == pytest.approx(flow.beta(1.0), rel=1e-9)
    for i in (1, (n + 1) // 2, n):
        step = flow.beta(i / n) - flow.beta((i - 1) / n)
        assert alphas[i - 1] == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("flow", FLOWS, ids=ids)
def test_schedule_there_and_back(flow):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(flow.schedule.time(flow.beta(t)), t, rtol=1e-9, atol=1e-9)
    slope = (flow.beta(t[1:]) - flow.beta(t[:-1])) / 0.01
    middle = flow.schedule.rate((t[1:] + t[:-1]) / 2)
    torch.testing.assert_close(slope, middle, rtol=2e-3, atol=1e-6)


def test_the_rest_keeps_its_digits_near_one():
    """1 − γ in float32 is wrong by several per cent where σ₁² is ten times its resolution."""
    schedule = ContinuousFlow(1e-3).schedule
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(schedule.rest(t), 1 - schedule.gamma(t), rtol=1e-9, atol=1e-15)
    single = schedule.rest(t.float())
    torch.testing.assert_close(single.double(), schedule.rest(t), rtol=1e-5, atol=0)
    assert schedule.rest(1.0) == pytest.approx(1e-6, rel=1e-12)
    flow, x = ContinuousFlow(3e-4), torch.zeros(1, 200_000)  # 1 − γ would be 6e−8 or 12e−8
    mean = flow.sample_flow(x, 1.0, torch.Generator().manual_seed(0)).mean
    assert float(mean.double().std()) == pytest.approx(3e-4, rel=0.008)


def test_gamma_keeps_its_digits_near_zero():
    flow, t = ContinuousFlow(0.02), 1e-6
    single = flow.gamma(torch.tensor([t], dtype=torch.float32))
    assert float(single) == pytest.approx(-math.expm1(2 * t * math.log(0.02)), rel=1e-6)


def test_published_values_of_the_schedules():
    assert ContinuousFlow(0.5).beta(1.0) == pytest.approx(3.0)
    assert ContinuousFlow(0.5).gamma(0.5) == pytest.approx(0.5)
    assert DiscreteFlow(3, 4.0).beta(0.5) == pytest.approx(1.0)
    assert DiscreteFlow(3, 4.0).alpha(2, 4) == pytest.approx(4 * 3 / 16)


@given(accuracies, values, values, st.randoms())
@settings(max_examples=60, deadline=None)
def test_gaussian_update_is_bayes_rule_in_any_order(alphas, ys, start, random):
    """Messages in any order, or one message with their weighted mean and total accuracy."""
    flow = ContinuousFlow(0.1)
    theta = GaussianParameters(
        torch.tensor([start[:1]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    )
    pairs = list(zip(alphas, ys, strict=False))

    def after(order):
        belief = theta
        for alpha, y in order:
            belief = flow.update(belief, torch.tensor([[y]], dtype=torch.float64), alpha)
        return belief

    shuffled = random.sample(pairs, len(pairs))
    total = sum(a for a, _ in pairs)
    joined = [(total, sum(a * y for a, y in pairs) / total)]
    for other in (shuffled, joined):
        torch.testing.assert_close(after(pairs).mean, after(other).mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(after(pairs).precision, after(other).precision)
    # Bayes' rule on a grid: prior times likelihoods, normalised.
    grid = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    log_density = -0.5 * (grid - start[0]) ** 2
    for alpha, y in pairs:
        log_density = log_density - 0.5 * alpha * (grid - y) ** 2
    mass = log_density.softmax(0)
    mean = float(mass @ grid)
    assert float(after(pairs).mean) == pytest.approx(mean, abs=2e-4)
    variance = float(mass @ (grid - mean) ** 2)
    assert 1 / float(after(pairs).precision) == pytest.approx(variance, rel=1e-3, abs=1e-6)


@given(accuracies, st.integers(2, 6), st.integers(0, 10_000), st.randoms())
@settings(max_examples=60, deadline=None)
def test_categorical_update_is_bayes_rule_in_any_order(alphas, classes, seed, random):
    flow = DiscreteFlow(classes, 1.0)
    g = generator(seed)
    log_prior = torch.randn(1, 1, classes, generator=g, dtype=torch.float64).log_softmax(-1)
    x = torch.randint(classes, (1, 1), generator=g)
    messages = [(a, flow.sender(x, a).sample(generator=g).double()) for a in alphas]

    def after(order):
        belief = CategoricalParameters(log_prior)
        for alpha, y in order:
            belief = flow.update(belief, y, alpha)
        return belief.probs

    shuffled = random.sample(messages, len(messages))
    torch.testing.assert_close(after(messages), after(shuffled), rtol=1e-7, atol=1e-12)
    joined = [(sum(alphas), sum(y for _, y in messages))]
    torch.testing.assert_close(after(messages), after(joined), rtol=1e-7, atol=1e-12)
    # Bayes' rule with each class's Gaussian likelihood written out.
    log_posterior = log_prior.clone()
    for alpha, y in messages:
        for k in range(classes):
            centre = alpha * (classes * torch.eye(classes, dtype=torch.float64)[k] - 1)
            log_posterior[..., k] -= ((y - centre) ** 2).sum(-1) / (2 * alpha * classes)
    torch.testing.assert_close(after(messages), log_posterior.softmax(-1), rtol=1e-6, atol=1e-9)


def statistics(flow, theta):
    """Mean and covariance over the batch of what describes the belief."""
    if isinstance(theta, GaussianParameters):
        rows = theta.mean.flatten(1)
    else:
        logits = theta.logits.flatten(0, -2)
        rows = logits[:, 1:] - logits[:, :1]  # free of the normalisation
    return rows.mean(0), torch.cov(rows.T)


@pytest.mark.parametrize("t", [0.3, 1.0])
@pytest.mark.parametrize("flow", FLOWS, ids=ids)
def test_many_updates_are_one_draw_from_the_flow(flow, t):
    """n messages up to time t, and one draw from p_F at t: the same mean and covariance."""
    count, n, g = 40_000, 10, generator(0)
    discrete = isinstance(flow, DiscreteFlow)
    x = torch.full((count, 1), 2 if discrete else 0.4375, dtype=torch.int64 if discrete else None)
    theta = flow.prior(x.shape)
    for i in range(1, round(n * t) + 1):
        alpha = flow.alpha(i, n)
        theta = flow.update(theta, flow.sender(x, alpha).sample(generator=g), alpha)
    jump = flow.sample_flow(x, t, generator=g)
    for (mean, cov), (mean_jump, cov_jump) in [(statistics(flow, theta), statistics(flow, jump))]:
        error = 5 * (cov_jump.diagonal() / count).sqrt() if cov.dim() else 5 * (cov / count).sqrt()
        assert bool(((mean - mean_jump).abs() < math.sqrt(2) * error).all())
        torch.testing.assert_close(cov, cov_jump, rtol=0.05, atol=0.05 * float(cov.max()))
    if not discrete:
        torch.testing.assert_close(theta.precision, jump.precision, rtol=1e-4, atol=0)


def test_flow_of_gaussian_data_in_numbers():
    flow = ContinuousFlow(0.1)
    x = torch.full((100_000, 1), 0.5)
    mean = flow.sample_flow(x, 0.4, generator=generator(1)).mean
    gamma = 1 - 0.1**0.8
    assert float(mean.mean()) == pytest.approx(gamma * 0.5, abs=0.005)
    assert float(mean.var()) == pytest.approx(gamma * (1 - gamma), rel=0.02)


def test_flow_of_classes_in_numbers():
    """ln θ_x − ln θ_k ~ N(βK, 2βK): what a belief about K classes is at time t (185)."""
    flow = DiscreteFlow(4, 3.0)
    x = torch.zeros(100_000, 1, dtype=torch.int64)
    logits = flow.sample_flow(x, 0.5, generator=generator(2)).logits[:, 0]
    gap = logits[:, 0] - logits[:, 1]
    assert float(gap.mean()) == pytest.approx(3 * 0.25 * 4, rel=0.02)
    assert float(gap.var()) == pytest.approx(2 * 3 * 0.25 * 4, rel=0.02)
    between = logits[:, 2] - logits[:, 3]
    assert float(between.mean()) == pytest.approx(0, abs=0.03)


def test_estimates_from_predicted_noise_in_numbers():
    """x̂ = μ/γ − √((1−γ)/γ) ε̂, clipped to the range (84); of bins the width too (105, 106)."""
    t, gamma = 0.25, 1 - 0.1**0.5
    mean, noise = torch.tensor([[0.3, -0.4, 0.75]]), torch.tensor([[0.5, -1.0, -2.0]])
    theta, unit = GaussianParameters(mean, torch.ones(1)), math.sqrt((1 - gamma) / gamma)
    expected = mean / gamma - unit * noise
    assert expected.max() > 1
    for data_range, estimate in ((None, expected), ((-1.0, 1.0), expected.clamp(-1, 1))):
        flow = ContinuousFlow(0.1, data_range=data_range)
        torch.testing.assert_close(flow.output(noise, theta, t).mean, estimate)
    raw = torch.stack([noise, torch.tensor([[-0.7, 0.0, 0.4]])], -1)
    output = DiscretisedFlow(8, 0.1).output(raw, theta, t)
    torch.testing.assert_close(output.loc, expected)
    torch.testing.assert_close(output.scale, unit * raw[..., 1].exp())


def test_the_last_fee_of_a_number_is_that_of_a_bell_of_width_sigma_1():
    cost = ContinuousFlow(0.1).final_cost(torch.tensor([[0.3]]), Delta(torch.tensor([[0.1]])))
    assert float(cost) == pytest.approx(math.log(0.1 * math.sqrt(2 * math.pi)) + 2.0**2 / 2)


def test_the_sender_spreads_independently_over_variables():
    """One noise per variable, not one for all of them."""
    for flow, x in (
        (ContinuousFlow(0.1), torch.zeros(20_000, 2)),
        (DiscreteFlow(3, 1.0), torch.zeros(20_000, 2, dtype=torch.int64)),
    ):
        y = flow.sender(x, 0.7).sample(generator=generator(3)).flatten(1)
        correlation = torch.corrcoef(y.T) - torch.eye(y.shape[1])
        assert float(correlation.abs().max()) < 0.04
        flowed = statistics(flow, flow.sample_flow(x[:, :1], 0.5, generator=generator(4)))
        assert torch.isfinite(flowed[1]).all()


def test_confident_beliefs_stay_finite():
    flow = DiscreteFlow(27, 1.0)
    theta = flow.prior((1, 2))
    y = torch.full((1, 2, 27), -500.0)
    y[..., 3] = 900.0
    for _ in range(3):
        theta = flow.update(theta, y, 33.0)
    assert torch.isfinite(theta.logits).all()
    torch.testing.assert_close(theta.probs[..., 3], torch.ones(1, 2))
