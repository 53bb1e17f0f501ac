"""Filling gaps: against the exact conditional law of a known joint law."""

import math
from itertools import pairwise

import pytest
import torch

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    MixedFlow,
    Solver,
)
from bfn_core.infilling import (
    Filling,
    block_means,
    effective,
    erased,
    fill,
    filling_steps,
    heaviest,
    marginals,
)
from bfn_core.missing import MissingFlow
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
        # To rounding: softmax adds in another order at the end of a vector register.
        heard = belief[:1, known].expand(5, 2, -1)
        assert torch.allclose(belief[:, known], heard, rtol=1e-6, atol=1e-7)
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


def test_equal_candidates_count_once_with_all_of_their_weight():
    x = torch.tensor([[[1.0]], [[2.0]], [[1.0]], [[3.0]]])
    weights = torch.tensor([0.3, 0.1, 0.4, 0.2], dtype=torch.float64)
    best, shares = heaviest(Filling(x, weights), 2)
    assert best.flatten().tolist() == [1.0, 3.0]
    assert shares.tolist() == pytest.approx([0.7, 0.2])


def test_marginals_of_a_perfect_network_are_those_given_what_is_known():
    points = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0]])
    bfn = ExactBFN(DiscreteFlow(2, 9.0), points, torch.tensor([0.5, 0.25, 0.25]))
    known = torch.tensor([True, False, False])
    found = marginals(bfn, points[0], known, 40, 400, generator=generator(0))
    assert found.shape == (3, 2) and found.dtype == torch.float64
    torch.testing.assert_close(found[1:, 1], torch.tensor([1 / 3, 1.0]).double(), atol=0.08, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(3).double(), atol=1e-5, rtol=0)
    pair = MixedFlow(a=DiscreteFlow(2, 9.0), b=DiscreteFlow(2, 9.0))
    both = ExactBFN(pair, {"a": points[:, :1], "b": points[:, 1:]})
    parts = marginals(both, {"a": points[2, :1], "b": points[2, 1:]},
                      {"a": torch.tensor([True]), "b": torch.zeros(2, dtype=torch.bool)}, 20, 100,
                      generator=generator(1))
    assert parts["b"].shape == (2, 2) and parts["b"][1, 0] > 0.9


def test_a_square_that_is_rubbed_out_may_hang_over_the_edge():
    assert erased(3, 1, 2, 2).tolist() == [[True] * 3, [True, True, False], [True, True, False]]


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


def test_what_is_absent_is_not_known():
    classes, numbers = MissingFlow(DiscreteFlow(3, 6.0)), MissingFlow(ContinuousFlow(0.1))
    points = {"a": torch.tensor([[0, 1], [2, 1]]), "b": torch.tensor([[-0.5], [0.5]])}
    bfn = ExactBFN(MixedFlow(a=classes, b=numbers), points)
    x = {"a": torch.tensor([0, -1]), "b": torch.tensor([math.nan])}
    known = {"a": torch.tensor([True, False]), "b": torch.tensor([False])}
    filling = fill(bfn, x, known, 10, 8, generator=generator(0))
    assert torch.equal(filling.x["a"], points["a"][:1].expand(8, 2))
    assert bool(filling.weights.isfinite().all())
    for name, gap in (("a", torch.tensor([True, True])), ("b", torch.tensor([True]))):
        with pytest.raises(ValueError, match="known must be False where x is absent"):
            fill(bfn, x, {**known, name: gap}, 10, 8)


def test_numbers_without_classes_have_no_marginals():
    """And that is said before the network is called."""
    bfn = BFN(ContinuousFlow(0.1), None)
    x, known = torch.zeros(3), torch.tensor([True, False, False])
    with pytest.raises(ValueError, match="marginals are of classes and bins"):
        marginals(bfn, x, known, 10)
    mixed = BFN(MixedFlow(a=DiscreteFlow(2, 1.0), b=MissingFlow(bfn.flow)), None)
    both = {"a": torch.tensor([0, 1, 1]), "b": x}
    with pytest.raises(ValueError, match="marginals are of classes and bins"):
        marginals(mixed, both, {"a": known, "b": known}, 10)


def test_who_is_told_the_known_part_first_needs_no_candidates():
    """A clock for each variable: a perfect network reads any belief, and conditions exactly."""
    flow, g, n = PERFECT.flow, generator(9), 40
    theta = flow.prior((3000, 3))
    sure = torch.zeros_like(theta.logits)
    sure[:, 0, DATA[0, 0]] = 40.0
    theta = type(theta)((theta.logits + sure).log_softmax(-1))
    for i in range(n):
        guess, alpha = PERFECT.output(theta, i / n).sample(generator=g), flow.alpha(i + 1, n)
        theta = flow.update(theta, flow.sender(guess, alpha).sample(generator=g), alpha)
    x = PERFECT.output(theta, 1.0).sample(generator=g)
    even = torch.full((3000,), 1 / 3000, dtype=torch.float64)
    known = torch.tensor([True, False, False])
    assert distance(law([Filling(x, even)], DATA), known, DATA[0], DATA, WEIGHTS) < 0.03


# In another basis.

SCATTERED = 2 * torch.rand(20, 4, generator=generator(0)) - 1


@pytest.mark.parametrize("form", ["all rows, some known", "some rows, all known"])
def test_in_the_basis_of_the_variables_filling_is_what_it_was(form):
    bfn, known = ExactBFN(ContinuousFlow(0.05), SCATTERED), torch.tensor([True, False, True, False])
    plain = fill(bfn, SCATTERED[0], known, 20, 16, generator=generator(1))
    basis, rows = torch.eye(4), known
    if form == "some rows, all known":
        basis, rows = basis[known], torch.ones(2, dtype=torch.bool)
    turned = fill(bfn, SCATTERED[0], rows, 20, 16, basis=basis, generator=generator(1))
    assert torch.equal(plain.x, turned.x)
    assert torch.allclose(plain.weights, turned.weights, atol=1e-6)
    assert plain.effective < 15  # the weights say something


def lattice():
    """Points u r₁ + v r₂ of a square lattice, turned by 30°, and the law of v given u."""
    u, v = torch.cartesian_prod(torch.tensor([-0.4, 0.4]), torch.tensor([-0.4, 0.4])).T
    weights = torch.tensor([0.1, 0.4, 0.35, 0.15], dtype=torch.float64)
    basis = torch.tensor([[math.cos(0.5), math.sin(0.5)], [-math.sin(0.5), math.cos(0.5)]])
    return torch.stack([u, v], 1) @ basis, weights, basis


@pytest.mark.parametrize("flow", [ContinuousFlow(0.05)])
def test_one_coordinate_told_the_other_follows_the_exact_conditional(flow):
    points, weights, basis = lattice()
    bfn, known, g = ExactBFN(flow, points, weights), torch.tensor([True]), generator(2)
    truth, away = 0.4 / 0.5, {}  # v > 0 where u < 0
    for weigh in (True, False):
        found = [fill(bfn, points[0], known, 50, 64, basis=basis[:1], weigh=weigh, generator=g)
                 for _ in range(12)]
        for filling in found:
            assert torch.allclose(filling.x @ basis[0], points[0] @ basis[0], atol=1e-5)
        share = sum(float(f.weights[f.x @ basis[1] > 0].sum()) for f in found) / len(found)
        away[weigh] = abs(share - truth)
    assert away[True] < 0.04 < away[False]


def test_all_candidates_hear_the_same_of_what_is_known_in_a_basis():
    points, weights, basis = lattice()
    bfn, known = ExactBFN(ContinuousFlow(0.05), points, weights), torch.tensor([True, False])
    for step in filling_steps(bfn, points[0], known, 4, 5, basis=basis, generator=generator(3)):
        told, rest = (step.theta.mean @ basis.T).T
        assert torch.allclose(told, told[:1].expand(5), atol=1e-6)
    assert rest.std() > 0.01


@pytest.mark.parametrize(("size", "shape"), [(2, (4, 6)), (3, (2, 6, 3))])
def test_block_means_are_orthonormal_and_are_means(size, shape):
    rows = block_means(shape, size)
    assert torch.allclose(rows @ rows.T, torch.eye(len(rows)))
    x = torch.rand(shape, generator=generator(4))
    pooled = torch.nn.functional.avg_pool2d(x.view(1, -1, *shape[-2:]), size)
    assert torch.allclose(rows @ x.flatten() / size, pooled.flatten())


def test_numbers_in_bins_are_refined_to_the_means_that_were_told():
    flow = DiscretisedFlow(5, 0.05)
    images = flow.centres[torch.randint(5, (6, 4, 4), generator=generator(5))]
    bfn, rows = ExactBFN(flow, images), block_means((4, 4), 2)
    found = fill(bfn, images[2], torch.ones(4, dtype=torch.bool), 30, 8, basis=rows,
                 generator=generator(6))
    assert torch.allclose(found.x.flatten(1) @ rows.T, (rows @ images[2].flatten()).expand(8, 4),
                          atol=1e-5)
    best = found.x[found.weights.argmax()]
    assert torch.allclose(best, images[2], atol=1e-3)  # the only one with these means


WIDE = ExactBFN(ContinuousFlow(0.05, data_range=(0.0, 5.0)), SCATTERED + 2)


@pytest.mark.parametrize("data_range", [(0.0, 5.0), None])
def test_in_a_basis_numbers_lie_where_the_flow_says(data_range):
    bfn = ExactBFN(ContinuousFlow(0.05, data_range=data_range), SCATTERED + 2)
    known = torch.tensor([True, False, False, False])
    found = fill(bfn, SCATTERED[0] + 2, known, 2, 3, basis=torch.eye(4), generator=generator(0))
    torch.testing.assert_close(found.x[:, 0], (SCATTERED[0, 0] + 2).expand(3))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"basis": 2 * torch.eye(4)}, "basis must have orthonormal rows"),
        ({"basis": torch.eye(3)}, "each of 4 numbers, got shape"),
        ({"known": torch.ones(4)}, "known must be bool of shape"),
        ({"known": torch.ones(2, dtype=torch.bool)}, "one for each row of basis"),
        ({"x": 3 * SCATTERED[0] + 2}, "x must lie in"),
        ({"weigh": False, "sampler": Solver()}, "sampler must be None with a basis"),
        ({"bfn": WIDE, "x": 3 * SCATTERED[0] + 6}, r"x must lie in \[0, 5\]"),
        ({"bfn": PERFECT}, "basis must be None for data that are not numbers alone"),
    ],
)
def test_a_bad_basis_is_named(change, complaint):
    good = {"bfn": ExactBFN(ContinuousFlow(0.05), SCATTERED), "x": SCATTERED[0],
            "known": torch.ones(4, dtype=torch.bool), "n_steps": 2, "count": 2,
            "basis": torch.eye(4)}
    with pytest.raises(ValueError, match=complaint):
        fill(**{**good, **change})


def test_blocks_tile_the_image():
    with pytest.raises(ValueError, match="size must divide 5 and 4, got 2"):
        block_means((5, 4), 2)
