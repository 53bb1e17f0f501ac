"""The transformer: the contract's shapes, its sizes, who sees whom, and that it can learn."""

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, ExactBFN, elbo
from bfn_core.networks.attention import attend, rotations, turned
from bfn_core.networks.transformer import Transformer
from tests.oracles import generator

SMALL = {"layers": 2, "heads": 2, "width": 16}


def random_weights(network, seed=0):
    """Projections that start at zero hide what reaches them."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def beliefs(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed)).softmax(-1)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_logits_for_every_position_and_gradients_for_every_weight():
    network = random_weights(Transformer(5, 7, **SMALL))
    bfn = BFN(DiscreteFlow(5, 1.0), network)
    x = bfn.sample((3, 7), n_steps=2, generator=generator(0))
    assert x.shape == (3, 7)
    bfn.train()
    bfn.loss(x).sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name


def test_every_position_sees_every_other_and_the_time():
    network = random_weights(Transformer(3, 6, **SMALL)).double()
    inputs = beliefs(1, 6, 3).double().requires_grad_()
    t = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    out = network(inputs, t)
    for position in range(6):  # a causal mask would leave zeros behind the diagonal
        to_inputs, to_time = torch.autograd.grad(
            out[0, position, 0], (inputs, t), retain_graph=True
        )
        assert (to_inputs.abs().sum(-1) > 0).all()
        assert to_time != 0


def test_positions_are_told_apart():
    network = random_weights(Transformer(3, 4, **SMALL))
    out = network(torch.full((1, 4, 3), 1 / 3), torch.tensor([0.5]))[0]
    assert (out[:1] - out[1:]).abs().amax(-1).min() > 1e-3


def test_examples_do_not_see_each_other():
    network = random_weights(Transformer(3, 4, **SMALL))
    inputs, t = beliefs(5, 4, 3), torch.linspace(0, 1, 5)
    single = torch.cat([network(inputs[b : b + 1], t[b : b + 1]) for b in range(5)])
    torch.testing.assert_close(network(inputs, t), single, atol=1e-5, rtol=1e-5)


def test_attention_is_the_formula():
    """softmax(q·k / √width) v for each head, written out."""
    block = random_weights(Transformer(3, 4, **SMALL)).blocks[0]
    x = torch.randn(2, 4, 16, generator=generator(1))
    q, k, v = block.qkv(x).chunk(3, -1)
    heads = []
    for h in (slice(0, 8), slice(8, 16)):
        scores = torch.einsum("bid, bjd -> bij", q[..., h], k[..., h]) / 8**0.5
        heads.append(scores.softmax(-1) @ v[..., h])
    torch.testing.assert_close(attend(block.qkv(x), 2), torch.cat(heads, -1), atol=1e-5, rtol=1e-5)


def test_under_autocast_attention_is_the_same_formula():
    qkv = torch.randn(2, 6, 24, generator=generator(1), requires_grad=True)
    exact = attend(qkv, 2)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = attend(qkv, 2)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.03, rtol=0.03)
    (gradient,) = torch.autograd.grad(exact.square().sum(), qkv)
    (other,) = torch.autograd.grad(rounded.float().square().sum(), qkv)
    torch.testing.assert_close(other, gradient, atol=0.1, rtol=0.05)


def test_rotary_positions_tell_distances_and_no_more():
    """A turned query times a turned key is the same wherever both are moved together."""
    q, k = torch.randn(2, 8, generator=generator(2), dtype=torch.float64)
    turns = rotations(9, 8).double()
    scores = turned(q.expand(1, 1, 9, 8), turns) @ turned(k.expand(1, 1, 9, 8), turns).mT
    scores = scores[0, 0]
    for distance in range(-8, 9):
        same = scores.diagonal(distance)
        torch.testing.assert_close(same, same[:1].expand_as(same), atol=1e-5, rtol=1e-5)
    assert scores[0].diff().abs().min() > 1e-3
    assert scores[0, 0].item() == pytest.approx(q @ k)  # no distance, no turn


def test_with_rotary_positions_the_order_of_the_others_counts():
    network = random_weights(Transformer(3, 6, positions="rotary", **SMALL))
    probs, t = beliefs(1, 6, 3), torch.tensor([0.5])
    swapped = probs[:, [0, 1, 2, 3, 5, 4]]
    assert (network(probs, t) - network(swapped, t))[0, 0].abs().max() > 1e-4
    assert network(probs[:, :4], t).shape == (1, 4, 3)


def test_positions_are_learned_unless_rotary_is_asked_for():
    learned = Transformer(3, 4, **SMALL).state_dict().keys()
    rotary = Transformer(3, 4, positions="rotary", **SMALL).state_dict().keys()
    assert learned - rotary == {"position"} and not rotary - learned
    with pytest.raises(ValueError, match="positions must be"):
        Transformer(3, 4, positions="none", **SMALL)


def test_untrained_it_returns_the_belief():
    probs, t = beliefs(2, 4, 3), torch.rand(2)
    network = Transformer(3, 4, **SMALL)
    torch.testing.assert_close(network(probs, t).softmax(-1), probs)
    without = Transformer(3, 4, prior_skip=False, **SMALL)
    assert not without(probs, t).any()
    certain = torch.eye(3)[None, :2]  # probability 0 must not become −∞
    assert network(certain, t[:1]).isfinite().all()


def test_shorter_sequences_may_be_read():
    network = random_weights(Transformer(3, 8, **SMALL))
    assert network(beliefs(2, 5, 3), torch.rand(2)).shape == (2, 5, 3)


def test_dropout_acts_in_training_only():
    network = random_weights(Transformer(3, 4, dropout=0.5, **SMALL))
    probs, t = beliefs(2, 4, 3), torch.rand(2)
    assert not torch.equal(network.train()(probs, t), network(probs, t))
    assert torch.equal(network.eval()(probs, t), network(probs, t))


def test_sizes_from_small_to_that_of_the_published_one():
    assert 0.15e6 < count(Transformer(27, 64, layers=3, heads=4, width=64)) < 0.25e6
    with torch.device("meta"):
        large = Transformer(27, 256, layers=24, heads=12, width=768)
    assert count(large) == pytest.approx(170e6, rel=0.01)


@pytest.mark.parametrize("shape", [(2, 9, 3), (2, 4, 5), (2, 4), (2, 0, 3)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="inputs have shape"):
        Transformer(3, 8, **SMALL)(torch.zeros(shape), torch.zeros(2))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 heads and a width of 16"):
        Transformer(3, 8, heads=3, width=16)


def test_it_learns_what_only_the_other_positions_can_tell():
    """Strings of four equal letters: before, it pays for each letter; after, almost for one."""
    torch.manual_seed(0)
    words = torch.arange(4)[:, None].expand(4, 4).contiguous()
    flow = DiscreteFlow(4, 4.0)
    x = words.repeat(32, 1)
    bfn = BFN(flow, Transformer(4, 4, **SMALL))

    def nats(model):
        return elbo(model, x, repeats=20, generator=generator(0)).total.mean

    first, best = nats(bfn), nats(ExactBFN(flow, words))
    assert first > 3 * best  # each position on its own: 4 ln 4
    optimiser = torch.optim.AdamW(bfn.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        bfn.loss(x).mean().backward()
        optimiser.step()
    assert best - 0.05 < nats(bfn) < 1.3 * best


def test_the_first_layer_reads_as_far_as_its_reach():
    """Without layers above it, an output depends on the input up to `reach` positions away."""
    network = Transformer(3, 9, layers=0, heads=2, width=16, reach=2, prior_skip=False)
    network = random_weights(network)
    inputs = beliefs(1, 9, 3).requires_grad_()
    network(inputs, torch.rand(1))[0, 4].sum().backward()
    seen = inputs.grad[0].abs().sum(-1) > 0
    assert seen.tolist() == [2 <= position <= 6 for position in range(9)]
