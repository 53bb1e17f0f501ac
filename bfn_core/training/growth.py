"""What more work would give: a power law through the held-out losses of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

EXPONENTS = numpy.geomspace(0.01, 2.0, 400)


@dataclass(frozen=True)
class PowerLaw:
    """The loss after s steps: floor + scale · s^(−exponent), in the units of what it was fitted to.

    A description, no law of nature: it knows nothing of a learning rate that falls, nor of a
    network that is too small, nor of data that come round again.
    """

    floor: float
    scale: float
    exponent: float

    def __call__(self, steps):
        """The loss after so many steps; a number or an array."""
        return self.floor + self.scale * numpy.asarray(steps, float) ** -self.exponent


def power_law(steps: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """The power law with the least squared distance from the losses, its floor not below 0.

    Args:
        steps: at least four different numbers of steps, each above 0.
        losses: one for each, of any unit in which 0 is the least possible.

    Raises:
        ValueError: fewer points than that.
    """
    s, y = numpy.asarray(steps, float), numpy.asarray(losses, float)
    if s.shape != y.shape or s.ndim != 1 or len(set(s)) < 4 or (s <= 0).any():
        raise ValueError("a power law needs four or more different numbers of steps above 0, and "
                         f"a loss for each; got {len(s)} and {len(y)}")
    laws, distances = [], []
    for exponent in EXPONENTS:  # for a given exponent the other two are linear
        power = s**-exponent
        (floor, scale), *_ = numpy.linalg.lstsq(numpy.stack([power**0, power], 1), y, rcond=None)
        if floor < 0:
            floor, scale = 0.0, power @ y / (power @ power)
        laws.append(PowerLaw(float(floor), float(scale), float(exponent)))
        distances.append(numpy.square(floor + scale * power - y).sum())
    return laws[int(numpy.argmin(distances))]


def joined(first: dict, then: dict) -> dict:
    """The record of a run, with the losses of that which it began from before its own.

    Args:
        first: the record of the run whose weights were the initial ones.
        then: the record of the run that went on from them.
    """
    before = first["settings"]["steps"]

    def both(rows: str) -> list[dict]:
        return first[rows] + [{**row, "step": before + row["step"]} for row in then[rows]]

    return {**then, "curve": both("curve"), "validation": both("validation")}


def held_out(record: dict) -> tuple[list[int], list[float]]:
    """Steps and held-out losses, in nats per example, of the record of a run."""
    rows = record["validation"]
    return [row["step"] for row in rows], [row["validation"] for row in rows]
