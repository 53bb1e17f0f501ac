"""Bayesian flows: what is known of x at time t, how a message changes it, what a message costs.

A flow is the part of a Bayesian Flow Network that has nothing to learn. There is one for each kind
of data: continuous, discretised, discrete, and (in mixed.py) several of these in one example. Each
knows its accuracy schedule, the prior, Bayes' rule for one message, the sender, the flow
distribution (what many messages add up to), how to read the network's raw output, the receiver, the
cost of a message, and what a perfect network would make of a belief.

Shapes: x is (B, *shape), t is a float or (B,), an accuracy α is a float or (B,). Costs are in nats.
Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import (
    CategoricalParameters,
    Data,
    GaussianParameters,
    Parameters,
    per_example,
)
from bfn_core.checks import (
    check_floating,
    check_range,
    check_shape,
    check_time,
    kind_of,
    on_accelerator,
    whole,
    within,
)
from bfn_core.distributions import (
    Binned,
    BinnedMessage,
    Categorical,
    CategoricalMessage,
    Delta,
    DiscretisedNormal,
    Drawn,
    Gaussian,
    Output,
    bin_centres,
    bin_index,
)
from bfn_core.numerics import (
    add_at,
    draw_normal,
    float_dtype,
    in_rows,
    like_data,
    log_softmax,
    marginals,
    pick,
    single,
    softmax,
    wide,
)
from bfn_core.schedules import Form, GeometricSchedule, Moment, QuadraticSchedule, Schedule

CLOSE = 1e-6  # how far float32 may leave x from the centre of its bin, however it was computed
IMPOSSIBLE = -1e30  # stands for ln 0, which times 0 would be NaN
T_MIN = 1e-6  # below it the belief holds nothing and the network's output is not used (84)



class BayesianFlow(ABC):
    """What all flows share. `validate = False` leaves out the checks of values.

    The checks cost one reduction over x; on an accelerator that also waits for the device, so a
    training loop whose data is known to be good may switch them off there.
    """

    validate: bool = True
    schedule: Schedule

    def trusting(self) -> "BayesianFlow":
        """The same flow without checks of values: for whoever has checked them already."""
        if not self.validate:
            return self
        twin = copy.copy(self)
        twin.validate = False
        return twin

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t), the same form as t."""
        self._check_time(t)
        return self.schedule.beta(t)

    def alpha(self, i: int | Tensor, n: int) -> Any:
        """Accuracy α_i = β(i/n) − β((i−1)/n) of message i = 1…n (11)."""
        return self.schedule.alpha(i, n)

    def messages(
        self, x: Data, n: int | Iterable, *, generator: Generator | None = None
    ) -> Iterator[tuple[Data, Parameters]]:
        """Alice tells Bob about x in n messages: yields (y, θ), message i and the belief after it.

        Args:
            x: data, (B, *shape).
            n: number of messages, at least 1; or the accuracy of each, where they are not those
                of the schedule.
            generator: for the messages.

        Raises:
            ValueError: x or n is not valid, or once it is its turn, an accuracy not above 0.
        """
        self.check(x)
        if not isinstance(n, Iterable):
            count = whole("n", n)
            n = (self.alpha(i, count) for i in range(1, count + 1))
        else:
            n = (self._checked(alpha) for alpha in n)
        return self.trusting()._messages(x, n, generator)

    def _messages(self, x: Data, alphas: Iterable, generator: Generator | None) -> Iterator:
        theta = self._prior_for(x)
        for alpha in alphas:
            y = self.sender(x, alpha).sample(generator=generator)
            theta = self.update(theta, y, alpha)
            yield y, theta

    def _prior_for(self, x: Data) -> Parameters:
        return self.prior(x.shape, dtype=float_dtype(x), device=x.device)

    def _check_time(self, t: float | Tensor) -> None:
        if self.validate:
            check_time(t, wait=True)

    def _checked(self, alpha: Any) -> Any:
        """An accuracy that is one."""
        self._check_accuracy(alpha)
        return alpha

    def _check_output_time(self, t: float | Tensor) -> None:
        """As BFN.output asks, of a t that may lie on an accelerator: nothing waits for it."""
        if self.validate:
            check_time(t)

    def _check_accuracy(self, alpha: Any) -> None:
        if not self.validate or on_accelerator(alpha):
            return
        if not within(alpha, torch.finfo(torch.float32).tiny, math.inf):
            raise ValueError(f"alpha must be above 0, got {alpha}")

    def _at(self, t: float | Tensor, like: Tensor) -> Moment:
        """The schedule at t, ready to broadcast against `like`, (B, …)."""
        return self.schedule.at(per_example(t, like))

    @abstractmethod
    def check(self, x: Data) -> None:
        """Raise ValueError unless x is data of this flow: dtype, at least (B,), range, no NaN."""

    def check_points(self, points: Data) -> None:
        """As `check`, for values that x may have, which are whole where x may have gaps."""
        self.check(points)

    @abstractmethod
    def prior(self, shape, *, dtype=None, device=None) -> Parameters:
        """θ at t = 0 for x of `shape` = (B, *shape)."""

    @abstractmethod
    def update(self, theta: Parameters, y: Data, alpha: Any) -> Parameters:
        """Bayes' rule h(θ, y, α): θ after a message y of accuracy α."""

    @abstractmethod
    def sender(self, x: Data, alpha: float | Tensor) -> Drawn:
        """p_S(y | x; α): what Alice may send about x."""

    @abstractmethod
    def sample_flow(
        self, x: Data, t: float | Tensor, generator: Generator | None = None
    ) -> Parameters:
        """θ ~ p_F(θ | x; t): Bob's belief at time t, in one draw instead of many messages."""

    @abstractmethod
    def network_input(self, theta: Parameters) -> Data:
        """What the network reads of θ: means (B, *shape) or probabilities (B, *shape, K)."""

    @abstractmethod
    def output(self, raw: Data, theta: Parameters, t: float | Tensor) -> Output:
        """p_O(x | θ; t) from the network's raw output. ValueError for its shape or t."""

    @abstractmethod
    def receiver(self, output: Output, alpha: float | Tensor) -> Drawn:
        """p_R(y | θ; t, α) = E_{x' ~ p_O} p_S(y | x'; α): what Bob expects to be sent (4)."""

    @abstractmethod
    def rate_cost(self, x: Data, output: Output, t: float | Tensor) -> Tensor:
        """Nats per unit of time and variable at time t, (B, *shape): the integrand of L^∞."""

    @abstractmethod
    def step_cost(
        self, x: Data, output: Output, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """Nats per variable of one message, KL(p_S ‖ p_R), (B, *shape), or one draw of it (24)."""

    def final_cost(self, x: Data, output: Output) -> Tensor:
        """Nats per variable for x itself, once all messages are in: −ln p_O(x), (B, *shape)."""
        return -output.log_prob(x)

    @abstractmethod
    def log_likelihood(self, theta: Parameters, points: Data) -> Tensor:
        """ln p(the messages so far | x = point), up to a constant for each example.

        Args:
            theta: the belief, for B examples.
            points: values that x may have, (N, *shape).

        Returns:
            (B, N), in nats; in float64, on the CPU where the device has none.
        """

    @abstractmethod
    def mixture(self, weights: Tensor, points: Data) -> Output:
        """p_O of whoever knows how likely each of some points is: each variable's share of it.

        Args:
            weights: probabilities, (B, N).
            points: values that x may have, (N, *shape).
        """


class GaussianFlow(BayesianFlow):
    """What continuous and discretised data share: a Gaussian belief about each number.

    Args:
        sigma_1: standard deviation of the belief at t = 1, in (0, 1); with a schedule of one's own
            it may be left out.
        schedule: in place of the paper's, which is geometric.
    """

    def __init__(self, sigma_1: float | None, schedule: Schedule | None) -> None:
        if sigma_1 is None and schedule is not None:
            sigma_1 = (1 + _total(schedule)) ** -0.5
        geometric = GeometricSchedule(cast(float, sigma_1))  # refuses a sigma_1 outside (0, 1)
        self.schedule = geometric if schedule is None else schedule
        self.sigma_1 = geometric.sigma_1

    def _shown(self) -> str:
        """The arguments in a repr; no schedule where sigma_1 says it."""
        said = (type(self.schedule) is GeometricSchedule
                and math.isclose(self.schedule.sigma_1, self.sigma_1))
        return f"sigma_1={self.sigma_1}" + ("" if said else f", {self.schedule}")

    def gamma(self, t: Form) -> Form:
        """γ(t) = β/(1 + β), the share of the truth in the mean; the paper's is 1 − σ₁^(2t) (80)."""
        self._check_time(t)
        return self.schedule.gamma(t)

    def prior(self, shape, *, dtype=None, device=None) -> GaussianParameters:
        mean = torch.zeros(shape, dtype=dtype, device=device)
        return GaussianParameters(mean, torch.ones(shape[0], dtype=mean.dtype, device=device))

    def update(
        self, theta: GaussianParameters, y: Tensor, alpha: float | Tensor
    ) -> GaussianParameters:
        """ρ' = ρ + α, μ' = (ρμ + αy)/ρ' (49, 50)."""
        check_shape("y", y.shape, theta.mean.shape)
        self._check_accuracy(alpha)
        precision = theta.precision + per_example(alpha, theta.precision)
        share = per_example(alpha / precision, y)  # μ + (α/ρ')(y − μ) keeps more digits
        return GaussianParameters(theta.mean + share * (y - theta.mean), precision)

    def sender(self, x: Tensor, alpha: float | Tensor) -> Gaussian:
        """N(x, 1/α) (86)."""
        self.check(x)
        self._check_accuracy(alpha)
        return Gaussian(x, per_example(alpha, x))

    def sample_flow(
        self, x: Tensor, t: float | Tensor, generator: Generator | None = None
    ) -> GaussianParameters:
        """μ ~ N(γx, γ(1 − γ)), ρ = 1 + β(t) (75, 77)."""
        self.check(x)
        self._check_time(t)
        m = self._at(t, x)
        mean = m.gamma * x + (m.gamma * m.rest).sqrt() * draw_normal(x, generator)
        return GaussianParameters(mean, (1 + m.beta.reshape(-1)).expand(x.shape[0]))

    def network_input(self, theta: GaussianParameters) -> Tensor:
        return theta.mean

    def _denoise(self, theta: GaussianParameters, t: float | Tensor):
        """(1/γ, √((1−γ)/γ), whether t ≥ t_min), each ready to broadcast against the mean.

        Where the schedule has told nothing yet, γ = 0, t counts as below t_min.
        """
        m = self._at(t, theta.mean)
        known = (m.t >= T_MIN) & (m.gamma >= torch.finfo(m.gamma.dtype).tiny)
        # The denominator is made safe before it divides: a mask after it leaves NaN gradients.
        gamma = torch.where(known, m.gamma, 1.0)
        return 1 / gamma, (m.rest / gamma).sqrt(), known

    def rate_cost(self, x: Tensor, output: Output, t: float | Tensor) -> Tensor:
        """α(t)/2 (x − x̂)² = −ln σ₁ σ₁^(−2t) (x − x̂)², where x̂ is the mean of p_O (101)."""
        return 0.5 * self._at(t, x).rate * (x - output.mean).square()

    def log_likelihood(self, theta: GaussianParameters, points: Tensor) -> Tensor:
        """ρμ·x_j − (ρ − 1)/2 ‖x_j‖², the prior N(0, 1) taken out of the belief.

        In float64, because the exponents reach 1/σ₁².
        """
        points, mean = wide(in_rows(points)), wide(in_rows(theta.mean))
        precision = wide(theta.precision).unsqueeze(1)  # (B, 1)
        return precision * mean @ points.T - (precision - 1) / 2 * points.square().sum(1)


class ContinuousFlow(GaussianFlow):
    """Continuous data in [−1, 1] under a Gaussian belief.

    Args:
        sigma_1: standard deviation of the belief at t = 1, in (0, 1), and the accuracy to which
            `final_cost` charges for x. With a schedule of one's own it may be None: then it is
            (1 + β(1))^(−1/2).
        data_range: where x may lie and to which the estimate x̂ is clipped; None for anywhere.
        schedule: of the accuracy; None for the paper's, `GeometricSchedule(sigma_1)`.

    Raises:
        ValueError: sigma_1 outside (0, 1), or neither sigma_1 nor a schedule.
    """

    def __init__(
        self, sigma_1: float | None = None,
        *, data_range: tuple[float, float] | None = (-1.0, 1.0), schedule: Schedule | None = None,
    ) -> None:
        super().__init__(sigma_1, schedule)
        self.data_range = data_range

    def __repr__(self) -> str:
        own = "" if self.data_range == (-1.0, 1.0) else f", data_range={self.data_range}"
        return f"{type(self).__name__}({self._shown()}{own})"

    def check(self, x: Tensor) -> None:
        check_floating("x", x)
        if self.validate:
            check_range("x", x, *(self.data_range or (-math.inf, math.inf)))

    def output(self, raw: Tensor, theta: GaussianParameters, t: float | Tensor) -> Delta:
        """The estimate x̂ = μ/γ − √((1−γ)/γ) ε̂ from the predicted noise ε̂ = raw (84)."""
        check_shape("the network's output", raw.shape, theta.mean.shape)
        self._check_output_time(t)
        inverse, noise, known = self._denoise(theta, t)
        estimate = torch.where(known, theta.mean * inverse - noise * raw, 0.0)
        return Delta(estimate if self.data_range is None else estimate.clamp(*self.data_range))

    def receiver(self, output: Output, alpha: float | Tensor) -> Drawn:
        """N(x̂, 1/α) (88)."""
        self._check_accuracy(alpha)
        return Gaussian(output.mean, per_example(alpha, output.mean))

    def step_cost(
        self, x: Tensor, output: Output, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """α/2 (x − x̂)², exactly (96)."""
        return 0.5 * per_example(alpha, x) * (x - output.mean).square()

    def final_cost(self, x: Tensor, output: Output) -> Tensor:
        """−ln N(x; x̂, σ₁²): nats of a density, so it may be negative.

        A real number costs infinitely many bits; this charges for x to the accuracy σ₁ that the
        messages reached, and is meant for comparing models that share σ₁.
        """
        precision = torch.full_like(single(x), self.sigma_1**-2)
        return -Gaussian(output.mean, precision).log_prob(x)

    def mixture(self, weights: Tensor, points: Tensor) -> Delta:
        """All mass on the posterior mean, which costs least."""
        mean = wide(weights) @ wide(in_rows(points))
        return Delta(like_data(mean.reshape(len(weights), *points.shape[1:]), points))


class DiscretisedFlow(GaussianFlow):
    """Data on K bins of [−1, 1], such as 8-bit pixels: a Gaussian belief about a bin's centre.

    Belief, sender and update are those of continuous data; the output distribution is over bins.

    Args:
        bins: K ≥ 2; x takes the values of `centres`, (2k + 1)/K − 1 for k = 0…K−1, and is refused
            where it is more than 1e−6 from all of them.
        sigma_1: standard deviation of the belief at t = 1, in (0, 1); None where a schedule of
            one's own says it.
        schedule: of the accuracy; None for the paper's, `GeometricSchedule(sigma_1)`.

    Raises:
        ValueError: bins below 2, sigma_1 outside (0, 1), or neither sigma_1 nor a schedule.
    """

    def __init__(
        self, bins: int, sigma_1: float | None = None, *, schedule: Schedule | None = None
    ) -> None:
        super().__init__(sigma_1, schedule)
        self.bins = whole("bins", bins, 2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bins={self.bins}, {self._shown()})"

    @property
    def centres(self) -> Tensor:
        """The values that x can take, (K,)."""
        return bin_centres(self.bins, torch.empty(0))

    def check(self, x: Tensor) -> None:
        check_floating("x", x)
        if not self.validate or within(self._off(x), -CLOSE, CLOSE):
            return
        check_range("x", x, -1.0, 1.0)
        off = self._off(x).abs()
        value = x.flatten()[off.flatten().argmax()].item()
        raise ValueError(
            f"x must lie on the centres of {self.bins} bins, (2k + 1)/{self.bins} − 1, got "
            f"{x.dtype} with the value {value:g}, {off.max().item():.2g} from the nearest centre; "
            "flow.quantise(x) puts values of [−1, 1] on centres, data.quantise puts pixels there"
        )

    def _off(self, x: Tensor) -> Tensor:
        """How far each x is from the nearest centre: outside [−1, 1] and for NaN, far or NaN."""
        place = single(x) * (0.5 * self.bins) + 0.5 * (self.bins - 1)
        return (place - place.round().clamp_(0, self.bins - 1)).mul_(2 / self.bins)

    def index(self, x: Tensor) -> Tensor:
        """The bin 0…K−1 that holds each x, int64.

        Raises:
            ValueError: for integers and the like.
        """
        check_floating("x", x, least=0)
        return bin_index(x, self.bins)

    def quantise(self, values: Tensor) -> Tensor:
        """The centre of the bin that holds each value of [−1, 1], in single precision at least.

        Raises:
            ValueError: for what is not floating-point, or outside [−1, 1], or NaN.
        """
        check_floating("values", values, least=0)
        if self.validate:
            check_range("values", values, -1.0, 1.0)
        return bin_centres(self.bins, values)[bin_index(values, self.bins)]

    def output(
        self, raw: Tensor, theta: GaussianParameters, t: float | Tensor
    ) -> DiscretisedNormal:
        """A normal gathered into bins, from (μ_ε, ln σ_ε) stacked last (105–109)."""
        check_shape("the network's output", raw.shape, (*theta.mean.shape, 2))
        self._check_output_time(t)
        inverse, noise, known = self._denoise(theta, t)
        mean_noise, log_std_noise = raw.unbind(-1)
        mean = torch.where(known, theta.mean * inverse - noise * mean_noise, 0.0)
        # Bounds that only a diverging network meets: outside them float32 would give 0 or ∞.
        log_std = (log_std_noise + noise.log()).clamp(math.log(1e-5), math.log(1e4))
        return DiscretisedNormal(mean, torch.where(known, log_std.exp(), 1.0), self.bins)

    def receiver(self, output: DiscretisedNormal | Binned, alpha: float | Tensor) -> BinnedMessage:
        """Σ_k p_O(k) N(k_c, 1/α) for each variable (113)."""
        self._check_accuracy(alpha)
        return BinnedMessage(output.log_probs, per_example(alpha, output.log_probs))

    def step_cost(
        self, x: Tensor, output: DiscretisedNormal | Binned, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """ln p_S(y) − ln p_R(y) for one y = x + ε/√α, so right on average (116–119).

        As for discrete data, the slope in ε, which is 0 on average, is subtracted.
        """
        noise = draw_normal(x, generator)
        alpha = per_example(alpha, x)
        error = x.unsqueeze(-1) - output.centres  # (B, *shape, K)
        known = output.log_probs - 0.5 * alpha.unsqueeze(-1) * error.square()
        change = alpha.sqrt().unsqueeze(-1) * noise.unsqueeze(-1) * error
        slope = (known.softmax(-1) * change).sum(-1)
        return -(known - change).logsumexp(-1) - slope

    def mixture(self, weights: Tensor, points: Tensor) -> Binned:
        """The probabilities of bins."""
        return Binned(like_data(marginals(weights, self.index(points), self.bins), points))


class DiscreteFlow(BayesianFlow):
    """Data in K classes, such as characters or binary pixels, under a categorical belief.

    Args:
        classes: K ≥ 2; x is int64 in 0…K−1.
        beta_1: accumulated accuracy at t = 1, above 0; None where a schedule of one's own says it.
        schedule: of the accuracy; None for the paper's, `QuadraticSchedule(beta_1)`.

    Raises:
        ValueError: fewer than 2 classes, beta_1 not above 0 or not that of the schedule, or neither
            beta_1 nor a schedule.
    """

    def __init__(
        self, classes: int, beta_1: float | None = None, *, schedule: Schedule | None = None
    ) -> None:
        self.classes = whole("classes", classes, 2)
        self.schedule = QuadraticSchedule(cast(float, beta_1)) if schedule is None else schedule
        self.beta_1 = _total(self.schedule)
        if beta_1 is not None and not math.isclose(beta_1, self.beta_1, rel_tol=1e-4):
            raise ValueError(f"beta_1 must be that of the schedule, {self.beta_1:g}, got {beta_1}")

    def __repr__(self) -> str:
        own = "" if type(self.schedule) is QuadraticSchedule else f", {self.schedule}"
        return f"{type(self).__name__}(classes={self.classes}, beta_1={self.beta_1}{own})"

    def check(self, x: Tensor) -> None:
        if not (isinstance(x, Tensor) and x.dtype == torch.int64 and x.dim() >= 1):
            raise ValueError(f"x must be an int64 tensor of shape (B, *shape), got {kind_of(x)}")
        if self.validate and not within(x, 0, self.classes - 1):
            raise ValueError(
                f"x must lie in 0…{self.classes - 1}, got values from "
                f"{x.min().item()} to {x.max().item()}"
            )

    def prior(self, shape, *, dtype=None, device=None) -> CategoricalParameters:
        size = (*shape, self.classes)
        level = -math.log(self.classes)
        return CategoricalParameters(torch.full(size, level, dtype=dtype, device=device))

    def update(
        self, theta: CategoricalParameters, y: Tensor, alpha: float | Tensor
    ) -> CategoricalParameters:
        """θ' ∝ e^y θ (171); α is already in the scale of y."""
        check_shape("y", y.shape, theta.logits.shape)
        self._check_accuracy(alpha)
        return CategoricalParameters(log_softmax(theta.logits + y))

    def sender(self, x: Tensor, alpha: float | Tensor) -> CategoricalMessage:
        """N(α(K e_x − 1), αK I), a vector of K numbers per variable (157)."""
        self.check(x)
        self._check_accuracy(alpha)
        certain = torch.full(
            (*x.shape, self.classes), -math.inf, dtype=float_dtype(alpha), device=x.device
        ).scatter_(-1, x.unsqueeze(-1), 0.0)
        return CategoricalMessage(certain, per_example(alpha, certain))

    def sample_flow(
        self, x: Tensor, t: float | Tensor, generator: Generator | None = None
    ) -> CategoricalParameters:
        """θ = softmax(y), y ~ N(β(t)(K e_x − 1), β(t) K I) (185).

        The −1 is the same for every class, so softmax takes it out.
        """
        self.check(x)
        self._check_time(t)
        noise = torch.empty((*x.shape, self.classes), dtype=float_dtype(t), device=x.device)
        variance = self._at(t, noise).beta * self.classes
        y = draw_normal(noise, generator) * variance.sqrt()
        return CategoricalParameters(log_softmax(add_at(y, x, variance)))

    def network_input(self, theta: CategoricalParameters) -> Tensor:
        return theta.probs

    def output(self, raw: Tensor, theta: CategoricalParameters, t: float | Tensor) -> Categorical:
        """softmax of the network's K logits (176)."""
        check_shape("the network's output", raw.shape, theta.logits.shape)
        self._check_output_time(t)
        return Categorical(raw)

    def receiver(self, output: Categorical, alpha: float | Tensor) -> CategoricalMessage:
        """Σ_k p_O(k) N(α(K e_k − 1), αK I): one mixture over the whole vector (189, 190)."""
        self._check_accuracy(alpha)
        return CategoricalMessage(output.log_probs, per_example(alpha, output.log_probs))

    def rate_cost(self, x: Tensor, output: Categorical, t: float | Tensor) -> Tensor:
        """K α(t)/2 ‖e_x − ê‖² = K β(1) t ‖e_x − ê‖², where ê are the output probabilities (205)."""
        probs = output.probs
        error = add_at(probs.clone(), x, probs.new_full((), -1.0))
        rate = self._at(t, error[..., 0]).rate
        return 0.5 * self.classes * rate * error.square().sum(-1)

    def step_cost(
        self, x: Tensor, output: Categorical, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """y_x − logsumexp_k(ln p_k + y_k) for one y ~ p_S, so right on average (189, 190).

        It is ln p_S(y) − ln p_R(y) with the base that both share left out. Its slope in the noise
        of y, taken at the noise-free message, is subtracted: that term is 0 on average and is most
        of the variance when messages are faint.
        """
        sender = self.sender(x, alpha)
        y, log_probs = sender.sample(generator=generator), output.log_probs
        noise = y - sender.mean
        tilted = softmax(log_probs + sender.mean)
        slope = pick(noise, x) - (tilted * noise).sum(-1)
        return pick(y, x) - (log_probs + y).logsumexp(-1) - slope

    def log_likelihood(self, theta: CategoricalParameters, points: Tensor) -> Tensor:
        """Σ_d ln θ_d(x_jd)."""
        logits = wide(theta.logits.unsqueeze(1).flatten(1, -2)).clamp(min=IMPOSSIBLE)  # (B, D, K)
        points = in_rows(points).to(logits.device)
        score = logits.new_zeros(len(logits), len(points))
        for k in range(self.classes):
            score += logits[..., k] @ (points == k).double().T
        return score

    def mixture(self, weights: Tensor, points: Tensor) -> Categorical:
        """The probabilities of classes."""
        return Categorical(like_data(marginals(weights, points, self.classes), points))


def _total(schedule: Schedule) -> float:
    """β(1)."""
    return float(schedule.beta(torch.ones((), dtype=torch.float64, device="cpu")))

