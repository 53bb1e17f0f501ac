"""Binary data as numbers: the same beliefs, guesses and bills."""

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, ExactBFN
from bfn_core.beliefs import CategoricalParameters
from bfn_core.binary import Signs
from bfn_core.infilling import block_means, fill
from bfn_core.networks.mlp import MLP
from tests.oracles import generator

FLOW = DiscreteFlow(2, beta_1=9.0)
WORDS = torch.cartesian_prod(*[torch.arange(2)] * 4)
WEIGHTS = torch.rand(16, generator=generator(0)) + 0.05
PERFECT = ExactBFN(FLOW, WORDS, WEIGHTS)


def test_the_same_messages_give_the_same_guess():
    numbers, x = Signs(PERFECT), WORDS[[3, 9]]
    one, other = FLOW.prior((2, 4)), numbers.flow.prior((2, 4))
    for i in (1, 2, 3):
        alpha = FLOW.alpha(i, 3)
        y = FLOW.sender(x, alpha).sample(generator=generator(i))
        one = FLOW.update(one, y, alpha)
        said = (y[..., 1] - y[..., 0]) / (2 * alpha)
        other = numbers.flow.update(other, said, alpha)
        classes, means = PERFECT.output(one, i / 3), numbers.output(other, i / 3)
        assert torch.allclose(means.mean, 2 * classes.probs[..., 1] - 1, atol=1e-5)
        assert means.mean.abs().max() > 0.2


def test_a_message_about_a_class_is_one_about_a_number():
    x, alpha = WORDS[5].expand(40_000, 4), 0.7
    y = FLOW.sender(x, alpha).sample(generator=generator(3))
    said = (y[..., 1] - y[..., 0]) / (2 * alpha)
    assert torch.allclose(said.mean(0), 2.0 * WORDS[5] - 1, atol=0.03)
    assert torch.allclose(said.var(0), torch.full((4,), 1 / alpha), rtol=0.03)


def test_the_bill_in_continuous_time_is_the_same():
    numbers, t = Signs(PERFECT), torch.full((16,), 0.6)
    theta = numbers.flow.sample_flow(2.0 * WORDS - 1, t, generator(4))
    total = theta.mean * theta.precision.view(-1, 1)
    same = CategoricalParameters(torch.stack([-total, total], -1).log_softmax(-1))
    bills = [numbers.flow.rate_cost(2.0 * WORDS - 1, numbers.output(theta, t), t),
             FLOW.rate_cost(WORDS, PERFECT.output(same, t), t)]
    assert torch.allclose(*bills, atol=1e-4) and bills[0].max() > 0.5


def test_told_the_means_of_halves_fillings_follow_bayes_rule():
    """Of two pairs the sum of the first is told: which of its two letters is the 1?"""
    law = WEIGHTS.double().view(2, 2, 4).sum(2)
    wanted = float(law[0, 1] / (law[0, 1] + law[1, 0]))  # P(second letter is 1 | the sum is 1)
    rows = torch.tensor([[1.0, 1.0, 0.0, 0.0]]) / 2**0.5
    many = [fill(Signs(PERFECT), 2.0 * WORDS[4] - 1, torch.tensor([True]), 60, 64, basis=rows,
                 generator=generator(seed)) for seed in range(12)]
    found = sum(float(f.weights[f.x[:, 1] > f.x[:, 0]].sum()) for f in many) / 12
    assert abs(found - wanted) < 0.04 and abs(wanted - 0.5) > 0.05


def test_a_condition_comes_through_and_means_are_kept():
    class Hearing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner = MLP(32, (1, 4, 4, 2), hidden=8, depth=1)

        def forward(self, inputs, t, condition=None):
            raw = self.inner(inputs.flatten(1), t)
            return raw if condition is None else raw + condition.view(-1, 1, 1, 1, 1)

    numbers = Signs(BFN(FLOW, Hearing()))
    theta = numbers.flow.prior((2, 1, 4, 4))
    plain = numbers.output(theta, 0.0).mean
    both = torch.tensor([0.0, 3.0])
    assert torch.allclose(numbers.output(theta, 0.0, condition=both).mean[0], plain[0], atol=1e-6)
    x = 2.0 * torch.randint(2, (1, 4, 4), generator=generator(5)) - 1
    rows = block_means((1, 4, 4), 2)
    found = fill(numbers, x, torch.ones(4, dtype=torch.bool), 5, 3, basis=rows,
                 generator=generator(6)).x
    assert torch.allclose(found.flatten(1) @ rows.T, (x.flatten() @ rows.T).expand(3, 4), atol=1e-5)


def test_other_data_are_refused():
    with pytest.raises(ValueError, match=r"bfn must be for binary data, a DiscreteFlow\(2"):
        Signs(BFN(DiscreteFlow(3, 3.0), None))
