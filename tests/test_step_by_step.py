"""What is kept step by step is what a loop over the steps sees."""

import pytest
import torch

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow, ExactBFN, MixedFlow
from bfn_core.beliefs import cut, first, joined
from bfn_core.step_by_step import heard, tell, watch
from tests.oracles import generator

POINTS = torch.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 0]])
PERFECT = ExactBFN(DiscreteFlow(3, 4.0), POINTS)


def test_what_is_heard_begins_with_the_prior_and_adds_up():
    flow = ContinuousFlow(0.1)
    x = torch.tensor([0.3, -0.2], dtype=torch.float64)
    messages, beliefs = heard(flow, x, 4, generator=generator(0))
    assert len(messages) == 4 and len(beliefs) == 5
    assert beliefs[0].mean.tolist() == [0, 0] and beliefs[0].mean.dtype == torch.float64
    for i in range(4):
        after = flow.update(beliefs[i], messages[i], flow.alpha(i + 1, 4))
        assert torch.equal(after.mean, beliefs[i + 1].mean)
    _, of_own = heard(flow, x, [2.0, 5.0], generator=generator(0))
    assert of_own[-1].precision.tolist() == [8, 8]


def test_telling_asks_the_network_about_every_belief_of_one_stream():
    told = tell(PERFECT, POINTS[1], 6, generator=generator(1))
    assert told.messages.shape == (6, 3, 3) and told.times.tolist()[::3] == [0, 0.5, 1]
    stream = PERFECT.flow.messages(POINTS[1:2], 6, generator=generator(1))
    for i, (y, theta) in enumerate(stream, 1):
        assert torch.equal(told.messages[i - 1], y[0])
        assert torch.equal(told.theta.logits[i], theta.logits[0])
        guess = PERFECT.output(theta, i / 6).probs[0]
        torch.testing.assert_close(told.output.probs[i], guess)


def test_telling_leaves_the_network_s_mode_and_takes_no_gradients():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, inputs, t):
            return self.dropout(torch.ones(*inputs.shape, 2)) * self.weight

    bfn = BFN(DiscretisedFlow(4, 0.1), Half())
    told = tell(bfn, torch.tensor([-0.75, 0.25]), 3, generator=generator(2))
    assert bfn.training and not told.output.mean.requires_grad
    assert told.theta.mean.shape == told.output.mean.shape == (4, 2)


def test_watching_keeps_what_is_seen_and_draws_as_the_sampler_does():
    (both,), x = watch(PERFECT, (5, 3), 4, lambda s: (s.output.probs,), generator=generator(3))
    steps = list(PERFECT.sampling_steps((5, 3), 4, generator=generator(3)))
    assert torch.equal(both, torch.stack([step.output.probs for step in steps]))
    assert torch.equal(x, PERFECT.sample((5, 3), 4, generator=generator(3)))


@pytest.mark.parametrize("flow", [ContinuousFlow(0.1), DiscreteFlow(3, 1.0), MixedFlow(
    a=ContinuousFlow(0.1), b=DiscreteFlow(2, 1.0))], ids=["numbers", "classes", "both"])
def test_batches_are_joined_part_by_part(flow):
    shape = {"a": (3, 2), "b": (3, 2)} if isinstance(flow, MixedFlow) else (3, 2)
    theta = flow.prior(shape)
    again = joined([cut(theta, slice(1)), cut(theta, slice(1, 3))])
    assert type(again) is type(theta) and torch.equal(first(again), first(theta))
