"""A table of numbers and classes, some of them missing, from a CSV file to a MixedFlow and back."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bfn_core.checks import whole
from bfn_core.data.files import DataError
from bfn_core.data.text import read_text
from bfn_core.flows import BayesianFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.missing import MissingFlow
from bfn_core.mixed import MixedFlow
from bfn_core.numerics import wide

# What stands for a missing value, in any mixture of capitals and small letters.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a")
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
MOST_CLASSES = 50  # different words in a column that can be classes
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Column:
    """What one column of a table holds, and how its values become x and come back.

    A number is put into one of `levels` equal bins between `low` and `high`, which are [−1, 1] for
    the model. Where the column's decimals allow no more values than bins, each has a bin of its
    own, and nothing is lost.
    """

    name: str
    kind: str  # "number" or "classes"
    levels: int  # bins, or classes
    low: float = 0.0  # the lower edge of the first bin
    high: float = 0.0  # the upper edge of the last one
    digits: int = 0  # decimals of a value that is written out
    classes: tuple[str, ...] = ()  # their names; the index of a name is its class

    def __str__(self) -> str:
        if self.kind == "classes":
            shown = ", ".join(self.classes[:4]) + (", …" if len(self.classes) > 4 else "")
            return f"{self.name}: {self.levels} classes ({shown})"
        first, last = self.value(0), self.value(self.levels - 1)
        return f"{self.name}: a number from {first:g} to {last:g} in {self.levels} bins"

    def value(self, level: int) -> float | str:
        """What level k stands for: the middle of its bin, or the class's name."""
        if self.kind == "classes":
            return self.classes[level]
        value = self.low + (level + 0.5) / self.levels * (self.high - self.low)
        return round(value, self.digits or None)  # a whole number where there are no decimals

    def level(self, value: Any) -> int:
        """Where a value belongs, 0…levels − 1; a number beyond the ends goes into the end's bin.

        Raises:
            ValueError: a class that is not among `classes`, or what is no finite number.
        """
        if self.kind == "classes":
            if str(value) not in self.classes:
                raise ValueError(f"{self.name!r} has no class {value!r}, only "
                                 f"{_listed(self.classes)}")
            return self.classes.index(str(value))
        place = (_number(value) - self.low) / (self.high - self.low) * self.levels
        return math.floor(min(max(place + 1e-9, 0), self.levels - 1))  # place may be infinite

    def x(self, levels: Tensor) -> Tensor:
        """Levels (N,), −1 where a value is missing, as the flow takes them, (N, 1)."""
        if self.kind == "classes":
            return levels.unsqueeze(1)
        exact = wide(levels)
        centres = (2 * exact + 1) / self.levels - 1
        x = torch.where(exact < 0, math.nan, centres).float().unsqueeze(1)
        return x.to(levels.device)

    def index(self, x: Tensor) -> Tensor:
        """The levels of x, of its shape, int64; −1 where a value is missing."""
        if self.kind == "classes":
            return x
        exact = wide(x)
        levels = ((exact + 1) / 2 * self.levels).floor().clamp(0, self.levels - 1)
        return torch.where(exact.isnan(), -1.0, levels).long().to(x.device)

    def flow(self) -> BayesianFlow:
        """A flow for it, with gaps: β(1) = 16/K for K classes, σ₁ = 1/(2K) for K bins.

        So the last messages tell neighbouring bins apart, and classes, as in the paper's models.
        """
        if self.kind == "classes":
            return MissingFlow(DiscreteFlow(self.levels, 16.0 / self.levels))
        return MissingFlow(DiscretisedFlow(self.levels, 0.5 / self.levels))


@dataclass(frozen=True)
class Table:
    """A table as a MixedFlow takes it.

    `x` holds a tensor (N, 1) for each column: bin centres in (−1, 1), NaN where a number is
    missing; or int64 classes, −1 where one is missing.
    """

    name: str
    columns: tuple[Column, ...]
    x: dict[str, Tensor]
    notice: str  # what was read, and what not

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    def __str__(self) -> str:
        return "\n".join([self.notice, *(f"  {column}" for column in self.columns)])

    def __getitem__(self, name: str) -> Column:
        """The column of that name.

        Raises:
            ValueError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(f"{self.name} has no column {name!r}, only "
                         f"{_listed([column.name for column in self.columns])}")

    def flow(self) -> MixedFlow:
        """A flow for whole rows, with a `MissingFlow` for each column (`Column.flow`)."""
        return MixedFlow(**{column.name: column.flow() for column in self.columns})

    @property
    def settings(self) -> dict[str, float]:
        """What `training.own_settings` should say for such rows, beside steps and batch.

        The widths of numbers and the sureness of classes are learnt sooner, or at all, by −ln p_O.
        """
        kinds = {column.kind for column in self.columns}
        both = {"number": ("width_weight", 1.0), "classes": ("cross_entropy", 1.0)}
        return dict(both[kind] for kind in sorted(kinds))

    def known(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which cells of x are there, bool of its shapes."""
        return {column.name: column.index(x[column.name]) >= 0 for column in self.columns}

    def row(self, /, **values: Any) -> dict[str, Tensor]:
        """One example, (1,) of each column; what is not named is missing.

        Names that are no names in Python come in a dict: row(**{"petal width": 0.2}).

        Raises:
            ValueError: no such column, no such class, or no finite number.
        """
        for name in values:
            self[name]
        levels = {c.name: c.level(values[c.name]) if c.name in values else -1 for c in self.columns}
        return {c.name: c.x(torch.tensor([levels[c.name]]))[0] for c in self.columns}

    def rows(self, x: dict[str, Tensor]) -> list[dict[str, float | str | None]]:
        """x, (N, 1) of each column, in words and numbers of the file; None where one is missing.

        Raises:
            ValueError: x has other columns.
        """
        names = [column.name for column in self.columns]
        if not isinstance(x, dict) or set(x) != set(names):
            got = list(x) if isinstance(x, dict) else type(x)
            raise ValueError(f"x must be a dict with the columns {names}, got {got}")
        levels = {c.name: c.index(x[c.name]).flatten().tolist() for c in self.columns}
        return [
            {c.name: c.value(levels[c.name][i]) if levels[c.name][i] >= 0 else None
             for c in self.columns}
            for i in range(len(levels[names[0]]))
        ]

    def write(self, path: str | Path, x: dict[str, Tensor]) -> None:
        """Write rows to a CSV file, with a comma between columns, nothing where one is missing."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [column.name for column in self.columns])
            writer.writeheader()
            writer.writerows(self.rows(x))

    def read(self, path: str | Path) -> dict[str, Tensor]:
        """Rows of another file with these columns, such as a test set, on the same bins.

        Columns that this table has not are passed over. A number beyond the range that was seen
        goes into the first or the last bin.

        Raises:
            DataError: as `read_table`, or a column is missing, or a class was never seen.
        """
        names, lines = _cells(path, None)
        for column in self.columns:
            if column.name not in names:
                raise DataError(f"{path} has no column {column.name!r}, which was learnt; it has "
                                f"{_listed(names)}")
        found = {}
        for column in self.columns:
            words = _column(lines, names.index(column.name))
            levels = [-1] * len(words)
            if column.kind == "number":
                _check_numbers(path, column.name, words)
            for i, (line, word) in enumerate(words):
                if word is None:
                    continue
                try:
                    levels[i] = column.level(word)
                except ValueError:
                    raise DataError(
                        f"{path}, line {line}: {word!r} of column {column.name!r} was never seen "
                        f"in {self.name}, which has {_listed(column.classes)}; leave the cell "
                        "empty, or learn from a table that has it"
                    ) from None
            found[column.name] = column.x(torch.tensor(levels))
        return found


def read_table(
    path: str | Path, *, classes: Sequence[str] = (), leave_out: Sequence[str] = (),
    names: Sequence[str] | None = None, bins: int = 64,
) -> Table:
    """A CSV file, whose first line names the columns, as a `Table`.

    The separator is a comma, a semicolon or a tab, whichever the first line has most of; cells may
    be quoted. A column is a number if all of its cells are, else classes. Missing are empty cells,
    and NA, NaN, N/A, null, none, ? and - in capitals or not.

    Args:
        path: of the file, in UTF-8 (with a byte order mark or without) or UTF-16.
        classes: columns of numbers that are names in truth, such as 0 and 1 for no and yes.
        leave_out: columns not to read, such as names and numbers of customers.
        names: of the columns, where the file has no line of them.
        bins: the most bins of a number, 2 to 256.

    Raises:
        DataError: in one sentence what is wrong with the file, where, and what to do.
        ValueError: bins out of range.
    """
    if (bins := whole("bins", bins, 2)) > 256:
        raise ValueError(f"bins must be between 2 and 256, got {bins}")
    for argument, words in (("classes", classes), ("leave_out", leave_out)):
        if isinstance(words, str):
            raise ValueError(f"{argument} must be a list of columns, got {words!r}; write "
                             f"[{words!r}]")
    found, lines = _cells(path, names)
    for argument, words in (("classes", classes), ("leave_out", leave_out)):
        for word in words:
            if word not in found:
                raise DataError(f"{path} has no column {word!r}, which {argument} names; it has "
                                f"{_listed(found)}")
    columns, x, gaps = [], {}, 0
    for place, name in enumerate(found):
        if name in leave_out:
            continue
        words = _column(lines, place)
        kind = "classes" if name in classes else _kind(path, name, words)
        build = _classes if kind == "classes" else _numbers
        column = build(path, name, [word for _, word in words if word is not None], bins)
        levels = [-1 if word is None else column.level(word) for _, word in words]
        gaps += levels.count(-1)
        columns.append(column)
        x[name] = column.x(torch.tensor(levels))
    if not columns:
        raise DataError(f"{path} has no column left: leave_out names all of them")
    notice = f"{Path(path).name}: {len(lines):,} rows of {len(columns)} columns"
    notice += f", {gaps:,} of {len(lines) * len(columns):,} cells missing" if gaps else ""
    notice += f"; left out: {', '.join(leave_out)}" if leave_out else ""
    return Table(Path(path).name, tuple(columns), x, notice + ".")


def _cells(
    path: str | Path, names: Sequence[str] | None
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of a file's columns, and its rows, each with the number of its line."""
    if os.path.isdir(path):  # which does not mind a folder that may not be entered
        raise DataError(f"{path} is a folder, and a CSV file is expected")
    if os.path.isfile(path) and Path(path).read_bytes()[:4] == b"PK\3\4":
        raise DataError(f"{path} is an Excel or OpenOffice workbook and no CSV file: open it there "
                        'and save it as "CSV UTF-8"')
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path} is empty: it should begin with a line of the columns' names")
    first = re.sub(r'"[^"]*"', "", next(line for line in text.split("\n") if line.strip()))
    separator = max(SEPARATORS, key=first.count)
    lines = io.StringIO(text.replace("\r", "\n"), newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(f"{path}, line {line}, cannot be read as CSV ({error}): is a quotation "
                            "mark left open?") from None
        if any(cell.strip() for cell in row):
            rows.append((line, [cell.strip() for cell in row]))
    header = list(names) if names is not None else rows.pop(0)[1]
    between = SEPARATORS[separator]
    if names is None and all(NUMBER.fullmatch(cell) for cell in header):
        raise DataError(f"{path} begins with numbers ({_listed(header, 3)}) in place of the "
                        f"columns' names: write a line of names above, or give names=[…]")
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        what = f"two columns named {twice[0]!r}" if twice[0] else "columns without a name"
        raise DataError(f"{path} has {what}: each needs a name of its own")
    if "" in header:
        raise DataError(f"{path}: column {header.index('') + 1} has no name in the first line; "
                        "give it one, which leave_out can then name")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}, has {len(row)} cells where the first line names "
                f"{len(header)} columns (with {between} between them): is a cell with {between} in "
                "it without quotation marks?"
            )
    if not rows:
        raise DataError(f"{path} has a line of names and no row under it")
    return header, rows


def _column(lines: list[tuple[int, list[str]]], place: int) -> list[tuple[int, str | None]]:
    """The cells of a column with their lines, None where one is missing."""
    cells = [(line, row[place]) for line, row in lines]
    return [(line, None if cell.lower() in MISSING else cell) for line, cell in cells]


def _kind(path, name: str, words: list[tuple[int, str | None]]) -> str:
    """Whether a column holds numbers or classes."""
    given = [word for _, word in words if word is not None]
    if not given:
        raise DataError(f"{path}: column {name!r} is empty from top to bottom; leave it out with "
                        f"leave_out=[{name!r}]")
    numbers = sum(bool(NUMBER.fullmatch(word)) for word in given)
    commas = sum(bool(DECIMAL_COMMA.fullmatch(word) or THOUSANDS.fullmatch(word)) for word in given)
    if not numbers and not commas:
        return "classes"
    _check_numbers(path, name, words)
    return "number"


def _check_numbers(path, name: str, words: list[tuple[int, str | None]]) -> None:
    """Raise DataError unless all that is there are finite numbers."""
    for line, word in words:
        if word is None:
            continue
        if NUMBER.fullmatch(word):
            if not math.isfinite(float(word)):
                raise DataError(f"{path}, line {line}: {word!r} of column {name!r} is too large to "
                                "count with; correct it, or leave the cell empty")
            continue
        thousands, where = THOUSANDS.fullmatch(word), f"{path}, line {line}: {word!r} of column"
        plain, point = word.replace(",", ""), word.replace(",", ".")
        if thousands and DECIMAL_COMMA.fullmatch(word):  # which of the two only the reader knows
            raise DataError(f"{where} {name!r} has a comma in a number: without it, if it parts "
                            f"thousands ({plain}), or with a point before decimals ({point}), all "
                            "such numbers can be read")
        if thousands:
            raise DataError(f"{where} {name!r} has commas in a number: write it without them "
                            f"({plain}), or say classes=[{name!r}] if its numbers are names")
        if DECIMAL_COMMA.fullmatch(word):
            raise DataError(f"{where} {name!r} has a comma in a number, and decimals are read "
                            f"after a point only ({point}); replace the commas, or export the "
                            "table with English number formats")
        raise DataError(f"{path}, line {line}: {word!r} stands among the numbers of column "
                        f"{name!r}; correct it, leave the cell empty if the value is missing, or "
                        f"say classes=[{name!r}] if its numbers are names")


def _classes(path, name: str, words: list[str], bins: int) -> Column:
    found = sorted(set(words))
    if len(found) < 2:
        raise DataError(f"{path}: column {name!r} holds nothing but {_listed(found) or 'gaps'}, so "
                        f"there is nothing to learn; leave it out with leave_out=[{name!r}]")
    if len(found) > MOST_CLASSES:
        raise DataError(f"{path}: column {name!r} has {len(found):,} different entries (such as "
                        f"{_listed(found, 2)}), and at most {MOST_CLASSES} can be classes; leave "
                        f"it out with leave_out=[{name!r}], or put entries together")
    return Column(name, "classes", len(found), classes=tuple(found))


def _numbers(path, name: str, words: list[str], bins: int) -> Column:
    values = [float(word) for word in words]
    low, high = min(values), max(values)
    if low == high:
        raise DataError(f"{path}: column {name!r} is {words[0]} in every row, so there is nothing "
                        f"to learn; leave it out with leave_out=[{name!r}]")
    if not math.isfinite(high - low):
        raise DataError(f"{path}: column {name!r} has numbers too large to count with")
    digits = max(_decimals(word) for word in words)
    spread = (high - low) * 10**digits if digits < 12 else math.inf
    if spread < bins and (steps := round(spread)) < bins:
        # A bin for each value that its decimals allow.
        half = 0.5 * 10.0**-digits
        return Column(name, "number", steps + 1, low - half, high + half, digits)
    width = (high - low) / bins
    return Column(name, "number", bins, low, high, max(0, 1 - math.floor(math.log10(width))))


def _decimals(word: str) -> int:
    """How many decimals a written number has; many if it has an exponent."""
    if "e" in word.lower():
        return 12
    return len(word.partition(".")[2].rstrip("0"))


def _number(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise ValueError(f"a number is expected, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"a finite number is expected, got {value!r}")
    return number


def _listed(words: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(word) for word in words[:most])
    return shown + (f" and {len(words) - most} more" if len(words) > most else "")
