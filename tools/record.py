"""Keep the record of a finished run: `python tools/record.py RUN assets/NAME`.

Writes assets/NAME.json (the command, the settings, the machine, the curve and the figures with
their standard errors, as the run left them) and assets/NAME.png (its samples, drawn with averaged
weights). A figure in the README or in a notebook that comes from training has such a record.
"""

import json
import shutil
import sys
from pathlib import Path

from bfn_core.training.scales import Settings, command

POINTS = 50  # of the curve


def record(run: Path, target: Path) -> dict:
    """Gather the run's files into one JSON file beside its samples; returns what was written."""
    facts = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    steps = [line for line in metrics if "loss" in line]
    every = max(1, len(steps) // POINTS)
    written = {
        "command": command(Settings.from_dict(facts["settings"])),
        **{name: value for name, value in facts.items() if name != "command"},
        "curve": [
            {"step": line["step"], "nats": round(line["loss"], 3)}
            for line in steps[every - 1 :: every]
        ],
        "validation": [line for line in metrics if "loss" not in line],
        "evaluation": json.loads((run / "evaluation.json").read_text(encoding="utf-8")),
    }
    target.with_suffix(".json").write_text(
        json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    shutil.copyfile(run / "samples.png", target.with_suffix(".png"))
    return written


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    print(json.dumps(record(Path(sys.argv[1]), Path(sys.argv[2]))["evaluation"], indent=1))
