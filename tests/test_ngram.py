"""Exact guesses of an n-gram: against every sequence there is, and inside the transformer."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, elbo, training
from bfn_core.baselines.text import ngram as code
from bfn_core.networks.ngram import OFTEN, TOGETHER, NGram
from bfn_core.networks.transformer import Transformer
from bfn_core.training import loop, settings_for
from bfn_core.training.runs import Run
from tests.oracles import generator

TINY = replace(
    settings_for("text8", "smoke"), steps=2, batch=4, log_every=1, held_out=4, test_examples=4,
    sample_count=2, sample_steps=2,
    network_arguments={"layers": 1, "heads": 2, "width": 16, "order": 3},
)


def counted(classes, order, letters=400):
    """An n-gram that has seen a text with a habit: most classes follow from the two before."""
    noise = torch.randint(classes, (letters,), generator=generator(0)).tolist()
    text = noise[:2]
    for d in range(2, letters):
        text.append(noise[d] if d % 4 == 0 else (text[d - 1] + 2 * text[d - 2]) % classes)
    text = torch.tensor(text, dtype=torch.uint8)
    model = NGram(classes, order)
    model.count(text.unfold(0, order, 1))
    return model, text


@pytest.mark.parametrize("order", [3, 4])
def test_every_sequence_there_is_written_out(order):
    model, _ = counted(3, order)
    length = 2 * OFTEN
    theta = (3 * torch.randn(2, length, 3, generator=generator(1))).softmax(-1)
    right = torch.zeros(2, length, 3, dtype=torch.float64)
    for sequence in itertools.product(range(3), repeat=length):
        p = torch.ones(2, dtype=torch.float64)
        for d, c in enumerate(sequence):
            before = sequence[max(0, d - order + 1) : d]
            row = sum(b * 3**i for i, b in enumerate(reversed(before)))
            p *= getattr(model, f"table{len(before) + 1}")[row, c] * theta[:, d, c]
        for d, c in enumerate(sequence):
            right[:, d, c] += p
    right /= right.sum(-1, keepdim=True)
    torch.testing.assert_close(model(theta).double(), right, atol=1e-5, rtol=1e-4)


def test_its_bits_are_those_of_the_code_that_counts_alike():
    """A BFN whose guesses are exact pays −ln p(x): here that of the n-gram baseline."""
    model, text = counted(5, 3, letters=3000)
    sequences = text[: len(text) // 12 * 12].reshape(-1, 12)
    bits = code(text, sequences, 5, order=3)

    class Exact(torch.nn.Module):
        def forward(self, inputs, t):
            return model(inputs).clamp_min(1e-12).log()

    bfn = BFN(DiscreteFlow(5, 4.0), Exact())
    found = elbo(bfn, sequences.long(), repeats=8, generator=generator(0)).total.bits(12)
    assert found.standard_error < 0.03
    assert found.mean == pytest.approx(bits.mean, abs=4 * found.standard_error)


def test_many_examples_and_half_the_digits_make_little_difference():
    model, _ = counted(4, 4)
    theta = (2 * torch.randn(TOGETHER + 1, 9, 4, generator=generator(2))).softmax(-1)
    exact = model(theta)
    torch.testing.assert_close(model(theta[-1:]), exact[-1:])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(theta), exact, atol=0.03, rtol=0.1)
    certain = torch.nn.functional.one_hot(torch.randint(4, (1, 200), generator=generator(3)), 4)
    assert (model(certain.float()).argmax(-1) == certain.argmax(-1)).all()  # no underflow


def test_an_order_below_three_is_refused():
    with pytest.raises(ValueError, match="order must be at least 3"):
        NGram(3, 2)


def test_an_untrained_transformer_returns_the_guess_of_its_ngram():
    network = Transformer(4, 9, layers=1, heads=2, width=16, order=3)
    network.ngram.load_state_dict(counted(4, 3)[0].state_dict())
    theta = torch.randn(2, 9, 4, generator=generator(4)).softmax(-1)
    guess = network.ngram(theta)
    assert (guess - theta).abs().max() > 0.05
    torch.testing.assert_close(network(theta, torch.rand(2)).softmax(-1), guess)


def test_a_run_counts_its_own_text_and_keeps_the_counts_with_the_weights(tmp_path):
    trainer = loop.Trainer(TINY, Run(tmp_path / "run"))
    with trainer.alone():
        trainer.begin(False)
    right = torch.bincount(trainer.task.train[:, 0].long(), minlength=27).double() + 2 / 27
    found = trainer.ema.module.ngram.table1[0].double()
    torch.testing.assert_close(found, right / right.sum(), atol=1e-6, rtol=1e-5)
    result = training.train(TINY, tmp_path / "run", resume=True)
    bits = result.evaluation["elbo"]["infinity"]["bits per character"]
    assert result.finished and bits < math.log2(27)
    loaded = training.load(tmp_path / "run").network.ngram
    assert torch.equal(loaded.table3, result.bfn.network.ngram.table3)
