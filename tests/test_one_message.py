"""One message: its price by quadrature against formulas, draws and both limits."""

import math

import pytest
import torch

from bfn_core import ContinuousFlow, DiscretisedFlow, Estimate
from bfn_core.distributions import Delta, DiscretisedNormal
from bfn_core.one_message import comb_costs, message_case, message_prices
from tests.oracles import generator


@pytest.mark.parametrize("alpha", [1.0, 8.0, 300.0])
@pytest.mark.parametrize("guess", [-1.0, 0.35])
def test_the_area_of_a_point_guess_is_the_formula(alpha, guess):
    price = message_prices("continuous", 0.4, guess, 0.3, torch.tensor([alpha]).double())
    x, output = torch.tensor([0.4]), Delta(torch.tensor([guess]))
    formula = float(ContinuousFlow(0.02).step_cost(x, output, alpha)) / math.log(2)
    assert float(price) == pytest.approx(formula, rel=1e-4)


def test_the_area_of_a_comb_is_the_kl_and_ends_at_the_surprise():
    alphas = torch.tensor([1.0, 20.0, 1e5]).double()
    prices = message_prices("discretised", 0.4, 0.0, 0.4, alphas)
    flow, x, output = message_case("discretised", 0.4, 0.0, 0.4, 200_000)
    for alpha, price in zip(alphas[:2].tolist(), prices.tolist(), strict=False):
        drawn = Estimate.of(flow.step_cost(x, output, alpha, generator(9))).bits()
        assert abs(drawn.mean - price) < 4 * drawn.standard_error
    assert float(prices[2]) == pytest.approx(-float(output.log_prob(x)[0]) / math.log(2), rel=1e-6)


def test_the_price_of_a_message_by_the_comb():
    """KL by quadrature against an average over messages, and both limits."""
    flow, mean = DiscretisedFlow(8, 0.02), torch.tensor([0.1]).double()
    output = DiscretisedNormal(mean, torch.full_like(mean, math.exp(-0.8)), 8)
    x = flow.centres[6:7].double()
    y = flow.sender(x, 40.0).sample((200_000,), generator=torch.Generator().manual_seed(0))
    ratio = flow.sender(x, 40.0).log_prob(y) - flow.receiver(output, 40.0).log_prob(y)
    comb, bell = comb_costs(flow, output, 6, 40.0)
    assert comb == pytest.approx(float(ratio.mean()) / math.log(2), abs=0.01)
    assert bell == pytest.approx(20.0 * float((x - output.mean) ** 2) / math.log(2), rel=1e-6)
    naming = -float(output.log_probs[0, 6]) / math.log(2)
    assert comb_costs(flow, output, 6, 1e5)[0] == pytest.approx(naming, abs=1e-3)
    assert comb_costs(flow, output, 6, 1e-3)[0] == pytest.approx(0, abs=1e-3)
