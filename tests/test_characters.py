"""Text character by character: what is read, when letters are settled, and gaps."""

import pytest
import torch

from bfn_core import characters, data
from bfn_core.infilling import Filling, class_shares, ranked
from tests.oracles import LINE, generator, language_model


@pytest.fixture(scope="module")
def bfn():
    return language_model()


def test_a_reading_is_one_stream_of_messages_and_the_network_s_answers(bfn):
    reading = characters.read(bfn, LINE, n_steps=8, seed=3)
    g, x = generator(3), data.encode(LINE).long().unsqueeze(0)
    theta = bfn.flow.prior(x.shape)
    for i in range(9):
        assert torch.allclose(reading.theta.probs[i], theta.probs[0], atol=1e-6)
        with torch.no_grad():
            guess = bfn.output(theta, i / 8).probs[0]
            assert torch.allclose(reading.output.probs[i], guess, atol=1e-5)
        if i < 8:
            y = bfn.flow.sender(x, bfn.flow.alpha(i + 1, 8)).sample(generator=g)
            theta = bfn.flow.update(theta, y, 1.0)
    assert data.decode(reading.x) == LINE


def test_a_letter_is_settled_from_the_last_time_that_it_changed():
    a, b, c = 1, 2, 3
    guesses = torch.tensor([[[a, b, c], [b, b, c], [b, a, a], [b, b, c]]])  # (1, 4, 3)
    assert characters.settled(guesses).tolist() == [[1, 3, 3]]
    assert characters.settled(guesses[:, :1]).tolist() == [[0, 0, 0]]


def test_kinds_of_letters_are_told_apart():
    x = data.encode("ab the old i").long().unsqueeze(0)
    marks = {
        "spaces":                  "  x   x   x ",
        "first letters of words":  "   x   x   x",
        "last letters of words":   " x   x   x  ",
        "vowels inside words":     "x           ",
        "consonants inside words": "    x   xx  ".replace("xx", "x "),
    }
    for name, kind in characters.KINDS.items():
        expected = [c == "x" for c in marks[name]]
        assert kind(x)[0].tolist() == expected, name
    covered = sum(kind(x).int() for kind in characters.KINDS.values())
    assert covered.max() == 1


def test_a_sentence_with_holes_is_put_into_the_window():
    hole = characters.gap("In 7 days, the w__ was _ver!", 128)
    plain = "in seven days the w__ was _ver"
    assert hole.size == len(plain) and hole.start == (128 - len(plain)) // 2
    inside = slice(hole.start, hole.start + hole.size)
    assert data.decode(hole.x[inside]) == plain.replace("_", " ")
    assert hole.known[inside].tolist() == [c != "_" for c in plain]
    assert int(hole.known.sum()) == len(plain) - 3
    assert (hole.holes - hole.start).tolist() == [i for i, c in enumerate(plain) if c == "_"]


@pytest.mark.parametrize("sentence", ["", "nothing is missing", "___", "?? _ !!", "_" + "a" * 128])
def test_a_sentence_that_cannot_be_filled_is_refused(sentence):
    with pytest.raises(ValueError, match="the sentence"):
        characters.gap(sentence, 128)


def test_fillings_are_ranked_by_their_weight():
    x = torch.tensor([[1, 2, 3], [1, 5, 3], [1, 2, 3], [1, 6, 3]])
    filling = Filling(x, torch.tensor([0.2, 0.3, 0.4, 0.1], dtype=torch.float64))
    found = ranked(filling, torch.tensor([1]))
    assert [letters for letters, _ in found] == [(2,), (5,), (6,)]
    assert [share for _, share in found] == pytest.approx([0.6, 0.3, 0.1])
    chance = class_shares(filling, torch.tensor([1]), 27)
    assert chance.shape == (1, 27) and chance[0, 2] == pytest.approx(0.6)
