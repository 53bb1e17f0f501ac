"""How long the cells of notebooks run: `python -m tools.times notebooks/15_*.ipynb …`.

Runs each notebook at BFN_SCALE=smoke and at laptop, on one thread and in a folder of runs of its
own, so that everything is trained anew, and writes assets/times.json: seconds of CPU of all its
processes, which other work on the machine changes little, and seconds by the clock, which it
changes a lot. Of the notebooks themselves only one sentence is changed, that of their first cell
which says the former.
"""

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from bfn_core.data.assets import CHECKOUT
from tools.notebooks import execute, normalise
from tools.notebooks import write as write_notebook
from tools.record import renew_digests, versions, write

PATH = CHECKOUT / "times.json"
SCALES = ("smoke", "laptop")
HOURS = 2  # that a cell may take
SAID = re.compile(r"; its cells take [^;·]* \(`assets/times.json`\)|(?= · \*\*Needs\*\*)")


def sentence(row: dict[str, dict[str, int]]) -> str:
    """What a notebook says of its own row of the record."""
    smoke, laptop = (f"{row[scale]['CPU seconds'] / 60:.1f}" for scale in SCALES)
    return (f"; its cells take {smoke} minutes of one core at scale `smoke` and {laptop} at "
            "`laptop` (`assets/times.json`)")


def say(path: Path, row: dict[str, dict[str, int]]) -> None:
    """Write the sentence into the notebook's first cell, in the place of an older one."""
    book = nbformat.read(path, as_version=4)
    book.cells[0].source = SAID.sub(sentence(row), book.cells[0].source, count=1)
    write_notebook(normalise(book), path)


def children() -> float:
    """Seconds of CPU of all processes that this one started and that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def timed(path: Path, scale: str) -> dict[str, int]:
    """Run one notebook; its seconds."""
    with tempfile.TemporaryDirectory() as runs:
        os.environ |= {"BFN_RUNS_DIR": runs, "OMP_NUM_THREADS": "1"}
        cpu, clock = children(), time.monotonic()
        execute(path, scale, timeout=HOURS * 3600)
    return {"CPU seconds": round(children() - cpu), "seconds": round(time.monotonic() - clock)}


def main(paths: list[Path]) -> None:
    for path in paths:
        for scale in SCALES:
            row = timed(path, scale)
            print(path.stem, scale, row, flush=True)
            record = json.loads(PATH.read_text("utf-8")) if PATH.exists() else {}
            record |= {"command": "python -m tools.times", "device": "cpu", "threads": 1,
                       **versions()}
            record.setdefault("notebooks", {}).setdefault(path.stem, {})[scale] = row
            write(PATH, record)
        say(path, record["notebooks"][path.stem])
    renew_digests()


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
