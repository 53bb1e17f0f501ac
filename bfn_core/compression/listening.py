"""Listening to Bob as he takes a picture off the stack of bits, message by message."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bfn_core.compression.codec import CELLS, Codec, Moment, compress, decompress
from bfn_core.compression.packed import Packed
from bfn_core.model import BFN


@dataclass(frozen=True)
class Reading:
    """Bob takes one black and white picture off the stack.

    Attributes:
        digit: what it was, (H, W).
        packed: where it was.
        beliefs: probability of ink after i messages, (n + 1, H, W).
        guesses: the same by the network.
        heights: of the stack, in bits: before any message, and after each time that something was
            taken off or put back, (2n + 2,).
        net: bits that i messages have cost him, all that he will put back counted, (n + 1,).
    """

    digit: Tensor
    packed: Packed
    beliefs: Tensor
    guesses: Tensor
    heights: Tensor
    net: Tensor

    @property
    def n(self) -> int:
        """Messages."""
        return self.packed.n


def read(bfn: BFN, digit: Tensor, n: int, *, seed: int = 0, cells: float = CELLS) -> Reading:
    """Pack one black and white picture, and listen to how it is unpacked.

    Args:
        bfn: of binary pixels, (1, H, W).
        digit: (1, H, W), 0 and 1.
        n: messages.
        seed: of the bits that lie on the stack at the start.
        cells: that a standard deviation of a message is divided into.

    Raises:
        ValueError: see `compress`.
        ImportError: constriction is not installed.
    """
    moments: list[Moment] = []
    packed = compress(bfn, digit[None], n, seed=seed, cells=cells)
    back = decompress(bfn, packed, watch=moments.append)
    assert torch.equal(back[0], digit)
    guesses = [moment for moment in moments if moment.output is not None]
    beliefs, outputs = (torch.cat([part.probs[:, 0, ..., 1] for part in parts]) for parts in
                        ([m.theta for m in guesses], [m.output for m in guesses]))
    net = [guesses[0].bits - m.bits - owed(bfn, digit, m, n, cells) for m in guesses]
    heights = torch.tensor([moment.bits for moment in moments])
    return Reading(digit[0], packed, beliefs, outputs, heights, torch.tensor(net))


def owed(bfn: BFN, digit: Tensor, moment: Moment, n: int, cells: float) -> float:
    """Bits that Bob will put back for the sum s_i that he has in hand.

    They are −log₂ q(s_i | x), for s_i ~ N(β_i X, κ² β_i) in the cells of the codec.

    Args:
        bfn, digit, n, cells: as for `read`.
        moment: when; with a belief, if its i is above 0.
    """
    if moment.i == 0:
        return 0.0
    channel: Any = Codec(bfn, n, cells=cells).channels[""]  # of classes
    beta, i = channel.beta[moment.i], moment.i
    logits = moment.theta.logits.double().flatten(0, -2)
    s = logits @ torch.from_numpy(channel.basis.T)
    mean = torch.from_numpy(beta * channel.target(digit.flatten().numpy()))
    std = channel.noise * math.sqrt(beta)
    nats = 0.5 * ((s - mean) / std).square() + math.log(std * math.sqrt(2 * math.pi))
    return float((nats - math.log(channel.cell[i])).sum()) / math.log(2)
