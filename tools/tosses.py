"""What MNIST's coin tosses alone cost, over time: `python -m tools.tosses` writes the record.

Dynamic binarisation draws every pixel anew, ink with the probability that its grey level says. Who
has the grey image before him still pays the entropy of these tosses, and at every time t at least
what `bfn_core.views.digits.toss_rate` says. The record, assets/mnist_tosses.json, has this floor
in nats per test image over the same times as the bill in assets/mnist.json.
"""

import json

import torch

from bfn_core import data
from bfn_core.data.assets import CHECKOUT
from bfn_core.views.digits import toss_rate

TARGET = CHECKOUT / "mnist_tosses.json"
FINE = 10  # times in each part, to average


def tosses(parts: int = 20) -> dict:
    """The floor, in nats in each of `parts` equal parts of the time, and the entropy it sums to."""
    images = data.mnist(stand_in=False)
    counts = torch.bincount(images.test.flatten().int(), minlength=256).double()
    counts = counts / len(images.test)  # pixels of each grey level in an image
    grey = torch.arange(256).double() / 255
    times = (torch.arange(parts * FINE) + 0.5) / (parts * FINE)
    rates = torch.stack([(counts * toss_rate(grey, float(t), 9.0)).sum() for t in times])
    entropy = torch.special.entr(grey) + torch.special.entr(1 - grey)
    return {
        "command": "python -m tools.tosses",
        "data": images.name,
        "split": "test",
        "examples": len(images.test),
        "unit": "nats per example",
        "entropy": float((counts * entropy).sum()),
        "t": [(part + 0.5) / parts for part in range(parts)],
        "nats": (rates.reshape(parts, FINE).mean(1) / parts).tolist(),
    }


if __name__ == "__main__":
    record = tosses()
    TARGET.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{record['entropy']:.2f} nats per image, {sum(record['nats']):.2f} over the times")
