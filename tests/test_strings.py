"""Languages that can be listed: their strings, and what is claimed to be known of them."""

import math

import pytest
import torch

from bfn_core import DiscreteFlow, ExactBFN
from bfn_core.data.strings import Strings, palindromes, sums
from tests.oracles import generator


@pytest.mark.parametrize("digits", [1, 2])
def test_sums_are_all_the_right_sums_and_nothing_else(digits):
    language = sums(digits)
    assert len(set(language.words)) == len(language.words) == 100**digits
    assert {len(word) for word in language.words} == {language.length}
    for word in language.words:
        left, right = word.split("=")
        a, b = left.split("+")
        assert int(a) + int(b) == int(right)
        assert len(a) == len(b) == digits


def test_palindromes_are_all_of_them_and_one_half_settles_the_other():
    language = palindromes("abc", 3)
    assert len(set(language.words)) == len(language.words) == 27
    assert all(word == word[::-1] for word in language.words)
    assert language.length == 6 and palindromes().entropy == pytest.approx(4 * math.log(6))
    with pytest.raises(ValueError, match="half must be at least 1, got 0"):
        palindromes(half=0)


def test_encoding_goes_there_and_back():
    language = sums()
    assert language.data.dtype == torch.int64 and language.data.shape == (100, 6)
    assert tuple(language.decode(language.data)) == language.words
    assert language.encode(["7+8=15"]).tolist() == [[7, 10, 8, 11, 1, 5]]
    with pytest.raises(ValueError, match="'x' is not in the alphabet"):
        language.encode(["7x8=56"])


def test_valid_strings_are_told_from_others():
    language = sums()
    x = language.encode(["7+8=15", "7+8=16", "0+0=00", "++++++"])
    assert language.valid(x).tolist() == [True, False, True, False]
    share = language.share(x)
    assert share.mean == 0.5 and share.count == 4
    assert share.standard_error == pytest.approx(math.sqrt(1 / 3) / 2)


def test_draws_are_uniform_and_repeatable():
    language = sums()
    x = language.draw(20_000, generator(0))
    assert torch.equal(x, language.draw(20_000, generator(0)))
    assert not torch.equal(x, language.draw(20_000, generator(1)))
    counts = torch.bincount(10 * x[:, 0] + x[:, 2], minlength=100)
    assert counts.sum() == 20_000 and len(counts) == 100
    chi_squared = float(((counts - 200) ** 2 / 200).sum())
    assert abs(chi_squared - 99) < 5 * math.sqrt(2 * 99)


def test_entropies():
    language = sums()
    perfect = ExactBFN(DiscreteFlow(language.classes, 2.0), language.data)
    assert language.entropy == pytest.approx(perfect.entropy())
    alone = language.marginal_entropies()
    p = 0.45  # 45 of the 100 sums are 10 or more
    tens = -p * math.log(p) - (1 - p) * math.log(1 - p)
    ten = math.log(10)
    torch.testing.assert_close(alone, torch.tensor([ten, 0, ten, 0, tens, ten]).double())


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "at least one"), (("a", "ab"), "same length"), (("a", "a"), "once"), (("c",), "'c'")],
)
def test_bad_languages_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Strings(words, "ab")


@pytest.mark.parametrize("digits", [0, 3, "1"])
def test_sums_of_other_sizes_are_refused(digits):
    with pytest.raises(ValueError, match="digits must be 1 or 2"):
        sums(digits)
