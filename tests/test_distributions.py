"""Distributions: normalised, drawn as they say, and right where rounding bites."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bfn_core import ContinuousFlow, DiscreteFlow, DiscretisedFlow, GaussianParameters
from bfn_core.distributions import (
    Binned,
    BinnedMessage,
    Categorical,
    CategoricalMessage,
    Delta,
    DiscretisedNormal,
    Gaussian,
    bin_centres,
    bin_index,
    discretised_mean,
)
from bfn_core.numerics import log_ndtr
from tests.oracles import brute_message_log_prob, generator

means = st.floats(-30.0, 30.0)
log_stds = st.floats(math.log(1e-4), math.log(30.0))


@given(means, log_stds, st.sampled_from([2, 4, 16, 256]))
@settings(max_examples=150, deadline=None)
def test_bins_sum_to_one_for_any_normal(mean, log_std, bins):
    loc = torch.tensor([[mean]])
    p = DiscretisedNormal(loc, torch.full_like(loc, math.exp(log_std)), bins)
    assert float(p.probs.sum()) == pytest.approx(1, abs=3e-5)
    one_by_one = p.log_prob(p.centres.unsqueeze(-1).unsqueeze(-1)).exp().sum()
    assert float(one_by_one) == pytest.approx(1, abs=3e-5)
    assert torch.isfinite(p.log_probs).all()
    assert float(p.log_probs.max()) <= 1e-6


def naive_probs(loc, scale, bins):
    """Differences of the clipped CDF, the paper's own form, in float64."""
    edges = torch.arange(1, bins, dtype=torch.float64) * 2 / bins - 1
    cdf = torch.special.ndtr((edges - loc.double().unsqueeze(-1)) / scale.double().unsqueeze(-1))
    zero = torch.zeros_like(cdf[..., :1])
    return torch.diff(torch.cat([zero, cdf, zero + 1], -1), dim=-1)


def grid_of_normals(dtype=torch.float32):
    loc = torch.linspace(-3, 3, 241, dtype=dtype).unsqueeze(1)
    scale = torch.logspace(-4, 1, 61, dtype=dtype).unsqueeze(0)
    return [part.contiguous() for part in torch.broadcast_tensors(loc, scale)]


@pytest.mark.parametrize("bins", [2, 3, 16, 64, 256])
def test_probabilities_are_those_of_the_clipped_cdf(bins):
    loc, scale = grid_of_normals()
    p = DiscretisedNormal(loc, scale, bins)
    torch.testing.assert_close(p.probs.double(), naive_probs(loc, scale, bins), rtol=0, atol=2e-4)
    exact = DiscretisedNormal(loc.double(), scale.double(), bins)
    torch.testing.assert_close(exact.probs, naive_probs(loc, scale, bins), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bins", [2, 4, 16, 32, 64, 256])
def test_mean_without_the_bins_is_the_mean_over_the_bins(bins):
    loc, scale = grid_of_normals()
    truth = naive_probs(loc, scale, bins) @ bin_centres(bins, loc.double())
    torch.testing.assert_close(
        discretised_mean(loc, scale, bins).double(), truth, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("bins", [16, 256])
def test_gradient_of_the_mean(bins):
    """Against the gradient of the naive sum, in float64; both grow as 1/σ near an edge."""
    loc, scale = (part.requires_grad_() for part in grid_of_normals(torch.float64))
    fast = torch.autograd.grad(discretised_mean(loc, scale, bins).sum(), (loc, scale))
    naive = (naive_probs(loc, scale, bins) @ bin_centres(bins, loc)).sum()
    for got, truth in zip(fast, torch.autograd.grad(naive, (loc, scale)), strict=True):
        torch.testing.assert_close(got, truth, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("bins", [2, 17, 23, 256])
def test_mean_and_its_slopes_keep_their_digits_in_float32(bins):
    """A normal far wider than [−1, 1] is nearly a fair coin between the outer bins."""
    loc = torch.linspace(-1.3, 1.3, 83).unsqueeze(1)
    scale = torch.logspace(-2, 4, 61).unsqueeze(0)
    loc, scale = (part.contiguous() for part in torch.broadcast_tensors(loc, scale))
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [part.to(dtype).requires_grad_() for part in (loc, scale)]
        if dtype is torch.float32:
            mean = discretised_mean(*inputs, bins)
        else:
            mean = naive_probs(*inputs, bins) @ bin_centres(bins, inputs[0])
        results.append([mean.detach(), *torch.autograd.grad(mean.sum(), inputs)])
    for got, truth, atol in zip(*results, (1e-5, 2e-5, 2e-5), strict=True):
        torch.testing.assert_close(got.double(), truth, rtol=2e-4, atol=atol)
    with torch.no_grad():  # without slopes, the same mean
        torch.testing.assert_close(discretised_mean(loc, scale, bins), results[0][0])


def test_log_prob_has_finite_gradients_everywhere():
    loc, scale = (part.requires_grad_() for part in grid_of_normals())
    p = DiscretisedNormal(loc, scale, 256)
    for k in (0, 1, 128, 255):
        x = torch.full_like(loc, float(p.centres[k]))
        grads = torch.autograd.grad(p.log_prob(x).sum(), (loc, scale), retain_graph=True)
        assert all(torch.isfinite(g).all() for g in grads)


def test_the_slope_of_ln_phi_is_right_far_out_and_torchs_near_0():
    z = torch.tensor([-1e6, -1e5, -1e4, -1e3, -1e2, -20.1, -19.9, -3.0, 0.0, 8.0])
    truth = math.sqrt(2 / math.pi) / torch.special.erfcx(z.double() * -math.sqrt(0.5))
    for dtype, rtol in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        own = z.to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(log_ndtr(own).sum(), own)
        torch.testing.assert_close(slope.double(), truth, rtol=rtol, atol=0)
    near = torch.linspace(-20, 8, 2001).requires_grad_()
    own, theirs = (torch.autograd.grad(f(near).sum(), near)[0]
                   for f in (log_ndtr, torch.special.log_ndtr))
    assert torch.equal(own, theirs)


def test_a_narrow_normal_has_right_gradients_in_bins_far_from_it():
    """As σ_x is wherever the network is sure of a bin: at the paper's σ₁ = 1e−3 they were NaN."""
    found = []
    for dtype in (torch.float32, torch.float64):
        loc = torch.linspace(-0.9, 0.9, 25).to(dtype).requires_grad_()
        log_std = torch.full_like(loc, math.log(1e-5)).requires_grad_()
        log_probs = DiscretisedNormal(loc, log_std.exp(), 16).log_probs
        found.append(torch.autograd.grad(log_probs.sum(), (loc, log_std)))
    for got, truth in zip(*found, strict=True):
        off = (got.double() - truth).abs().max() / truth.abs().max()
        assert float(off) < 1e-3


@pytest.mark.parametrize(("loc", "scale"), [(0.1, 0.05), (0.9, 0.6), (-4.0, 1.0), (0.33, 2.0)])
def test_discretised_draws_and_mode_follow_the_probabilities(loc, scale):
    bins, count = 8, 60_000
    p = DiscretisedNormal(torch.full((count,), loc), torch.full((count,), scale), bins)
    index = bin_index(p.sample(generator=generator(0)), bins)
    frequency = torch.bincount(index, minlength=bins) / count
    torch.testing.assert_close(frequency, p.probs[0], rtol=0, atol=0.01)
    assert p.mode[0] == p.centres[p.probs[0].argmax()]


def test_both_tails_keep_their_digits():
    """A bin 30 deviations to the right of the mean is as likely as one as far to the left."""
    x, mean, std = bin_centres(17, torch.empty(0)), torch.full((17,), 0.3), torch.full((17,), 0.02)
    right = DiscretisedNormal(mean, std, 17).log_prob(x)
    assert right[-2] < -200
    left = DiscretisedNormal(-mean, std, 17).log_prob(-x)
    torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-4)


def test_bin_centres_and_their_indices():
    for bins in (2, 10, 16, 256):
        centres = bin_centres(bins, torch.empty(0))
        torch.testing.assert_close(bin_index(centres, bins), torch.arange(bins))
        assert float(centres[0]) == pytest.approx(1 / bins - 1)
    assert bin_index(torch.tensor([-1.0, 1.0]), 16).tolist() == [0, 15]


@given(st.integers(2, 9), st.floats(0.01, 20.0), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_message_density_is_one_joint_mixture(classes, alpha, seed):
    """The O(K) form against K Gaussians over the whole vector, for sender and receiver."""
    g = generator(seed)
    log_probs = torch.randn(3, 2, classes, generator=g, dtype=torch.float64).log_softmax(-1)
    receiver = CategoricalMessage(log_probs, torch.full((3, 1, 1), alpha, dtype=torch.float64))
    y = receiver.sample(generator=g)
    brute = brute_message_log_prob(y, log_probs, alpha)
    torch.testing.assert_close(receiver.log_prob(y), brute, rtol=1e-9, atol=1e-9)
    x = torch.randint(classes, (3, 2), generator=g)
    sender = DiscreteFlow(classes, 1.0).sender(x, torch.full((3,), alpha, dtype=torch.float64))
    certain = torch.nn.functional.one_hot(x, classes).double().log()
    brute = brute_message_log_prob(y, certain, alpha)
    torch.testing.assert_close(sender.log_prob(y), brute, rtol=1e-9, atol=1e-9)


def test_message_draws_have_the_stated_mean_and_variance():
    log_probs = torch.tensor([0.2, 0.5, 0.3]).log().expand(80_000, 3)
    message = CategoricalMessage(log_probs, torch.full((80_000, 1), 0.8))
    y = message.sample(generator=generator(1))
    torch.testing.assert_close(y.mean(0), message.mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(y.var(0), message.variance[0], rtol=0.03, atol=0)


def test_comb_receiver_integrates_to_one_and_draws_as_it_says():
    flow = DiscretisedFlow(4, 0.1)
    p = DiscretisedNormal(torch.tensor([[0.3]]), torch.tensor([[0.4]]), 4)
    receiver = flow.receiver(p, 20.0)
    y = torch.linspace(-4, 4, 8001).unsqueeze(1)
    density = receiver.log_prob(y.unsqueeze(1)).exp().squeeze()
    assert float(torch.trapezoid(density, y.squeeze())) == pytest.approx(1, abs=1e-4)
    draws = receiver.sample((40_000,), generator=generator(2))
    assert float(draws.mean()) == pytest.approx(float(receiver.mean), abs=0.02)
    assert float(draws.var()) == pytest.approx(float(receiver.variance), rel=0.03)


LAWS = {
    "delta": Delta(torch.tensor([[0.5], [-0.5]])),
    "gaussian": Gaussian(torch.tensor([[0.5], [-0.5]]), torch.tensor([[4.0], [1.0]])),
    "categorical": Categorical(torch.tensor([[[0.0, 5.0]], [[5.0, 0.0]]])),
    "binned": Binned(torch.tensor([[[0.0, 5.0]], [[5.0, 0.0]]]).log_softmax(-1)),
    "discretised": DiscretisedNormal(torch.tensor([[0.5], [-0.5]]), torch.full((2, 1), 0.7), 4),
    "message": CategoricalMessage(torch.tensor([[[0.3, 0.7]], [[0.7, 0.3]]]).log(),
                                  torch.tensor([[[1.0]], [[2.0]]])),
    "comb": BinnedMessage(torch.tensor([[[0.3, 0.7]], [[0.7, 0.3]]]).log(),
                          torch.tensor([[[4.0]], [[1.0]]])),
}


@pytest.mark.parametrize("name", LAWS)
def test_values_are_priced_one_for_all_examples_and_many_for_each(name):
    law = LAWS[name]
    x = law.sample((5,), generator=generator(0))
    for price in (law.log_prob, *([law.cdf] if name in ("binned", "discretised") else [])):
        found = price(x)
        assert found.shape == (5, 2, 1)
        torch.testing.assert_close(found, torch.stack([price(each) for each in x]))
        torch.testing.assert_close(price(x[0, :1]), price(x[0, :1].expand_as(x[0])))


def test_categorical_needs_no_special_case_for_two_classes():
    p = Categorical(torch.zeros(1, 3, 2))
    assert torch.isfinite(p.mode.float()).all()
    torch.testing.assert_close(p.mean, torch.full((1, 3), 0.5))
    torch.testing.assert_close(p.entropy(), torch.full((1, 3), math.log(2)))


def test_no_nan_gradient_below_t_min():
    for flow, raw_shape in ((ContinuousFlow(0.02), (4, 3)), (DiscretisedFlow(8, 0.02), (4, 3, 2))):
        raw = torch.zeros(raw_shape, requires_grad=True)
        t = torch.tensor([0.0, 1e-7, 1e-3, 1.0])
        theta = GaussianParameters(torch.full((4, 3), 0.1), 1 + flow.beta(t))
        output = flow.output(raw, theta, t)
        output.mean.square().sum().backward()
        assert torch.isfinite(raw.grad).all()
        if type(flow) is ContinuousFlow:
            assert output.mean[:2].abs().max() == 0
        else:
            torch.testing.assert_close(output.scale[:2], torch.ones(2, 3))
