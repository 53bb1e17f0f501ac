"""The tool that measures enlarged digits, and what it wrote down of the shipped weights."""

import math

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, data
from bfn_core.data.files import digest
from bfn_core.networks.conditions import coarse_hints
from bfn_core.networks.unet import UNet
from bfn_core.training import shipped
from tests.oracles import generator
from tools import enlarge

X = data.drawn_digits()


def test_block_means_are_told_to_every_pixel():
    x = torch.randint(2, (2, 1, 6, 9), generator=generator(0))
    hints = coarse_hints(x, 3)
    for row in range(6):
        for column in range(9):
            top, left = 3 * (row // 3), 3 * (column // 3)
            block = x[:, :, top : top + 3, left : left + 3].float()
            assert torch.allclose(hints[:, :, row, column], 2 * block.mean((2, 3)) - 1, atol=1e-6)
    assert torch.equal(coarse_hints(2.0 * x - 1, 3), hints)
    for wrong in (x[0], x[..., :8]):
        with pytest.raises(ValueError, match="H and W multiples of size = 3, got shape"):
            coarse_hints(wrong, 3)
    with pytest.raises(ValueError, match="size must be"):
        coarse_hints(x, 0)


def test_a_table_prices_pixels_by_how_often_they_were_ink():
    guess = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 3)
    x = torch.tensor([0, 0, 0, 1, 1, 1]).view(1, 1, 2, 3)
    table = enlarge.table_of(guess, x)
    assert table[0] == pytest.approx(2 / 6) and table[-1] == pytest.approx(3 / 4)
    assert table[1] == 0.5
    step = (guess * enlarge.LEVELS).long().clamp(max=enlarge.LEVELS - 1)
    cost = enlarge.bernoulli_cost(table[step], x)
    wanted = -3 * math.log(4 / 6) - math.log(2 / 6) - 2 * math.log(3 / 4)
    assert float(cost) == pytest.approx(wanted)


def test_regressions_learn_what_the_means_say_of_a_pixel():
    pixels = (255 * X).to(torch.uint8)
    fitted = enlarge.regression(pixels, steps=400, batch=64)
    cost = enlarge.bernoulli_cost(fitted(X), X)
    table = enlarge.table_of(enlarge.bicubic(X), X)
    step = (enlarge.bicubic(X) * enlarge.LEVELS).long().clamp(max=enlarge.LEVELS - 1)
    assert cost.mean() < 0.7 * enlarge.bernoulli_cost(table[step], X).mean()


def test_decibels_and_what_was_told():
    guess = X[:4] + 0.1
    assert torch.allclose(enlarge.decibels(guess, X[:4]), torch.full((4,), 20.0).double(),
                          atol=1e-4)
    assert torch.allclose(enlarge.off(guess, X[:4]), torch.full((4,), 0.1), atol=1e-5)


def test_all_ways_are_told_the_same_means():
    """The untrained way has them exactly; a network's first guess asks for nothing but them."""
    torch.manual_seed(0)
    net = UNet(classes=2, channels=8, multipliers=(1, 2), blocks=1, attention=())
    shades = enlarge.filled(BFN(DiscreteFlow(2, 9.0), net), X[:2], 2, 2, 2)
    assert shades.shape == (2, 2, 1, 28, 28)
    trained = shipped(enlarge.NAME)
    many = enlarge.drawn(trained, X[:3], 2, 4)
    assert many.shape == (2, 3, 1, 28, 28) and set(many.unique().tolist()) == {0, 1}
    assert enlarge.off(many[0].float(), X[:3]).mean() < 0.12
    assert enlarge.off(many[0].float(), X[[1, 2, 0]]).mean() > 0.2
    guess = enlarge.first_guess(trained, X[:3])
    assert enlarge.decibels(guess, X[:3]).mean() > enlarge.decibels(enlarge.bicubic(X[:3]),
                                                                    X[:3]).mean()


def test_the_record_is_of_the_shipped_weights_and_says_what_the_book_says():
    record, trained = data.record("enlarge"), data.record(enlarge.NAME)
    assert record["data"] == trained["data"] == "MNIST"
    for name, known in (record["untrained"]["weights"] | record["trained"]["weights"]).items():
        assert known == digest(data.asset(f"{name}.safetensors"))[:8]
    told = trained["evaluation"]["elbo"]["infinity"]
    codes, guesses = record["codes"], record["untrained"]["psnr"] | record["trained"]["psnr"]
    assert told["nats"] < 0.6 * data.record("mnist")["evaluation"]["elbo"]["infinity"]["nats"]
    assert told["nats"] < codes["logistic regression"]["mean"] < codes["bicubic"]["mean"]
    ahead = guesses["trained, one call"]["mean"] - guesses["logistic regression"]["mean"]
    assert ahead > 3 * guesses["trained, one call"]["standard error"]
    assert trained["settings"]["coarse"] == enlarge.SIZE and codes["examples"] == 10_000
    assert data.asset(f"{enlarge.NAME}.safetensors").stat().st_size < 5e6
