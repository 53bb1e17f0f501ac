"""p_O against the data: shares inside its middle, reliability diagrams, and what a sampler says."""

import math

import pytest
import torch
from torch import nn

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow, ExactBFN, MixedFlow
from bfn_core.calibration import coverage, reliability
from bfn_core.distributions import Binned, DiscretisedNormal
from bfn_core.missing import MissingFlow
from bfn_core.samplers import Ancestral
from tests.oracles import generator


class Wiener(nn.Module):
    """The best guess of x ~ N(0, s²), with a width that is `times` what it should be.

    By (105, 106): μ_x = s²μ/(γ s² + 1 − γ), σ_x² = s²(1 − γ)/(γ s² + 1 − γ).
    """

    def __init__(self, flow, s, times=1.0):
        super().__init__()
        self.flow, self.s, self.times = flow, s, times

    def forward(self, mean, t):
        gamma = self.flow.gamma(t)[:, None]
        share = self.s**2 / (gamma * self.s**2 + 1 - gamma)
        noise = ((1 - gamma) / gamma).sqrt()
        width = (share * (1 - gamma)).sqrt() * self.times
        return torch.stack([(mean / gamma - share * mean) / noise,
                            (width / noise).log().expand_as(mean)], -1)


FLOW = DiscretisedFlow(256, 0.01)
SMOOTH = FLOW.quantise((0.2 * torch.randn(500, 40, generator=generator(0))).clamp(-1, 1))
TIMES = (0.1, 0.4, 0.8)


def inside(times):
    """What a normal's middle holds of another, `times` narrower: P(|z| < times q) for q at 0.5."""
    quantile = math.sqrt(2) * torch.erfinv(torch.tensor(0.5)).item()
    return math.erf(times * quantile / math.sqrt(2))


@pytest.mark.parametrize("times", [1.0, 0.5, 2.0])
def test_coverage_of_widths_that_are_right_or_wrong_by_a_factor(times):
    bfn = BFN(FLOW, Wiener(FLOW, 0.2, times))
    found = coverage(bfn, SMOOTH, (0.1, 0.4), generator=generator(1))
    for row in found.shares:
        assert abs(row[0].mean - inside(times)) < 4 * row[0].standard_error + 0.002
        assert 0 < row[0].standard_error < 0.006 and row[0].count == 500
    assert (found.worst < 0.02) == (times == 1.0)


@pytest.mark.parametrize("t", TIMES)
def test_ranks_of_a_perfect_network_are_uniform_however_few_the_bins(t):
    """Drawn within the bin, since with 4 bins nearly all of p_O may be in one."""
    flow = DiscretisedFlow(4, 0.1)
    points = flow.centres[torch.randint(4, (6, 3), generator=generator(2))]
    x = points[torch.randint(6, (4000,), generator=generator(3))]
    found = coverage(ExactBFN(flow, points), x, [t], levels=[0.3, 0.9], generator=generator(4))
    for share, level in zip(found.shares[0], found.levels, strict=True):
        assert abs(share.mean - level) < 4 * share.standard_error
    assert found.ranks.shape == (1, 20) and found.ranks.sum().item() == pytest.approx(1)
    assert (found.ranks - 0.05).abs().max() < 4 * math.sqrt(0.05 / 4000)


def test_bits_of_coverage_are_what_x_costs():
    bfn = BFN(FLOW, Wiener(FLOW, 0.2))
    found = coverage(bfn, SMOOTH, [0.4], generator=generator(5)).bits[0]
    # The entropy of a normal of the posterior's width, in bins of 2/256.
    gamma = FLOW.gamma(0.4)
    width = math.sqrt(0.04 * (1 - gamma) / (gamma * 0.04 + 1 - gamma))
    assert found.mean == pytest.approx(
        math.log2(width * math.sqrt(2 * math.pi * math.e) * 128), abs=4 * found.standard_error
    )


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
def test_the_distribution_function_is_the_sum_of_the_bins(scale):
    flow = DiscretisedFlow(16, 0.1)
    loc = torch.linspace(-1.3, 1.3, 9).unsqueeze(1).expand(9, 16)
    output = DiscretisedNormal(loc, torch.full_like(loc, scale), 16)
    x = flow.centres.expand(9, 16)
    wanted = output.probs[:, 0].cumsum(-1)
    assert torch.allclose(output.cdf(x), wanted, atol=1e-5)
    assert torch.allclose(Binned(output.log_probs).cdf(x), wanted, atol=1e-5)
    assert (output.cdf(x)[:, -1] == 1).all()


class Always(nn.Module):
    """Logits that do not depend on what is read, at places 0, 1, …"""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, probs, t):
        return self.logits.expand_as(probs)


def test_reliability_of_guesses_that_are_right_and_of_some_that_are_too_sure():
    truth = torch.tensor([0.15, 0.45, 0.85])
    x = (torch.rand(3000, 3, generator=generator(6)) < truth).long()
    said = torch.tensor([0.15, 0.55, 0.97])  # the second and third are wrong
    network = Always(torch.stack([1 - said, said], -1).log())
    found = reliability(BFN(DiscreteFlow(2, 3.0), network), x, [0.5], generator=generator(7))
    where = [1, 5, 9]
    assert torch.allclose(found.guessed[0, where].float(), said, atol=1e-5)
    assert torch.equal(found.weight[0, where].float(), torch.full((3,), 1 / 3))
    for place, share in zip(where, truth.tolist(), strict=True):
        error = found.standard_error[0, place].item()
        assert error == pytest.approx(math.sqrt(share * (1 - share) / 3000), rel=0.1)
        assert abs(found.true[0, place].item() - share) < 4 * error
    assert found.gap[0].item() == pytest.approx((0.0 + 0.1 + 0.12) / 3, abs=0.015)
    assert found.guessed[0, 2].isnan() and found.edges.tolist() == pytest.approx(
        [k / 10 for k in range(11)])


def test_reliability_of_a_perfect_network_with_three_classes():
    flow = DiscreteFlow(3, 4.0)
    points = torch.randint(3, (8, 4), generator=generator(8))
    x = points[torch.randint(8, (4000,), generator=generator(9))]
    found = reliability(ExactBFN(flow, points), x, [0.3, 0.6], generator=generator(10))
    likely = found.weight > 0.02
    departure = (found.true - found.guessed).abs()[likely]
    assert (departure < 4 * found.standard_error[likely] + 1e-3).all() and likely.sum() > 6
    assert (found.guessed[likely] >= 1 / 3 - 1e-6).all()  # of the most likely of three


def test_standard_errors_know_that_variables_of_an_example_err_together():
    """Ten copies of one variable tell no more than one."""
    x = (torch.rand(2000, 1, generator=generator(11)) < 0.3).long()
    network = Always(torch.tensor([0.65, 0.35]).log())
    bfn = BFN(DiscreteFlow(2, 3.0), network)
    once, copies = (reliability(bfn, each, [0.5], generator=generator(12)) for each in
                    (x, x.expand(-1, 10)))
    assert torch.allclose(once.standard_error[0, 3], copies.standard_error[0, 3])


def test_a_part_of_mixed_data():
    flow = MixedFlow(places=DiscretisedFlow(4, 0.1), kinds=DiscreteFlow(3, 4.0))
    points = {"places": flow.flows["places"].centres[torch.tensor([[0, 1], [3, 2]])],
              "kinds": torch.tensor([[0], [2]])}
    rows = torch.randint(2, (300,), generator=generator(13))
    x = {name: part[rows] for name, part in points.items()}
    bfn = ExactBFN(flow, points)
    assert coverage(bfn, x, [0.2], part="places", generator=generator(14)).worst < 0.1
    assert reliability(bfn, x, [0.2], part="kinds", generator=generator(14)).gap.item() < 0.1
    with pytest.raises(ValueError, match="part must be one of places, kinds, got None"):
        coverage(bfn, x, [0.2])


def with_gaps(x, absent):
    """Each second value of x alone, so that what is left can be looked at by itself."""
    gone = x.clone()
    gone[::2, 0], gone[1::2, 1] = absent, absent
    return gone


def test_guesses_of_what_is_absent_are_not_counted():
    """Both columns are of class 1, and every guess of it comes true, likely or not."""
    flow, x = DiscreteFlow(2, 3.0), torch.ones(400, 2, dtype=torch.int64)
    bfn = BFN(MissingFlow(flow), Always(torch.tensor([[0.3, 0.7], [0.8, 0.2]]).log()))
    whole = reliability(BFN(flow, bfn.network), x, [0.5], 4, generator=generator(18))
    found = reliability(bfn, with_gaps(x, -1), [0.5], 4, generator=generator(18))
    assert found.true[0, [0, 2]].tolist() == [1.0, 1.0]
    assert torch.equal(found.weight, whole.weight)
    assert torch.allclose(found.guessed, whole.guessed, equal_nan=True)


def test_ranks_of_what_is_absent_are_not_counted():
    flow = DiscretisedFlow(4, 0.3)
    x = flow.centres[torch.randint(4, (4000, 2), generator=generator(19))]
    x[:, 1] = flow.centres[0]
    points = torch.cartesian_prod(flow.centres, flow.centres[:1])
    bfn = ExactBFN(MissingFlow(flow), points)
    gaps = x.clone()
    gaps[:2000, 0], gaps[2000:, 1] = math.nan, math.nan
    found = coverage(bfn, gaps, [0.6], [0.5], generator=generator(20))
    assert abs(found.shares[0][0].mean - 0.5) < 4 * found.shares[0][0].standard_error
    assert torch.allclose(found.ranks, torch.tensor(0.05), atol=0.02)
    mixed = coverage(ExactBFN(MixedFlow(a=bfn.flow), {"a": points}), {"a": gaps}, [0.6], [0.5],
                     part="a", generator=generator(20))
    assert mixed.shares == found.shares
    first = ExactBFN(flow, flow.centres[:, None])
    alone = coverage(first, x[:, :1], [0.6], generator=generator(21))
    # Half of what is there is the first column, and the second costs nothing.
    error = alone.bits[0].standard_error
    assert found.bits[0].mean == pytest.approx(alone.bits[0].mean / 2, abs=4 * error)
    error = (error**2 / 2 + found.bits[0].mean ** 2 / len(x)) ** 0.5  # which is there, is by chance
    assert found.bits[0].standard_error == pytest.approx(error, rel=0.02)


def test_what_cannot_be_judged_is_named():
    classes = ExactBFN(DiscreteFlow(2, 3.0), torch.tensor([[0], [1]]))
    points = ExactBFN(ContinuousFlow(0.1), torch.tensor([[0.0], [0.5]]))
    with pytest.raises(ValueError, match="over bins, got Categorical; reliability is for classes"):
        coverage(classes, torch.tensor([[0]]), [0.5])
    with pytest.raises(ValueError, match="a point has no width"):
        coverage(points, torch.tensor([[0.5]]), [0.5])
    with pytest.raises(ValueError, match="over classes, got Delta"):
        reliability(points, torch.tensor([[0.5]]), [0.5])
    for times in ([], [1.5], [-0.1]):
        with pytest.raises(ValueError, match="times must be numbers from 0 to 1"):
            coverage(points, torch.tensor([[0.5]]), times)


# A message about the mean ------------------------------------------------------------------------


def spread(guess, n, times=1.0):
    """The standard deviation of samples of what is N(0, 0.2²) in truth."""
    bfn = BFN(FLOW, Wiener(FLOW, 0.2, times))
    x = bfn.sample((2000, 4), n, sampler=Ancestral(guess), generator=generator(15))
    return x.std().item()


def test_draws_keep_the_spread_of_the_data_and_means_do_as_messages_get_many():
    assert spread("draw", 10) == pytest.approx(0.2, rel=0.03)
    assert spread("mean", 10) < 0.17
    assert spread("mean", 200) == pytest.approx(0.2, rel=0.03)


def test_a_width_that_is_wrong_spoils_draws_but_not_means():
    assert spread("draw", 10, times=5.0) > 0.4
    assert spread("mean", 40, times=5.0) < 0.25


def test_a_message_about_the_mean_is_what_the_docstring_says():
    flow = DiscretisedFlow(8, 0.1)
    bfn = ExactBFN(flow, flow.centres[torch.tensor([[1], [6]])])
    first, second, *_ = bfn.sampling_steps(
        (20000, 1), 3, sampler=Ancestral("mean"), generator=generator(16))
    alpha = flow.alpha(1, 3)
    y = second.theta.mean * (1 + alpha) / alpha  # μ₁ = α y/(1 + α), as μ₀ = 0
    assert y.mean().item() == pytest.approx(first.output.mean[0].item(), abs=4 / math.sqrt(
        20000 * alpha))
    assert y.var().item() == pytest.approx(1 / alpha, rel=0.04)


def test_draws_are_what_they_were():
    flow = DiscretisedFlow(8, 0.1)
    bfn = ExactBFN(flow, flow.centres[torch.tensor([[1], [6]])])
    samples = [bfn.sample((9, 1), 4, sampler=each, generator=generator(17))
               for each in (None, Ancestral(), Ancestral("draw"))]
    assert all(torch.equal(samples[0], other) for other in samples[1:])


def test_means_are_for_numbers():
    with pytest.raises(ValueError, match='guess must be "draw" or "mean", got \'mode\''):
        Ancestral("mode")
    classes = ExactBFN(DiscreteFlow(2, 3.0), torch.tensor([[0], [1]]))
    with pytest.raises(ValueError, match="classes, which have no mean"):
        classes.sample((2, 1), 3, sampler=Ancestral("mean"))
    flow = MixedFlow(a=ContinuousFlow(0.1), b=DiscreteFlow(2, 3.0))
    both = ExactBFN(flow, {"a": torch.tensor([[0.0], [0.5]]), "b": torch.tensor([[0], [1]])})
    x = both.sample({"a": (5, 1), "b": (5, 1)}, 3, sampler=Ancestral("mean"))
    assert x["b"].dtype == torch.int64 and x["a"].shape == (5, 1)
