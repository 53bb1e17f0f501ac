"""Real tables with numbers and a class in each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

LABEL = "class"  # the name of the column that is a class
MARGIN = 0.1  # of the range, on both sides, for rows that were not seen


@dataclass(frozen=True)
class LabelledTable:
    """Rows of numbers and one class.

    Attributes:
        names: of the columns of numbers.
        numbers: as they were measured, (N, D) of floats.
        label: (N,) int64.
        classes: names of the classes.
    """

    names: tuple[str, ...]
    numbers: Tensor
    label: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, which: Tensor) -> LabelledTable:
        """Some of the rows."""
        return LabelledTable(self.names, self.numbers[which], self.label[which], self.classes)

    def split(self, held_out: float = 0.3, seed: int = 0) -> tuple[LabelledTable, LabelledTable]:
        """Rows to train with and rows to test with, the same share of every class held out."""
        generator, own = Generator().manual_seed(seed), []
        for k in range(len(self.classes)):
            rows = (self.label == k).nonzero()[:, 0]
            rows = rows[torch.randperm(len(rows), generator=generator)]
            own.append(rows.split([round(held_out * len(rows)),
                                   len(rows) - round(held_out * len(rows))]))
        test, train = (torch.cat(part) for part in zip(*own, strict=True))
        return self.rows(train), self.rows(test)


@dataclass(frozen=True)
class Scale:
    """Numbers as parts of [−1, 1]: the range of some rows, and a margin, becomes it.

    Attributes:
        low, high: of each column, (D,).
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, table: LabelledTable) -> Scale:
        """By the rows of a table, which should be those to train with."""
        low, high = table.numbers.amin(0), table.numbers.amax(0)
        margin = torch.where(high > low, MARGIN * (high - low), 1.0)  # of one value: any
        return cls(low - margin, high + margin)

    def scaled(self, numbers: Tensor) -> Tensor:
        """(B, D), cut off at ±1."""
        return ((numbers - self.low) / (self.high - self.low) * 2 - 1).clamp(-1, 1)

    def measured(self, scaled: Tensor) -> Tensor:
        """The way back, (B, D)."""
        return self.low + (scaled + 1) / 2 * (self.high - self.low)

    def columns(self, table: LabelledTable) -> dict[str, Tensor]:
        """Data for a MixedFlow with a part for each column, (B, 1) each; the class is `LABEL`."""
        scaled = self.scaled(table.numbers)
        parts = {name: scaled[:, j : j + 1] for j, name in enumerate(table.names)}
        return {**parts, LABEL: table.label.unsqueeze(1)}


def numbers_of(columns: dict[str, Tensor]) -> Tensor:
    """The columns of numbers side by side, (B, D)."""
    return torch.cat([part for name, part in columns.items() if name != LABEL], 1)


def _read(source, names: list[str]) -> LabelledTable:
    numbers = torch.from_numpy(source.data).float()
    classes = tuple(str(name) for name in source.target_names)
    return LabelledTable(tuple(names), numbers, torch.from_numpy(source.target).long(), classes)


def iris() -> LabelledTable:
    """150 irises of three species: length and width of sepals and petals, in centimetres.

    Source: Fisher 1936, "The use of multiple measurements in taxonomic problems"; with
    scikit-learn.
    """
    from sklearn.datasets import load_iris

    source: Any = load_iris()
    return _read(source, [name.removesuffix(" (cm)") for name in source.feature_names])


def wine() -> LabelledTable:
    """178 wines from three vineyards: 13 measurements.

    Source: Forina et al., PARVUS, in the UCI repository; with scikit-learn.
    """
    from sklearn.datasets import load_wine

    source: Any = load_wine()
    return _read(source, [name.replace("_", " ") for name in source.feature_names])


def energy_distance(a: Tensor, b: Tensor) -> float:
    """2 E|A − B| − E|A − A'| − E|B − B'| of samples (N, D) and (M, D): 0 for one and the same law.

    Source: Székely and Rizzo 2013, "Energy statistics". Pairs of one and the same row are left out,
    so that it may be a little below 0.
    """
    def within(x: Tensor) -> Tensor:
        return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))

    return float(2 * torch.cdist(a, b).mean() - within(a) - within(b))


def spread_out(columns: dict[str, Tensor], classes: int) -> Tensor:
    """Rows as points, (B, D + K), for distances: numbers, and 0 or 1 for each class."""
    label = torch.nn.functional.one_hot(columns[LABEL][:, 0], classes)
    return torch.cat([numbers_of(columns), label.to(numbers_of(columns))], 1)
