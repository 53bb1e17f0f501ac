"""Train the classifiers in whose features samples are judged: `python -m tools.features NAME`.

NAME is mnist or cifar10; a remark may follow, on what else the machine had to do, say. Writes
assets/features_NAME.safetensors (half precision) and features_NAME.json with the command, the
accuracy on the test images and the time it took. MNIST's digits are binarised anew whenever they
are seen, as its model has them; CIFAR-10's photographs are mirrored half of the time and moved by
up to 4 pixels.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor

from bfn_core import data
from bfn_core.data.assets import CHECKOUT
from bfn_core.frechet import CLASSIFIERS, Classifier, classifier
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests, versions

STEPS = {"mnist": 1_000, "cifar10": 1_500}
BATCH, RATE, SEED = 128, 5e-3, 0


def seen(name: str, pixels: Tensor, generator: Generator | None = None) -> Tensor:
    """Bytes as a flow has them; with a generator, which draws, as they are shown in training."""
    if name == "mnist":
        return data.binarise(pixels, generator=generator)
    x = data.quantise(pixels)
    if generator is None:
        return x
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = F.pad(torch.where(mirrored, x.flip(-1), x), (4, 4, 4, 4), mode="reflect")
    down, right = torch.randint(9, (2,), generator=generator).tolist()  # one way for the batch
    return x[..., down : down + 32, right : right + 32]


def trained(name: str, images: data.Images, steps: int) -> Classifier:
    """A classifier after `steps` of AdamW, whose rate rises briefly and then falls to 0."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    net = Classifier(CLASSIFIERS[name]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(steps):
        rows = torch.randint(len(images.train), (BATCH,), generator=generator)
        x = seen(name, images.train[rows], generator)
        loss = F.cross_entropy(net(x), images.train_labels[rows].long(), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(name: str, net: Classifier, images: data.Images) -> float:
    """The share of test images that it names rightly."""
    generator = torch.Generator().manual_seed(SEED)
    x = data.binarise(images.test, generator=generator) if name == "mnist" else seen(
        name, images.test)
    guesses = torch.cat([net(batch).argmax(1) for batch in x.split(500)])
    return (guesses == images.test_labels).double().mean().item()


def main(
    name: str, remark: str = "", folder: Path = CHECKOUT, steps: int | None = None
) -> dict:
    """Train, ship and record; returns the record."""
    keep_memory()
    torch.set_num_threads(1)
    images = getattr(data, name)(stand_in=False)
    steps, began = steps or STEPS[name], time.perf_counter()
    net = trained(name, images, steps)
    seconds = time.perf_counter() - began
    weights = {key: w.half().contiguous() if w.is_floating_point() else w
               for key, w in net.state_dict().items()}
    save_file(weights, folder / f"features_{name}.safetensors")
    right = accuracy(name, classifier(name) if folder == CHECKOUT else net, images)
    count = len(images.test)
    record = {
        "command": f"python -m tools.features {name}",
        "data": images.name, "steps": steps, "batch": BATCH, "learning rate": RATE, "seed": SEED,
        "parameters": sum(p.numel() for p in net.parameters()),
        "device": "cpu", "threads": torch.get_num_threads(),
        "versions": versions(),
        "remark": remark,
        "training seconds": round(seconds, 1),
        "test examples": count,
        "accuracy": round(right, 4),
        "standard error": round((right * (1 - right) / count) ** 0.5, 4),
    }
    (folder / f"features_{name}.json").write_text(
        json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
    return record


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in CLASSIFIERS:
        sys.exit(__doc__.splitlines()[0])
    print(json.dumps(main(*sys.argv[1:]), indent=1))
    renew_digests()
