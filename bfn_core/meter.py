"""What messages cost on average, measured so finely that the average hardly trembles.

For discrete data that follow a table: the joint probabilities of two variables of K classes, a
(K, K) tensor of counts or probabilities. The truth is its perfect network; what another network
pays is measured with the same noise. All prices are in bits, while bfn_core counts in nats.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import CategoricalParameters
from bfn_core.exact import ExactBFN
from bfn_core.flows import DiscreteFlow
from bfn_core.model import BFN

NATS = math.log(2.0)  # in a bit


# The table and its networks


def probabilities(table: Tensor) -> Tensor:
    """A (K, K) table of counts or probabilities as probabilities, float64.

    Raises:
        ValueError: not square, smaller than 2 × 2, negative, or without a sum above 0.
    """
    table = torch.as_tensor(table, dtype=torch.float64)
    if table.dim() != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise ValueError(f"table must be square, at least 2 × 2, but is {tuple(table.shape)}")
    if not (bool((table >= 0).all()) and 0 < float(table.sum()) < math.inf):
        raise ValueError("table must hold numbers of at least 0, with a sum above 0")
    return table / table.sum()


def without_correlation(table: Tensor) -> Tensor:
    """The table with the same two margins in which the variables are independent, (K, K)."""
    joint = probabilities(table)
    return joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)


def perfect_network(table: Tensor, beta_1: float = 9.0) -> ExactBFN:
    """The Bayes-optimal network for data that follow a (K, K) table: x is (B, 2) int64."""
    joint = probabilities(table)
    classes = torch.arange(len(joint))
    flow = DiscreteFlow(len(joint), beta_1)
    return ExactBFN(flow, torch.cartesian_prod(classes, classes), joint.flatten())


# What messages cost


def message_bits(bfn: BFN, x: Tensor, n: int, *, draws: int = 1, generator=None) -> Tensor:
    """What each of n messages costs, along one conversation per example, in bits.

    Args:
        bfn: of discrete data.
        x: (B, D) int64.
        n: messages.
        draws: how many y the KL of each message is averaged over (190).
        generator: for the messages.

    Returns:
        (B, n + 1): the n messages, then x itself at the end (one draw of L^r).
    """
    flow, (count, size) = bfn.flow, x.shape
    repeated = x.repeat_interleave(n, 0)
    alpha = flow.alpha(torch.arange(1, n + 1).repeat(count).float(), n)
    y = flow.sender(repeated, alpha).sample(generator=generator)
    # θ' ∝ e^y θ (171): from a uniform prior, n updates are one running sum.
    sums = y.reshape(count, n, size, -1).cumsum(1)
    sums = torch.cat([torch.zeros_like(sums[:, :1]), sums], 1).log_softmax(-1)
    t = torch.arange(n).repeat(count) / n
    output = bfn.output(CategoricalParameters(sums[:, :n].flatten(0, 1)), t)
    each = [flow.step_cost(repeated, output, alpha, generator) for _ in range(draws)]
    costs = torch.stack(each).mean(0)
    final = flow.final_cost(x, bfn.output(CategoricalParameters(sums[:, n]), 1.0))
    costs = torch.cat([costs.sum(1).reshape(count, n), final.sum(1, keepdim=True)], 1)
    return costs / NATS


class Meter:
    """Prices averaged over Bob's beliefs and over a table, the same noise for every network.

    Two things keep the noise of the averages at about a hundredth of a bit. Beliefs come from a
    scrambled Sobol sequence, which fills space more evenly than chance. And each belief is costed
    for every x that might have led to it, weighted by its likelihood, not only for the x it was
    made from.

    Args:
        truth: the perfect network of the table.
        repeats: beliefs per point of the table and time, a power of 2.
        seed: of the noise.

    Attributes:
        weights: probabilities of the N points, (N,) float64.
    """

    def __init__(self, truth: ExactBFN, *, repeats: int = 64, seed: int = 0) -> None:
        self.truth, self.flow = truth, truth.flow
        self.weights = truth.log_weights.exp()
        self._even = ExactBFN(truth.flow, truth.data)  # its posterior is a ratio of likelihoods
        self.x = truth.data.repeat(repeats, 1)  # (B, 2), B = repeats · N
        size, classes = truth.data.shape[1], truth.flow.classes
        sobol = torch.quasirandom.SobolEngine(2 * size * (classes - 1), scramble=True, seed=seed)
        noise = sobol.draw(repeats * len(truth.data), dtype=torch.float64)
        noise = torch.special.ndtri(noise.clamp(1e-9, 1 - 1e-9))
        # Every point of the table has its own block of the sequence, evenly spread in itself.
        noise = noise.reshape(len(truth.data), repeats, 2, size, classes - 1).transpose(0, 1)
        # What a message adds to all K numbers alike changes no belief and no price, so noise in
        # the K − 1 directions across it will do: the columns of an orthonormal basis.
        basis = torch.linalg.qr(torch.eye(classes)[:, 1:] - 1 / classes).Q.double()
        noise = (noise @ basis.T).float()  # (repeats, N, 2, 2, K)
        self._for_belief, self._for_message = noise.flatten(0, 1).transpose(0, 1)

    def _message(self, x: Tensor, alpha: Tensor, noise: Tensor) -> Tensor:
        """y of accuracy alpha (A·B,) about x (A·B, 2), with noise (B, 2, K) for each of A."""
        sender = self.flow.sender(x, alpha)
        return sender.mean + sender.variance.sqrt() * noise.repeat(len(x) // len(noise), 1, 1)

    def _beliefs(self, t: Tensor) -> CategoricalParameters:
        """B beliefs at each t: accuracies add, so one message of accuracy β(t) will do."""
        # At t = 0 nothing has been sent: a message of next to no accuracy.
        alpha = self.flow.beta(t).clamp(min=1e-12).repeat_interleave(len(self.x))
        x = self.x.repeat(len(t), 1)
        y = self._message(x, alpha, self._for_belief)
        return self.flow.update(self.flow.prior(x.shape, dtype=y.dtype), y, alpha)

    def _average(self, theta: CategoricalParameters, cost) -> Tensor:
        """Bits for each time and point, (A, N), from `cost`: class -> nats, (A·B, 2)."""
        likely = self._even.posterior(theta)  # (A·B, N)
        costs = torch.stack([cost(k) for k in range(self.flow.classes)], -1).double()
        points = self.truth.data.T.unsqueeze(0).expand(len(costs), -1, -1)  # (A·B, 2, N)
        costs = costs.gather(-1, points).sum(1)
        possible = self.weights > 0  # for the others a network may ask any price, even ∞
        return self._over_beliefs(likely, torch.where(possible, costs, 0.0))

    def _over_beliefs(self, likely: Tensor, costs: Tensor) -> Tensor:
        """Nats for each belief and point as bits for each time and point: (A·B, N) to (A, N)."""
        paid = (likely * costs).unflatten(0, (-1, len(self.x))).sum(1)
        return paid / likely.unflatten(0, (-1, len(self.x))).sum(1) / NATS

    def mean(self, values: Tensor) -> Tensor:
        """Over the table, (…, N) to (…); what cannot happen, and has no price, counts as 0."""
        return values.nan_to_num() @ self.weights

    def rate(self, bfn: BFN, t: Tensor) -> Tensor:
        """Bits per unit of time for each t and point, (T, N): the integrand of L^∞ (205)."""
        theta, times = self._beliefs(t), t.repeat_interleave(len(self.x))
        output = bfn.output(theta, times)
        each = torch.zeros(output.log_probs.shape[:-1], dtype=torch.int64)
        return self._average(theta, lambda k: self.flow.rate_cost(each + k, output, times))

    def steps(self, bfn: BFN, n: int, knots: int = 13) -> Tensor:
        """Bits for each of n messages and each point, (n, N): KL(p_S ‖ p_R) (24).

        Where n exceeds `knots`, the prices are costed at so many Chebyshev points i of [1, n], and
        those of the n messages lie on the polynomial through them.
        """
        i = torch.arange(1, n + 1).float()
        if n > knots:
            i = 1 + (n - 1) * (1 - torch.linspace(0, math.pi, knots).cos()) / 2
        theta = self._beliefs((i - 1) / n)
        output = bfn.output(theta, ((i - 1) / n).repeat_interleave(len(self.x)))
        alpha = self.flow.alpha(i, n).repeat_interleave(len(self.x))
        receiver = self.flow.receiver(output, alpha)
        each = torch.zeros(output.log_probs.shape[:-1], dtype=torch.int64)
        noise = self._for_message.repeat(len(i), 1, 1)
        louder = noise.square().sum(-1) / (self.flow.classes - 1) - 1  # 0 on average

        def cost(k):
            # The turns of one noise cancel its slope; what its size adds, to second order, is 0 on
            # average and is taken out.
            sender = self.flow.sender(each + k, alpha)
            tilted = (output.log_probs + sender.mean).softmax(-1)
            curve = 0.5 * sender.variance[..., 0] * (1 - tilted.square().sum(-1))
            total = curve * louder
            for turn in range(self.flow.classes):
                y = self._message(each + k, alpha, noise.roll(turn, -1))
                total = total + (sender.log_prob(y) - receiver.log_prob(y)) / self.flow.classes
            return total

        costs = self._average(theta, cost)
        return costs if len(i) == n else _through(i, costs, n)

    def final(self, bfn: BFN) -> Tensor:
        """L^r in bits for each point, (N,)."""
        return self.naming(bfn, torch.ones(1))[0]

    def naming(self, bfn: BFN, t: Tensor) -> Tensor:
        """Bits for x itself at each t, −log2 p_O(x), its variables one by one: (T, N)."""
        theta = self._beliefs(t)
        output = bfn.output(theta, t.repeat_interleave(len(self.x)))
        each = torch.zeros(output.log_probs.shape[:-1], dtype=torch.int64)
        return self._average(theta, lambda k: self.flow.final_cost(each + k, output))

    def naming_together(self, t: Tensor) -> Tensor:
        """The same by the truth's joint posterior of all variables, (T, N): on average H(X | θ)."""
        theta = self._beliefs(t)
        costs = -self.truth.posterior(theta).log()
        return self._over_beliefs(self._even.posterior(theta), costs.where(self.weights > 0, 0.0))


def _through(i: Tensor, values: Tensor, n: int) -> Tensor:
    """The polynomial through values (M, N) at Chebyshev points i (M,), read at 1…n: (n, N)."""
    weights = torch.ones(len(i), dtype=torch.float64)
    weights[1::2] = -1
    weights[[0, -1]] *= 0.5  # the barycentric form of Lagrange's polynomial
    gap = torch.arange(1, n + 1, dtype=torch.float64).unsqueeze(1) - i.double()
    gap = torch.where(gap.abs() < 1e-6, 1e-6, gap)  # at a point itself, its value wins
    share = weights / gap
    return share @ values / share.sum(1, keepdim=True)


TIMES = torch.linspace(0, 1, 25)
_SIMPSON = torch.tensor([1.0, *[4.0, 2.0] * 11, 4.0, 1.0], dtype=torch.float64) / 72


def _spline(knots: Tensor, at: Tensor) -> Tensor:
    """The matrix (A, N) that reads a natural spline through values at even `knots` at `at`."""
    size, step = len(knots), float(knots[1] - knots[0])
    one = torch.eye(size, dtype=torch.float64)
    beside = torch.diag(torch.ones(size - 1, dtype=torch.float64), 1)
    beside = beside + beside.T
    inner = torch.ones(size, 1, dtype=torch.float64)
    inner[[0, -1]] = 0.0  # where the curvature is 0
    curvature = torch.linalg.solve(
        inner * (4 * one + beside) + (1 - inner) * one, inner * (beside - 2 * one) * 6 / step**2
    )
    place = (at - knots[0]).double() / step
    k = place.long().clamp(max=size - 2)
    right = (place - k).unsqueeze(1)
    left = 1 - right
    bend = (left**3 - left) * curvature[k] + (right**3 - right) * curvature[k + 1]
    return left * one[k] + right * one[k + 1] + step**2 / 6 * bend


FINE = torch.linspace(0, 1, 193)
_TO_FINE = _spline(TIMES, FINE)


def smooth(rate: Tensor) -> tuple[Tensor, Tensor]:
    """A curve without corners through a rate known at TIMES: (193,) times, (193,) values."""
    return FINE, _TO_FINE @ rate.double()


def integral(rate: Tensor) -> float:
    """The area under a curve over [0, 1] known at TIMES, by Simpson's rule."""
    return float(rate @ _SIMPSON)


class Surprises:
    """What the points of a table cost one variable after the other, and in n messages, in bits.

    A point is an index of the table's rows, end to end; None stands for the average over the table.

    Args:
        bfn: the perfect network of the table.

    Attributes:
        weights: probabilities of the N points, (N,).
        possible: the points that can happen.
    """

    def __init__(self, bfn: ExactBFN) -> None:
        self.bfn, size = bfn, bfn.flow.classes
        self.weights = bfn.log_weights.exp()
        joint = self.weights.reshape(size, size)
        self.first = -joint.sum(1).log2().repeat_interleave(size)
        self.second = -self.weights.log2() - self.first
        self.possible = [j for j in range(size * size) if self.weights[j] > 0]
        self.meter = Meter(bfn, seed=4)
        self.final = self.meter.final(bfn).unsqueeze(0)
        self._steps = functools.cache(lambda n: self.meter.steps(bfn, n, knots=9))

    def _of(self, pair: int | None, values: Tensor) -> Tensor:
        """One point's entry, or the mean over the table where pair is None: (…, N) -> (…)."""
        if pair is not None:
            return values[..., pair]
        return values[..., self.possible] @ self.weights[self.possible]

    def surprise(self, pair: int | None) -> tuple[float, ...]:
        """Of the first variable, and of the second given the first."""
        return tuple(float(self._of(pair, part)) for part in (self.first, self.second))

    def mean(self, pair: int | None, n: int) -> Tensor:
        """Average price of each message and of the end, (n + 1,)."""
        return self._of(pair, torch.cat([self._steps(n), self.final]))

    def paths(self, pair: int | None, n: int, count: int, seed: int) -> Tensor:
        """Single conversations, (count, n + 1)."""
        generator = Generator().manual_seed(seed)
        if pair is None:
            points = torch.multinomial(self.weights, count, True, generator=generator)
        else:
            points = torch.full((count,), pair)
        return message_bits(self.bfn, self.bfn.data[points], n, draws=12, generator=generator)


class StepCosts:
    """The prices of n messages, for a perfect network and for the one without correlation.

    Args:
        table: (K, K), joint probabilities or counts.
        beta_1: accuracy of all messages together.

    Attributes:
        networks: "perfect" and "alone".
        joint, apart: bits in the table, and in its two variables one by one.
        rates: bits per unit of time at TIMES, by the name of the network.
    """

    def __init__(self, table: Tensor, beta_1: float) -> None:
        truth = perfect_network(table, beta_1)
        self.networks = {"perfect": truth,
                         "alone": perfect_network(without_correlation(table), beta_1)}
        self.meter = Meter(truth)
        self.joint = truth.entropy() / NATS
        margins = without_correlation(table)
        self.apart = float(-torch.special.xlogy(margins, margins).sum()) / NATS
        self.rates = {name: self.meter.mean(self.meter.rate(bfn, TIMES))
                      for name, bfn in self.networks.items()}
        self.prices = functools.cache(self._prices)

    def _prices(self, name: str, n: int) -> Tensor:
        """Bits for each of n messages, (n,)."""
        return self.meter.mean(self.meter.steps(self.networks[name], n))


# Messages that end too early

BETAS = torch.logspace(-2, 1, 61, dtype=torch.float64)  # a twentieth of a decade apart


def finite_bills(table: Tensor, betas: Tensor = BETAS) -> tuple[Tensor, Tensor, Tensor]:
    """The perfect network's bill in continuous time, were β(1) each of `betas`.

    The parts are measured, each by itself, and none is got from the entropy H(X):

        messages   L^∞, which is H(X) − H(X | θ₁)
        together   H(X | θ₁), what it would take to name x by the joint posterior of its variables
        excess     Σ_d H(X_d | θ₁) − H(X | θ₁): what L^r, which names them one by one, takes more

    Args:
      table: (K, K), joint probabilities or counts.
      betas: rising and close to each other, from near 0 on, (A,).

    Returns:
        The three in bits, (A,) each; their sum is L^∞ + L^r.
    """
    truth = perfect_network(table, float(betas[-1]))
    meter = Meter(truth)
    t = (betas / betas[-1]).sqrt().float()  # (182)

    # In bits per unit of β, which is the same for every β(1); from 0 to the first β it is constant.
    rate = meter.mean(meter.rate(truth, t)) / (2 * betas[-1] * t)
    messages = torch.cumulative_trapezoid(betas * rate, betas.log()) + betas[0] * rate[0]
    messages = torch.cat([betas[:1] * rate[:1], messages])
    together = meter.mean(meter.naming_together(t))
    return messages, together, meter.mean(meter.naming(truth, t)) - together
