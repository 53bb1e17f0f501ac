"""Binary images: what messages say for ink, what is open, and what a coin toss for a pixel costs.

Images are of 0 (paper) and 1 (ink), or of probabilities of ink; the flow is a DiscreteFlow of two
classes. Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.distributions import Categorical
from bfn_core.model import BFN, SamplingStep
from bfn_core.step_by_step import tell, watch

SURE = 0.95  # a pixel of which this probability is ink, or paper, counts as decided


@dataclass(frozen=True)
class Conversation:
    """Alice tells Bob one digit in n messages: what is said, believed and guessed, and its price.

    Attributes:
        digit: (H, W), 0 or 1.
        messages: what message i says for ink against paper, in units of its noise, (n, H, W).
        beliefs: probability of ink after i messages, by the messages alone, (n + 1, H, W).
        guesses: the same by the network, (n + 1, H, W).
        nats: price of each message, (n,); one draw of each step's part of L^n.
        last: price of the digit itself once all messages are in, a draw of L^r.
    """

    digit: Tensor
    messages: Tensor
    beliefs: Tensor
    guesses: Tensor
    nats: Tensor
    last: float

    def paid(self, i: int) -> tuple[float, float]:
        """Nats paid after i messages, and nats still to come."""
        return float(self.nats[:i].sum()), float(self.nats[i:].sum()) + self.last


def converse(
    bfn: BFN, digit: Tensor, n: int, *, generator: Generator | None = None
) -> Conversation:
    """Send one digit, (1, H, W) int64, in n messages."""
    flow, told = bfn.flow, tell(bfn, digit, n, generator=generator)
    guesses, alphas = told.output.log_probs, flow.alpha(torch.arange(1, n + 1).float(), n)
    said = digit.expand(n, *digit.shape)
    nats = flow.step_cost(said, Categorical(guesses[:n]), alphas, generator).flatten(1).sum(1)
    last = flow.final_cost(digit[None], Categorical(guesses[n:])).sum()
    noise = [math.sqrt(2 * flow.classes * flow.alpha(i, n)) for i in range(1, n + 1)]
    evidence = told.messages[:, 0, ..., 1] - told.messages[:, 0, ..., 0]
    evidence = evidence / torch.tensor(noise).reshape(-1, 1, 1)  # of the difference of two numbers
    believed, guessed = (probs[:, 0, ..., 1] for probs in (told.theta.probs, told.output.probs))
    return Conversation(digit[0], evidence, believed, guessed, nats, float(last))


def undecided(ink: Tensor) -> Tensor:
    """How many pixels are not yet `SURE` of either colour, (..., H, W) to (...)."""
    return ((ink < SURE) & (ink > 1 - SURE)).sum((-2, -1))


@dataclass(frozen=True)
class Drawing:
    """A batch of digits as it forms: ink after i of n messages, (n + 1, N, H, W), and the digits.

    Attributes:
        beliefs: p_I(ink).
        guesses: p_O(ink).
        digits: drawn from the last guess, (N, H, W) int64.
    """

    beliefs: Tensor
    guesses: Tensor
    digits: Tensor


def draw(
    bfn: BFN, count: int, n: int, *, shape=(28, 28), generator: Generator | None = None
) -> Drawing:
    """Sample `count` digits with n messages and keep every step."""
    def ink(step: SamplingStep):
        return (probs[:, 0, ..., 1] for probs in (step.theta.probs, step.output.probs))

    (beliefs, guesses), digits = watch(bfn, (count, 1, *shape), n, ink, generator=generator)
    return Drawing(beliefs, guesses, digits[:, 0])


def toss_rate(ink: Tensor, t: float, beta_1: float) -> Tensor:
    """The price of a pixel's coin toss at time t, in nats per unit of time, if the coin is known.

    By (205) for two classes, 4 β(1) t E (x − p)², where x is ink with the probability `ink`, and p
    is the best guess by Bayes' rule: the coin and the messages so far, whose log-odds for ink are
    N(±2β, 4β) (185). Over all times it sums to the entropy of the toss, as β(1) → ∞.

    Args:
        ink: probabilities, of any shape.

    Returns:
        A tensor of that shape, in double precision.
    """
    ink = ink.double()
    noise = torch.linspace(-8, 8, 321, dtype=torch.float64)
    weights = (-noise.square() / 2).softmax(0)
    beta = beta_1 * t**2
    evidence = 2 * beta + 2 * math.sqrt(beta) * noise  # for what the pixel is
    odds = torch.logit(ink).unsqueeze(-1)
    missed = torch.sigmoid(-odds - evidence), torch.sigmoid(odds - evidence)  # ink, and paper
    error_ink, error_paper = ((m.square() * weights).sum(-1) for m in missed)
    return 4 * beta_1 * t * (ink * error_ink + (1 - ink) * error_paper)
