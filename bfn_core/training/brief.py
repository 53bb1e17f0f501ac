"""Some hundred steps of training in memory, without settings, folders or checkpoints."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Data
from bfn_core.model import BFN
from bfn_core.own_clocks import OwnClocks


def fit(
    bfn: BFN, draw: Callable[[Generator], Data], steps: int, *, rate: float = 2e-3, seed: int = 0,
    price: Callable[[Data, Generator], Tensor] | None = None,
) -> list[float]:
    """Train with one cycle of the learning rate.

    Args:
        bfn: is left in eval mode.
        draw: a batch of data, from a generator.
        steps: of AdamW.
        rate: the highest learning rate.
        seed: of the batches, times and messages.
        price: the losses (B,) of a batch; by default those in continuous time.

    Returns:
        The mean loss of each step, by default in nats per example.
    """
    rng, losses = Generator().manual_seed(seed), []
    optimiser = torch.optim.AdamW(bfn.parameters(), rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    bfn.train()
    for _ in range(steps):
        x = draw(rng)
        loss = (bfn.loss(x, generator=rng) if price is None else price(x, rng)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bfn.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    bfn.eval()
    return losses


def fit_apart(bfn: OwnClocks, x: dict[str, Tensor], steps: int, *, seed: int = 0) -> list[float]:
    """`fit` on rows x, (N, *shape) by column, with `loss_apart` and 128 of them at a time."""
    count = len(next(iter(x.values())))

    def draw(rng: Generator) -> dict[str, Tensor]:
        rows = torch.randint(count, (128,), generator=rng)
        return {name: column[rows] for name, column in x.items()}

    return fit(bfn, draw, steps, seed=seed, price=lambda b, rng: bfn.loss_apart(b, generator=rng))
