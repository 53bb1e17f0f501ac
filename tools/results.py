"""The README's results, written from the records in assets/: `python -m tools.results`."""

import json
import math
from pathlib import Path

from bfn_core.data.assets import CHECKOUT

README = CHECKOUT.parent / "README.md"
BEGIN, END = "<!-- results: written by tools/results.py -->", "<!-- end of results -->"
TITLES = {
    "mnist": "MNIST, dynamically binarised",
    "mnist_conditional": "the same, told the label",
    "mnist_enlarge": "the same, told the means of 4 × 4 pixels",
    "cifar10": "CIFAR-10, 256 bins",
    "text8": "text8, its first 12.5 million characters",
    "text8_chain": "the same, with a table of four letters inside the network",
    "text8_guess": "the same, which reads the table's guess and its own",
}
# Graves et al. 2023, tables 3 to 5, at n = ∞.
PAPER = {
    "mnist": "77.87 nats; 24.8 M parameters",
    "cifar10": "2.68 bits per dimension (discretised, as ours; 2.66 continuous); 30.7 M parameters",
    "text8": "1.41 bits per character, on the published split; 170 M parameters",
}
UNITS = {"mnist": ("nats", 1, 2), "mnist_conditional": ("nats", 1, 2),
         "mnist_enlarge": ("nats", 1, 2), "cifar10": ("bits per dimension", 3072, 3),
         "text8": ("bits per character", 128, 3),
         "text8_chain": ("bits per character", 128, 3),
         "text8_guess": ("bits per character", 128, 3)}
# Of the other codes, the ones to beat.
BASELINES = {"cifar10": ("WebP, file by file", "PNG, file by file"),
             "text8": ("4-gram", "5-gram", "lzma, after the training part")}


def table() -> str:
    """The results as Markdown; only of the data sets whose weights are shipped."""
    lines = [
        "| test data | our shipped weights (n = ∞) | how they were trained "
        "| other codes, same data | the paper |",
        "|---|---|---|---|---|",
    ]
    for name in TITLES:
        if not (CHECKOUT / f"{name}.safetensors").exists():
            continue
        record = json.loads((CHECKOUT / f"{name}.json").read_text(encoding="utf-8"))
        lines.append(
            f"| {TITLES[name]} | {figure(name, record)} | {training(name, record)} | {codes(name)} "
            f"| {PAPER.get(name, '')} |"
        )
    return "\n".join(lines)


def figure(name: str, record: dict) -> str:
    """−ELBO with its standard error, in the unit of the data set."""
    unit, variables, digits = UNITS[name]
    row = record["evaluation"]["elbo"]["infinity"]
    factor = 1 if unit == "nats" else 1 / (variables * math.log(2))
    mean, error = row["nats"] * factor, row["standard error"] * factor
    count = record["evaluation"]["examples"]
    return f"**{mean:.{digits}f} ± {error:.{digits}f} {unit}** ({count:,} examples)"


def training(name: str, record: dict) -> str:
    """Size, steps, time, device and what went before a run, with a link to its record."""
    settings, evaluation = record["settings"], record["evaluation"]
    minutes = evaluation["training seconds"] / 60
    begun = "".join(f", {clause}" for clause in earlier(record.get("remark", "")))
    threads = record.get("threads") or 1
    on = f"{threads} threads of a" if record["device"] == "cpu" and threads > 1 else "a"
    return (
        f"{record['parameters'] / 1e6:.2f} M parameters, {settings['steps']:,} steps of "
        f"{settings['batch']}, {minutes:.0f} minutes on {on} {record['device'].upper()}{begun}; "
        f"[record](assets/{name}.json)"
    )


def earlier(remark: str) -> list[str]:
    """Of a remark's clauses those that say from which weights the run began: without them steps
    and minutes would be too few. What else the machine did stands in the record alone.
    """
    return [clause for clause in remark.split("; ") if clause.startswith("begun from")]


def codes(name: str) -> str:
    """What general compressors need."""
    if name == "mnist_enlarge":
        return told_codes()
    if name not in BASELINES:  # or they stand in the row above
        return ""
    found = json.loads((CHECKOUT / f"{name}_baselines.json").read_text(encoding="utf-8"))["codes"]
    return "; ".join(f"{code}: {found[code]['bits']:.2f}" for code in BASELINES[name])


def told_codes() -> str:
    """What other codes need of a digit of which the means are known, as tools/enlarge.py has it.

    In short words: a column is as wide as its longest, and the table must fit on paper.
    """
    found = json.loads((CHECKOUT / "enlarge.json").read_text(encoding="utf-8"))["codes"]
    return "; ".join(f"{words}: {found[code]['mean']:.2f} ± {found[code]['standard error']:.2f}"
                     for code, words in (("bicubic", "bicubic"),
                                         ("logistic regression", "logistic model")))


def written(readme: str) -> str:
    """The README with its results renewed."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def write(path: Path = README) -> None:
    """Renew the results in the README."""
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()
