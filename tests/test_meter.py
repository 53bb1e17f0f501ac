"""What a table's messages cost, measured by `Meter`: against losses, entropies and closed forms."""

import math

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, Estimate, elbo
from bfn_core import meter as meter_of
from bfn_core.beliefs import CategoricalParameters
from bfn_core.networks.mlp import MLP
from bfn_core.tempered import Tempered
from tests.oracles import generator

TABLE = torch.tensor([[10.0, 2, 1], [2, 5, 2], [1, 3, 6]])


def entropy(p):
    p = p.double() / p.double().sum()
    return -float(torch.special.xlogy(p, p).sum()) / math.log(2)


@pytest.fixture(scope="module")
def truth():
    return meter_of.perfect_network(TABLE)


@pytest.fixture(scope="module")
def meter(truth):
    return meter_of.Meter(truth)


def draw(truth, count, seed):
    weights = truth.log_weights.exp()
    return truth.data[torch.multinomial(weights, count, True, generator=generator(seed))]


def test_the_perfect_network_of_a_table_knows_its_entropy(truth):
    assert truth.entropy() / math.log(2) == pytest.approx(entropy(TABLE))
    apart = meter_of.without_correlation(TABLE)
    both = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1))
    assert entropy(apart) == pytest.approx(both)
    assert torch.allclose(apart.sum(1), TABLE.double().sum(1) / TABLE.sum())


@pytest.mark.parametrize(
    "table", [torch.ones(2, 3), torch.ones(3), -TABLE, 0 * TABLE, TABLE * math.nan]
)
def test_a_table_that_is_none_is_refused(table):
    with pytest.raises(ValueError, match="table must"):
        meter_of.perfect_network(table)


def test_the_area_under_the_rate_is_the_entropy(truth, meter):
    rate = meter.rate(truth, meter_of.TIMES)
    total = meter_of.integral(rate @ meter.weights) + float(meter.final(truth) @ meter.weights)
    assert total == pytest.approx(entropy(TABLE), abs=0.02)


def test_a_curve_between_the_times_is_smooth_and_goes_through_them():
    def bump(t):
        return t.double().square() * torch.exp(-6 * t.double())

    t, curve = meter_of.smooth(bump(meter_of.TIMES))
    assert torch.allclose(curve[::8], bump(meter_of.TIMES), atol=1e-12)
    middle = slice(16, -16)  # at its ends a natural spline has no curvature, and the bump has
    assert torch.allclose(curve[middle], bump(t)[middle], atol=2e-5)
    straight = torch.nn.functional.interpolate(bump(meter_of.TIMES)[None, None], 193, mode="linear",
                                               align_corners=True)[0, 0]
    assert curve.diff().diff().abs().max() < straight.diff().diff().abs().max() / 4  # no corners


def test_in_continuous_time_every_point_costs_its_surprise(truth):
    """E ≥ surprise holds for every point, and on average with equality: so for every point."""
    meter = meter_of.Meter(truth, seed=4)
    rate, final = meter.rate(truth, meter_of.TIMES), meter.final(truth)
    paid = torch.tensor([meter_of.integral(rate[:, j]) for j in range(9)]).double() + final
    assert torch.allclose(paid, -meter.weights.log2(), atol=0.12), paid


@pytest.mark.parametrize("n", [1, 2, 5, 13, 14, 60])
def test_the_price_of_n_messages_is_that_of_loss_n(truth, meter, n):
    ours = float((meter.steps(truth, n) @ meter.weights).sum())
    theirs = elbo(truth, draw(truth, 60_000, 1), n, batch_size=20_000, generator=generator(2))
    theirs = theirs.messages.bits()
    assert meter.steps(truth, n).shape == (n, 9)
    assert abs(ours - theirs.mean) < 4 * theirs.standard_error + 0.02, (ours, theirs)


@pytest.mark.parametrize("n", [1, 3, 10, 50, 200])
def test_without_correlation_every_n_costs_the_same(meter, n):
    alone = meter_of.perfect_network(meter_of.without_correlation(TABLE))
    cost = float((meter.steps(alone, n) @ meter.weights).sum() + meter.final(alone) @ meter.weights)
    both = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1))
    assert cost == pytest.approx(both, abs=0.03)


def test_prices_between_chebyshev_points_are_as_good_as_those_at_every_message(truth, meter):
    between, every = (meter.steps(truth, 40, knots) for knots in (13, 40))
    assert torch.allclose(between @ meter.weights, every @ meter.weights, atol=2e-3)


def test_a_conversation_is_costed_along_bob_s_beliefs(truth):
    """The running sum of messages is the sequence of updates, and the costs are those of loss_n."""
    n, x = 6, draw(truth, 30_000, 3)
    paid = meter_of.message_bits(truth, x, n, generator=generator(4))
    assert paid.shape == (len(x), n + 1)
    for i in range(1, n + 1):
        ours = Estimate.of(paid[:, i - 1])
        theirs = Estimate.of(truth.loss_n(x, n, i, generator=generator(5)) / n).bits()
        error = math.hypot(ours.standard_error, theirs.standard_error)
        assert abs(ours.mean - theirs.mean) < 4.5 * error, i
    total, known = Estimate.of(paid[:, n]), Estimate.of(truth.reconstruction_loss(x)).bits()
    assert abs(total.mean - known.mean) < 4.5 * math.hypot(
        total.standard_error, known.standard_error
    )


def test_the_final_belief_of_a_conversation_is_that_of_sequential_updates(truth):
    n, x = 4, draw(truth, 5, 6)
    theta, flow, gen = truth.flow.prior(x.shape), truth.flow, generator(7)
    alphas = flow.alpha(torch.arange(1, n + 1).repeat(5).float(), n)
    y = flow.sender(x.repeat_interleave(n, 0), alphas).sample(generator=gen).reshape(5, n, 2, 3)
    for i in range(n):
        theta = flow.update(theta, y[:, i], alphas[i])
    final = -truth.output(CategoricalParameters(theta.logits), 1.0).log_prob(x).sum(1)
    paid = meter_of.message_bits(truth, x, n, generator=generator(7))[:, -1]
    assert torch.allclose(paid, final / math.log(2), atol=1e-4)


def test_a_tempered_network_has_sharper_or_flatter_guesses(truth):
    theta = truth.flow.sample_flow(truth.data, 0.4, generator(8))
    plain = truth.output(theta, 0.4)
    same, sharp, flat = (Tempered(truth, t).output(theta, 0.4) for t in (1.0, 0.5, 2.0))
    assert torch.allclose(same.probs, plain.probs, atol=1e-6)
    squares = plain.probs.square()
    assert torch.allclose(sharp.probs, squares / squares.sum(-1, keepdim=True), atol=1e-5)
    assert bool((flat.entropy() >= plain.entropy() - 1e-6).all())
    with pytest.raises(ValueError, match="temperature"):
        Tempered(truth, 0.0)


def test_a_bill_that_ends_early_is_that_of_elbo_and_its_lower_bands_fill_the_entropy():
    for table in (TABLE, torch.eye(3)):
        messages, together, excess = meter_of.finite_bills(table)
        assert messages.shape == meter_of.BETAS.shape
        for k in (25, 40):
            bfn = meter_of.perfect_network(table, float(meter_of.BETAS[k]))
            x = draw(bfn, 40_000, 10)
            bill = elbo(bfn, x, batch_size=20_000, generator=generator(11))
            parts = (bill.messages, messages), (bill.reconstruction, together + excess)
            for drawn, ours in parts:
                drawn = drawn.bits()
                assert abs(float(ours[k]) - drawn.mean) < 4 * drawn.standard_error + 0.005, k
        shown = slice(20, None)  # at the faintest the lower bands do not yet fill it
        assert (messages + together)[shown] == pytest.approx(entropy(table), abs=0.01)
        margins = entropy(table.sum(0)) + entropy(table.sum(1))
        faintest = meter_of.finite_bills(table, torch.logspace(-4, 0, 41).double())[2][0]
        assert float(faintest) == pytest.approx(margins - entropy(table), abs=0.005)
        assert abs(float(excess[-1])) < 1e-4 and bool((excess.diff() < 1e-4).all())
    excess = meter_of.finite_bills(meter_of.without_correlation(TABLE))[2]
    assert float(excess.abs().max()) < 1e-6


def test_a_tempered_model_of_a_network_is_its_logits_divided():
    torch.manual_seed(0)
    flow = DiscreteFlow(3, 2.0)
    bfn = BFN(flow, MLP(2 * 3, (2, 3)))
    x = torch.randint(3, (5, 2), generator=generator(1))
    theta = flow.sample_flow(x, 0.5, generator(2))

    class Divided(torch.nn.Module):
        def forward(self, inputs, t):
            return bfn.network(inputs, t) / 0.7

    cool = Tempered(bfn, 0.7)
    expected = BFN(flow, Divided()).output(theta, 0.5).probs
    assert torch.allclose(cool.output(theta, 0.5).probs, expected, atol=1e-6)
    assert cool.loss(x, generator=generator(3)).shape == (5,)
    assert len(list(cool.parameters())) == len(list(bfn.parameters()))
    divided = BFN(flow, Divided()).sample((4, 2), 5, generator=generator(4))
    assert torch.equal(cool.sample((4, 2), 5, generator=generator(4)), divided)
