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
        decay: of the average, per step, in [0, 1). After s steps it is at most (1 + s) / (10 + s),
            since the first weights are worth nothing: what is averaged is about the last ninth of
            all steps, or less. 0.998 is reached after 4,490 steps, 0.9995 after 17,990 and 0.9999
            after 89,990; in shorter runs a higher decay changes nothing.
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
