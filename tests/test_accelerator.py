"""On an accelerator, pretended: what the library computes there, refuses, and waits for."""

import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    FixedNoise,
    MixedFlow,
    Solver,
    elbo,
    numerics,
)
from bfn_core import distributions as d
from bfn_core.beliefs import over
from bfn_core.data import Column
from bfn_core.distributions import BinnedMessage
from bfn_core.guidance import draw_told
from bfn_core.infilling import Filling, class_shares, fill, filling_steps, heaviest
from bfn_core.networks.mlp import MLP
from bfn_core.own_clocks import OwnClocks, complete, expect, row_belief
from bfn_core.tempered import Tempered
from tests.accelerator import Pretend
from tests.oracles import generator

FLOWS = {
    "continuous": (ContinuousFlow(0.05), 4, (4,)),
    "discretised": (DiscretisedFlow(32, 0.05), 4, (4, 2)),
    "discrete": (DiscreteFlow(3, 2.0), 12, (4, 3)),
}
KNOWN = torch.tensor([True, True, False, False])


@pytest.fixture(params=["cuda", "mps"])
def device(request):
    with Pretend(request.param) as pretended:
        yield pretended


def example(name):
    """A BFN with weights of its own and 6 examples, on the CPU."""
    torch.manual_seed(0)
    flow, size, outputs = FLOWS[name]
    network = MLP(size, outputs, hidden=8, depth=1)
    nn.init.normal_(network.head[1].weight, std=0.3)
    x = torch.rand(6, 4, generator=generator(0)) * 2 - 1
    if name == "discrete":
        x = torch.randint(3, (6, 4), generator=generator(0))
    return BFN(flow, network), flow.quantise(x) if name == "discretised" else x


def drawn_on(kind, seed=1):
    return torch.Generator(kind).manual_seed(seed)


@contextmanager
def deterministic():
    """Inside, what adds in an order that changes raises an error, as on CUDA."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def everywhere(act, bfn, x, kind):
    """act(bfn, x, generator) on the CPU and on the device, where it must leave all its results."""
    here = act(bfn, x, generator(1))
    there = act(bfn.to(kind), x.to(kind), drawn_on(kind))
    for result in there:
        assert result.device.type == kind and result.isfinite().all()
    for one, other in zip(here, there, strict=True):
        assert one.shape == other.shape
    return here, [result.cpu() for result in there]


# What is pretended -------------------------------------------------------------------------------


def test_what_a_device_refuses_is_refused(device):
    x, here = torch.randn(3, device=device.kind), torch.randn(3)
    with pytest.raises(RuntimeError, match=f"two devices, {device.kind}:0 and cpu"):
        x + here
    with pytest.raises(RuntimeError, match=f"two devices, {device.kind}:0 and cpu"):
        torch.stack([x, x]) @ here
    with pytest.raises(TypeError, match=f"can't convert {device.kind}:0 device type tensor"):
        x.numpy()
    with pytest.raises(RuntimeError, match=f"'{device.kind}' device type for generator .* 'cpu'"):
        torch.randn(3, device=device.kind, generator=generator(0))
    with pytest.raises(RuntimeError, match=f"'cpu' device type .* found '{device.kind}'"):
        here.normal_(generator=drawn_on(device.kind))
    assert (x + torch.tensor(1.0)).device.type == device.kind  # a number may lie anywhere
    if device.kind == "mps":
        with pytest.raises(TypeError, match="MPS framework doesn't support float64"):
            x.double()
        with pytest.raises(NotImplementedError, match="special_log_ndtr.*MPS device"):
            torch.special.log_ndtr(x)
    else:
        assert x.double().dtype == torch.float64


def test_each_wait_is_counted_with_its_line(device):
    x = torch.randn(3, device=device.kind)
    (x * 2 + 1).relu().sum()
    assert not device.waits
    x.sum().item(), x.cpu(), x.tolist(), bool(x[0] > 0), torch.tensor([1.0]).to(device.kind)
    assert sum(device.waits.values()) == 5
    device.waits.clear()
    FLOWS["continuous"][0].check(x.clamp(-1, 1))
    ((what, line), count), = device.waits.items()
    assert what == "_local_scalar_dense" and "checks.py:" in line and count == 1


def test_nothing_is_left_of_it_afterwards():
    for kind in ("cuda", "mps"):
        with Pretend(kind, capability=(7, 5), memory=15 * 2**30):
            x = torch.ones(2, device=kind)
            assert getattr(torch, kind).is_available()
            if kind == "cuda":
                assert torch.cuda.get_device_capability() == (7, 5)
                assert torch.cuda.get_device_properties(0).total_memory == 15 * 2**30
        assert not torch.cuda.is_available() and not torch.backends.mps.is_available()
        with pytest.raises(RuntimeError, match="outlived"):
            x + 1
    x = torch.ones(2, requires_grad=True)
    x.sum().backward()
    assert torch.equal(x.grad, torch.ones(2))


# The library -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOWS)
def test_losses_are_those_of_the_cpu(device, name):
    bfn, x = example(name)

    def act(bfn, x, g):
        bfn.zero_grad()
        found = [bfn.loss(x, generator=g), bfn.reconstruction_loss(x, generator=g)]
        found.append(bfn.loss_n(x, 5, generator=g))  # last, since it may draw a class
        sum(part.mean() for part in found).backward()
        return [part.detach() for part in found] + [p.grad.clone() for p in bfn.parameters()]

    # A generator on this device draws what one on the CPU does.
    for here, there in zip(*everywhere(act, bfn, x, device.kind), strict=True):
        torch.testing.assert_close(there, here, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_a_step_of_training_does_not_wait(device, name, monkeypatch):
    bfn, x = example(name)
    monkeypatch.setattr(bfn.flow, "validate", False)
    bfn, x, g = bfn.to(device.kind), x.to(device.kind), drawn_on(device.kind)
    device.waits.clear()
    bfn.loss(x, generator=g).mean().backward()
    assert not device.waits


@pytest.mark.parametrize("n", [None, 3])
@pytest.mark.parametrize("name", FLOWS)
def test_code_lengths(device, name, n):
    bfn, x = example(name)

    def act(bfn, x, g):
        bound = elbo(bfn, x, n, repeats=2, batch_size=4, generator=g)
        return [torch.tensor([part.mean, part.standard_error])
                for part in (bound.messages, bound.reconstruction, bound.total)]

    here = act(bfn, x, generator(1))
    there = act(bfn.to(device.kind), x.to(device.kind), drawn_on(device.kind))
    for one, other in zip(here, there, strict=True):
        assert other.isfinite().all()
        if name != "discrete" or n is None:  # classes are drawn in another way there
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_samples(device, name):
    bfn, x = example(name)

    def act(bfn, x, g):
        steps = list(bfn.sampling_steps(x.shape, 3, generator=g))
        last = [bfn.sample(x.shape, 3, final=final, generator=g) for final in ("sample", "mode")]
        last += [bfn.sample(x.shape, 3, sampler=sampler, generator=g) for sampler in (
            Solver("ab2", noise=0.5), Solver("midpoint", "log", 0.5), FixedNoise())]
        return [step.output.mode for step in steps] + last

    here, there = everywhere(act, bfn, x, device.kind)
    if name == "discrete":
        assert all(torch.isin(result, torch.arange(3)).all() for result in there)
    else:
        for one, other in zip(here, there, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("perfect", [False, True])
@pytest.mark.parametrize("name", FLOWS)
def test_gaps_are_filled(device, name, perfect):
    bfn, x = example(name)
    bfn = ExactBFN(bfn.flow, x) if perfect else bfn
    known = KNOWN.to(device.kind)
    bfn, x, g = bfn.to(device.kind), x.to(device.kind), drawn_on(device.kind)
    filled = fill(bfn, x[0], known, 4, 8, generator=g)
    assert filled.x.device.type == filled.weights.device.type == device.kind
    assert torch.equal(filled.x[:, known], x[:1, known].expand(8, 2))
    assert filled.weights.sum().item() == pytest.approx(1, abs=1e-6)
    assert 1 <= filled.effective <= 8 + 1e-5
    steps = list(filling_steps(bfn, x[0], known, 20, 8, generator=g))
    assert all(step.log_weights.device.type == device.kind for step in steps)
    assert not perfect or any(step.resampled for step in steps)


def test_the_heaviest_candidates_and_their_shares(device):
    bfn, x = example("discrete")
    known, g = KNOWN.to(device.kind), drawn_on(device.kind)
    filled = fill(bfn.to(device.kind), x[0].to(device.kind), known, 4, 8, generator=g)
    for weights in (filled.weights, filled.weights.cpu().double()):  # steer's are on the CPU
        here = Filling(filled.x.cpu(), weights.cpu().double())
        there = Filling(filled.x, weights)
        for one, other in zip(heaviest(here, 3), heaviest(there, 3), strict=True):
            torch.testing.assert_close(other.cpu(), one, check_dtype=False)
        shares = class_shares(there, torch.tensor([2, 3]), 3)
        torch.testing.assert_close(shares.cpu(), class_shares(here, torch.tensor([2, 3]), 3))


def test_a_model_that_is_too_sure_draws_where_its_model_is(device):
    bfn, x = example("discrete")
    for model in (bfn, ExactBFN(bfn.flow, x)):
        sharp = Tempered(model.to(device.kind), 0.5)
        drawn = sharp.sample((6, 4), 3, generator=drawn_on(device.kind))
        assert drawn.device.type == device.kind


class Own(nn.Module):
    """Reads a belief and a time for each part."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs, times):
        return {name: self.weight * part * (1.0 + times[name].reshape(-1, *[1] * (part.dim() - 1)))
                for name, part in inputs.items()}


def test_parts_on_clocks_of_their_own(device):
    flow = MixedFlow(a=DiscreteFlow(3, 2.0), b=ContinuousFlow(0.1))
    x = {"a": torch.tensor([[0], [2], [1]]), "b": torch.tensor([[0.5], [-0.5], [0.1]])}
    bfn, there = OwnClocks(flow, Own()), over(lambda part: part.to(device.kind), x)
    here = [expect(bfn, x, {"a": True, "b": False}), row_belief(bfn, x, {"a": True, "b": False}, 0)]
    bfn.to(device.kind)
    bfn.loss_apart(there, generator=drawn_on(device.kind)).mean().backward()
    for known in (True, torch.tensor([True, False, True], device=device.kind)):
        mask = {"a": known, "b": False}
        assert complete(bfn, there, mask, 3, generator=drawn_on(device.kind))["b"].shape == (3, 1)
    guess = expect(bfn, there, {"a": True, "b": False})
    torch.testing.assert_close(guess["b"].mean.cpu(), here[0]["b"].mean)
    theta, times = row_belief(bfn, there, {"a": True, "b": False}, 0)
    torch.testing.assert_close(theta["a"].logits.cpu(), here[1][0]["a"].logits)
    assert times["b"].device.type == device.kind
    assert row_belief(bfn, there, {"a": True, "b": False}, 0.5)[0]["b"].mean.shape == (3, 1)


@pytest.mark.parametrize("name", FLOWS)
def test_the_perfect_network_is_as_exact_as_on_the_cpu(device, name):
    flow, x = example(name)[0].flow, example(name)[1]
    weights = torch.arange(1.0, 7)

    def act(bfn, x, g):
        theta = bfn.flow.sample_flow(x, 0.6, g)
        output = bfn.output(theta, 0.6)
        found = [bfn.posterior(theta), output.mean, bfn.loss(x, generator=g)]
        return [part.float() for part in found]

    perfect = ExactBFN(flow, x, weights)
    entropy = perfect.entropy()
    here, there = everywhere(act, perfect, x, device.kind)  # moved there
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    assert perfect.log_weights.dtype == torch.float64 and perfect.entropy() == entropy
    made = ExactBFN(flow, x.to(device.kind), weights.to(device.kind))  # made there
    again = act(made, x.to(device.kind), drawn_on(device.kind))
    for one, other in zip(here, again, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-5, atol=1e-6)
    assert made.entropy() == pytest.approx(entropy, abs=1e-12)
    bound = elbo(made, x.to(device.kind), 4, generator=drawn_on(device.kind))
    assert math.isfinite(bound.total.mean)


def test_a_perfect_network_keeps_its_accuracy_when_its_dtype_changes():
    bfn = ExactBFN(ContinuousFlow(0.1), torch.rand(5, 2), torch.rand(5)).to(torch.bfloat16)
    assert bfn.data.dtype == torch.bfloat16 and bfn.log_weights.dtype == torch.float64
    assert set(bfn.state_dict()) == {"points", "log_weights"}


def messages(kind):
    """(distribution, a value of it) of each class, from the same numbers on any device."""
    g = generator(3)
    loc, value = torch.rand(2, 5, generator=g) * 2 - 1, torch.rand(2, 5, generator=g) * 2 - 1
    logits, alpha = torch.randn(2, 5, 8, generator=g), torch.tensor([[0.5], [3.0]])
    classes = torch.randint(8, (2, 5), generator=g)
    loc, value, logits, alpha, classes = (
        part.to(kind) for part in (loc, value, logits, alpha, classes)
    )
    log_probs = logits.log_softmax(-1)
    yield d.Gaussian(loc, alpha), value
    yield d.Delta(loc), loc
    yield d.Categorical(logits), classes
    yield d.CategoricalMessage(log_probs, alpha.unsqueeze(-1)), logits
    yield d.Binned(log_probs), d.bin_centres(8, loc)[classes]
    yield BinnedMessage(log_probs, alpha.unsqueeze(-1)), value
    for bins, scale in ((2, 0.5), (8, 0.02), (256, 0.001), (256, 1.0)):
        yield d.DiscretisedNormal(loc, torch.full_like(loc, scale), bins), value


def test_every_method_of_every_distribution(device):
    for (here, value), (there, moved) in zip(messages("cpu"), messages(device.kind), strict=True):
        for name in ("mean", "mode", "variance", "probs", "log_probs", "entropy"):
            try:
                expected = getattr(here, name)
            except (AttributeError, NotImplementedError):
                continue
            found = getattr(there, name)
            if callable(expected):
                try:
                    expected, found = expected(), found()
                except NotImplementedError:
                    continue
            assert found.device.type == device.kind
            torch.testing.assert_close(found.cpu(), expected, rtol=3e-5, atol=3e-5)
        torch.testing.assert_close(there.log_prob(moved).cpu(), here.log_prob(value),
                                   rtol=3e-5, atol=3e-5)
        drawn = there.sample((7,), generator=drawn_on(device.kind))
        assert drawn.device.type == device.kind and drawn.shape == here.sample((7,)).shape
        again = there.sample((7,), generator=drawn_on(device.kind))
        assert torch.equal(drawn, again)


class Told(nn.Module):
    """A network that adds what a layer makes of its condition."""

    def __init__(self, network):
        super().__init__()
        self.network, self.layer = network, nn.Linear(2, 1)

    def forward(self, inputs, t, condition):
        beside = self.layer(condition).reshape(-1, *[1] * (inputs.dim() - 1))
        return self.network(inputs, t) + beside


@pytest.mark.parametrize("name", ["continuous", "discrete"])
def test_what_lies_on_a_device_is_packed_as_on_the_cpu(device, name):
    pytest.importorskip("constriction")
    from bfn_core.compression import compress, decompress

    bfn, x = example(name)
    bfn = BFN(bfn.flow, Told(bfn.network))
    x = x.mul(64).round() / 64 if name == "continuous" else x
    condition = torch.randn(6, 2, generator=generator(2))
    here = compress(bfn, x, 2, condition=condition)
    bfn, told = bfn.to(device.kind), condition.to(device.kind)
    there = compress(bfn, x.to(device.kind), 2, condition=told)
    assert (there.words == here.words).all()
    assert torch.equal(decompress(bfn, there, condition=told), x)


def test_guided_samples_are_drawn_where_the_model_is(device):
    bfn, _ = example("continuous")

    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = bfn.network

        def forward(self, inputs, t, condition=None):
            return self.network(inputs, t) + (0.0 if condition is None else condition.unsqueeze(1))

    told = BFN(bfn.flow, Beside()).to(device.kind)
    labels = torch.ones(3, device=device.kind)
    assert draw_told(told, (4,), labels, 2.0, 2).device.type == device.kind


def test_a_generator_of_another_device_is_named(device):
    bfn, x = example("discrete")
    bfn, x = bfn.to(device.kind), x.to(device.kind)
    acts = [
        lambda g: bfn.loss(x, generator=g),
        lambda g: bfn.loss(x, 0.5, generator=g),
        lambda g: bfn.sample(x.shape, 2, generator=g),
        lambda g: fill(bfn, x[0], KNOWN.to(device.kind), 2, 4, generator=g),
        lambda g: d.Categorical(torch.zeros(3, device=device.kind)).sample(generator=g),
    ]
    for act in acts:
        with pytest.raises(ValueError, match=f"generator must be None or on {device.kind}.*cpu"):
            act(generator(0))


# How it is computed there ------------------------------------------------------------------------


def test_classes_are_drawn_by_their_probabilities_and_always_in_the_same_way(device):
    probs = torch.tensor([0.0, 0.5, 0.3, 0.0, 0.2], device=device.kind)
    with deterministic():
        drawn = numerics.draw_index(probs, drawn_on(device.kind), (40_000,))
    shares = torch.bincount(drawn.cpu(), minlength=5) / 40_000
    assert shares[0] == shares[3] == 0
    # Five standard errors.
    torch.testing.assert_close(shares, probs.cpu(), rtol=0, atol=5 * 0.5 / 200)
    halves = numerics.draw_index(probs.bfloat16(), drawn_on(device.kind), (40_000,))
    assert (halves == drawn).float().mean() > 0.99


@pytest.mark.parametrize("name", FLOWS)
def test_nothing_adds_in_an_order_that_changes(device, name):
    bfn, x = example(name)
    bfn, x, g = bfn.to(device.kind), x.to(device.kind), drawn_on(device.kind)
    device.calls.clear()
    with deterministic():
        bfn.loss(x, generator=g).mean().backward()
        bfn.loss_n(x, 4, generator=g).mean().backward()
        bfn.sample(x.shape, 2, generator=g)
    # The last two would be right, but a sort of all indices.
    assert not {"cumsum", "scatter_add", "scatter_add_"} & device.calls.keys()
    if device.kind == "cuda":
        with deterministic(), pytest.raises(RuntimeError, match="deterministic"):
            torch.ones(3, device="cuda").cumsum(0)


def test_adding_at_an_index_is_the_same_in_both_ways(device):
    y, index = torch.randn(4, 5, 3, generator=generator(0)), torch.randint(3, (4, 5))
    value = torch.rand(4, 1, 1)
    there = numerics.add_at(y.to(device.kind), index.to(device.kind), value.to(device.kind))
    assert torch.equal(there.cpu(), numerics.add_at(y.clone(), index, value))
    expected = y + nn.functional.one_hot(index, 3) * value
    assert torch.equal(there.cpu(), expected)


def test_the_series_for_the_normal_law_is_as_exact_as_torch():
    z = torch.cat([torch.linspace(-12, 12, 20_001), -torch.logspace(0, 4, 500), torch.zeros(1)])
    exact = z.double().requires_grad_()
    truth = torch.special.log_ndtr(exact)
    truth.sum().backward()
    z.requires_grad_()
    found = numerics.log_ndtr_by_series(z)
    found.sum().backward()
    theirs = torch.special.log_ndtr(z.detach())

    def worst(value, truth):
        return float(((value.double() - truth) / truth).abs().max())

    assert worst(found.detach(), truth.detach()) < 2 * worst(theirs, truth.detach()) < 5e-5
    assert worst(z.grad, exact.grad) < 5e-5
    # In float64 what is left is the error of the series.
    error = numerics.log_ndtr_by_series(exact.detach()) - truth.detach()
    assert float(error.abs().max()) < 3e-8


def test_a_code_length_waits_only_when_it_is_read(device, monkeypatch):
    bfn, x = example("discrete")
    monkeypatch.setattr(bfn.flow, "validate", False)
    bfn, x = bfn.to(device.kind), x.to(device.kind)

    def waits(batch_size):
        device.waits.clear()
        elbo(bfn, x, batch_size=batch_size)
        return sum(device.waits.values())

    assert waits(1) == waits(6)


def test_a_tables_numbers_go_there_and_back(device):
    column, levels = Column("y", "number", 4, 0.0, 4.0), torch.tensor([0, 3, -1, 2])
    x = column.x(levels.to(device.kind))
    back = column.index(x)
    assert x.device.type == back.device.type == device.kind
    assert torch.equal(x.cpu()[[0, 1, 3]], column.x(levels)[[0, 1, 3]]) and x[2].isnan()
    assert torch.equal(back.flatten().cpu(), levels)
