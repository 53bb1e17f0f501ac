"""Data as files of messages: nothing is lost, and they are as long as the theory says."""

import dataclasses
import io
import itertools
import sys
from pathlib import PurePath

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    MixedFlow,
    data,
    elbo,
)
from bfn_core.clocks import Retimed
from bfn_core.distributions import DiscretisedNormal
from bfn_core.guidance import Given
from bfn_core.networks.mlp import MLP
from bfn_core.schedules import GeometricSchedule, QuadraticSchedule, Schedule, TableSchedule
from tests.oracles import correlated_bins, correlated_table, draw, generator

pytest.importorskip("constriction")

from bfn_core.compression import Codec, Packed, Stack, compress, decompress
from bfn_core.compression.__main__ import main
from bfn_core.compression.channels import channels_of, helmert, rounded
from bfn_core.compression.codec import digest_of
from bfn_core.compression.files import write
from bfn_core.compression.stack import seed_words

BITS = 1 / np.log(2)


def discrete():
    points, weights = correlated_table(3, 3)
    return ExactBFN(DiscreteFlow(3, 6.0), points, weights), points, weights


def binary():
    points = torch.tensor(list(itertools.product(range(2), repeat=3)))
    weights = torch.tensor([4.0, 1, 1, 2, 1, 1, 1, 3])
    return ExactBFN(DiscreteFlow(2, 9.0), points, weights), points, weights


def discretised():
    flow = DiscretisedFlow(4, 0.05)
    points, weights = correlated_bins(flow, 2)
    return ExactBFN(flow, points, weights), points, weights


def continuous():
    points = torch.rand(8, 2, generator=generator(3)).mul(2**12).round() / 2**11 - 1
    return ExactBFN(ContinuousFlow(0.02), points), points, torch.ones(8)


def mixed():
    flow = DiscretisedFlow(5, 0.05)
    points = {
        "place": flow.quantise(torch.rand(6, 3, generator=generator(4)) * 2 - 1),
        "kind": torch.randint(3, (6, 2), generator=generator(5)),
        "weight": torch.rand(6, 1, generator=generator(6)).mul(64).round() / 64,
    }
    flows = MixedFlow(place=flow, kind=DiscreteFlow(3, 4.0), weight=ContinuousFlow(0.1))
    return ExactBFN(flows, points), points, torch.ones(6)


CASES = (discrete, binary, discretised, continuous, mixed)


def drawn(points, weights, count, seed=0):
    if not isinstance(points, dict):
        return draw(points, weights, count, seed=seed)
    rows = torch.multinomial(weights, count, replacement=True, generator=generator(seed))
    return {name: part[rows] for name, part in points.items()}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return one.dtype == other.dtype and torch.equal(one, other)


# The stack.


@pytest.mark.parametrize("std", [0.01, 1.0, 3.0, 1e4])
def test_normals_cost_what_they_are_worth_and_come_back(std):
    mean = torch.randn(4000, generator=generator(1)).double().numpy() * 1e6
    stack = Stack(seed_words(0, 3000))
    before = stack.bits
    values = stack.draw_normal(mean, std)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * std**2)
    if std > 1:
        assert before - stack.bits == pytest.approx(4000 * entropy, rel=0.02)
    stack.return_normal(values, mean, std)
    assert stack.bits == before
    values[::100] += 10**9  # beyond every table
    stack.push_normal(values, mean, std)
    assert (stack.pop_normal(mean, std) == values).all() and stack.bits == before
    assert (stack.unsealed() == seed_words(0, 3000)).all()


def test_wide_normals_leak_no_bits_into_what_is_never_met():
    """In a table of ± 2^20 cells a normal would cost 0.2 bits too much."""
    mean = torch.randn(4000, generator=generator(1)).double().numpy() * 2**20
    stack = Stack(seed_words(0, 10))
    before = stack.bits
    noise = torch.randn(4000, generator=generator(2)).double().numpy()
    stack.push_normal(np.rint(mean + 4 * noise).astype(np.int64), mean, 4.0)
    ideal = np.log2(4 * np.sqrt(2 * np.pi)) + 0.5 * BITS * np.square(noise).mean()
    assert (stack.bits - before) / 4000 == pytest.approx(ideal, abs=0.01)


def test_classes_cost_their_information_in_any_layout_of_the_table():
    probs = torch.rand(3, 2000, generator=generator(1)).double().numpy().T  # columns lie together
    probs = probs / probs.sum(1, keepdims=True)
    index = torch.multinomial(torch.tensor(probs), 1, generator=generator(2))[:, 0].numpy()
    stack = Stack(seed_words(0, 10))
    before = stack.bits
    stack.push_class(index, probs)
    ideal = -np.log2(probs[np.arange(2000), index]).sum()
    assert stack.bits - before == pytest.approx(ideal, rel=1e-3)
    assert (stack.pop_class(probs) == index).all()


def test_the_seed_of_a_smaller_count_is_the_top_of_a_larger_one():
    assert (seed_words(7, 10) == seed_words(7, 25)[15:]).all()
    assert (seed_words(7, 10) != seed_words(8, 10)).any()
    assert seed_words(0, 4096).copy().view(np.uint8).mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("k", [2, 3, 27])
def test_what_all_classes_share_is_left_out(k):
    basis = helmert(k)
    assert np.allclose(basis @ basis.T, np.eye(k - 1)) and np.allclose(basis.sum(1), 0)


def test_rounding_takes_away_last_digits_and_costs_next_to_nothing():
    logits = torch.randn(3000, 5, generator=generator(1)).double().numpy() * 3
    exact = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probs = rounded(logits + 5)
    assert (probs == rounded(logits + 1e-13)).all()
    assert (exact * np.log2(exact / probs)).sum(1).mean() < 1e-5
    assert (rounded(np.full((1, 4), np.nan)) == 0.25).all()


# Round trips, and their cost.


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_and_the_seed_comes_back(case, n):
    bfn, points, weights = case()
    x = drawn(points, weights, 501)
    packed = compress(bfn, x, n, lanes=100, seed=n)
    assert same(decompress(bfn, packed), x)  # which compares the seed word for word
    assert packed.seed_bits > 0 and packed.count == 501


@pytest.mark.parametrize("lanes", [1, 3, 10])
@pytest.mark.parametrize("case", CASES)
def test_few_examples(case, lanes):
    bfn, points, weights = case()
    for count in (0, 1, 3):
        x = drawn(points, weights, max(count, 1))
        x = {k: v[:count] for k, v in x.items()} if isinstance(x, dict) else x[:count]
        packed = Packed.from_bytes(compress(bfn, x, 2, lanes=lanes).to_bytes())
        assert same(decompress(bfn, packed), x)
        assert (packed.net_bits == 0) == (count == 0)


@pytest.mark.parametrize("n", [1, 5, 20])
@pytest.mark.parametrize("case", [discrete, binary, discretised])
def test_the_net_bits_are_those_of_the_elbo(case, n):
    """Within four standard errors, and never below the entropy; those of the coded data, and of
    what was popped for them, are as large as those of as many draws of the loss.
    """
    bfn, points, weights = case()
    x = drawn(points, weights, 4000, seed=1)
    net = [compress(bfn, part, n, lanes=400).net_bits / 400 for part in x.split(400)]
    error = np.std(net, ddof=1) / np.sqrt(len(net))
    bill = elbo(bfn, x, n, repeats=20, generator=generator(2)).total.bits()
    combined = 4 * np.hypot(error, bill.standard_error)
    assert combined < 0.4
    assert abs(np.mean(net) - bill.mean) < combined
    assert np.mean(net) > bfn.entropy() * BITS - 4 * error


def test_a_message_about_one_of_many_bins_costs_what_the_mixture_says():
    """And nothing for the bins from which it cannot have come."""
    flow, n = DiscretisedFlow(256, 0.001), 25
    channel = channels_of(flow, n, 2.0, {})[""]
    rng, alpha = np.random.default_rng(0), channel.alpha[n]
    stack, excess, count = Stack(seed_words(0, 4000)), 0.0, 20_000
    for part in range(5):
        x = channel.targets[rng.integers(256, size=count)]
        before = rng.normal(channel.beta[n - 1] * x, channel.beta[n - 1] ** 0.5)
        before = np.rint(before / channel.cell[n - 1]).astype(np.int64)
        y = rng.normal(alpha * x, alpha**0.5)
        s = np.rint((before * channel.cell[n - 1] + y) / channel.cell[n]).astype(np.int64)
        about = torch.from_numpy(rng.normal(x[:, 0], 0.05))
        guess = channel.guess(DiscretisedNormal(about, torch.full_like(about, 0.05), 256), n - 1)
        bits = stack.bits
        channel.push_message(stack, s, before, n, guess)
        y = s * channel.cell[n] - before * channel.cell[n - 1]
        fit = -((y - alpha * channel.targets.T) ** 2) / (2 * alpha)
        log_p = torch.from_numpy(np.log(guess) + fit).logsumexp(1) - 0.5 * np.log(2 * np.pi * alpha)
        excess += stack.bits - bits + float(log_p.sum() + count * np.log(channel.cell[n])) * BITS
        if part == 4:
            assert np.array_equal(channel.pop_message(stack, before, n, guess), s)
            assert stack.bits == bits
    assert abs(excess) / (5 * count) < 0.001  # a share of e^−15 for each bin cost 0.006


def test_the_net_bits_of_numbers_are_those_of_the_elbo_and_of_their_places():
    bfn, points, weights = continuous()
    x = drawn(points, weights, 4000, seed=1)
    packed = compress(bfn, x, 20, lanes=1000)
    assert packed.places == {"": 11}
    bill = elbo(bfn, x, 20, repeats=20, generator=generator(2)).total.bits()
    assert packed.net_bits / 4000 - 2 * 11 == pytest.approx(bill.mean, abs=0.2)


def test_wider_cells_cost_no_bits_until_they_are_as_wide_as_the_noise():
    bfn, points, weights = discrete()
    x = drawn(points, weights, 2000, seed=1)
    net = {cells: compress(bfn, x, 10, lanes=500, cells=cells) for cells in (0.3, 2, 8)}
    fine, usual, coarse = (net[c].net_bits / 2000 for c in (8, 2, 0.3))
    assert usual == pytest.approx(fine, abs=0.15) and coarse > usual + 0.3
    assert net[2].seed_bits < net[8].seed_bits  # log2 4 bits for each coordinate of each lane


def test_more_lanes_lend_more_and_cost_the_same():
    bfn, points, weights = binary()
    x = drawn(points, weights, 2000, seed=1)
    one, ten = (compress(bfn, x, 3, lanes=lanes) for lanes in (20, 200))
    assert one.net_bits == pytest.approx(ten.net_bits, rel=0.1)
    assert 5 * one.seed_bits < ten.seed_bits < 15 * one.seed_bits


# A network, whose last digits are its own.


class Convolution(nn.Module):
    """Two layers that see a neighbourhood; wide, so that threads share the work."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 48, 3, padding=1), nn.SiLU(), nn.Conv2d(48, 2, 3, padding=1)
        )

    def forward(self, inputs, t):
        return 4 * self.layers(inputs.movedim(-1, 1)).movedim(1, -1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return BFN(DiscreteFlow(2, 9.0), Convolution())


def test_a_network_may_unpack_with_another_number_of_threads(network):
    x = torch.randint(2, (24, 16, 16), generator=generator(1))
    before = torch.get_num_threads()
    try:
        packed = {}
        for threads in (1, 2):
            torch.set_num_threads(threads)
            packed[threads] = compress(network, x, 6, lanes=8)
        assert (packed[1].words == packed[2].words).all()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert same(decompress(network, packed[3 - threads]), x)
    finally:
        torch.set_num_threads(before)


def test_a_model_is_left_as_it_was(network):
    network.train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = torch.randint(2, (2, 16, 16), generator=generator(1))
    decompress(network, compress(network, x, 2))
    assert network.training and network.flow.validate
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, state[name])


def test_dropout_is_off():
    torch.manual_seed(0)
    bfn = BFN(DiscreteFlow(2, 4.0), nn.Sequential()).train()
    bfn.network = Dropped()
    x = torch.randint(2, (20, 6), generator=generator(1))
    assert same(decompress(bfn, compress(bfn, x, 3, lanes=5)), x)


class Dropped(nn.Module):
    """A layer with dropout."""

    def __init__(self):
        super().__init__()
        self.layer, self.dropout = nn.Linear(2, 2), nn.Dropout(0.5)

    def forward(self, inputs, t):
        return self.dropout(self.layer(inputs))


class Told(nn.Module):
    """A network that believes what it is told."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(6.0))

    def forward(self, inputs, t, condition):
        return self.factor * nn.functional.one_hot(condition, 2).to(inputs.dtype)


def test_a_condition_saves_bits_and_must_be_told_again():
    bfn = BFN(DiscreteFlow(2, 4.0), Told())
    x = torch.randint(2, (40, 6), generator=generator(1))
    right, wrong = (compress(bfn, x, 3, lanes=10, condition=c) for c in (x, 1 - x))
    assert 10 * right.net_bits < wrong.net_bits
    assert same(decompress(bfn, right, condition=x), x)
    with pytest.raises(ValueError, match="not what was packed"):
        decompress(bfn, right, condition=1 - x)
    for count in (39, 41):
        others = torch.zeros(count, 6, dtype=torch.int64)
        with pytest.raises(ValueError, match=f"must hold as much as the data, 40, got {count}"):
            compress(bfn, x, 3, lanes=10, condition=others)
        with pytest.raises(ValueError, match=f"must hold as much as the data, 40, got {count}"):
            decompress(bfn, right, condition=others)


class ToldNumbers(nn.Module):
    """A network whose condition goes through a layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, inputs, t, condition):
        return inputs + self.layer(condition["place"]).unsqueeze(1)


def test_a_condition_of_numbers_is_told_in_the_models_own_precision():
    torch.manual_seed(0)
    bfn = BFN(DiscreteFlow(3, 3.0), ToldNumbers())
    x = torch.randint(3, (4, 5), generator=generator(1))
    condition = {"place": torch.randn(4, 2, generator=generator(2))}
    assert same(decompress(bfn, compress(bfn, x, 3, condition=condition), condition=condition), x)
    held = BFN(bfn.flow, Given(bfn.network, {"place": condition["place"][:1]}))
    assert same(decompress(held, compress(held, x, 3)), x)


def test_every_moment_is_told_and_bob_hears_alice_backwards():
    bfn, points, weights = discrete()
    x = drawn(points, weights, 5)
    sent, received = [], []
    packed = compress(bfn, x, 4, lanes=5, watch=sent.append)
    decompress(bfn, packed, watch=received.append)
    guesses = [[m for m in told if m.output is not None] for told in (sent, received)]
    assert [m.i for m in guesses[0]] == [4, 3, 2, 1, 0]
    assert [m.i for m in guesses[1]] == [0, 1, 2, 3, 4]
    for alice, bob in zip(guesses[0], guesses[1][::-1], strict=True):
        assert torch.equal(alice.theta.logits, bob.theta.logits)
    assert sent[-1].bits - sent[0].bits == packed.net_bits
    assert received[0].bits - received[-1].bits == packed.net_bits


# What is refused.


def test_another_model_is_refused():
    bfn, points, weights = discrete()
    packed = compress(bfn, points, 2)
    other = ExactBFN(DiscreteFlow(3, 6.0), points, weights + 0.1)
    faster = ExactBFN(DiscreteFlow(3, 6.1), points, weights)
    for wrong in (other, faster):
        with pytest.raises(ValueError, match="packed with another model"):
            decompress(wrong, packed)


def test_a_model_on_another_schedule_or_range_is_another_model():
    """All of these end at σ₁ = 0.1, or say so."""
    table = ([0.0, 0.5, 1.0], [0.0, 5.0, 99.0])
    flows = [
        ContinuousFlow(0.1),
        ContinuousFlow(0.1, schedule=GeometricSchedule(0.01)),
        ContinuousFlow(0.1, data_range=(-1.0, 0.9)),
        ContinuousFlow(0.1, data_range=None),
        ContinuousFlow(0.1, schedule=TableSchedule(*table)),
        ContinuousFlow(0.1, schedule=TableSchedule(table[0], [0.0, 6.0, 99.0])),
        ContinuousFlow(0.1, schedule=Retimed(TableSchedule(*table))),
        ContinuousFlow(0.1, schedule=Retimed(TableSchedule(table[0], [0.0, 6.0, 99.0]))),
        MixedFlow(x=ContinuousFlow(0.1, schedule=TableSchedule(*table))),
        MixedFlow(x=ContinuousFlow(0.1, schedule=TableSchedule(table[0], [0.0, 6.0, 99.0]))),
    ]
    assert len({digest_of(BFN(flow, None)) for flow in flows}) == len(flows)
    points = torch.tensor([[0.5], [-0.5]])
    packed = compress(ExactBFN(flows[0], points), points, 3)
    with pytest.raises(ValueError, match="packed with another model"):
        decompress(ExactBFN(flows[1], points), packed)
    # What is the same model stays it, and what was packed before stays readable.
    assert repr(flows[0]) == "ContinuousFlow(sigma_1=0.1)"
    assert "Schedule" not in repr(ContinuousFlow(schedule=GeometricSchedule(0.1)))
    assert digest_of(BFN(flows[0], None)) == "190f2fbf9ab9cce3"
    assert digest_of(BFN(DiscreteFlow(3, 2.0), None)) == "c02a598f02890249"


class Cubic(Schedule):
    """A schedule of one's own, which says nothing of how it is shown."""

    def __init__(self, total):
        self.total = total

    def beta(self, t):
        return self.total * t**3

    def rate(self, t):
        return 3 * self.total * t**2


def test_a_schedule_of_ones_own_is_the_same_in_another_process():
    assert repr(Cubic(99.0)) == "Cubic(total=99.0)"
    digests = [digest_of(BFN(ContinuousFlow(0.1, schedule=Cubic(total)), None))
               for total in (99.0, 99.0, 98.99)]
    assert digests[0] == digests[1] != digests[2]


def test_a_flipped_word_never_passes_for_the_data():
    bfn, points, weights = mixed()
    packed = compress(bfn, drawn(points, weights, 20), 3, lanes=4)
    for place in range(0, len(packed.words), 5):
        words = packed.words.copy()
        words[place] ^= np.uint32(1 << place % 31)
        with pytest.raises(ValueError, match="damaged"):
            decompress(bfn, dataclasses.replace(packed, words=words))
    with pytest.raises(ValueError, match="damaged"):
        decompress(bfn, dataclasses.replace(packed, words=packed.words[5:]))


def test_every_flipped_byte_of_a_file_is_noticed():
    bfn, points, _ = binary()
    content = compress(bfn, points, 2).to_bytes()
    assert Packed.from_bytes(content).to_bytes() == content
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match="no packed file|of version|damaged or cut short"):
            Packed.from_bytes(bytes(flipped))
        with pytest.raises(ValueError, match="no packed file|damaged or cut short"):
            Packed.from_bytes(content[:place])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n": 0}, "n must be"), ({"lanes": 0}, "lanes must be"), ({"cells": 0}, "cells must"),
        ({"x": torch.zeros(3, 3)}, "x must be an int64"),
    ],
)
def test_bad_input_is_a_sentence(change, words):
    bfn, points, _ = discrete()
    with pytest.raises(ValueError, match=words):
        compress(bfn, **{"x": points, "n": 2, **change})


def test_numbers_without_a_last_digit_are_refused():
    bfn, _, _ = continuous()
    x = torch.tensor([[1 / 3, 1e-9]], dtype=torch.float64)
    with pytest.raises(ValueError, match="round it to what matters"):
        compress(bfn, x, 2)
    x = (x * 2**20).round() / 2**20
    assert same(decompress(bfn, compress(bfn, x, 2)), x)


def test_a_message_without_accuracy_is_named():
    points = torch.tensor([[0], [1]])
    late = DiscreteFlow(2, schedule=Retimed(QuadraticSchedule(4.0), start=0.5))
    with pytest.raises(ValueError, match=r"message 1 of 4 has none: the schedule is Retimed\("):
        compress(ExactBFN(late, points), points, 4)


def test_a_flow_of_another_kind_is_refused():
    class Own(DiscreteFlow.__mro__[1]):
        pass

    Own.__abstractmethods__ = frozenset()
    with pytest.raises(ValueError, match="knows classes, bins and numbers"):
        Codec(BFN(Own(), None), 1)


def test_without_constriction_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    bfn, points, _ = binary()
    with pytest.raises(ImportError, match='pip install "constriction>=0.4.1,<0.6"'):
        compress(bfn, points, 2)


# Files.


@pytest.fixture
def models(monkeypatch):
    """Small models in the place of the shipped ones."""
    from bfn_core.compression import __main__ as command

    torch.manual_seed(0)
    small = {
        "mnist": BFN(DiscreteFlow(2, 9.0), MLP(2 * 16, (1, 4, 4, 2))),
        "cifar10": BFN(DiscretisedFlow(256, 0.1), MLP(48, (3, 4, 4, 2))),
        "text8": BFN(DiscreteFlow(27, 0.5), MLP(8 * 27, (8, 27))),
        "numbers": BFN(ContinuousFlow(0.1), MLP(3, (3,))),
    }
    monkeypatch.setattr(command, "model", small.__getitem__)
    return small


def pack_and_unpack(model, path, *options):
    back = path.with_name("back" + path.suffix)
    packed = path.with_name("there.bfn")
    few = ("--n", "2", "--lanes", "3", *options)
    assert main(["pack", model, str(path), "--out", str(packed), *few]) == 0
    assert main(["unpack", model, str(packed), "--out", str(back)]) == 0
    return back


@pytest.mark.parametrize(
    "model, array",
    [
        ("mnist", np.arange(80).reshape(5, 4, 4) % 3 == 0),
        ("mnist", (np.arange(80).reshape(5, 1, 4, 4) % 3 == 0).astype(np.uint8)),
        ("cifar10", (np.arange(96) * 37 % 256).astype(np.uint8).reshape(2, 3, 4, 4)),
        ("numbers", np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)),
    ],
)
def test_arrays_come_back_byte_for_byte(models, tmp_path, model, array):
    path = tmp_path / "images.npy"
    np.save(path, array)
    assert pack_and_unpack(model, path).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("model, shape", [("mnist", (4, 4)), ("cifar10", (4, 4, 3))])
def test_folders_of_pictures_come_back_pixel_for_pixel(models, tmp_path, model, shape):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        noise = torch.randint(2 if model == "mnist" else 256, shape, generator=generator(number))
        pixels = (noise * (255 if model == "mnist" else 1)).to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
    back = pack_and_unpack(model, folder)
    assert sorted(p.name for p in back.iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    assert torch.equal(data.folder(back), data.folder(folder))


def test_pictures_keep_their_names_where_the_order_of_paths_ignores_case(
    models, tmp_path, monkeypatch
):
    monkeypatch.setattr(PurePath, "__lt__", lambda a, b: str(a).lower() < str(b).lower())  # Windows
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = {"B.png": np.zeros((4, 4), np.uint8), "a.png": np.full((4, 4), 255, np.uint8)}
    for name, picture in pixels.items():
        Image.fromarray(picture).save(folder / name)
    assert data.folder(folder)[:, 0, 0, 0].tolist() == [0, 255]  # B before a, as everywhere
    back = pack_and_unpack("mnist", folder)
    for name, picture in pixels.items():
        assert (np.asarray(Image.open(back / name)) == picture).all()


def test_no_picture_is_written_over_another(tmp_path):
    """As A.png and a.png would be where file names ignore case."""
    x, form = torch.zeros(2, 1, 4, 4, dtype=torch.int64), {"kind": "png", "names": ["a.png"] * 2}
    with pytest.raises(data.DataError, match="the same file as another"):
        write(tmp_path / "back", x, DiscreteFlow(2, 9.0), form)


@pytest.mark.parametrize("text", ["to be or not to be that is the question", "a", ""])
def test_texts_come_back_letter_for_letter(models, tmp_path, text):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    assert pack_and_unpack("text8", path, "--length", "8").read_text("utf-8") == text


def test_nothing_is_overwritten(models, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("to be", encoding="utf-8")
    taken = tmp_path / "text.txt.bfn"
    taken.write_bytes(b"mine")
    assert main(["pack", "text8", str(path), "--length", "8"]) == 1
    assert taken.read_bytes() == b"mine" and "exists already" in capsys.readouterr().err
    taken.unlink()
    assert main(["pack", "text8", str(path), "--length", "8", "--n", "2"]) == 0
    assert main(["unpack", "text8", str(taken)]) == 1
    assert path.read_text("utf-8") == "to be" and "exists already" in capsys.readouterr().err
    path.unlink()
    assert main(["unpack", "text8", str(taken)]) == 0 and path.read_text("utf-8") == "to be"
    assert {p.name for p in tmp_path.iterdir()} == {"text.txt", "text.txt.bfn"}


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize(
    "model, name, content, words",
    [
        ("text8", "a.txt", b"To be", "'T', which is none of text8's 27 symbols"),
        ("mnist", "a.txt", b"to be", "is not one of text"),
        ("mnist", "a.npy", b"to be", "cannot be read as an array"),
        ("mnist", "a.npy", npy(np.full((1, 4, 4), 7)), "whole numbers in 0…1"),
        ("mnist", "a.npy", npy(np.zeros((1, 4, 4))), "holds real numbers"),
        ("mnist", "a.npy", npy(np.zeros((1, 5, 5), int)), "does not take examples of shape (5, 5)"),
        ("mnist", "a.npy", npy(np.zeros(3, int)), "must hold an array (N, …)"),
        ("numbers", "a.npy", npy(np.zeros((1, 3), int)), "the model knows real ones"),
        ("numbers", "a.npy", npy(np.full((1, 3), 2.0)), "must lie in [-1, 1]"),
        ("mnist", "a.bfn", b"to be", "begin with BFNC"),
    ],
)
def test_what_cannot_be_packed_is_a_sentence(models, tmp_path, capsys, model, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    action = "unpack" if name.endswith(".bfn") else "pack"
    assert main([action, model, str(path)]) == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and said.startswith("error: ")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_of_another_model_is_refused(models, tmp_path, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 4, 4), int))
    assert main(["pack", "mnist", str(path), "--n", "2"]) == 0
    assert main(["unpack", "cifar10", f"{path}.bfn", "--out", str(tmp_path / "b.npy")]) == 1
    assert "packed with another model" in capsys.readouterr().err
    assert not (tmp_path / "b.npy").exists()


def test_greys_are_not_black_and_white(models, tmp_path, capsys):
    Image.fromarray(np.full((4, 4), 100, np.uint8)).save(tmp_path / "a.png")
    assert main(["pack", "mnist", str(tmp_path), "--out", str(tmp_path / "there")]) == 1
    assert "holds greys" in capsys.readouterr().err


# The record of real bytes.


def test_the_record_is_of_whole_round_trips_that_cost_what_the_elbo_says():
    for name, entry in data.record("compression").items():
        for row in entry["messages"].values():
            assert row["command"].startswith(f"python -m tools.compression {name}")
            size, clock = entry["other codes"]["as it is"] / 1000, row["kB/s by"]
            assert row["kB/s packed"] == pytest.approx(size / row[f"{clock} to pack"], rel=0.02)
            assert row["nothing lost"]
            assert abs(row["net bytes"] - row["-ELBO(n) bytes"]) < 4 * row["standard error"]
            # Header and checksum come on top of what is paid and what is lent.
            assert 0 < row["file bytes"] - row["net bytes"] - row["seed bytes"] < 250


def test_the_other_codes_hold_every_pixel():
    from tools.compression import general, pictures, written

    image = torch.randint(2, (1, 20, 24), generator=generator(1)).bool()
    for form, options in (("TIFF", {"compression": "group4"}), ("PNG", {})):
        content = written(image, "1", form, options)
        back = np.asarray(Image.open(io.BytesIO(content)).convert("L")) > 0
        assert (back == image[0].numpy()).all()
    sizes = pictures(image.expand(4, 1, 20, 24), "1")
    assert sizes["CCITT G4 (TIFF), file by file"] > sizes["CCITT G4 (TIFF), all in one"] > 8
    assert general(np.zeros(1000, np.uint8))["as it is"] == 1000
