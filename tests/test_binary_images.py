"""Binary images: conversations about a digit add up, and coin tosses cost what they must."""

import math

import pytest
import torch

from bfn_core import CategoricalParameters, DiscreteFlow, Estimate, ExactBFN, binary_images
from tests.oracles import generator
from tools.tosses import toss_fee

SIDE = 6
POINTS = (torch.rand(5, 1, SIDE, SIDE, generator=generator(0)) < 0.4).long()
PERFECT = ExactBFN(DiscreteFlow(2, 9.0), POINTS)
N = 12


def logit(p):
    return p.double().log() - (1 - p.double()).log()


def test_a_conversation_adds_up_its_messages_and_shows_the_network_s_guesses():
    talk = binary_images.converse(PERFECT, POINTS[2], N, generator=generator(1))
    assert talk.messages.shape == (N, SIDE, SIDE)
    assert talk.beliefs.shape == talk.guesses.shape == (N + 1, SIDE, SIDE)
    alphas = PERFECT.flow.alpha(torch.arange(1, N + 1).float(), N).reshape(-1, 1, 1)
    theta = CategoricalParameters(torch.stack([1 - talk.beliefs, talk.beliefs], -1).log())
    early = slice(0, 6)  # later beliefs are so sure that their logits lose digits
    told = logit(talk.beliefs).diff(dim=0) / (4 * alphas).sqrt()
    torch.testing.assert_close(talk.messages[early], told[early].float(), atol=1e-3, rtol=1e-3)
    theta = CategoricalParameters(theta.logits.unsqueeze(1)[early])
    guesses = PERFECT.output(theta, 0.5).probs[:, 0, ..., 1]
    torch.testing.assert_close(talk.guesses[early], guesses, atol=1e-4, rtol=0)
    assert torch.equal(talk.digit, POINTS[2, 0])
    paid, rest = talk.paid(7)
    assert paid == pytest.approx(float(talk.nats[:7].sum()), abs=1e-4)
    assert paid + rest == pytest.approx(float(talk.nats.sum()) + talk.last, abs=1e-4)


def test_a_conversation_costs_what_naming_the_digit_costs():
    """The perfect network's bill is ln 5 on average: the sum of the prices is a bill in nats."""
    bills = []
    for seed in range(80):
        talk = binary_images.converse(PERFECT, POINTS[seed % 5], 40, generator=generator(seed))
        bills.append(sum(talk.paid(20)))
    bill = Estimate.of(torch.tensor(bills))
    assert bill.standard_error < 0.25
    assert abs(bill.mean - math.log(5)) < 4 * bill.standard_error + 0.1  # L^40 is a little above


def test_a_loud_message_has_the_mean_and_spread_of_its_sender():
    wide = ExactBFN(DiscreteFlow(2, 9.0), torch.ones(1, 1, 100, 100, dtype=torch.int64))
    message = binary_images.converse(wide, wide.data[0], 1, generator=generator(3)).messages[0]
    assert float(message.std()) == pytest.approx(1.0, abs=0.03)
    assert float(message.mean()) == pytest.approx(math.sqrt(9.0), abs=0.04)  # 2α / √(4α)


def test_undecided_pixels_are_those_that_are_sure_of_nothing():
    ink = torch.tensor([[[0.0, 0.04], [0.06, 0.5]], [[0.94, 0.96], [1.0, 1.0]]])
    assert binary_images.undecided(ink).tolist() == [2, 1]


def test_a_known_coin_costs_its_entropy():
    ink = torch.tensor([0.0, 0.03, 0.5, 0.9, 1.0])
    times = (torch.arange(400) + 0.5) / 400
    paid = sum(binary_images.toss_rate(ink, float(t), beta_1=25.0) for t in times) / 400
    entropy = torch.special.entr(ink) + torch.special.entr(1 - ink)
    assert torch.allclose(paid, entropy.double(), atol=1e-4)


def test_a_coin_s_price_is_that_of_the_perfect_network():
    coin = ExactBFN(DiscreteFlow(2, 9.0), torch.tensor([[0], [1]]), torch.tensor([0.7, 0.3]))
    x = (torch.rand(20_000, 1, generator=generator(1)) < 0.3).long()
    found = Estimate.of(coin.loss(x, 0.3, generator=generator(2)))
    exact = float(binary_images.toss_rate(torch.tensor(0.3), 0.3, beta_1=9.0))
    assert abs(found.mean - exact) < 4 * found.standard_error < 0.1 * exact


def test_a_known_coin_s_last_fee_is_that_of_the_perfect_network():
    """At a β(1) so small that it is most of the price; and what is certain costs nothing."""
    coin = ExactBFN(DiscreteFlow(2, 0.3), torch.tensor([[0], [1]]), torch.tensor([0.7, 0.3]))
    x = (torch.rand(20_000, 1, generator=generator(3)) < 0.3).long()
    found = Estimate.of(coin.reconstruction_loss(x, generator=generator(4)))
    exact = float(toss_fee(torch.tensor([0.3]), 0.3))
    assert abs(found.mean - exact) < 4 * found.standard_error < 0.1 * exact
    assert toss_fee(torch.tensor([0.0, 1.0]), 0.3).tolist() == pytest.approx([0, 0], abs=1e-12)
