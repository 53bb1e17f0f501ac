"""What moves the weights: AdamW, or Muon for the matrices of a transformer's blocks beside it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError


def optimisers_for(
    network: nn.Module, settings: Settings, say: Callable[[str], None]
) -> list[Optimizer]:
    """AdamW for all weights; or, where `settings.muon` is set, Muon for the matrices in
    `network.blocks` and AdamW for the rest. Each group's "highest" is its highest learning rate.

    say: told if this torch has no Muon; AdamW then takes its place.
    Raises TrainingError if the network has no such matrices.
    """
    matrices = []
    if settings.muon is not None:
        matrices = [p for p in getattr(network, "blocks", nn.Module()).parameters() if p.ndim == 2]
        if not matrices:
            raise TrainingError(
                f"the setting muon needs a network with matrices in blocks, and {settings.network} "
                "has none: leave it out"
            )
        if not hasattr(torch.optim, "Muon"):
            say(f"torch {torch.__version__} has no Muon (2.9 was the first): AdamW takes its "
                "place, and learns more slowly.")
            matrices = []
    taken = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in taken]
    found: list[Optimizer] = [
        AdamW(rest, lr=settings.learning_rate, betas=settings.betas,
              weight_decay=settings.weight_decay)
    ]
    if matrices:
        found.append(
            torch.optim.Muon(matrices, lr=settings.muon, weight_decay=settings.weight_decay)
        )
    for optimiser in found:
        for group in optimiser.param_groups:
            group["highest"] = group["lr"]
    return found


def share(settings: Settings, step: int) -> float:
    """The learning rate of step 0, 1, … as a share of the highest: linear warm-up, then constant
    or half a cosine to 0.
    """
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * step / settings.steps)) if settings.decay else 1.0
    return rise * fall
