"""Continuous against discretised loss on CIFAR-10: `python -m tools.flows_on_cifar10 FOLDER`.

Two runs with the same network, seed, batches and number of steps, of which only the flow differs,
in FOLDER; their records go to assets/cifar10_continuous_vs_discretised.json. A run that FOLDER
holds already is gone on with, so that nothing is done twice.
"""

import json
import sys
from pathlib import Path

from bfn_core.data.assets import CHECKOUT
from bfn_core.training import settings_for, train
from bfn_core.training.scales import of_pixels
from tools.record import record

CHANGES = {
    "steps": 800, "precision": "bf16", "ema": 0.99, "validate_every": 400, "test_examples": 2000,
    "width_weight": 0.0,  # L^∞ alone, which both have
    "muon": None, "cooldown": 0.0,
    "network_arguments": {  # as the rest, of the scale `laptop` when the race was run
        "image_channels": 3, "channels": 64, "multipliers": (1, 2), "blocks": 1, "attention": (1,),
        "patch": 2, "fourier": 2, "differences": 1e-3,
    },
}


def compare(folder: Path) -> dict[str, dict]:
    """Train both, and return their records by the name of the flow."""
    records = {}
    for flow in ("discretised", "continuous"):
        settings = settings_for("cifar10", "laptop", **CHANGES)
        settings = of_pixels(settings, continuous=flow == "continuous")
        train(settings, folder / flow, resume=True, say=print)
        records[flow] = record(folder / flow, folder / flow / "record")
    return records


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    target = CHECKOUT / "cifar10_continuous_vs_discretised.json"
    text = json.dumps(compare(Path(sys.argv[1])), indent=1) + "\n"
    target.write_text(text, encoding="utf-8", newline="\n")
