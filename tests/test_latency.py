"""The table of how quick the explorers are: it comes with the reports, whoever ran the tests."""

import json
from types import SimpleNamespace

from tests import latency


def report(*rows):
    properties = [("other", 1), *((latency.KEY, row) for row in rows)]
    return SimpleNamespace(user_properties=properties)


def test_a_row_holds_medians_and_extremes():
    row = latency.summary([30.0, 10.0, 20.0, 90.0, 40.0], [12.0, 3.0, 15.0])
    assert row == {"presses": 5, "ms": 30.0, "ms_95": 90.0, "sliders": 3, "redraws": 12.0,
                   "redraws_lowest": 3.0}
    assert latency.summary([], []) == {}


def test_the_table_is_made_of_reports_in_whatever_order_they_came(tmp_path, monkeypatch):
    # Between processes a report travels as JSON, which knows no tuples.
    late, early = ["b 1", latency.summary([5.0], [])], ("a 1", latency.summary([50.0], [9.0]))
    stats = {"passed": [report(late)], "failed": [report(early)], "": [SimpleNamespace()]}
    rows = latency.rows(stats)
    assert list(rows) == ["a 1", "b 1"] and latency.rows({}) == {}
    lines = latency.table(rows)
    assert len(lines) == 4 and len({len(line.rstrip()) for line in lines[2:]}) == 2
    assert lines[2].split() == ["a", "1", "1", "50", "50", "1", "9", "9"]
    monkeypatch.setattr(latency, "ARTEFACTS", tmp_path / "new")
    latency.write(rows)
    assert json.loads((tmp_path / "new" / "latency.json").read_text("utf-8")) == rows
