"""Filling gaps: against the exact conditional law of a known joint law."""

from itertools import pairwise

import pytest
import torch

from bfn_core import ContinuousFlow, DiscreteFlow, DiscretisedFlow, ExactBFN
from bfn_core.infilling import Filling, effective, fill, filling_steps
from tests.oracles import generator

WORDS = ["the", "tho", "she", "sho", "sly", "thy", "try", "tie"]
LETTERS = sorted(set("".join(WORDS)))
DATA = torch.tensor([[LETTERS.index(c) for c in word] for word in WORDS])
WEIGHTS = torch.tensor([0.3, 0.05, 0.02, 0.2, 0.1, 0.13, 0.15, 0.05], dtype=torch.float64)
PERFECT = ExactBFN(DiscreteFlow(len(LETTERS), 3.0), DATA, WEIGHTS)


def law(fillings, points):
    """The weight of each point among fillings; the last entry is of what is no point."""
    found = torch.zeros(len(points) + 1, dtype=torch.float64)
    for filling in fillings:
        hits = (filling.x.unsqueeze(1) == points).flatten(2).all(2)  # (N, points)
        index = torch.where(hits.any(1), hits.int().argmax(1), len(points))
        found.index_add_(0, index, filling.weights / len(fillings))
    return found


def distance(found, known, point, points, weights):
    """Total variation from the exact conditional law."""
    truth = weights * (points[:, known] == point[known]).flatten(1).all(1)
    truth = torch.cat([truth / truth.sum(), torch.zeros(1, dtype=torch.float64)])
    return float((found - truth).abs().sum() / 2)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_fillings_of_a_perfect_network_follow_the_exact_conditional(where):
    known, g = torch.arange(3) == where, generator(1)
    away = {}
    for name, weigh in (("weighted", True), ("not weighted", False)):
        found = [fill(PERFECT, DATA[0], known, 40, 64, weigh=weigh, generator=g) for _ in range(15)]
        away[name] = distance(law(found, DATA), known, DATA[0], DATA, WEIGHTS)
    samples = [PERFECT.sample((64, 3), 40, generator=g) for _ in range(15)]
    even = torch.full((64,), 1 / 64, dtype=torch.float64)
    pasted = [Filling(torch.where(known, DATA[0], x), even) for x in samples]
    away["pasted"] = distance(law(pasted, DATA), known, DATA[0], DATA, WEIGHTS)
    assert away["weighted"] < 0.05 < away["not weighted"] < away["pasted"]


@pytest.mark.parametrize("flow", [DiscretisedFlow(4, 0.1), ContinuousFlow(0.1)])
def test_numbers_are_filled_too(flow):
    points = torch.tensor([[-0.75, 0.25], [-0.75, 0.75], [0.75, -0.25], [0.75, 0.75]])
    weights = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64)
    bfn, known = ExactBFN(flow, points, weights), torch.tensor([False, True])
    g = generator(2)
    found = [fill(bfn, points[1], known, 40, 64, generator=g) for _ in range(10)]
    share = sum(float(f.weights[f.x[:, 0] < 0].sum()) for f in found) / len(found)
    assert share == pytest.approx(0.4 / 0.6, abs=0.08)
    assert all(torch.equal(f.x[:, 1], points[1, 1].expand(64)) for f in found)


def test_what_decides_itself_is_certain_and_nothing_known_is_plain_sampling():
    known = torch.tensor([True, True, False])
    tie = DATA[WORDS.index("tie")]
    assert torch.equal(fill(PERFECT, tie, known, 30, 8, generator=generator(3)).x,
                       tie.expand(8, 3))
    nothing = torch.zeros(3, dtype=torch.bool)
    free = fill(PERFECT, tie, nothing, 30, 8, generator=generator(4))
    assert torch.equal(free.x, PERFECT.sample((8, 3), 30, generator=generator(4)))
    assert torch.allclose(free.weights, torch.full((8,), 1 / 8, dtype=torch.float64))


def test_the_weights_are_e_to_the_minus_the_bill_of_what_is_known():
    """Without resampling log w is Σ ln p_R/p_S + ln p_O over the known, on the states shown."""
    known, n = torch.tensor([True, False, True]), 5
    faint = ExactBFN(DiscreteFlow(len(LETTERS), 0.05), DATA, WEIGHTS)
    steps = list(filling_steps(faint, DATA[0], known, n, 6, generator=generator(5)))
    assert not any(step.resampled for step in steps)
    total = torch.zeros(6, dtype=torch.float64)
    for before, after in pairwise(steps):
        y = after.theta.logits - before.theta.logits  # up to a constant per position
        for d in (0, 2):
            # ln p_R(y) − ln p_S(y | x) = logsumexp_k(ln p_k + y_k) − y_x, where constants cancel
            mixture = (before.output.log_probs[:, d] + y[:, d]).logsumexp(-1)
            total += (mixture - y[:, d, DATA[0, d]]).double()
    for d in (0, 2):
        total += steps[-1].output.log_probs[:, d, DATA[0, d]].double()
    assert torch.allclose(steps[-1].log_weights, total.log_softmax(0), atol=1e-4)


def test_all_candidates_hear_the_same_about_what_is_known():
    known = torch.tensor([True, False, True])
    for step in filling_steps(PERFECT, DATA[0], known, 4, 5, weigh=False, generator=generator(6)):
        belief = step.theta.probs
        assert torch.equal(belief[:, known], belief[:1, known].expand(5, 2, -1))
    assert not torch.equal(belief[0, 1], belief[1, 1])


def test_what_is_known_is_what_the_messages_are_about():
    known, sly = torch.tensor([True, False, True]), DATA[WORDS.index("sly")]
    *_, last = filling_steps(PERFECT, sly, known, 4, 5, weigh=False, generator=generator(8))
    assert (last.theta.probs[:, known].argmax(-1) == sly[known]).all()


def test_candidates_are_drawn_anew_when_few_count():
    known = torch.tensor([False, False, True])
    steps = list(filling_steps(PERFECT, DATA[4], known, 30, 32, generator=generator(7)))
    assert any(step.resampled for step in steps)
    for step in steps[:-1]:
        assert effective(step.log_weights) >= 16 - 1e-6
    assert effective(torch.full((8,), 1 / 8).log()) == pytest.approx(8)
    assert Filling(DATA[:2], torch.tensor([1.0, 0.0])).effective == pytest.approx(1)


def test_equal_generators_give_equal_fillings():
    known = torch.tensor([True, False, False])
    one, two, other = (
        fill(PERFECT, DATA[0], known, 6, 8, generator=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one.x, two.x) and torch.equal(one.weights, two.weights)
    assert not torch.equal(one.weights, other.weights)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"known": torch.tensor([1, 0, 1])}, "known must be bool"),
        ({"known": torch.tensor([True])}, r"shape \(3,\)"),
        ({"x": torch.tensor([0, 1, 99])}, "x must lie in"),
        ({"n_steps": 0}, "n_steps must be a whole number of at least 1, got 0"),
        ({"count": 0}, "count must be a whole number of at least 1, got 0"),
        ({"count": 2.5}, "count must be a whole number"),
        ({"count": True}, "count must be a whole number"),
        ({"x": DATA[0].numpy()}, "x must be a tensor .*got <class 'numpy.ndarray'>"),
        ({"known": [True, False, True]}, "known must be a tensor .*got <class 'list'>"),
    ],
)
def test_bad_input_is_named(change, complaint):
    good = {"x": DATA[0], "known": torch.tensor([True, False, True]), "n_steps": 2, "count": 2}
    with pytest.raises(ValueError, match=complaint):
        fill(PERFECT, **{**good, **change})
