"""What more work would give."""

import numpy
import pytest

from bfn_core.data import record
from bfn_core.training.growth import held_out, joined, power_law

STEPS = 500 * numpy.arange(1, 21)


@pytest.mark.parametrize(
    ("floor", "scale", "exponent"), [(80, 300, 0.5), (0, 40, 0.05), (2, 5, 1.0)]
)
def test_a_power_law_is_found_again_and_goes_on(floor, scale, exponent):
    law = power_law(STEPS, floor + scale * STEPS**-exponent)
    assert law.exponent == pytest.approx(exponent, rel=0.1)
    assert law(100_000) == pytest.approx(floor + scale * 100_000**-exponent, rel=0.01)
    assert law(STEPS).shape == STEPS.shape


def test_a_floor_is_never_below_zero():
    assert power_law(STEPS, 10 - numpy.log(STEPS)).floor == 0


@pytest.mark.parametrize("steps", [[1, 2, 3], [1, 2, 3, 3], [0, 1, 2, 3]])
def test_too_few_steps_are_told(steps):
    with pytest.raises(ValueError, match="four or more different numbers of steps"):
        power_law(steps, [1.0] * len(steps))


def test_losses_on_record_follow_one():
    """The first quarter of MNIST's run tells what the whole came to, within a nat."""
    steps, losses = held_out(record("mnist_adamw"))
    assert power_law(steps[:6], losses[:6])(steps[-1]) == pytest.approx(losses[-1], abs=1)


def test_the_steps_of_a_run_that_went_on_are_counted_on():
    """text8's second run begins where the first ended, and is cheaper from its first check on."""
    first, then = record("text8_first"), record("text8")
    assert then["settings"]["initial"] == "shipped"
    steps, losses = held_out(whole := joined(first, then))
    assert steps == sorted(set(steps)) and losses[-1] == held_out(then)[1][-1]
    assert steps[-1] == 11_000 + held_out(then)[0][-1]
    assert whole["curve"][-1]["step"] == 11_000 + then["settings"]["steps"]
    assert held_out(then)[1][0] < held_out(first)[1][-1]
