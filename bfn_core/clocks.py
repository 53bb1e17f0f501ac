"""Clocks: the same messages, sooner or later.

Parts of mixed data share the time, but each has its own schedule, and with it its own clock:

    slow = DiscreteFlow(2, schedule=Retimed(QuadraticSchedule(6.0), power=3))
    MixedFlow(kinds=slow, places=ContinuousFlow(0.05))
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bfn_core.checks import real
from bfn_core.flows import ContinuousFlow, DiscreteFlow
from bfn_core.mixed import MixedFlow
from bfn_core.schedules import Form, GeometricSchedule, QuadraticSchedule, Schedule


@dataclass(frozen=True)
class Retimed(Schedule):
    """A schedule by another clock: β(c(t)) with c(t) = ((t − start)/(end − start))^power, from 0
    before the start to 1 after the end.

    Before the start and after the end no accuracy is sent, so losses in n steps and samples, whose
    messages must all say something, want start = 0 and end = 1.

    Args:
        schedule: that is retimed.
        power: above 1 the messages lag, below 1 they lead.
        start, end: 0 ≤ start < end ≤ 1.

    Raises:
        ValueError: power not above 0, or start and end not in that order.
    """

    schedule: Schedule
    power: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        real("power", self.power, 0.0)
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"start and end must lie in 0…1 in this order, got {self.start} and {self.end}"
            )

    def _share(self, t: Any) -> Any:
        """Of the way from the start to the end, perhaps below 0 or above 1."""
        return (t - self.start) / (self.end - self.start)

    def clock(self, t: Form) -> Form:
        """c(t)."""
        return _within(self._share(t), 0.0) ** self.power

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(c(t))."""
        return self.schedule.beta(self.clock(t))

    def rate(self, t: Form) -> Form:
        """dβ/dt, by the chain rule; 0 before the start and after the end."""
        inside = 1.0 * ((t >= self.start) & (t <= self.end))  # a share is rounded, above 1 perhaps
        share = _within(self._share(t), TINY)
        pace = self.power * share ** (self.power - 1) / (self.end - self.start)
        return inside * pace * self.schedule.rate(share**self.power)


TINY = 1e-12  # below it a clock that leads would run infinitely fast


def _within(share: Any, low: float) -> Any:
    return share.clamp(low, 1.0) if isinstance(share, Tensor) else min(max(share, low), 1.0)


# Ways to tell mixed data: by name, the options of `Retimed` for the kinds and for the places.

TOGETHER: dict[str, Any] = {"together": ({}, {})}
ONE_LAGS = {**TOGETHER, "kinds lag": ({"power": 3}, {}), "places lag": ({}, {"power": 3})}
ONE_FIRST = {**TOGETHER, "kinds first": ({"end": 0.5}, {"start": 0.5}),
             "places first": ({"start": 0.5}, {"end": 0.5}), "kinds lag": ({"power": 3}, {})}


def paths(
    classes: int, beta_1: float, sigma_1: float, clocks: dict[str, tuple[dict, dict]]
) -> dict[str, MixedFlow]:
    """Mixed flows of "kinds" and "places" that send the same by different clocks.

    Args:
        classes, beta_1: of the kinds.
        sigma_1: of the places.
        clocks: by name, the options of `Retimed` for the kinds and for the places.
    """
    kinds, places = QuadraticSchedule(beta_1), GeometricSchedule(sigma_1)
    return {
        name: MixedFlow(
            kinds=DiscreteFlow(classes, schedule=Retimed(kinds, **one)),
            places=ContinuousFlow(schedule=Retimed(places, **other)),
        )
        for name, (one, other) in clocks.items()
    }
