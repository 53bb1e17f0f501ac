"""How quick the explorers are: what the browser tests measured, as a table at the end of the run.

The tests may run in several processes. So what is measured goes with a test's report, and whoever
gathers the reports prints it.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts" / "browser"
KEY = "explorer"  # of a report's properties
# The table's columns after the name, and how wide they are.
ROOM = {"presses": 7, "ms": 6, "ms_95": 15, "sliders": 7, "redraws": 6, "redraws_lowest": 6}


def summary(latencies: list[float], redraws: list[float]) -> dict[str, float]:
    """A row: medians and extremes; without what was not measured.

    Args:
        latencies: from a key press to the changed picture, in milliseconds.
        redraws: in a second, while each slider was dragged.
    """
    row = {}
    if times := sorted(latencies):
        late = times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]
        row |= {"presses": len(times), "ms": statistics.median(times), "ms_95": late}
    if redraws:
        row |= {"sliders": len(redraws), "redraws": statistics.median(redraws),
                "redraws_lowest": min(redraws)}
    return row


def rows(stats: dict[str, list]) -> dict[str, dict[str, float]]:
    """The rows in the reports of a run, by the explorers' names."""
    reports = [report for kind in ("passed", "failed") for report in stats.get(kind, [])]
    found = {}
    for report in reports:
        for key, value in getattr(report, "user_properties", []):
            if key == KEY:
                name, row = value
                found[name] = row
    return dict(sorted(found.items()))


def table(rows: dict[str, dict[str, float]]) -> list[str]:
    """The lines to print."""
    width = max(map(len, rows))
    lines = [
        f"{'':{width}}  key press to changed picture, ms   redraws per second, while dragged",
        f"{'explorer':{width}}  presses  median  95th percentile  sliders  median  lowest",
    ]
    for name, row in rows.items():
        words = [f"{name:{width}}"]
        for key, room in ROOM.items():
            value = row.get(key)
            words.append(f"{'' if value is None else f'{value:.0f}':>{room}}")
        lines.append("  ".join(words))
    return lines


def write(rows: dict[str, dict[str, float]]) -> None:
    """Keep them as a file."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    (ARTEFACTS / "latency.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
