"""A network that reads a guess: its own, made of the same belief, or that of a table."""

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, training
from bfn_core.networks.chains import ChainTransformer
from bfn_core.networks.transformer import Remembering, Transformer
from bfn_core.training import loop
from bfn_core.training.runs import Run
from tests.oracles import generator

K, LENGTH = 4, 9
SMALL = {"layers": 1, "heads": 2, "width": 16, "reach": 1}


def shaken(network, std=0.2):
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def beside_a_table(**arguments):
    network = ChainTransformer(K, LENGTH, order=3, knots=3, **SMALL, **arguments)
    network.count(torch.randint(K, (400,), generator=generator(3)) // 2 * 2)
    return shaken(network)


@pytest.fixture
def beliefs():
    return torch.randn(6, LENGTH, K, generator=generator(1)).softmax(-1)


@pytest.fixture
def times():
    return torch.linspace(0, 1, 6)


def test_a_second_guess_reads_the_first(beliefs, times):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL))
    blank = torch.full_like(beliefs, 1 / K)
    first = network(beliefs, times, guess=blank)
    second = network(beliefs, times, guess=first.softmax(-1))
    assert torch.equal(network(beliefs, times), second)
    assert (first - second).abs().max() > 1e-3


def test_no_guess_is_the_even_one(beliefs, times):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL))
    plain = Transformer(K, LENGTH, **SMALL).eval()
    names = plain.state_dict()
    plain.load_state_dict({name: w for name, w in network.state_dict().items() if name in names})
    blank = network(beliefs, times, guess=torch.full_like(beliefs, 1 / K))
    assert torch.allclose(blank, plain(beliefs, times), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_in_training_every_other_example_reads_a_first_guess(beliefs, times, seed):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL))
    first = network(beliefs, times, guess=torch.full_like(beliefs, 1 / K))
    second = network(beliefs, times)
    torch.manual_seed(seed)
    found = network.train()(beliefs, times)
    which = [torch.allclose(found[i], second[i], atol=1e-5) for i in range(6)]
    other = [torch.allclose(found[i], first[i], atol=1e-5) for i in range(6)]
    assert which in ([True, False] * 3, [False, True] * 3)
    assert other == [not each for each in which]


def test_either_half_of_a_batch_is_chosen(beliefs, times):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL)).train()
    torch.manual_seed(0)
    outs = [network(beliefs, times).detach() for _ in range(12)]
    assert len({tuple(out[:2, 0, 0].tolist()) for out in outs}) == 2


def test_slopes_are_those_of_the_last_guess_alone(beliefs, times):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL))
    with torch.no_grad():
        first = network(beliefs, times, guess=torch.full_like(beliefs, 1 / K)).softmax(-1)
    network(beliefs, times).square().sum().backward()
    mine = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    network(beliefs, times, guess=first).square().sum().backward()
    for name, p in network.named_parameters():
        assert torch.allclose(mine[name], p.grad, atol=1e-4), name
    assert mine["embed_guess.weight"].abs().max() > 0


def test_both_guesses_are_told_the_condition(beliefs, times):
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, labels=3, **SMALL))
    label = torch.tensor([0, 1, 2, -1, 0, 1])
    first = network(beliefs, times, label, guess=torch.full_like(beliefs, 1 / K))
    second = network(beliefs, times, label, guess=first.softmax(-1))
    assert torch.equal(network(beliefs, times, label), second)
    network.train()(beliefs, times, label)  # whose rows are cut along with the beliefs


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_beside_a_table_the_first_guess_is_the_table_s(beliefs, times, told, again):
    network = beside_a_table(told=told, self_conditioning=again)

    def product(guess):
        logits = network.transformer(beliefs, times, guess=guess).log_softmax(-1)
        place = times * 2
        low = place.long().clamp(max=1)
        powers = torch.lerp(network.powers[:, low], network.powers[:, low + 1], place - low)
        a, b, c = powers[:, :, None, None]
        return a * network.chain(beliefs) + b * logits + c * beliefs.log()

    if not (told or again):
        expected = product(None)
    else:
        first = network.chain(beliefs).exp() if told else torch.full_like(beliefs, 1 / K)
        expected = product(first)
        expected = product(expected.softmax(-1)) if again else expected
    assert torch.allclose(network(beliefs, times), expected, atol=1e-5)


def test_it_begins_as_a_network_that_reads_no_guess(beliefs, times, tmp_path):
    """Weights of the same without, or of a transformer, make a network that says the same."""
    plain = beside_a_table()
    more = ChainTransformer(K, LENGTH, order=3, knots=3, told=True, self_conditioning=True,
                            **SMALL).eval()
    more.load_state_dict(more.beginning(plain.state_dict()))
    assert torch.allclose(more(beliefs, times), plain(beliefs, times), atol=1e-6)
    alone = shaken(Transformer(K, LENGTH, **SMALL))
    reads = Transformer(K, LENGTH, self_conditioning=True, **SMALL).eval()
    reads.load_state_dict(loop.told_more(alone.state_dict(), reads))
    assert torch.allclose(reads(beliefs, times), alone(beliefs, times), atol=1e-6)


@pytest.mark.parametrize("guess, message", [
    ((6, LENGTH, K + 1), r"guess of shape \(6, 9, 5\) was handed in, .*one of shape \(6, 9, 4\)"),
    (None, "this network reads none"),
])
def test_what_it_refuses(beliefs, times, guess, message):
    network = Transformer(K, LENGTH, self_conditioning=guess is not None, **SMALL)
    with pytest.raises(ValueError, match=message):
        network(beliefs, times, guess=beliefs if guess is None else torch.rand(guess))


def test_a_guess_of_the_same_belief_leaves_the_bill_a_function_of_belief_and_time():
    """What the samplers, the losses and the code ask: the same belief, the same guess, whatever
    was asked before.
    """
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL))
    bfn = BFN(DiscreteFlow(K, 1.0), network)
    theta = bfn.flow.sample_flow(torch.zeros(3, LENGTH, dtype=torch.int64), 0.5, generator(2))
    before = bfn.output(theta, 0.5).probs
    bfn.sample((2, LENGTH), 4, generator=generator(5))
    assert torch.equal(bfn.output(theta, 0.5).probs, before)


@pytest.mark.parametrize("make", [
    lambda: shaken(Transformer(K, LENGTH, self_conditioning=True, **SMALL)),
    lambda: beside_a_table(told=True, self_conditioning=True),
    lambda: beside_a_table(told=True),
])
def test_a_drawing_can_read_the_guess_of_the_step_before(beliefs, times, make):
    network = make()
    memory = Remembering(network)
    first = memory(beliefs, times)
    assert torch.equal(first, network(beliefs, times))
    later = (beliefs**2) / (beliefs**2).sum(-1, keepdim=True)
    second = memory(later, times)
    assert torch.equal(second, network(later, times, guess=first.softmax(-1)))
    assert torch.equal(memory(later, times), network(later, times, guess=second.softmax(-1)))
    memory.forget()
    assert torch.equal(memory(later, times), network(later, times))


def test_a_drawing_that_remembers_takes_one_call_a_step_after_the_first():
    network = shaken(Transformer(K, LENGTH, self_conditioning=True, labels=3, **SMALL))
    calls = []
    network.norm.register_forward_hook(lambda *_: calls.append(1))
    bfn = BFN(DiscreteFlow(K, 1.0), network)
    label = torch.tensor([0, 2])
    bfn.sample((2, LENGTH), 5, condition=label, generator=generator(5))
    assert len(calls) == 2 * 6
    calls.clear()
    again = BFN(bfn.flow, Remembering(network))
    x = again.sample((2, LENGTH), 5, condition=label, generator=generator(5))
    assert len(calls) == 2 + 5 and x.shape == (2, LENGTH)


@pytest.mark.parametrize("network", ["transformer", "chain_transformer"])
def test_it_is_a_setting_and_goes_on_from_weights_without_it(tmp_path, network):
    """One run without; one with, begun from it; which is killed, goes on, and is read again."""
    small = {"layers": 1, "heads": 2, "width": 16}
    small |= {"order": 3} if network == "chain_transformer" else {}
    settings = training.settings_for("text8", "smoke", network=network, steps=4,
                                     network_arguments=small, muon=0.01, checkpoint_every=2)
    training.train(settings, tmp_path / "plain")
    more = training.settings_for(
        "text8", "smoke", network=network, steps=4, muon=0.01, checkpoint_every=2,
        network_arguments={**small, "self_conditioning": True}, initial=str(tmp_path / "plain"))
    whole = training.train(more, tmp_path / "whole")
    stops = iter([False, True] + [False] * 9)
    training.train(more, tmp_path / "parts", stop=lambda: next(stops))
    parts = training.train(more, tmp_path / "parts", resume=True)
    wanted = whole.bfn.network.state_dict()
    for name, w in parts.bfn.network.state_dict().items():
        assert torch.equal(w, wanted[name]), name
    reads = [w for name, w in wanted.items() if "embed_guess" in name]
    assert len(reads) == 1 and reads[0].abs().max() > 0  # from zeros: it has learnt to read it
    loaded = training.load(tmp_path / "whole").network.state_dict()
    norm = "norm.weight" if network == "transformer" else "transformer.norm.weight"
    assert torch.equal(loaded[norm], wanted[norm])
    assert Run(tmp_path / "whole").read_settings()["settings"].network_arguments[
        "self_conditioning"] is True


def test_a_network_that_reads_no_guess_draws_the_weights_it_always_drew():
    """What is drawn for a layer that is not there would give every seed other weights."""
    torch.manual_seed(0)
    plain = Transformer(K, LENGTH, **SMALL)
    torch.manual_seed(0)
    torch.nn.Conv1d(K, 16, 3, padding=1)
    assert torch.equal(plain.position, 0.5 * torch.randn(LENGTH, 16))
