"""How often the guesses of MNIST's shipped weights come true: `python -m tools.reliability`.

For some times, on test digits: the share of pixels that are ink, against the probability of ink
that the network gave them (`bfn_core.calibration.reliability`). Beside it the same for the belief
alone, the messages without what the network adds; and at t = 0 for a table of how often each pixel
is ink in the training images. The record is assets/mnist_reliability.json.
"""

import time

import torch

from bfn_core import BFN, data
from bfn_core.calibration import reliability
from bfn_core.data.assets import CHECKOUT
from bfn_core.training import shipped
from tools.record import renew_digests, weights, write

TARGET = CHECKOUT / "mnist_reliability.json"
TIMES = (0.0, 0.1, 0.2, 0.4, 0.7)
EVERY, SEED = 5, 0  # every fifth test image: the first half of them is of other writers


class Believer(torch.nn.Module):
    """Returns the belief itself, as an untrained network with a `prior_skip` does."""

    def forward(self, probs: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return probs.log()


class Table(torch.nn.Module):
    """Guesses of each pixel, (1, 28, 28), how often it is ink, whatever the messages say."""

    def __init__(self, ink: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.stack([1 - ink, ink], -1).log()

    def forward(self, probs: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.logits.expand_as(probs)


def main() -> None:
    torch.set_num_threads(1)
    images, start = data.mnist(stand_in=False), time.monotonic()
    x = data.binarise(images.test[::EVERY], generator=torch.Generator().manual_seed(SEED))
    bfn, found = shipped("mnist"), {}
    table = Table((images.train / 255).mean(0))
    judged = {"network": (bfn, TIMES), "belief": (BFN(bfn.flow, Believer()), TIMES),
              "training images at t = 0": (BFN(bfn.flow, table), (0.0,))}
    for name, (model, times) in judged.items():
        seen = reliability(model, x, times, generator=torch.Generator().manual_seed(SEED + 1))
        found[name] = seen.row()
        print(name, found[name]["gap"], flush=True)
    record = {
        "command": "python -m tools.reliability",
        "weights": weights("mnist"),
        "data": images.name, "split": "test", "examples": len(x), "seed": SEED, "device": "cpu",
        "seconds": round(time.monotonic() - start), **found,
    }
    write(TARGET, record)
    renew_digests()


if __name__ == "__main__":
    main()
