"""How calibrated CIFAR-10's weights are: `python -m tools.calibration NAME [WEIGHTS]`.

Adds an entry of that NAME to assets/cifar10_calibration.json: for some times the share of x inside
the middle of p_O, the bits of x under p_O, how wide p_O is and how far its mean is off; and for
each n the bits of L^n + L^r. Samples go to assets/cifar10_NAME_draw.png and …_mean.png: the same
seed, messages about draws from p_O and about its mean. WEIGHTS is a run or a file; without it the
shipped weights are judged. `before` are the weights of assets/cifar10_first.json, `after` those of
cifar10_patch.json, `now` those that ship.
"""

import json
import sys
from pathlib import Path

import torch

from bfn_core import BFN, data, elbo
from bfn_core.baselines.images import encode
from bfn_core.calibration import coverage
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.files import digest
from bfn_core.samplers import Ancestral
from bfn_core.training import load
from bfn_core.training.evaluation import grid
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests, write

TARGET = CHECKOUT / "cifar10_calibration.json"
TIMES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
NS = (10, 25, 50, 100, None)
EXAMPLES, LONG, TILES, STEPS = 128, 128, 16, 100  # LONG: of those for L^n, dear at 256 bins


@torch.no_grad()
def widths(bfn: BFN, x: torch.Tensor) -> dict[str, list[float]]:
    """For each time the median of σ_x and the root of the mean square by which the mean is off."""
    found = {"median width": [], "error of the mean": []}
    for t in TIMES:
        generator = torch.Generator().manual_seed(1)
        output = bfn.output(bfn.flow.sample_flow(x, t, generator), t)
        found["median width"].append(round(output.scale.median().item(), 5))
        error = (output.mean - x).square().mean().sqrt().item()
        found["error of the mean"].append(round(error, 5))
    return found


def judged(bfn: BFN) -> dict:
    """The entry of some weights."""
    x = data.quantise(data.cifar10(stand_in=False).test[:EXAMPLES])
    seen = coverage(bfn, x, TIMES, generator=torch.Generator().manual_seed(0))
    bits = {}
    for n in NS:
        found = elbo(bfn, x[:LONG], n, batch_size=8, generator=torch.Generator().manual_seed(2))
        total = found.total.bits(3072)
        bits[str(n or "infinity")] = [round(total.mean, 4), round(total.standard_error, 4)]
    return {
        "examples": EXAMPLES,
        "t": list(TIMES), "levels": list(seen.levels),
        "shares": [[round(share.mean, 4) for share in row] for row in seen.shares],
        "standard errors": [[round(share.standard_error, 4) for share in row]
                            for row in seen.shares],
        "ranks": [[round(part, 5) for part in row] for row in seen.ranks.tolist()],
        "bits of x under p_O": [round(each.mean, 3) for each in seen.bits],
        **widths(bfn, x[:64]),
        "bits per dimension by n": bits,
    }


def main(name: str, weights: Path) -> None:
    keep_memory()
    torch.set_num_threads(1)
    bfn = load(weights)
    path = weights / "weights.safetensors" if weights.is_dir() else weights
    entry = {"command": " ".join(["python -m tools.calibration", *sys.argv[1:]]),
             "weights": digest(path)[:8], "device": "cpu", **judged(bfn)}
    for guess in ("draw", "mean"):
        drawn = bfn.sample((TILES, 3, 32, 32), STEPS, sampler=Ancestral(guess),
                           generator=torch.Generator().manual_seed(0))
        picture = encode(grid(data.to_bytes(drawn)), "PNG")
        (CHECKOUT / f"cifar10_{name}_{guess}.png").write_bytes(picture)
        steps = (drawn[..., 1:] - drawn[..., :-1]).abs().mean().item()
        entry[f"difference of neighbours, {guess}"] = round(steps, 4)
    x = data.quantise(data.cifar10(stand_in=False).test[:1000])
    entry["difference of neighbours, test images"] = round(
        (x[..., 1:] - x[..., :-1]).abs().mean().item(), 4)
    record = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
    write(TARGET, {**record, name: entry})
    print(json.dumps(entry, indent=1, ensure_ascii=False))
    renew_digests()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) == 3 else CHECKOUT / "cifar10.safetensors")
