"""The exponential moving average of the weights, which is what is kept of a run."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """torch's averaged model, with an update that never waits for the device.

    torch's own moves its counter to the device and reads it there at every step.

    Args:
        model: what is averaged; its weights are copied.
        decay: of the average, per step, in [0, 1). It is lower in the first steps, since the first
            weights are worth nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)  # n_averaged stays on the CPU
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the model's weights into the average; the first time, copy them."""
        count = int(self.n_averaged)
        kept = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        averaged: list = [*self.module.parameters()]
        current: list = [*model.parameters()]
        torch._foreach_lerp_(averaged, current, 1 - kept)  # pyright: ignore[reportPrivateImportUsage]
        for mine, other in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(other)
        self.n_averaged += 1
