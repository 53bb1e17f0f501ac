"""Each kind of data as the Gaussian channel that a Bayesian flow is.

What Bob has been told after messages of accuracy β in all is one sum,

    s = β X + √β κ ε,   ε ~ N(0, I),

where X is the number itself (κ = 1), or for K classes K e_k (κ = √K) without the share that all
coordinates have in common, which the softmax drops: so K − 1 coordinates say all. The belief is a
function of s; and s_i given s_{i+1} does not depend on x at all:

    s_i | s_{i+1} ~ N((β_i/β_{i+1}) s_{i+1}, κ² β_i (β_{i+1} − β_i)/β_{i+1}).

A channel codes sums as whole numbers of cells. It works in NumPy, whose results do not depend on
the number of threads, on outputs of the network that were rounded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from bfn_core.beliefs import CategoricalParameters, GaussianParameters, Parameters
from bfn_core.compression.stack import Stack
from bfn_core.distributions import DiscretisedNormal, Output
from bfn_core.flows import BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.mixed import MixedFlow

# The last digits of a network's output, in which two runs may differ, are rounded away. The grid is
# so wide that hardly a number lies so near to the middle between two of its points that the digits
# decide; and what it costs is below 10^−5 bits for each message about a variable.
GRID = 128  # steps of a log-probability, per nat
LEAST = -15.0  # log-probability, in nats
LEAST_INDEX = -30.0  # of a component of a mixture, which can do with less than the coder can give
WINDOW = 10.0  # standard deviations of a message to either side of which its bin is looked for
STEPS = 64  # of a mean, per standard deviation
FINEST = 50  # binary places of a real number


class Channel(ABC):
    """One kind of data of one shape, told in n messages.

    Sums are int64, (B · D, m): numbers of cells, `self.cell[i]` wide after message i.

    Args:
        flow: of this kind of data.
        n: number of messages.
        cells: how many there are to a standard deviation, of the narrower of the two normals that
            sum i is coded under.

    Raises:
        ValueError: a message without accuracy, as before a clock's start.
    """

    noise: float  # κ
    size: int  # m

    def __init__(self, flow: Any, n: int, cells: float) -> None:
        self.flow, self.n = flow, n
        self.beta = [0.0] + [float(flow.beta(i / n)) for i in range(1, n + 1)]
        self.alpha = [math.nan] + [self.beta[i] - self.beta[i - 1] for i in range(1, n + 1)]
        if silent := [i for i in range(1, n + 1) if not self.alpha[i] > 0.0]:
            raise ValueError("every message must have an accuracy above 0, but message "
                             f"{silent[0]} of {n} has none: the schedule is {flow.schedule}")
        self.cell = [
            1.0 if i == 0 else min(self._message_std(i), self._bridge_std(i)) / cells
            for i in range(n + 1)
        ]

    def _message_std(self, i: int) -> float:
        return self.noise * math.sqrt(self.alpha[i])

    def _bridge_std(self, i: int) -> float:
        """Of s_i given s_{i+1}; of s_n given x."""
        if i == self.n:
            return self.noise * math.sqrt(self.beta[i])
        return self.noise * math.sqrt(self.beta[i] * self.alpha[i + 1] / self.beta[i + 1])

    def nothing(self, count: int) -> np.ndarray:
        """What Bob has been told before the first message about `count` variables."""
        return np.zeros((count, self.size), np.int64)

    def peak(self) -> float:
        """Bits per variable, roughly, that are popped before anything is pushed."""
        last = [i for i in (self.n, self.n - 1) if i]
        return self.size * sum(2.05 + math.log2(self._bridge_std(i) / self.cell[i]) for i in last)

    # The last sum, given the data; and each before it, given the next.

    def draw_told(self, stack: Stack, symbols: np.ndarray) -> np.ndarray:
        """Pop s_n ~ N(β_n X, κ² β_n)."""
        return self._drawn(stack, self.beta[-1] * self.target(symbols), self.n)

    def return_told(self, stack: Stack, s: np.ndarray, symbols: np.ndarray) -> None:
        """Push it."""
        self._returned(stack, s, self.beta[-1] * self.target(symbols), self.n)

    def draw_bridge(self, stack: Stack, after: np.ndarray, i: int) -> np.ndarray:
        """Pop s_i, given s_{i+1}."""
        return self._drawn(stack, self._before(after, i), i)

    def return_bridge(self, stack: Stack, s: np.ndarray, after: np.ndarray, i: int) -> None:
        """Push it."""
        self._returned(stack, s, self._before(after, i), i)

    def _before(self, after: np.ndarray, i: int) -> np.ndarray:
        return self.beta[i] / self.beta[i + 1] * (after * self.cell[i + 1])

    def _drawn(self, stack: Stack, mean: np.ndarray, i: int) -> np.ndarray:
        cell = self.cell[i]
        drawn = stack.draw_normal(mean.ravel() / cell, self._bridge_std(i) / cell)
        return drawn.reshape(mean.shape)

    def _returned(self, stack: Stack, s: np.ndarray, mean: np.ndarray, i: int) -> None:
        cell = self.cell[i]
        stack.return_normal(s.ravel(), mean.ravel() / cell, self._bridge_std(i) / cell)

    # Message i: s_i given s_{i−1}, as the receiver expects it.

    def push_message(
        self, stack: Stack, s: np.ndarray, before: np.ndarray, i: int, guess: np.ndarray
    ) -> None:
        """Push s_i ~ p_R, given s_{i−1} and what the network guessed."""
        index = self._draw_index(stack, s, before, i, guess)
        mean = self._after(before, i, index, guess) / self.cell[i]
        stack.push_normal(s.ravel(), mean.ravel(), self._message_std(i) / self.cell[i])
        self._push_index(stack, index, guess)

    def pop_message(
        self, stack: Stack, before: np.ndarray, i: int, guess: np.ndarray
    ) -> np.ndarray:
        """The inverse of `push_message`."""
        index = self._pop_index(stack, guess)
        mean = self._after(before, i, index, guess) / self.cell[i]
        s = stack.pop_normal(mean.ravel(), self._message_std(i) / self.cell[i])
        s = s.reshape(before.shape)
        self._return_index(stack, index, s, before, i, guess)
        return s

    def _after(
        self, before: np.ndarray, i: int, index: np.ndarray | None, guess: np.ndarray
    ) -> np.ndarray:
        """The mean of s_i if the message is about value `index`, or about a guessed number."""
        about = guess if index is None else self.target(index)
        return before * self.cell[i - 1] + self.alpha[i] * about

    # Where p_R is a mixture, which component it is is popped and pushed too: bits back once more.

    def _draw_index(self, stack, s, before, i, guess) -> np.ndarray | None:
        return None

    def _return_index(self, stack, index, s, before, i, guess) -> None:
        return None

    def _push_index(self, stack, index, guess) -> None:
        return None

    def _pop_index(self, stack, guess) -> np.ndarray | None:
        return None

    # What depends on the kind of data.

    @abstractmethod
    def symbols(self, x: Tensor) -> np.ndarray:
        """Data as whole numbers, (B · D,)."""

    @abstractmethod
    def values(self, symbols: np.ndarray, shape) -> Tensor:
        """The inverse of `symbols`."""

    @abstractmethod
    def target(self, symbols: np.ndarray) -> np.ndarray:
        """X, (B · D, m)."""

    @abstractmethod
    def belief(self, s: np.ndarray, i: int, shape) -> Parameters:
        """θ after message i, for data of `shape`."""

    @abstractmethod
    def guess(self, output: Output, i: int) -> np.ndarray:
        """What the network makes of the belief after message i, rounded: (B · D, K) probabilities,
        or (B · D, 1) numbers.
        """

    @abstractmethod
    def push_value(self, stack: Stack, symbols: np.ndarray, guess: np.ndarray) -> None:
        """Push x ~ p_O, once all messages are in."""

    @abstractmethod
    def pop_value(self, stack: Stack, guess: np.ndarray) -> np.ndarray:
        """The inverse of `push_value`."""


class ClassChannel(Channel):
    """What classes and bins share: x is one of K, and p_R a mixture of K normals."""

    targets: np.ndarray  # X of each of the K, (K, m)

    def target(self, symbols: np.ndarray) -> np.ndarray:
        return self.targets[symbols]

    def guess(self, output: Output, i: int) -> np.ndarray:
        log_probs = output.log_probs
        return rounded(log_probs.reshape(-1, log_probs.shape[-1]).cpu().numpy())

    def push_value(self, stack: Stack, symbols: np.ndarray, guess: np.ndarray) -> None:
        stack.push_class(symbols, guess)

    def pop_value(self, stack: Stack, guess: np.ndarray) -> np.ndarray:
        return stack.pop_class(guess)

    def _draw_index(self, stack, s, before, i, guess) -> np.ndarray:
        return stack.pop_class(self._posterior(s, before, i, guess))

    def _return_index(self, stack, index, s, before, i, guess) -> None:
        stack.push_class(index, self._posterior(s, before, i, guess))

    def _push_index(self, stack, index, guess) -> None:
        stack.push_class(index, guess)

    def _pop_index(self, stack, guess) -> np.ndarray:
        return stack.pop_class(guess)

    def _posterior(
        self, s: np.ndarray, before: np.ndarray, i: int, guess: np.ndarray
    ) -> np.ndarray:
        """Which of the K the message was about, (B · D, K): p_k exp((y·X_k − α‖X_k‖²/2)/κ²), where
        y is what message i added to the sum.
        """
        y = s * self.cell[i] - before * self.cell[i - 1]
        # einsum, not a matrix product, which may add in another order with other threads
        score = np.einsum("nm,km->nk", y, self.targets)
        score -= self.alpha[i] / 2 * np.square(self.targets).sum(1)
        return rounded(np.log(guess) + score / self.noise**2)


class DiscreteChannel(ClassChannel):
    """Classes, without the coordinate that says nothing."""

    def __init__(self, flow: DiscreteFlow, n: int, cells: float) -> None:
        k = flow.classes
        self.noise, self.size = math.sqrt(k), k - 1
        self.basis = helmert(k)  # (K − 1, K)
        self.targets = np.ascontiguousarray(k * self.basis.T)
        super().__init__(flow, n, cells)

    def symbols(self, x: Tensor) -> np.ndarray:
        return x.reshape(-1).cpu().numpy()

    def values(self, symbols: np.ndarray, shape) -> Tensor:
        return torch.from_numpy(symbols.reshape(shape))

    def belief(self, s: np.ndarray, i: int, shape) -> CategoricalParameters:
        logits = torch.from_numpy(np.einsum("nm,mk->nk", s * self.cell[i], self.basis))
        return CategoricalParameters(logits.log_softmax(-1).reshape(*shape, -1))


class NumberChannel(Channel):
    """What bins and real numbers share: a Gaussian belief about a number."""

    noise, size = 1.0, 1

    def belief(self, s: np.ndarray, i: int, shape) -> GaussianParameters:
        precision = 1 + self.beta[i]
        mean = torch.from_numpy((s * self.cell[i] / precision).reshape(shape))
        return GaussianParameters(mean, torch.full((shape[0],), precision, dtype=mean.dtype))


class DiscretisedChannel(NumberChannel, ClassChannel):
    """Bins."""

    def __init__(self, flow: DiscretisedFlow, n: int, cells: float) -> None:
        self.centres = flow.centres
        self.targets = self.centres.double().numpy()[:, None]
        super().__init__(flow, n, cells)

    def symbols(self, x: Tensor) -> np.ndarray:
        return self.flow.index(x).reshape(-1).cpu().numpy()

    def values(self, symbols: np.ndarray, shape) -> Tensor:
        return self.centres[torch.from_numpy(symbols.reshape(shape))]


    def guess(self, output: Output, i: int) -> np.ndarray:
        if not isinstance(output, DiscretisedNormal):
            return super().guess(output, i)
        # Only probabilities above e^LEAST matter, and for these differences of Φ are exact enough.
        edges = torch.linspace(-1, 1, output.bins + 1, dtype=torch.float64)
        below = ndtr((edges - output.loc.reshape(-1, 1)) / output.scale.reshape(-1, 1))
        below[:, 0], below[:, -1] = 0.0, 1.0  # the outer bins have the tails
        return gridded(np.log(np.maximum(below.diff().cpu().numpy(), 1e-12)))

    # Of 256 bins most are far from the message. Each of them would have to keep a share of the
    # posterior, 2^−24 at least, and one that is popped after all costs a hundred bits: with 25
    # messages 0.2 bits for each pixel. So only bins are coded from which the message may have come.

    def _draw_index(self, stack, s, before, i, guess) -> np.ndarray:
        start, posterior = self._near(s, before, i, guess)
        return start + stack.pop_class(posterior)

    def _return_index(self, stack, index, s, before, i, guess) -> None:
        start, posterior = self._near(s, before, i, guess)
        if np.any((index < start) | (index >= start + posterior.shape[1])):
            raise ValueError("the data are damaged: a message is too far from its bin")
        stack.push_class(index - start, posterior)

    def _near(self, s, before, i, guess) -> tuple[np.ndarray, np.ndarray]:
        """The first bin that comes into question, (B · D,), and the posterior of it and its
        neighbours, (B · D, W): p_k exp(−α (y/α − k_c)²/2).
        """
        alpha, bins = self.alpha[i], guess.shape[1]
        heard = (s[:, 0] * self.cell[i] - before[:, 0] * self.cell[i - 1]) / alpha  # y
        half = math.ceil(WINDOW / math.sqrt(alpha) * bins / 2)
        width = min(bins, 2 * half + 1)
        middle = np.rint(np.clip((heard + 1) * bins / 2 - 0.5, 0, bins - 1)).astype(np.int64)
        start = np.clip(middle - half, 0, bins - width)
        index = start[:, None] + np.arange(width)
        score = self.targets[index, 0]
        score -= heard[:, None]
        np.square(score, out=score)
        score *= -alpha / 2
        score += np.log(np.take_along_axis(guess, index, 1))
        return start, rounded(score, LEAST_INDEX)


class ContinuousChannel(NumberChannel):
    """Real numbers that are whole multiples of 2^−places, coded as N(x̂, σ₁²) once all messages are
    in, as `ContinuousFlow.final_cost` charges for them.

    The places below σ₁/8 are equally likely and cost one bit each.
    """

    def __init__(self, flow: ContinuousFlow, n: int, cells: float, places: int) -> None:
        self.unit = 2.0**-places
        self.low = max(0, math.floor(math.log2(flow.sigma_1 / 8 / self.unit)))
        super().__init__(flow, n, cells)

    def symbols(self, x: Tensor) -> np.ndarray:
        return np.rint(x.reshape(-1).cpu().double().numpy() / self.unit).astype(np.int64)

    def values(self, symbols: np.ndarray, shape) -> Tensor:
        return torch.from_numpy((symbols * self.unit).reshape(shape))

    def target(self, symbols: np.ndarray) -> np.ndarray:
        return (symbols * self.unit)[:, None]

    def guess(self, output: Output, i: int) -> np.ndarray:
        std = self.flow.sigma_1 if i == self.n else self.alpha[i + 1] ** -0.5
        grid = 2.0 ** math.floor(math.log2(std / STEPS))
        mean = np.nan_to_num(output.mean.reshape(-1, 1).double().cpu().numpy())
        return np.rint(mean / grid) * grid

    def _final(self, guess: np.ndarray) -> tuple[np.ndarray, float]:
        """Mean and standard deviation of x, in steps of 2^low units."""
        step = self.unit * 2**self.low
        middle = (1 - 2.0**-self.low) / 2  # of the units that have the upper places in common
        return guess[:, 0] / step - middle, self.flow.sigma_1 / step

    def push_value(self, stack: Stack, symbols: np.ndarray, guess: np.ndarray) -> None:
        stack.push_bits(symbols & (1 << self.low) - 1, self.low)
        stack.push_normal(symbols >> self.low, *self._final(guess))

    def pop_value(self, stack: Stack, guess: np.ndarray) -> np.ndarray:
        upper = stack.pop_normal(*self._final(guess))
        return upper << self.low | stack.pop_bits(len(guess), self.low)


def rounded(log_probs: np.ndarray, least: float = LEAST) -> np.ndarray:
    """Probabilities, (N, K), from logarithms up to a constant, rounded to a grid."""
    log_probs = np.nan_to_num(np.asarray(log_probs, np.float64), nan=least, neginf=-1e9)
    log_probs -= log_probs.max(-1, keepdims=True)
    log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
    return gridded(log_probs, least)


def gridded(log_probs: np.ndarray, least: float = LEAST) -> np.ndarray:
    """The same from normalised logarithms, float64, which are overwritten."""
    # In place: with 256 bins the tables are the most of the work, and new memory of each is slow.
    log_probs *= GRID
    np.rint(log_probs, out=log_probs)
    log_probs /= GRID
    np.maximum(log_probs, least, out=log_probs)
    probs = np.exp(log_probs, out=log_probs)
    probs /= probs.sum(-1, keepdims=True)
    return probs


def helmert(k: int) -> np.ndarray:
    """K − 1 orthonormal rows, each orthogonal to (1, …, 1): (K − 1, K)."""
    j = np.arange(1, k)[:, None]
    column = np.arange(k)[None]
    rows = np.where(column < j, 1.0, np.where(column == j, -j, 0.0))
    return rows / np.sqrt(j * (j + 1.0))


def places_of(x: Tensor) -> int:
    """The fewest binary places in which all numbers of x can be written, 0 at least.

    Raises:
        ValueError: more than 50 would be needed.
    """
    values = x.cpu().double()  # in this order: a Mac's GPU has no float64
    for places in range(FINEST + 1):
        scaled = values * 2.0**places
        if bool((scaled == scaled.round()).all()) and bool((scaled.abs() < 2.0**52).all()):
            return places
    raise ValueError(
        f"x must be whole multiples of 2^−{FINEST}, for a real number has no last digit; round it "
        "to what matters, as (x * 2**20).round() / 2**20 does"
    )


def channels_of(flow: BayesianFlow, n: int, cells: float, places: dict) -> dict[str, Channel]:
    """The channel of each part of the data by its name; by "" where the data are one tensor.

    Raises:
        ValueError: a flow of another kind.
    """
    flows = flow.flows if isinstance(flow, MixedFlow) else {"": flow}
    return {name: _channel(part, n, cells, places.get(name)) for name, part in flows.items()}


def _channel(flow: BayesianFlow, n: int, cells: float, places: int | None) -> Channel:
    if isinstance(flow, DiscreteFlow):
        return DiscreteChannel(flow, n, cells)
    if isinstance(flow, DiscretisedFlow):
        return DiscretisedChannel(flow, n, cells)
    if isinstance(flow, ContinuousFlow):
        return ContinuousChannel(flow, n, cells, places or 0)
    raise ValueError(f"compression knows classes, bins and numbers, and mixtures; got {flow!r}")
