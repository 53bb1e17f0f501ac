"""The pictures of code lengths show the numbers of bfn_core, and move with every control."""

import itertools
import math
import re

import pytest
import torch

from bfn_core import Estimate, elbo
from bfn_core.beliefs import CategoricalParameters
from bfn_core.distributions import Delta
from bfn_core.flows import ContinuousFlow
from bfn_core.views import loss_in_bits as views
from bfn_core.views.kit import style
from tests.oracles import generator

TABLE = torch.tensor([[10.0, 2, 1], [2, 5, 2], [1, 3, 6]])
NAMES = ("sun", "cloud", "rain")


def entropy(p):
    p = p.double() / p.double().sum()
    return -float(torch.special.xlogy(p, p).sum()) / math.log(2)


def numbers(caption):
    return [float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+", re.sub(r"<[^>]*>", "", caption))]


@pytest.fixture(scope="module")
def truth():
    return views.perfect_network(TABLE)


@pytest.fixture(scope="module")
def meter(truth):
    return views.Meter(truth)


def draw(truth, count, seed):
    weights = truth.log_weights.exp()
    return truth.data[torch.multinomial(weights, count, True, generator=generator(seed))]


def test_the_perfect_network_of_a_table_knows_its_entropy(truth):
    assert truth.entropy() / math.log(2) == pytest.approx(entropy(TABLE))
    apart = views.without_correlation(TABLE)
    both = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1))
    assert entropy(apart) == pytest.approx(both)
    assert torch.allclose(apart.sum(1), TABLE.double().sum(1) / TABLE.sum())


@pytest.mark.parametrize(
    "table", [torch.ones(2, 3), torch.ones(3), -TABLE, 0 * TABLE, TABLE * math.nan]
)
def test_a_table_that_is_none_is_refused(table):
    with pytest.raises(ValueError, match="table must"):
        views.perfect_network(table)


def test_the_area_under_the_rate_is_the_entropy(truth, meter):
    rate = meter.rate(truth, views.TIMES)
    total = views.area(rate @ meter.weights) + float(meter.final(truth) @ meter.weights)
    assert total == pytest.approx(entropy(TABLE), abs=0.02)


def test_a_curve_between_the_times_is_smooth_and_goes_through_them():
    def bump(t):
        return t.double().square() * torch.exp(-6 * t.double())

    t, curve = views.smooth(bump(views.TIMES))
    assert torch.allclose(curve[::8], bump(views.TIMES), atol=1e-12)
    middle = slice(16, -16)  # at its ends a natural spline has no curvature, and the bump has
    assert torch.allclose(curve[middle], bump(t)[middle], atol=2e-5)
    straight = torch.nn.functional.interpolate(bump(views.TIMES)[None, None], 193, mode="linear",
                                               align_corners=True)[0, 0]
    assert curve.diff().diff().abs().max() < straight.diff().diff().abs().max() / 4  # no corners


def test_in_continuous_time_every_point_costs_its_surprise(truth):
    """E ≥ surprise holds for every point, and on average with equality: so for every point."""
    meter = views.Meter(truth, seed=4)
    rate, final = meter.rate(truth, views.TIMES), meter.final(truth)
    paid = torch.tensor([views.area(rate[:, j]) for j in range(9)]).double() + final
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
    alone = views.perfect_network(views.without_correlation(TABLE))
    cost = float((meter.steps(alone, n) @ meter.weights).sum() + meter.final(alone) @ meter.weights)
    both = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1))
    assert cost == pytest.approx(both, abs=0.03)


def test_prices_between_chebyshev_points_are_as_good_as_those_at_every_message(truth, meter):
    between, every = (meter.steps(truth, 40, knots) for knots in (13, 40))
    assert torch.allclose(between @ meter.weights, every @ meter.weights, atol=2e-3)


def test_a_conversation_is_costed_along_bob_s_beliefs(truth):
    """The running sum of messages is the sequence of updates, and the costs are those of loss_n."""
    n, x = 6, draw(truth, 30_000, 3)
    paid = views.message_bits(truth, x, n, generator=generator(4))
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
    paid = views.message_bits(truth, x, n, generator=generator(7))[:, -1]
    assert torch.allclose(paid, final / math.log(2), atol=1e-4)


def test_a_tempered_network_has_sharper_or_flatter_guesses(truth):
    theta = truth.flow.sample_flow(truth.data, 0.4, generator(8))
    plain = truth.output(theta, 0.4)
    same, sharp, flat = (views.Tempered(truth, t).output(theta, 0.4) for t in (1.0, 0.5, 2.0))
    assert torch.allclose(same.probs, plain.probs, atol=1e-6)
    squares = plain.probs.square()
    assert torch.allclose(sharp.probs, squares / squares.sum(-1, keepdim=True), atol=1e-5)
    assert bool((flat.entropy() >= plain.entropy() - 1e-6).all())
    with pytest.raises(ValueError, match="temperature"):
        views.Tempered(truth, 0.0)


@pytest.mark.parametrize("alpha", [1.0, 8.0, 300.0])
@pytest.mark.parametrize("guess", [-1.0, 0.35])
def test_the_area_of_a_point_guess_is_the_formula(alpha, guess):
    price = views.message_prices("continuous", 0.4, guess, 0.3, torch.tensor([alpha]).double())
    x, output = torch.tensor([0.4]), Delta(torch.tensor([guess]))
    formula = float(ContinuousFlow(0.02).step_cost(x, output, alpha)) / math.log(2)
    assert float(price) == pytest.approx(formula, rel=1e-4)


def test_the_area_of_a_comb_is_the_kl_and_ends_at_the_surprise():
    alphas = torch.tensor([1.0, 20.0, 1e5]).double()
    prices = views.message_prices("discretised", 0.4, 0.0, 0.4, alphas)
    flow, x, output = views.message_case("discretised", 0.4, 0.0, 0.4, 200_000)
    for alpha, price in zip(alphas[:2].tolist(), prices.tolist(), strict=False):
        drawn = Estimate.of(flow.step_cost(x, output, alpha, generator(9))).bits()
        assert abs(drawn.mean - price) < 4 * drawn.standard_error
    assert float(prices[2]) == pytest.approx(-float(output.log_prob(x)[0]) / math.log(2), rel=1e-6)


def test_a_bill_that_ends_early_is_that_of_elbo_and_its_lower_bands_fill_the_entropy():
    for table in (TABLE, torch.eye(3)):
        messages, together, excess = views.finite_bills(table)
        assert messages.shape == views.BETAS.shape
        for k in (25, 40):
            bfn = views.perfect_network(table, float(views.BETAS[k]))
            x = draw(bfn, 40_000, 10)
            bill = elbo(bfn, x, batch_size=20_000, generator=generator(11))
            parts = (bill.messages, messages), (bill.reconstruction, together + excess)
            for drawn, ours in parts:
                drawn = drawn.bits()
                assert abs(float(ours[k]) - drawn.mean) < 4 * drawn.standard_error + 0.005, k
        shown = slice(views.FIRST, None)
        assert (messages + together)[shown] == pytest.approx(entropy(table), abs=0.01)
        margins = entropy(table.sum(0)) + entropy(table.sum(1))
        faintest = views.finite_bills(table, torch.logspace(-4, 0, 41).double())[2][0]
        assert float(faintest) == pytest.approx(margins - entropy(table), abs=0.005)
        assert abs(float(excess[-1])) < 1e-4 and bool((excess.diff() < 1e-4).all())
    excess = views.finite_bills(views.without_correlation(TABLE))[2]
    assert float(excess.abs().max()) < 1e-6


def test_the_caption_of_the_bill_that_ends_early_adds_up():
    explorer = views.excess_explorer(TABLE, beta_1=0.5623)
    explorer.set(kind="copy")
    _, messages, fee, total, floor, excess = numbers(explorer.caption)
    assert total == pytest.approx(1.5096 / math.log(2), abs=0.015)  # two copies, by elbo
    assert floor == pytest.approx(math.log2(3), abs=0.006)
    assert messages + fee == pytest.approx(total, abs=0.011)
    assert total == pytest.approx(floor + excess, abs=0.016)


EXPLORERS = {
    "bill": (
        lambda: views.bill_explorer(TABLE, NAMES),
        {"pair": (0, 2, -1), "n": (1, 50)},
    ),
    "message": (
        views.message_explorer,
        {"x": (-0.8, 0.8), "guess": (-1.0, 1.0), "spread": (0.15, 1.0), "alpha": (1.0, 300.0),
         "kind": ("continuous", "discretised")},
    ),
    "steps": (lambda: views.steps_explorer(TABLE), {"n": (1, 200), "network": ("alone",)}),
    "excess": (
        lambda: views.excess_explorer(TABLE),
        {"kind": ("copy", "alone", "yours"), "beta_1": (0.1, 10.0)},
    ),
    "imperfect": (
        lambda: views.imperfect_explorer(TABLE, NAMES),
        {"share": (0.5, 1.0), "temperature": (1 / 3, 3.0)},
    ),
}


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_moves_the_picture_to_the_ends_of_its_range(name):
    make, moves = EXPLORERS[name]
    explorer = make()
    assert {*moves} | {"again"} >= {*explorer.controls}
    for control, values in moves.items():
        for value in values:
            before = explorer.png
            explorer.set(**{control: value})
            assert explorer.error is None
            assert explorer.png != before, (control, value)
            assert explorer.caption and "nan" not in explorer.caption.lower()


def test_other_messages_give_other_conversations_and_the_same_average():
    explorer = views.bill_explorer(TABLE, NAMES)
    caption, png = explorer.caption, explorer.png
    explorer.controls["again"].click()
    assert explorer.png != png and explorer.caption == caption


def test_the_captions_state_the_right_numbers():
    both, joint = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1)), entropy(TABLE)
    steps = views.steps_explorer(TABLE, n=1)
    assert numbers(steps.caption) == pytest.approx([both, joint, joint, both], abs=0.02)
    imperfect = views.imperfect_explorer(TABLE, NAMES)
    extra, floor, _, _, formula = numbers(imperfect.caption)
    assert floor == pytest.approx(joint, abs=0.006)
    assert formula == pytest.approx(both - joint, abs=0.006)
    assert extra == pytest.approx(both - joint, abs=0.03)
    bill = views.bill_explorer(TABLE, NAMES, n=50)
    first, second, total, messages, more = numbers(bill.caption)
    assert first == pytest.approx(entropy(TABLE.sum(1)), abs=0.006)
    assert total == pytest.approx(joint, abs=0.006)
    assert first + second == pytest.approx(total, abs=0.011)
    assert messages == pytest.approx(total + more, abs=0.011)
    message = views.message_explorer(kind="continuous", x=0.4, guess=0.0, alpha=8.0)
    assert "0.92 bits" in message.caption  # 8/2 · 0.4² / ln 2


def test_every_press_of_a_key_moves_the_bars_to_another_number_of_messages():
    explorer = views.steps_explorer(TABLE, n=77)
    counts = explorer.controls["n"].options
    assert counts[0] == 1 and 77 in counts and counts[-1] == 200
    assert all(isinstance(n, int) for n in counts) and len(counts) < 60
    for n, following in itertools.pairwise(counts):
        assert n < following <= max(n + 1, 1.15 * n)
        explorer.set(n=following)
        assert f"n = {following}:" in explorer.caption


def test_a_table_with_impossible_pairs_can_be_drawn():
    copy = torch.eye(3)
    steps = views.steps_explorer(copy, n=200)
    assert numbers(steps.caption)[:2] == pytest.approx([math.log2(3)] * 2, abs=0.03)
    for explorer in (views.bill_explorer(copy, NAMES), views.imperfect_explorer(copy, NAMES)):
        assert explorer.error is None and "nan" not in explorer.caption.lower()
    assert len(views.bill_figure(copy, NAMES, [None, 0, 1]).axes) == 4  # 1 cannot happen


def test_the_figures_at_rest_draw():
    for figure in (
        views.bill_figure(TABLE, NAMES, [None, 0]), views.message_figure(),
        views.steps_figure(TABLE), views.excess_figure(TABLE),
    ):
        assert len(style.to_png(figure)) > 5000
