"""What moves the weights: AdamW, or beside it Muon, for the matrices of a transformer's blocks or
the kernels of a U-Net's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError

ALL = ["AdamW", "Muon"]  # in the order in which a checkpoint has them


class Optimisers:
    """All optimisers of a run, as one; with fp16, the scaling of its gradients too.

    Args:
        network: whose weights they move, where they will stay.
        settings: of the run.
        say: told what cannot be had.
        blocks_of: the module in which Muon's weights are, see `for_muon`; None: the network.
        scaler: multiplies an fp16 loss, so that small gradients do not vanish; None without fp16.
    """

    def __init__(self, network: nn.Module, settings: Settings, say: Callable[[str], None], *,
                 blocks_of: nn.Module | None = None,
                 scaler: torch.amp.GradScaler | None = None) -> None:
        self.matrices = Matrices(for_muon(blocks_of or network, settings, say))
        self.all = optimisers_for(network, settings, self.matrices)
        self.scaler = scaler
        # AdamW alone, fused, need not wait to see whether gradients in fp16 overflowed.
        self.as_one = self.all[0] if len(self.all) == 1 else cast(Optimizer, Together(self.all))

    def names(self) -> list[str]:
        """The optimisers, of `ALL`: they need not be those that the settings name."""
        return ALL[: len(self.all)]

    def groups(self) -> list[dict[str, Any]]:
        """The groups of weights, each with a learning rate of its own; AdamW's is the first."""
        return self.as_one.param_groups

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
            self.matrices.take_gradients()
            self.scaler.unscale_(self.as_one)

    def step(self) -> None:
        """Move the weights and forget the gradients; with fp16 only where these are finite."""
        self.matrices.take_gradients()
        self.scaler.step(self.as_one) if self.scaler else self.as_one.step()
        for optimiser in self.all:
            optimiser.zero_grad()
        self.matrices.forget_gradients()
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


class Together:
    """Optimisers as the one that a GradScaler takes: it looks for gradients that are not finite in
    all their weights, and then moves all of these or none.
    """

    def __init__(self, optimisers: list[Optimizer]) -> None:
        self.optimisers = optimisers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]

    def step(self) -> None:
        for optimiser in self.optimisers:
            optimiser.step()


def for_muon(
    network: nn.Module, settings: Settings, say: Callable[[str], None]
) -> list[nn.Parameter]:
    """The weights that Muon moves: none without `settings.muon`; else the matrices in
    `network.blocks`, or where there are no blocks the kernels, (out, in, height, width), of all
    convolutions in `network.down` and `network.up` that mix channels.

    Args:
        say: told if this torch has no Muon; AdamW then takes its place.

    Raises:
        TrainingError: the network has no such weights.
    """
    if settings.muon is None:
        return []
    if blocks := getattr(network, "blocks", None):
        found = [p for p in blocks.parameters() if p.ndim == 2]
    else:
        ways = [getattr(network, name, nn.Module()) for name in ("down", "up")]
        # A kernel of one channel for itself, (C, 1, k, k), is no map from channels to channels.
        found = [p for way in ways for p in way.parameters() if p.ndim == 4 and p.shape[1] > 1]
    if not found:
        raise TrainingError(
            "the setting muon needs a network with matrices in blocks, or with convolutions in "
            f"down and up, and {type(network).__name__} has none: leave it out"
        )
    if not hasattr(torch.optim, "Muon"):
        say(f"torch {torch.__version__} has no Muon (2.9 was the first): AdamW takes its "
            "place, and learns more slowly.")
        return []
    return found


class Matrices:
    """Weights as the matrices that `torch.optim.Muon` takes: those that are none, kernels of
    convolutions, are seen as (out, in · height · width) in the same memory.

    Args:
        weights: of 2 or 4 dimensions, where they will stay.
    """

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights
        self.all = [w if w.ndim == 2 else as_matrix(w.detach()).requires_grad_() for w in weights]
        self.seen = [(w, m) for w, m in zip(weights, self.all, strict=True) if w is not m]

    def take_gradients(self) -> None:
        """Let the matrices have the gradients of the kernels, in the same memory again.

        Raises:
            RuntimeError: a kernel has moved, so that to move its matrix would not move it.
        """
        for kernel, matrix in self.seen:
            if kernel.data_ptr() != matrix.data_ptr():
                raise RuntimeError("the weights were moved after their optimiser was made")
            matrix.grad = None if kernel.grad is None else as_matrix(kernel.grad)

    def forget_gradients(self) -> None:
        """Those of the kernels; an optimiser forgets only what its own have."""
        for kernel, _ in self.seen:
            kernel.grad = None


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (out, in, height, width) as (out, the rest), without a copy; with `channels_last`
    the order of the rest is another one, which is nothing to Muon.
    """
    plain = kernel.is_contiguous()
    return (kernel if plain else kernel.permute(0, 2, 3, 1)).view(len(kernel), -1)


def optimisers_for(
    network: nn.Module, settings: Settings, matrices: Matrices
) -> list[Optimizer]:
    """Muon for `matrices`, if there are any, and AdamW, the first, for all other weights. Each
    group's "highest" is its highest learning rate.
    """
    taken = {id(p) for p in matrices.weights}
    rest = [p for p in network.parameters() if id(p) not in taken]
    # Fused: one kernel for all weights, which alone need not wait to see whether fp16 overflowed.
    fused = True if any(p.is_cuda for p in rest) else None
    found: list[Optimizer] = [
        AdamW([{"params": rest}], lr=settings.learning_rate, betas=settings.betas,  # or none
              weight_decay=settings.weight_decay, fused=fused)
    ]
    if matrices.all:
        rate = cast(float, settings.muon)
        found.append(torch.optim.Muon(matrices.all, lr=rate, weight_decay=settings.weight_decay))
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


def highest_share(settings: Settings) -> float:
    """The largest `share` of all steps: 1, unless the warm-up takes up much of the run."""
    # From the end of the warm-up on it only falls.
    return max(share(settings, step) for step in range(min(settings.steps, settings.warmup + 1)))
