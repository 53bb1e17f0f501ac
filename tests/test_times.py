"""How long notebooks say that they take is what was measured."""

import shutil
from pathlib import Path

import nbformat
import pytest

from bfn_core import data
from tests.book import NOTEBOOKS
from tools import times

MEASURED = data.record("times")["notebooks"]


@pytest.mark.parametrize("name", MEASURED)
def test_a_notebook_says_what_was_measured(name):
    path = next(path for path in NOTEBOOKS if path.stem == name)
    row = MEASURED[name]
    assert all(row[scale]["CPU seconds"] > 0 for scale in times.SCALES)
    assert times.sentence(row) in nbformat.read(path, as_version=4).cells[0].source


def test_the_sentence_is_put_once_and_replaced(tmp_path):
    path = shutil.copy(next(p for p in NOTEBOOKS if p.stem.startswith("03")), tmp_path)
    rows = [{scale: {"CPU seconds": seconds} for scale in times.SCALES} for seconds in (60, 90)]
    before = nbformat.read(path, as_version=4).cells[0].source
    for row, minutes in zip(rows, ("1.0", "1.5"), strict=True):
        times.say(Path(path), row)
        after = nbformat.read(path, as_version=4).cells[0].source
        said = times.sentence(row)
        assert f"take {minutes} minutes of one core at scale `smoke`" in said
        assert after.count("its cells take") == 1 and after.replace(said, "") == before


def test_a_notebook_is_timed_where_nothing_was_trained_before(tmp_path, monkeypatch):
    monkeypatch.setenv("BFN_RUNS_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    cell = nbformat.v4.new_code_cell(
        "import os, time\n"
        "assert os.environ['BFN_SCALE'] == 'smoke' and os.environ['OMP_NUM_THREADS'] == '1'\n"
        f"assert os.environ['BFN_RUNS_DIR'] != {str(tmp_path / 'mine')!r}\n"
        "end = time.process_time() + 2\n"
        "while time.process_time() < end:\n    pass")
    path = tmp_path / "busy.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    row = times.timed(path, "smoke")
    assert 2 <= row["CPU seconds"] <= 15 and row["seconds"] >= 2
