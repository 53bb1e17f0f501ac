"""The perfect network of a Markov chain, against sums over all texts and the code of its n-gram."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import one_hot

from bfn_core import BFN, DiscreteFlow, ExactBFN, elbo, training
from bfn_core.baselines.text import ngram
from bfn_core.networks.chains import Chain, ChainTransformer
from bfn_core.networks.transformer import Transformer
from tests.oracles import generator

K = 3


def counted(order, classes=K, length=300):
    """A chain that has counted a text in which letters depend on one another."""
    text = torch.randint(classes, (length,), generator=generator(order))
    text[1::2] = (text[::2] + 1) % classes
    chain = Chain(classes, order)
    chain.count(text)
    return chain, text


def all_texts(chain, length):
    """Every text of that length, and its probability: what the table says, letter by letter."""
    texts = torch.tensor(list(itertools.product(range(K), repeat=length)))
    context = chain.order - 1
    p = chain.starts[tuple(texts[:, :context].T)].double()
    for place in range(context, length):
        p = p * chain.steps[tuple(texts[:, place - context : place + 1].T)].double()
    return texts, p


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("length", [3, 6])
def test_its_guess_is_the_exact_posterior(order, length):
    chain, _ = counted(order)
    texts, p = all_texts(chain, length)
    assert float(p.sum()) == pytest.approx(1)
    flow = DiscreteFlow(K, 1.0)
    theta = flow.sample_flow(texts[::50], torch.tensor(0.4), generator(1))
    exact = ExactBFN(flow, texts, p).output(theta, 0.4).probs
    mine = flow.output(chain(theta.probs), theta, 0.4).probs
    assert torch.allclose(mine.double(), exact.double(), atol=1e-5)


def test_long_texts_and_sure_beliefs_leave_no_nan():
    chain, text = counted(3)
    sure = one_hot(text[:400], K)[None].float()
    for beliefs in (sure, 0.999 * sure + 0.001 / 3, torch.full((2, 3000, K), 1 / K)):
        found = chain(beliefs)
        assert found.isfinite().all() and torch.allclose(found.exp().sum(-1), torch.ones(()))
    assert (chain(sure).argmax(-1) == text[:400]).all()


@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_run_of_unlikely_letters_stays_in_the_range_of_numbers(order):
    """Ten letters of one in three million each: 1e-60, and less than float32 can hold."""
    chain = Chain(K, order)
    chain.count(torch.arange(3_000_000) % K)  # where no letter follows itself
    texts, p = all_texts(chain, 10)
    flow = DiscreteFlow(K, 8.0)
    theta = flow.sample_flow(torch.zeros(8, 10, dtype=torch.int64), 1.0, generator(1))
    exact = ExactBFN(flow, texts, p).output(theta, 1.0).probs
    assert torch.allclose(chain(theta.probs).exp().double(), exact.double(), atol=1e-5)
    assert (exact.argmax(-1) == 0).double().mean() > 0.5


def test_as_a_network_its_bill_is_the_n_gram_s_code():
    """Messages and last fee cost −ln q(x), whatever x is, where messages leave nothing open."""
    chain, train = counted(3, length=2000)
    flow = DiscreteFlow(K, 9.0)
    test = torch.randint(K, (4000, 8), generator=generator(5))  # of another law than the chain's
    bill = elbo(BFN(flow, chain), test, repeats=10, generator=generator(6)).total
    code = ngram(train, test, K, 3)
    nats = 8 * code.mean * math.log(2)
    assert abs(bill.mean - nats) < 4 * bill.standard_error < 0.05 * nats


def test_bf16_is_near_and_float16_is_not_used():
    chain, _ = counted(4)
    beliefs = torch.rand(5, 40, K, generator=generator(2)).softmax(-1)
    exact = chain(beliefs).exp()
    with torch.autocast("cpu", torch.bfloat16):
        near = chain(beliefs)
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(chain(beliefs).exp(), exact)
    assert near.dtype == torch.float32
    assert 0 < (near.exp() - exact).abs().max() < 0.01


def test_it_computes_on_a_device_of_which_torchs_autocast_knows_nothing(no_autocast):
    chain, _ = counted(3)
    beliefs = torch.rand(2, 9, K, generator=generator(2)).softmax(-1)
    expected = chain(beliefs)
    no_autocast()
    assert torch.equal(chain(beliefs), expected)


@pytest.mark.parametrize("order, inputs, message", [
    (1, None, "order must be at least 2, got 1"),
    (4, (2, 2, K), r"L of at least 3, got \(2, 2, 3\)"),
    (3, (2, 5, K + 1), r"\(B, L, 3\)"),
])
def test_what_it_refuses(order, inputs, message):
    with pytest.raises(ValueError, match=message):
        Chain(K, order)(torch.rand(inputs))


@pytest.mark.parametrize("text, weight, message", [
    ([0, 1, 0], 0.0, r"weight must be above 0 and finite, got 0\.0"),
    ([0, K], 2.0, "text must lie in 0…2, got values from 0 to 3"),
    ([-1, 0], 2.0, "text must lie in 0…2, got values from -1 to 0"),
])
def test_what_it_does_not_count(text, weight, message):
    chain = Chain(K, 2)
    before = chain.steps.clone()
    with pytest.raises(ValueError, match=message):
        chain.count(torch.tensor(text), weight)
    assert torch.equal(chain.steps, before)


def test_many_examples_are_read_in_pieces():
    chain, _ = counted(3)
    beliefs = torch.rand(70, 9, K, generator=generator(3)).softmax(-1)
    assert torch.allclose(chain(beliefs)[40:41], chain(beliefs[40:41]), atol=1e-5)
    assert chain(beliefs[:0]).shape == (0, 9, K)


def test_the_product_begins_between_its_experts_and_learns_their_powers():
    chain, text = counted(3)
    both = ChainTransformer(K, 6, order=3, knots=3, layers=1, heads=1, width=8)
    both.count(text)
    alone = Transformer(K, 6, layers=1, heads=1, width=8)
    weights = both.beginning(alone.state_dict())
    both.load_state_dict(weights)
    assert both.beginning(weights) is weights
    beliefs = torch.rand(4, 6, K, generator=generator(4)).softmax(-1)
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    middle = 0.5 * chain(beliefs) + 0.5 * alone(beliefs, t).log_softmax(-1)
    assert torch.allclose(both(beliefs, t), middle, atol=1e-5)

    with torch.no_grad():
        both.powers.copy_(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.5]]))
    found = both(beliefs, t)
    assert torch.allclose(found[0], alone(beliefs, t)[0].log_softmax(-1), atol=1e-5)
    assert torch.allclose(found[2], chain(beliefs)[2], atol=1e-5)
    half = 0.5 * (alone(beliefs, t)[1].log_softmax(-1) + chain(beliefs)[1])
    assert torch.allclose(found[1], half, atol=1e-5)
    last = alone(beliefs, t)[3].log_softmax(-1) + 0.5 * beliefs[3].log()
    assert torch.allclose(found[3], last, atol=1e-5)
    found.square().sum().backward()
    assert (both.powers.grad != 0).any(0).all()
    assert both.blocks is both.transformer.blocks


def test_a_run_counts_its_text_and_keeps_the_table(tmp_path):
    small = {"layers": 1, "heads": 2, "width": 16, "order": 3}
    settings = training.settings_for("text8", "smoke", network="chain_transformer", steps=4,
                                     network_arguments=small, muon=0.01, checkpoint_every=2)
    stops = iter([False, True] + [False] * 9)
    training.train(settings, tmp_path, stop=lambda: next(stops))
    result = training.train(settings, tmp_path, resume=True)
    task = training.load_task(settings)
    fresh = Chain(27, 3)
    fresh.count(torch.cat([task.train[:, 0], task.train[-1, 1:]]))
    kept = training.load(tmp_path).network.chain
    for chain in (kept, result.bfn.network.chain):
        assert torch.equal(chain.steps, fresh.steps) and torch.equal(chain.starts, fresh.starts)
    assert float(fresh.steps.max()) > 0.9  # it has counted
