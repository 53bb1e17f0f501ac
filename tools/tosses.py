"""What MNIST's coin tosses alone cost, over time: `python -m tools.tosses` writes the record.

Dynamic binarisation draws every pixel anew, ink with the probability that its grey level says. Who
has the grey image before him still pays the entropy of these tosses, and at every time t at least
what `bfn_core.binary_images.toss_rate` says. The record, assets/mnist_tosses.json, has this floor
in nats per test image over the same times as the bill in assets/mnist.json, and what is left to
the last fee. Together they are the entropy: Bayes' rule wastes nothing.
"""

import json
import math

import torch
from torch import Tensor

from bfn_core import data
from bfn_core.binary_images import toss_rate
from bfn_core.data.assets import CHECKOUT

TARGET = CHECKOUT / "mnist_tosses.json"
FINE = 10  # times in each part, to average
BETA_1 = 9.0


def toss_fee(ink: Tensor, beta_1: float) -> Tensor:
    """L^r of a pixel's coin toss, in nats, if the coin is known: −ln p of Bayes' guess at t = 1.

    Args:
        ink: probabilities, (N,).

    Returns: (N,), in double precision.
    """
    ink = ink.double().unsqueeze(-1)
    noise = torch.linspace(-8, 8, 321, dtype=torch.float64)
    evidence = 2 * beta_1 + 2 * math.sqrt(beta_1) * noise  # for what the pixel is (185)
    # Certain pixels cost nothing; the bound only keeps 0 times infinity away.
    odds, price = torch.logit(ink, eps=1e-16), torch.nn.functional.softplus
    fee = ink * price(-odds - evidence) + (1 - ink) * price(odds - evidence)
    return fee @ (-noise.square() / 2).softmax(0)


def tosses(parts: int = 20) -> dict:
    """The floor, in nats in each of `parts` equal parts of the time, and the entropy it sums to."""
    images = data.mnist(stand_in=False)
    counts = torch.bincount(images.test.flatten().int(), minlength=256).double()
    counts = counts / len(images.test)  # pixels of each grey level in an image
    grey = torch.arange(256).double() / 255
    times = (torch.arange(parts * FINE) + 0.5) / (parts * FINE)
    rates = torch.stack([(counts * toss_rate(grey, float(t), BETA_1)).sum() for t in times])
    entropy = torch.special.entr(grey) + torch.special.entr(1 - grey)
    return {
        "command": "python -m tools.tosses",
        "data": images.name,
        "split": "test",
        "examples": len(images.test),
        "unit": "nats per example",
        "entropy": float((counts * entropy).sum()),
        "last fee": float((counts * toss_fee(grey, BETA_1)).sum()),
        "t": [(part + 0.5) / parts for part in range(parts)],
        "nats": (rates.reshape(parts, FINE).mean(1) / parts).tolist(),
    }


if __name__ == "__main__":
    record = tosses()
    TARGET.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{record['entropy']:.2f} nats per image, {sum(record['nats']):.2f} over the times")
