"""Guidance: what a condition adds to a guess, taken more than once; and rewards, by particles.

What Bob's best guess gains from a condition c is a gradient. With s the sum of his messages, each
times its accuracy, or the logits z = ln θ of classes,

    x̂_c − x̂ = ∇_s ln p(c | s),        ê_c − ê = ∇_z ln p(c | z).

Classifier-free guidance adds it w times, on the network's raw output (in which x̂ is linear, and in
which the logits of discrete data are mixed):

    raw = raw_u + w (raw_c − raw_u).

w = 1 is the conditional network, w = 0 the unconditional one; public code often calls w − 1 the
weight. What w ≠ 1 draws is *not* p(x) p(c | x)^w: see `guided_normal`. `steer` draws from laws of
that kind, exactly in the limit of many particles.

Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv 2207.12598; what it draws:
Bradley and Nakkiran 2024, "Classifier-Free Guidance is a Predictor-Corrector", arXiv 2408.09000.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bfn_core.beliefs import Condition, Data, Parameters, cut, in_precision, over, told
from bfn_core.checks import whole
from bfn_core.data.images import shades
from bfn_core.distributions import Categorical, Delta, Output
from bfn_core.infilling import Filling, effective, systematic
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.solvers import FixedNoise, Solver


class Guided(nn.Module):
    """A network whose condition counts w times: raw_u + w (raw_c − raw_u).

    Called as network(inputs, t, condition), like any other, so BFN(flow, Guided(network, 2.0))
    needs nothing else. Where no condition comes it is the unconditional network. Two calls of a
    network for each guess, but for w = 0 and w = 1, which need one.

    Args:
        network: takes a condition, and does without one.
        weight: w, a number; 1 is conditional, 0 unconditional.
        unconditional: another network for raw_u, called as network(inputs, t); None for `network`
            without its condition.

    Raises:
        ValueError: a weight that is no finite number.
    """

    def __init__(
        self, network: nn.Module, weight: float, unconditional: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.weight = _weight(weight)
        self.network = network
        self.unconditional = unconditional

    def extra_repr(self) -> str:
        return f"weight={self.weight}"

    def forward(self, inputs: Data, t: Tensor, condition: Condition = None) -> Data:
        """The raw output, of the networks' own shape."""
        plain = self.network if self.unconditional is None else self.unconditional
        if condition is None or self.weight == 0.0:
            return plain(inputs, t)
        informed = self.network(inputs, t, condition)
        if self.weight == 1.0:
            return informed
        return mixed(informed, plain(inputs, t), self.weight)


class Given(nn.Module):
    """A network whose condition is held: Given(network, c)(inputs, t) is network(inputs, t, c).

    BFN(flow, Given(network, c)) is the conditional model p(x | c), and goes wherever a BFN does.

    Args:
        network: takes a condition.
        condition: a tensor or a dict of them, with one row for all examples, (1, …), or with a
            row for each, (B, …): then it is for batches of that size alone.

    Raises:
        ValueError: no condition; when called, one of another number of rows than the batch.
    """

    def __init__(self, network: nn.Module, condition: Condition) -> None:
        super().__init__()
        if condition is None:
            raise ValueError("condition must be a tensor or a dict of tensors, got None")
        self.network, self.condition = network, condition

    def forward(self, inputs: Data, t: Tensor) -> Data:
        """The raw output, of the network's own shape."""
        return self.network(inputs, t, over(lambda part: self._for(part, t), self.condition))

    @staticmethod
    def _for(part: Tensor, t: Tensor) -> Tensor:
        if len(part) not in (1, len(t)):
            raise ValueError(f"condition has {len(part)} rows, but the batch has {len(t)}")
        return in_precision(part, t.dtype).to(t.device).expand(len(t), *part.shape[1:])


class GuidedBFN(BFN):
    """The same for BFNs that have no raw output, such as ExactBFN: their guesses are mixed.

    Args:
        conditional, unconditional: BFNs of one flow, whose outputs are means (continuous data,
            clipped to its range) or probabilities of classes (mixed as logits, then normalised).
        weight: w, as for `Guided`.
    """

    def __init__(self, conditional: BFN, unconditional: BFN, weight: float) -> None:
        super().__init__(conditional.flow, None)
        self.conditional, self.unconditional = conditional, unconditional
        self.weight = _weight(weight)

    @property
    def _reference(self) -> Tensor:
        return self.conditional._reference

    def output(
        self, theta: Parameters, t: float | Tensor, *, condition: Condition = None
    ) -> Output:
        """p_O of the mixed guesses; see BFN.output.

        Raises:
            ValueError: outputs of another kind.
        """
        with_it = self.conditional.output(theta, t, **told(condition))
        without = self.unconditional.output(theta, t)
        if isinstance(with_it, Delta):
            mean = mixed(with_it.mean, without.mean, self.weight)
            bounds = getattr(self.flow, "data_range", None)
            return Delta(mean if bounds is None else mean.clamp(*bounds))
        if isinstance(with_it, Categorical):
            # Bounded, since two classes that are both impossible leave −∞ + ∞.
            informed, plain = (o.log_probs.clamp_min(LEAST) for o in (with_it, without))
            return Categorical(mixed(informed, plain, self.weight))
        raise ValueError(f"guidance mixes means or classes, got {type(with_it).__name__}")


LEAST = -80.0  # ln of a probability


def mixed(informed: Any, plain: Any, weight: float) -> Any:
    """plain + weight (informed − plain), of each tensor of a dict where there are several."""
    if isinstance(informed, dict):
        return {name: mixed(informed[name], plain[name], weight) for name in informed}
    return plain + weight * (informed - plain)


def _weight(weight: float) -> float:
    number = isinstance(weight, Real) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight):
        raise ValueError(f"weight must be a finite number, got {weight!r}")
    return float(weight)


def draw_told(
    bfn: BFN, shape: tuple[int, ...], labels: Tensor, weight: float, n: int, seed: int = 0,
    sampler: Solver | FixedNoise | None = None,
) -> Tensor:
    """One guided sample for each label, (B, *shape).

    Args:
        bfn: whose network takes a label.
        shape: of one example.
        labels: (B,).
        weight: w, as for `Guided`.
        n: steps.
        seed: of all noise.
        sampler: Solver("ab2") by default.
    """
    guide = BFN(bfn.flow, Guided(bfn.network, weight))
    rng = torch.Generator(bfn._reference.device).manual_seed(seed)
    return guide.sample((len(labels), *shape), n, condition=labels, generator=rng, final="mode",
                        sampler=Solver("ab2") if sampler is None else sampler)


def spread_within(x: Tensor, labels: Tensor) -> float:
    """The mean distance of two samples of a class: root mean squared difference of pixels' shades.

    NaN where no class has two.

    Args:
        x: images, as `data.shades` takes them.
        labels: (N,).
    """
    values, found = shades(x).flatten(1), []
    for label in labels.unique():
        group = values[labels == label]
        if len(group) > 1:
            found.append(torch.pdist(group) / math.sqrt(group.shape[1]))
    return float(torch.cat(found).mean()) if found else math.nan


@dataclass(frozen=True)
class GuidedNormal:
    """Standard deviations of what guidance of a normal by a normal draws, and of the tilted law.

    Attributes:
        ode: of samples that follow the probability-flow ODE.
        sde: of samples with the paper's noise, in infinitely many steps.
        tilt: of p(x) p(c | x)^w; NaN where that is no law.
    """

    ode: float
    sde: float
    tilt: float


def guided_normal(weight: float, spread: float, told_spread: float) -> GuidedNormal:
    """In closed form, for p(x) = N(0, τ_u²) and p(x | c) = N(m, τ_c²), as β(1) → ∞.

    With C = τ_u^{2(1−w)} τ_c^{2w} the squares of the three are τ_u^{2(1−w)} τ_c^{2w}, that is C;

        C² ∫₀^∞ (1 + τ_u² q)^{−2(1−w)} (1 + τ_c² q)^{−2w} dq;

    and 1/((1−w)/τ_u² + w/τ_c²). They agree at w = 0 and w = 1, and nowhere else.

    Args:
        weight: w.
        spread: τ_u, above 0.
        told_spread: τ_c, above 0.
    """
    u, c, w = spread**2, told_spread**2, weight
    both = u ** (1 - w) * c**w
    # In a = ln q the integrand is smooth and falls off at both ends.
    a = torch.linspace(-30.0, 30.0, 6001, dtype=torch.float64)
    q = a.exp()
    value = a - 2 * (1 - w) * torch.log1p(u * q) - 2 * w * torch.log1p(c * q)
    integral = float(torch.trapezoid(value.exp(), a))
    precision = (1 - w) / u + w / c
    tilt = precision**-0.5 if precision > 0 else math.nan
    return GuidedNormal(both**0.5, both * integral**0.5, tilt)


def tilted_mean(weight: float, spread: float, told_spread: float, mean: float) -> float:
    """The mean of p(x) p(c | x)^w for p(x) = N(0, τ_u²) and p(x | c) = N(m, τ_c²).

    That law is N(0, τ_u²)^(1−w) N(m, τ_c²)^w, normalised, whose mean is

        m w/τ_c² / ((1−w)/τ_u² + w/τ_c²);

    its spread is `GuidedNormal.tilt`.

    Args:
        weight: w.
        spread: τ_u, above 0.
        told_spread: τ_c, above 0.
        mean: m.
    """
    told_precision = weight / told_spread**2
    return mean * told_precision / ((1 - weight) / spread**2 + told_precision)


Reward = Callable[[Data], Tensor]


def steer(
    bfn: BFN, shape, log_reward: Reward, n_steps: int, count: int = 64,
    *, looks: int = 4, condition: Condition = None, generator: Generator | None = None,
) -> Filling:
    """`count` weighted samples of p(x) e^{r(x)}, up to its total, by particles.

    A particle is a belief on its way. How good it is, ψ(θ), is the mean reward of a few values
    drawn from p_O; after each message weights are multiplied by ψ(θ_i)/ψ(θ_{i−1}), at the end by
    e^{r(x)}/ψ(θ_n), and where the weight has come to rest on few particles they are drawn anew. The
    factors telescope, so any ψ above 0 gives the right law in the limit of many particles; a good
    one needs fewer.

    Args:
        bfn: whose own samples have the law p.
        shape: of one example, (*shape); a dict of them for mixed data.
        log_reward: r, from x (N, *shape) to (N,).
        n_steps: number of messages, at least 1.
        count: particles, N ≥ 1.
        looks: values drawn from p_O for ψ, at least 1.
        condition: what the network is told about each example, (…) or a dict.
        generator: for every draw.

    Raises:
        ValueError: a number below 1, or rewards of another shape or not finite.
    """
    n_steps, count, looks = whole("n_steps", n_steps), whole("count", count), whole("looks", looks)
    flow, like = bfn.flow.trusting(), bfn._reference
    many = ({k: (count, *v) for k, v in shape.items()} if isinstance(shape, dict)
            else (count, *shape))
    condition = over(lambda part: part.expand(count, *part.shape), condition)
    theta = flow.prior(many, dtype=like.dtype, device=like.device)
    log_weights = torch.zeros(count, dtype=torch.float64)
    before = log_weights
    for i in range(n_steps + 1):
        with torch.no_grad(), evaluating(bfn):
            output = bfn.output(theta, i / n_steps, **told(condition))
        drawn = [output.sample(generator=generator) for _ in range(looks)]
        worth = torch.stack([_rewards(log_reward, x, count) for x in drawn]).logsumexp(0)
        worth = worth - math.log(looks)
        log_weights, before = log_weights + worth - before, worth
        if i == n_steps:
            break
        if effective(log_weights.log_softmax(0)) < count / 2:
            chosen = systematic(log_weights, like.device, generator)
            theta, before = cut(theta, chosen), before[chosen.cpu()]
            drawn[0] = cut(drawn[0], chosen)
            log_weights = torch.zeros_like(log_weights)
        alpha = flow.alpha(i + 1, n_steps)
        y = flow.sender(drawn[0], alpha).sample(generator=generator)
        theta = flow.update(theta, over(lambda part: part.to(like.dtype), y), alpha)
    x = output.sample(generator=generator)
    log_weights = log_weights + _rewards(log_reward, x, count) - before
    return Filling(x, log_weights.softmax(0))


def _rewards(log_reward: Reward, x: Data, count: int) -> Tensor:
    """In float64, on the CPU."""
    found = log_reward(x)
    if not isinstance(found, Tensor) or found.shape != (count,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found)
        raise ValueError(f"log_reward must return a number for each of {count} values, got {shape}")
    if not bool(found.isfinite().all()):
        raise ValueError("log_reward must be finite")
    return found.detach().cpu().double()
