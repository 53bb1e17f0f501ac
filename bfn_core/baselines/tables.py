"""What a table costs column by column: codes for a model of whole rows to beat.

Columns are those of `data.Table`: bin centres, (N, 1), with NaN where a value is missing, and
classes, int64, with −1 there. What is missing costs nothing. Every figure is in nats per row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bfn_core.data.tables import Table
from bfn_core.likelihood import Estimate

KINDS = ("histogram", "normal")


def column_by_column(
    table: Table, train: dict[str, Tensor], test: dict[str, Tensor], kind: str = "histogram"
) -> tuple[Estimate, dict[str, float]]:
    """The cost of each row where every column is told by a law of its own.

    Args:
        table: says what the columns are.
        train: rows to learn the laws from.
        test: rows that are told.
        kind: "histogram": a bin's share of the training rows, half a row added to every bin.
            "normal": the normal law of the training rows' mean and variance, gathered into bins.
            Classes are told by their shares either way.

    Returns:
        Nats per row, with the standard error over rows; and the mean of each column.

    Raises:
        ValueError: another kind, or a column with fewer than 2 values to learn from.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    total, each = torch.zeros(len(next(iter(test.values()))), dtype=torch.float64), {}
    for column in table.columns:
        seen, told = (column.index(part[column.name])[:, 0] for part in (train, test))
        seen = seen[seen >= 0]
        if len(seen) < 2:
            raise ValueError(f"train must hold at least 2 values of {column.name!r}, got "
                             f"{len(seen)}")
        if kind == "normal" and column.kind == "number":
            middles = seen.double() + 0.5  # in widths of a bin
            law = torch.distributions.Normal(middles.mean(), middles.std().clamp(min=0.3))
            inner = law.cdf(torch.arange(1, column.levels).double())
            ends = inner.new_tensor([0.0, 1.0])
            probs = torch.cat([ends[:1], inner, ends[1:]]).diff().clamp(min=1e-9)
        else:
            counts = torch.bincount(seen, minlength=column.levels) + 0.5
            probs = (counts / counts.sum()).double()
        cost = torch.where(told >= 0, -probs.log()[told.clamp(min=0)], 0.0)
        total, each[column.name] = total + cost, float(cost.mean())
    return Estimate.of(total), each
