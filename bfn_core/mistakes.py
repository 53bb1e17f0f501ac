"""Mistakes that are easily made in a Bayesian Flow Network of discrete data, made on purpose.

Each is a flow, a model or a sampler that differs from the right one in a line or two. With the
perfect network of a known law (`ExactBFN`) everything else is right, so what a mistake does to the
bill and to the samples can be measured, and told apart from a network that has learned badly:

    found = judge(MISTAKES["the mode, sent for a draw"], law, n=10)
    found.bill_n.mean(), found.bill.mean(), found.distance

Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import CategoricalParameters
from bfn_core.distributions import Categorical
from bfn_core.exact import ExactBFN
from bfn_core.flows import DiscreteFlow
from bfn_core.model import SamplingStep
from bfn_core.samplers import Ancestral

DIARY = torch.tensor([[10.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 3.0, 6.0]])  # notebook 03's
LAW = DIARY / DIARY.sum()
BETA_1 = 3.0  # leaves a last fee that one can see


# In the loss -------------------------------------------------------------------------------------


class MeanOverClasses(DiscreteFlow):
    """(205) with a mean over the K classes where the squared norm is a sum."""

    def rate_cost(self, x, output, t):
        return super().rate_cost(x, output, t) / self.classes


class NormNotSquared(DiscreteFlow):
    """(205) with ‖e_x − ê‖ in the place of its square."""

    def rate_cost(self, x, output, t):
        t = torch.as_tensor(t)
        weight = self.classes * self.beta(1.0) * t.reshape(-1, *[1] * (x.dim() - 1))
        return (weight * super().rate_cost(x, output, t)).sqrt()


class EachClassAlone(DiscreteFlow):
    """(190) as if each of the K numbers of a message were a mixture of two normals by itself. In
    truth a message is one vector, and p_R a mixture of K vectors. Much copied code has this.
    """

    def step_cost(self, x, output, alpha, generator=None):
        sender = self.sender(x, alpha)
        y, std = sender.sample(generator=generator), sender.variance.sqrt()
        alpha = torch.as_tensor(alpha).reshape(-1, *[1] * x.dim())
        normal = torch.distributions.Normal
        of_it, of_others = normal(alpha * (self.classes - 1), std), normal(-alpha, std)
        p = output.probs
        mixed = torch.logaddexp(p.log() + of_it.log_prob(y), (-p).log1p() + of_others.log_prob(y))
        return (normal(sender.mean, std).log_prob(y) - mixed).sum(-1)


class TooLate(ExactBFN):
    """(24) with the belief of t_i: what message i is paid for is known already."""

    def loss_n(self, x, n, i=None, *, condition=None, generator=None):
        i = torch.randint(1, n + 1, (len(x),), generator=generator)
        theta = self.flow.sample_flow(x, i / n, generator)  # (i − 1)/n would be right
        cost = self.flow.step_cost(
            x, self.output(theta, i / n), self.flow.alpha(i.float(), n), generator)
        return n * cost.sum(1)


class FeeForgotten(ExactBFN):
    """(20) without L^r."""

    def reconstruction_loss(self, x, *, condition=None, generator=None):
        return torch.zeros(len(x))


# In the flow, which makes what a network is trained on -------------------------------------------


class OneNoise(DiscreteFlow):
    """(185) with the same noise for all variables of an example."""

    def sample_flow(self, x, t, generator=None):
        one = super().sample_flow(torch.zeros_like(x[:, :1]), t, generator).logits
        spread = self.classes * self.beta(torch.as_tensor(t)).reshape(-1, 1, 1)
        centred = one - spread * torch.nn.functional.one_hot(torch.zeros(1, 1).long(), self.classes)
        logits = centred + spread * torch.nn.functional.one_hot(x, self.classes)
        return CategoricalParameters(logits.log_softmax(-1))


class VarianceForDeviation(DiscreteFlow):
    """(185) with noise as large as the variance β(t) K, in the place of its root."""

    def sample_flow(self, x, t, generator=None):
        spread = self.classes * self.beta(torch.as_tensor(t)).reshape(-1, 1, 1)
        noise = torch.randn(*x.shape, self.classes, generator=generator)
        logits = spread * (torch.nn.functional.one_hot(x, self.classes) + noise)
        return CategoricalParameters(logits.log_softmax(-1))


class Accumulated(DiscreteFlow):
    """Message i of the accuracy β(t_i), all that has accumulated, in the place of what is added."""

    def alpha(self, i, n):
        return self.beta(torch.as_tensor(i) / n)


# In what is made of the network's output ---------------------------------------------------------


class SoftmaxTwice(ExactBFN):
    """(176) applied to probabilities, as if they were logits."""

    def output(self, theta, t, *, condition=None):
        return Categorical(super().output(theta, t).probs)


# In the sampler ----------------------------------------------------------------------------------


class ModeSent(Ancestral):
    """Messages about the likeliest class, where (4) says a draw from p_O."""

    def _guess(self, flow, output, generator):
        return output.mode


class NoNoise(Ancestral):
    """Messages without noise: their mean."""

    def steps(self, bfn, shape, n, *, condition, generator) -> Iterator[SamplingStep]:
        theta = bfn.flow.prior(shape)
        for i in range(n + 1):
            output = bfn.output(theta, i / n)
            yield SamplingStep(i, i / n, theta, output)
            if i < n:
                alpha = bfn.flow.alpha(i + 1, n)
                y = bfn.flow.sender(output.sample(generator=generator), alpha).mean
                theta = bfn.flow.update(theta, y, alpha)


class OneMissing(Ancestral):
    """n − 1 messages where n are due, and then the network is asked at t = 1."""

    def steps(self, bfn, shape, n, *, condition, generator) -> Iterator[SamplingStep]:
        *before, _ = super().steps(bfn, shape, n, condition=condition, generator=generator)
        yield from before


class FromTheBelief(ExactBFN):
    """At the end a draw from the belief θ, which knows each variable alone, not from p_O."""

    def sample(self, shape, n_steps, *, final="sample", condition=None, sampler=None,
               generator=None):
        *_, last = self.sampling_steps(shape, n_steps, generator=generator)
        return Categorical(last.theta.logits).sample(generator=generator)


@dataclass(frozen=True)
class Mistake:
    """One mistake: what is put in the place of the right flow, model and sampler."""

    name: str
    flow: type[DiscreteFlow] = DiscreteFlow
    model: type[ExactBFN] = ExactBFN
    sampler: type[Ancestral] = Ancestral

    @property
    def says(self) -> str:
        """What is done wrong, in a sentence; "" of what is right."""
        for part, right in ((self.flow, DiscreteFlow), (self.model, ExactBFN),
                            (self.sampler, Ancestral)):
            if part is not right:
                return " ".join((part.__doc__ or "").split())
        return ""

    def bfn(self, law: Tensor, beta_1: float = BETA_1) -> ExactBFN:
        """The perfect network of a law, (K, K), with the mistake."""
        classes = torch.arange(len(law))
        points = torch.cartesian_prod(classes, classes)
        return self.model(self.flow(len(law), beta_1), points, law.flatten())


RIGHT = Mistake("nothing: all is right")
MISTAKES = {mistake.name: mistake for mistake in (
    RIGHT,
    Mistake("a mean over classes, not a sum", flow=MeanOverClasses),
    Mistake("the norm, not its square", flow=NormNotSquared),
    Mistake("each class a mixture of its own", flow=EachClassAlone),
    Mistake("the belief of t_i, not t_(i−1)", model=TooLate),
    Mistake("the last fee forgotten", model=FeeForgotten),
    Mistake("one noise for all variables", flow=OneNoise),
    Mistake("variance for standard deviation", flow=VarianceForDeviation),
    Mistake("accumulated accuracy for each message", flow=Accumulated),
    Mistake("softmax of probabilities", model=SoftmaxTwice),
    Mistake("the mode, sent for a draw", sampler=ModeSent),
    Mistake("messages without noise", sampler=NoNoise),
    Mistake("one message missing", sampler=OneMissing),
    Mistake("the end drawn from the belief", model=FromTheBelief),
)}


@dataclass(frozen=True)
class Judgement:
    """What is seen of a mistake.

    Attributes:
        bill_n: L^n + L^r in nats, for each of some examples, (B,), and
        bill: L^∞ + L^r, for the same.
        shares: of the samples, (K, K), and
        distance: their total variation distance from the law.
        floor: what as many draws from the law itself are away, on average.
        entropy: of the law, in nats: what no right bill is below.
    """

    bill_n: Tensor
    bill: Tensor
    shares: Tensor
    distance: float
    floor: float
    entropy: float


def judge(
    mistake: Mistake, law: Tensor, n: int, *, count: int = 20_000, draws: int = 4_000,
    beta_1: float = BETA_1, seed: int = 0,
) -> Judgement:
    """Measure bill and samples of the perfect network of a law, with a mistake.

    Args:
        mistake: one of `MISTAKES`.
        law: joint probabilities of two variables of K classes, (K, K), with a sum of 1.
        n: messages.
        count: examples B, of one conversation each.
        draws: samples.
        beta_1: β(1) of the flow.
        seed: of all noise. Equal seeds give the same examples to every mistake, and the same noise
            to most, so that their bills are best compared example by example.
    """
    bfn, k = mistake.bfn(law, beta_1), len(law)
    x = bfn.data[torch.multinomial(law.flatten(), count, True, generator=_rng(seed))]
    with torch.no_grad():
        fee = bfn.reconstruction_loss(x, generator=_rng(seed + 1))
        bill_n = bfn.loss_n(x, n, generator=_rng(seed + 2)) + fee
        bill = bfn.loss(x, generator=_rng(seed + 3)) + fee
    drawn = bfn.sample((draws, 2), n, sampler=mistake.sampler(), generator=_rng(seed + 4))
    shares = torch.bincount(drawn @ torch.tensor([k, 1]), minlength=k * k).double() / draws
    p = law.double().flatten()
    floor = 0.5 * (2 * p * (1 - p) / (math.pi * draws)).sqrt().sum()
    return Judgement(
        bill_n, bill, shares.reshape(k, k), float(0.5 * (shares - p).abs().sum()), float(floor),
        float(torch.special.entr(p).sum()),
    )


def _rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)
