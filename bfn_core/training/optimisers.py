"""What moves the weights: AdamW, or Muon for the matrices of a transformer's blocks beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError


class Optimisers:
    """All optimisers of a run, as one; with fp16, the scaling of its gradients too.

    Args:
        network: whose weights they move, where they will stay.
        settings: of the run.
        say: told what cannot be had.
        blocks_of: the module in whose `blocks` Muon's matrices are; None: the network.
        scaler: multiplies an fp16 loss, so that small gradients do not vanish; None without fp16.
    """

    def __init__(self, network: nn.Module, settings: Settings, say: Callable[[str], None], *,
                 blocks_of: nn.Module | None = None,
                 scaler: torch.amp.GradScaler | None = None) -> None:
        self.all = optimisers_for(network, settings, say, blocks_of)
        self.scaler = scaler

    def groups(self) -> list[dict[str, Any]]:
        """The groups of weights, each with a learning rate of its own; AdamW's is the first."""
        return [group for optimiser in self.all for group in optimiser.param_groups]

    def set_rates(self, share: float) -> None:
        """Set the learning rates to a share of the highest."""
        for group in self.groups():
            group["lr"] = group["highest"] * share

    @property
    def scale(self) -> float:
        """What the loss is multiplied by. Reading it waits for the device."""
        return self.scaler.get_scale() if self.scaler else 1.0

    def unscale(self) -> None:
        """Divide the gradients by what the loss was multiplied by: to be done before clipping."""
        if self.scaler:
            for optimiser in self.all:
                self.scaler.unscale_(optimiser)

    def step(self) -> None:
        """Move the weights and forget the gradients; with fp16 only where these are finite."""
        for optimiser in self.all:
            self.scaler.step(optimiser) if self.scaler else optimiser.step()
            optimiser.zero_grad()
        if self.scaler:
            self.scaler.update()

    def states(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [optimiser.state_dict() for optimiser in self.all]

    def load(self, states: list[dict[str, Any]], scaler: dict[str, Any] | None) -> None:
        """From a checkpoint.

        Raises:
            ValueError, KeyError: it does not fit.
        """
        for optimiser, state in zip(self.all, states, strict=True):
            optimiser.load_state_dict(state)
        if self.scaler and scaler:
            self.scaler.load_state_dict(scaler)


def optimisers_for(
    network: nn.Module,
    settings: Settings,
    say: Callable[[str], None],
    blocks_of: nn.Module | None = None,
) -> list[Optimizer]:
    """AdamW for all weights; or, where `settings.muon` is set, Muon for the matrices in
    `network.blocks` and AdamW for the rest. Each group's "highest" is its highest learning rate.

    Args:
        blocks_of: the module that has the blocks; None: the network.
        say: told if this torch has no Muon; AdamW then takes its place.

    Raises:
        TrainingError: the network has no such matrices.
    """
    matrices = []
    if settings.muon is not None:
        blocks = getattr(blocks_of or network, "blocks", nn.Module())
        matrices = [p for p in blocks.parameters() if p.ndim == 2]
        if not matrices:
            raise TrainingError(
                "the setting muon needs a network with matrices in blocks, and "
                f"{type(blocks_of or network).__name__} has none: leave it out"
            )
        if not hasattr(torch.optim, "Muon"):
            say(f"torch {torch.__version__} has no Muon (2.9 was the first): AdamW takes its "
                "place, and learns more slowly.")
            matrices = []
    taken = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in taken]
    # Fused: one kernel for all weights, which alone need not wait to see whether fp16 overflowed.
    fused = True if rest[0].is_cuda else None
    found: list[Optimizer] = [
        AdamW(rest, lr=settings.learning_rate, betas=settings.betas,
              weight_decay=settings.weight_decay, fused=fused)
    ]
    if matrices:
        rate = cast(float, settings.muon)
        found.append(torch.optim.Muon(matrices, lr=rate, weight_decay=settings.weight_decay))
    for optimiser in found:
        for group in optimiser.param_groups:
            group["highest"] = group["lr"]
    return found


def share(settings: Settings, step: int) -> float:
    """The learning rate of step 0, 1, … as a share of the highest: linear warm-up, then constant
    or half a cosine to 0, or constant until it falls along a line in the last `cooldown` of all.

    With a cooldown nothing before it depends on the number of steps. So a copy of a run's folder,
    resumed with fewer `--steps`, gives good weights while the run itself goes on.
    """
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    if settings.cooldown:
        return rise * min(1.0, (settings.steps - step) / (settings.cooldown * settings.steps))
    fall = 0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0
    return rise * fall
