"""Codes for text: against a known law, and against plain counting."""

import bz2
import lzma
import math
from collections import Counter

import pytest
import torch

from bfn_core.baselines import text
from tests.oracles import generator


def chain(count, seed, stay=0.9, classes=3):
    """A Markov chain that stays where it is, else goes on by one."""
    moves = (torch.rand(count, generator=generator(seed)) > stay).cumsum(0)
    return (moves % classes).to(torch.uint8)


def by_hand(train, sequence, classes, order, weight):
    """Bits of each character, with dictionaries of counts."""
    train, bits = train.tolist(), []
    runs = [[train[i:] for i in range(size)] for size in range(1, order + 1)]
    counts = [Counter(zip(*run, strict=False)) for run in runs]
    for d, c in enumerate(sequence.tolist()):
        p = 1 / classes
        for size in range(1, min(order, d + 1) + 1):
            context = tuple(sequence.tolist()[d - size + 1 : d])
            seen = sum(counts[size - 1][(*context, k)] for k in range(classes))
            p = (counts[size - 1][(*context, c)] + weight * p) / (seen + weight)
        bits.append(-math.log2(p))
    return bits


def test_uniform_is_the_logarithm_of_the_number_of_symbols():
    assert text.uniform(2) == 1 and text.uniform(27) == pytest.approx(4.754888)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_an_ngram_costs_what_counting_by_hand_says(order):
    train, test = chain(300, 1, 0.6), chain(40, 2, 0.6).reshape(4, 10)
    found = text.ngram(train, test, 3, order, weight=1.5)
    rows = [sum(by_hand(train, row, 3, order, 1.5)) / 10 for row in test]
    assert found.mean == pytest.approx(sum(rows) / 4, rel=1e-9)
    assert found.count == 4 and found.standard_error > 0


def test_an_ngram_finds_the_entropy_of_a_chain():
    """A chain's rate is the entropy of one move; a unigram sees three symbols, equally often."""
    train, test = chain(200_000, 3), chain(100_000, 4).reshape(-1, 100)
    rate = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    first = (math.log2(3) - rate) / 100  # of 100 characters the first has no context
    for order in (2, 3):
        found = text.ngram(train, test, 3, order)
        assert found.mean == pytest.approx(rate + first, abs=4 * found.standard_error)
    assert text.ngram(train, test, 3, 1).mean == pytest.approx(math.log2(3), abs=0.01)


def test_what_never_occurred_costs_much_but_not_everything():
    train, test = torch.zeros(1000, dtype=torch.uint8), torch.ones(1, 8, dtype=torch.uint8)
    assert 5 < text.ngram(train, test, 2, 3).mean < 30
    short = text.ngram(train, torch.ones(2, 1, dtype=torch.uint8), 2, 3)  # no context at all
    assert short.mean == pytest.approx(text.ngram(train, test[:, :1].repeat(2, 1), 2, 1).mean)


def test_compressors_are_counted_in_bits_per_character():
    x = torch.randint(27, (5000,), generator=generator(5)).to(torch.uint8)
    raw = x.numpy().tobytes()
    assert text.compressor("bz2", x) == 8 * len(bz2.compress(raw, 9)) / 5000
    preset = 9 | lzma.PRESET_EXTREME
    assert text.compressor("lzma", x) == 8 * len(lzma.compress(raw, preset=preset)) / 5000
    for name in text.COMPRESSORS:  # random letters cannot be packed tighter than log₂ 27
        assert text.uniform(27) < text.compressor(name, x.reshape(50, 100)) < 6.5
        assert text.compressor(name, x, before=x) < 2.8  # what was seen before is cheaper
    assert text.compressor("lzma", x, before=x) < 0.2


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda x: text.ngram(x, x.reshape(2, 5), 3, 0), "order must be a whole .* got 0"),
        (lambda x: text.ngram(x, x.reshape(2, 5), 3, 1.5), "order must be a whole .* got 1.5"),
        (lambda x: text.ngram(x, x.reshape(2, 5), 3, 2, 0.0), "weight must be above 0"),
        (lambda x: text.ngram(x[:0], x.reshape(2, 5), 3, 2), r"must not be empty, got \(0,\)"),
        (lambda x: text.ngram(x, x, 3, 2), r"must not be empty, got \(10,\) and \(10,\)"),
        (lambda x: text.ngram(x, x.reshape(2, 5)[:0], 3, 2), r"must not be empty.*\(0, 5\)"),
        (lambda x: text.ngram(x + 3, x.reshape(2, 5), 3, 2), "train must lie in 0…2, got .*3"),
        (lambda x: text.ngram(x, x.reshape(2, 5) + 3, 3, 2), "test must lie in 0…2, got .*3"),
        (lambda x: text.ngram(x / 9, x.reshape(2, 5), 3, 2), "train must be .* got torch.float32"),
        (lambda x: text.compressor("bz2", x / 9), "test must be .* whole numbers, got torch.float"),
        (lambda x: text.compressor("bz2", x, x.long() + 300), "before must lie in 0…255"),
    ],
)
def test_bad_input_to_a_code_is_named(call, complaint):
    """A symbol out of range would be another one in the n-gram's table, without a word."""
    with pytest.raises(ValueError, match=complaint):
        call(torch.zeros(10, dtype=torch.uint8))


def test_a_compressor_packs_one_byte_per_character_however_it_is_held():
    x = torch.randint(27, (5000,), generator=generator(6)).to(torch.uint8)
    for name in text.COMPRESSORS:
        assert text.compressor(name, x.long(), x.int()) == text.compressor(name, x, x)


def test_other_compressors_are_refused():
    with pytest.raises(ValueError, match="'zip'"):
        text.compressor("zip", torch.zeros(10, dtype=torch.uint8))
