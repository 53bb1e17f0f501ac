"""A model that is too sure of itself, or not sure enough."""

from __future__ import annotations

import math

from torch import Tensor

from bfn_core.beliefs import Condition, Parameters, told
from bfn_core.distributions import Categorical
from bfn_core.model import BFN


class Tempered(BFN):
    """Discrete data, guessed too sharply (temperature below 1) or too timidly (above 1).

    It guesses, costs, draws and fills like any other; `network` is None, as in an `ExactBFN`, and
    its parameters are those of the model that it asks.

    Args:
        bfn: any model of discrete data, an `ExactBFN` too; its output probabilities are raised to
            the power 1/temperature, and normalised.
        temperature: above 0; 1 changes nothing.

    Raises:
        ValueError: temperature is not a finite number above 0.
    """

    def __init__(self, bfn: BFN, temperature: float) -> None:
        super().__init__(bfn.flow, None)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0, but is {temperature}")
        self.base, self.temperature = bfn, temperature

    @property
    def _reference(self) -> Tensor:
        return self.base._reference

    def output(
        self, theta: Parameters, t: float | Tensor, *, condition: Condition = None
    ) -> Categorical:
        """p_O^(1/T), normalised; the arguments are those of the model that is asked."""
        guess = self.base.output(theta, t, **told(condition))
        return Categorical(guess.log_probs / self.temperature)
