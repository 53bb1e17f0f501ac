"""Exact guesses, were the text that of an n-gram: Bayes' rule over whole sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = 1e-6  # beliefs are taken as at least this, so that no product of them underflows
OFTEN = 4  # positions from one division by the sum to the next, for the same reason
TOGETHER = 32  # examples at a time: each needs 4 K^(order − 1) bytes for every position


class NGram(nn.Module):
    """p(x_d | θ) of every position d, if each class depends on the `order` − 1 before: `ngram(θ)`.

    θ: (B, L, K) beliefs, each about its own position, L ≥ order − 1. Returns (B, L, K). A belief is
    θ_d(k) ∝ p(messages about d | x_d = k), so the law of the whole sequence given all messages is
    the n-gram's times Π_d θ_d(x_d). Its marginals come from what runs of order − 1 classes pass on
    from left to right and from right to left (forward–backward, as in a hidden Markov model). No
    gradient goes through it. Until `count` has seen text, every class is as likely.

    Args:
        classes: K.
        order: 3 or more; tables hold K^order numbers, and it takes about as many products for each
            position.

    Raises:
        ValueError: an order below 3.
    """

    def __init__(self, classes: int, order: int) -> None:
        super().__init__()
        if order < 3:
            raise ValueError(f"order must be at least 3, got {order}")
        self.classes, self.order = classes, order
        for size in range(1, order + 1):
            table = torch.full((classes ** (size - 1), classes), 1 / classes)
            self.register_buffer(f"table{size}", table)  # p(last | those before)

    def count(self, windows: Tensor, weight: float = 2.0) -> None:
        """Learn the tables from the beginnings of windows, (N, ≥ order) int; each count leans on
        the shorter context as if `weight` more had been seen: (n + w p(c | shorter)) / (Σ n + w).
        """
        place = torch.zeros(len(windows), dtype=torch.long, device=windows.device)
        likely = torch.full((1, self.classes), 1 / self.classes, dtype=torch.float64)
        for size in range(1, self.order + 1):
            place = place * self.classes + windows[:, size - 1]
            n = torch.bincount(place, minlength=self.classes**size).cpu().double()
            n = n.reshape(-1, self.classes)
            likely = likely.repeat(len(n) // len(likely), 1)
            likely = (n + weight * likely) / (n.sum(1, keepdim=True) + weight)
            getattr(self, f"table{size}").copy_(likely)

    @torch.compiler.disable  # its loops are long, and would be unrolled
    @torch.no_grad()
    def forward(self, theta: Tensor) -> Tensor:
        return torch.cat([self.marginals(part) for part in theta.split(TOGETHER)])

    def marginals(self, theta: Tensor) -> Tensor:
        """The same for a few examples."""
        size, length, k = theta.shape
        first = self.order - 1
        theta = theta.clamp_min(LEAST)
        joint = theta.new_ones(size, 1)  # of the first runs, (B, K^(order − 1)) at last
        for d in range(first):
            joint = joint[..., None] * getattr(self, f"table{d + 1}") * theta[:, d, None]
            joint = joint.flatten(1)
        autocast = torch.is_autocast_enabled(theta.device.type)
        dtype = torch.get_autocast_dtype(theta.device.type) if autocast else theta.dtype
        # A run's first class is kept last, and those between, K^(order − 2), lead: so that the sum
        # over the first class is one small product of matrices for each of them.
        rest = k ** (self.order - 2)
        last = getattr(self, f"table{self.order}")
        table = last.view(k, rest, k).transpose(0, 1).to(dtype).contiguous()
        back = table.transpose(1, 2).contiguous()
        theta = theta.transpose(0, 1).to(dtype).contiguous()  # (L, B, K)
        message = joint.view(size, k, rest).permute(2, 0, 1).to(dtype).contiguous()
        messages = [normalised(message)]
        for d in range(first, length):
            message = rightwards(messages[-1], table, theta[d])
            messages.append(normalised(message) if d % OFTEN == 0 else message)
        found = []
        message = torch.ones_like(messages[-1])
        for d in range(length - 1, first - 1, -1):
            found.append(ends(messages.pop(), message))
            message = leftwards(message, back, theta[d])
            message = normalised(message) if d % OFTEN == 0 else message
        both = (messages.pop() * message).to(exact(message)).view(*[k] * (first - 1), size, k)
        both = both.movedim(-1, 0)  # the classes in their order, then B
        for d in range(first - 1, -1, -1):
            found.append(both.sum([i for i in range(first) if i != d]).T)
        found = torch.stack(found[::-1], 1)
        return found / found.sum(-1, keepdim=True)


def normalised(message: Tensor) -> Tensor:
    """(rest, B, K), with a mean of 1 for each example."""
    return message / message.mean((0, 2), dtype=exact(message)).to(message.dtype)[:, None]


def rightwards(message: Tensor, table: Tensor, theta: Tensor) -> Tensor:
    """From the runs that end at d − 1 to those that end at d, with the belief about d, (B, K)."""
    rest, size, k = message.shape
    new = torch.bmm(message, table) * theta  # (rest, B, the class at d)
    return new.view(k, rest // k, size, k).permute(1, 3, 2, 0).reshape(rest, size, k)


def leftwards(message: Tensor, back: Tensor, theta: Tensor) -> Tensor:
    """From the runs that end at d to those that end at d − 1."""
    rest, size, k = message.shape
    known = message.view(rest // k, k, size, k).permute(3, 0, 2, 1).reshape(rest, size, k) * theta
    return torch.bmm(known, back)


def ends(message: Tensor, other: Tensor) -> Tensor:
    """The law of a run's last class from the messages of both sides, (B, K)."""
    rest, size, k = message.shape
    both = (message * other).view(rest // k, k, size, k)
    return both.sum((0, 3), dtype=exact(message)).T


def exact(message: Tensor) -> torch.dtype:
    """In what its sums are taken: half the digits are too few for them."""
    return torch.promote_types(message.dtype, torch.float32)
