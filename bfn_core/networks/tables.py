"""A network that reads a whole row of a table and guesses at every cell of it."""

import torch
from torch import Tensor, nn

from bfn_core.flows import ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.missing import without_gaps
from bfn_core.mixed import MixedFlow
from bfn_core.networks.mlp import MLP


class TableNetwork(nn.Module):
    """An MLP over all columns of a MixedFlow, called as network(inputs, t).

    inputs: a dict of means, (B, *shape), or probabilities, (B, *shape, K). Beside them it reads of
    each variable whether anything was heard of it: a belief that is still the prior's, at t > 0,
    is about a value that is missing (`MissingFlow`).

    Args:
        flow: whose columns it reads.
        shapes: of one example, by column; by default every column is one variable, (1,).
        hidden, depth, dropout: of the `MLP`.

    Raises:
        ValueError: a flow of another kind among the columns.
    """

    def __init__(
        self, flow: MixedFlow, shapes: dict[str, tuple[int, ...]] | None = None, *,
        hidden: int = 128, depth: int = 2, dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.read, self.written = {}, {}  # shapes of one example's input, and of its raw output
        self.classes, variables = set(), 0
        for name, part in flow.flows.items():
            part = without_gaps(part)
            shape = tuple((shapes or {}).get(name, (1,)))
            variables += torch.Size(shape).numel()
            if isinstance(part, DiscreteFlow):
                self.classes.add(name)
                self.read[name] = self.written[name] = (*shape, part.classes)
            elif isinstance(part, DiscretisedFlow):
                self.read[name], self.written[name] = shape, (*shape, 2)
            elif isinstance(part, ContinuousFlow):
                self.read[name] = self.written[name] = shape
            else:
                raise ValueError(f"flow must have columns of numbers or classes, got {name}={part}")
        sizes = [torch.Size(shape).numel() for shape in self.read.values()]
        self.sizes = [torch.Size(shape).numel() for shape in self.written.values()]
        self.body = MLP(sum(sizes) + variables, (sum(self.sizes),), hidden=hidden, depth=depth,
                        dropout=dropout)

    def forward(self, inputs: dict[str, Tensor], t: Tensor) -> dict[str, Tensor]:
        beginning = (t == 0).unsqueeze(1)
        features = []
        for name in self.read:
            belief = inputs[name]
            if name in self.classes:
                heard = (belief != belief[..., :1]).any(-1)
                scaled = belief * belief.shape[-1] - 1  # 0 where nothing is known
            else:
                heard, scaled = belief != 0, belief
            features += [scaled.flatten(1), (heard.flatten(1) | beginning).to(belief.dtype)]
        raw = self.body(torch.cat(features, 1), t).split(self.sizes, 1)
        return {name: part.reshape(-1, *shape)
                for part, (name, shape) in zip(raw, self.written.items(), strict=True)}
