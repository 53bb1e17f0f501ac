"""Each mistake is seen where it should be, in the bill or in the samples, and nowhere else."""

import math

import pytest
import torch

from bfn_core import Estimate, data
from bfn_core.mistakes import DIARY, LAW, MISTAKES, RIGHT, judge

# What is seen, and at which n: a bill "below" the entropy, "above" or "less" than the right one; or
# samples that are "far" from the law.
SEEN = {
    "a mean over classes, not a sum": (10, {"bill": "below"}),
    "the norm, not its square": (10, {"bill": "above"}),
    "each class a mixture of its own": (2, {"bill_n": "above"}),
    "the belief of t_i, not t_(i−1)": (2, {"bill_n": "below"}),
    "the last fee forgotten": (10, {"bill_n": "less", "bill": "less"}),
    "one noise for all variables": (10, {"bill_n": "above", "bill": "above"}),
    "variance for standard deviation": (10, {"bill_n": "above", "bill": "above"}),
    "accumulated accuracy for each message": (10, {"bill_n": "above", "distance": "far"}),
    "softmax of probabilities": (10, {"bill_n": "above", "bill": "above", "distance": "far"}),
    "the mode, sent for a draw": (10, {"distance": "far"}),
    "messages without noise": (50, {"distance": "far"}),
    "one message missing": (1, {"distance": "far"}),
    "the end drawn from the belief": (10, {"distance": "far"}),
}


@pytest.fixture(scope="module")
def right():
    found = {}

    def right(n):
        if n not in found:
            found[n] = judge(RIGHT, LAW, n, count=8000, draws=20_000)
        return found[n]

    return right


def test_all_mistakes_are_tried():
    assert set(SEEN) == set(MISTAKES) - {RIGHT.name}
    for name in SEEN:
        assert MISTAKES[name].says.endswith("."), name
    assert RIGHT.says == ""


def test_what_is_right_pays_the_entropy_and_follows_the_law():
    found = judge(RIGHT, LAW, 50, count=20_000, draws=20_000, beta_1=12.0)
    bill = Estimate.of(found.bill)
    assert abs(bill.mean - found.entropy) < 4 * bill.standard_error + 0.005
    assert found.entropy == pytest.approx(float(torch.special.entr(LAW.double()).sum()))
    assert found.distance < 3 * found.floor and float(found.shares.sum()) == pytest.approx(1)
    assert DIARY.sum() == 32


@pytest.mark.parametrize("name", SEEN)
def test_a_mistake_is_seen_where_it_should_be_and_nowhere_else(name, right):
    n, seen = SEEN[name]
    good, found = right(n), judge(MISTAKES[name], LAW, n, count=8000, draws=20_000)
    for bill in ("bill_n", "bill"):
        own, more = (Estimate.of(x) for x in (getattr(found, bill),
                                              getattr(found, bill) - getattr(good, bill)))
        sign = more.mean / max(more.standard_error, 1e-9)
        expected = seen.get(bill, "same")
        if expected == "same":
            assert abs(more.mean) < 1e-6, bill
        else:
            assert sign > 4 if expected == "above" else sign < -4, bill
        if expected == "below":
            assert own.mean < found.entropy - 4 * own.standard_error, bill
    far = found.distance - good.distance
    assert far > 0.015 if "distance" in seen else abs(far) < 1e-6


@pytest.mark.parametrize(
    ("classes", "n", "expected"), [(27, 1, 3.84), (27, 10, 3.38), (2, 1, 1.30)]
)
def test_even_variables_cost_ln_k_at_every_n_but_for_classes_taken_one_by_one(
    classes, n, expected
):
    """The figures of the mistake were measured before, by code of another hand."""
    even = torch.full((classes, classes), classes**-2.0)
    asked = {"count": 4_000, "draws": 10, "beta_1": 9.0 if classes == 2 else 0.5625}
    good = Estimate.of(judge(RIGHT, even, n, **asked).bill_n)
    assert abs(good.mean - 2 * math.log(classes)) < 4 * good.standard_error
    wrong = MISTAKES["each class a mixture of its own"]
    found = Estimate.of(judge(wrong, even, n, **asked).bill_n)
    assert abs(found.mean - 2 * expected) < 4 * found.standard_error + 0.02


def test_the_record_is_of_these_mistakes():
    record = data.record("mistakes")
    assert list(record["rows"]) == list(MISTAKES)
    for rows in record["rows"].values():
        assert list(rows) == ["1", "2", "5", "10", "20", "50"]
    measured = record["rows"]["the last fee forgotten"]["10"]["bill more"]
    found = judge(MISTAKES["the last fee forgotten"], LAW, 10, count=8000, draws=10)
    fee = Estimate.of(judge(RIGHT, LAW, 10, count=8000, draws=10).bill - found.bill)
    assert abs(fee.mean + measured[0]) < 4 * math.hypot(fee.standard_error, measured[1])
