"""One message: what Alice may send, what Bob expects, and its price as an area, by quadrature.

Prices are in bits. Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import math

import torch
from torch import Tensor

from bfn_core.distributions import Delta, DiscretisedNormal, Output
from bfn_core.flows import BayesianFlow, ContinuousFlow, DiscretisedFlow, GaussianFlow

NATS = math.log(2.0)  # in a bit
BINS = 5
REACH = 6.0  # standard deviations of the sender, left and right of x


def message_case(
    kind: str, x: float, guess: float, spread: float, count: int = 1
) -> tuple[GaussianFlow, Tensor, Output]:
    """A flow, x and an output distribution: of a number, or of one that is gathered into bins.

    kind "continuous" puts all mass on `guess`; "discretised" a normal of mean `guess` and standard
    deviation `spread`, gathered into `BINS` of [−1, 1].

    Returns:
        (flow, x, output), with `count` equal entries, in float64.
    """
    truth, mean = (torch.full((count,), float(v), dtype=torch.float64) for v in (x, guess))
    if kind == "continuous":
        return ContinuousFlow(0.02), truth, Delta(mean)
    output = DiscretisedNormal(mean, torch.full_like(mean, spread), BINS)
    return DiscretisedFlow(BINS, 0.02), truth, output


def message_densities(
    flow: BayesianFlow, x: Tensor, output: Output, alpha: float | Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """p_S, p_R and the integrand of the KL in bits, p_S log2(p_S/p_R) (24), at each y."""
    sender = flow.sender(x, alpha).log_prob(y)
    receiver = flow.receiver(output, alpha).log_prob(y)
    return sender.exp(), receiver.exp(), sender.exp() * (sender - receiver) / NATS


def message_prices(
    kind: str, x: float, guess: float, spread: float, alphas: Tensor, points: int = 241
) -> Tensor:
    """KL(p_S ‖ p_R) of a message of `message_case` in bits, by accuracy: the integrand's area.

    `alphas` is (A,), float64, and so is the answer. A sum over an even grid is exact here to many
    digits, because the integrand is smooth and vanishes at both ends.
    """
    flow, truth, output = message_case(kind, x, guess, spread, len(alphas))
    z = torch.linspace(-REACH, REACH, points, dtype=torch.float64).unsqueeze(1)
    y = truth + z * alphas.rsqrt()  # (points, A)
    return torch.trapezoid(message_densities(flow, truth, output, alphas, y)[2], y, dim=0)


def comb_costs(
    flow: DiscretisedFlow, output: Output, level: int, alpha: float
) -> tuple[float, float]:
    """What one message about one variable costs in bits, by two receivers.

    The first is the comb (113), by quadrature of the KL; the second the single bell around the
    mean of the same output distribution, α/2 (x − x̂)² (96).

    Args:
        flow: of K bins.
        output: p_O of one variable, batch shape (1,).
        level: k, the bin of x.
        alpha: accuracy of the message.
    """
    x = flow.centres[level : level + 1].to(output.log_probs.dtype)
    y = x + torch.linspace(-8, 8, 4001).to(x).unsqueeze(1) / math.sqrt(alpha)
    kl = torch.trapezoid(message_densities(flow, x, output, alpha, y)[2], y, dim=0)
    return float(kl), float(0.5 * alpha * (x - output.mean).square()) / NATS
