"""Judge samples by number: `python -m tools.frechet mnist|cifar10` writes assets/NAME_frechet.json.

The Fréchet distance to the test images, in the features of a small classifier that is trained and
shipped here (so it is not FID), of samples of the shipped weights for each n; and of equally many
training images, of noise, and of images whose pixels are drawn one by one, each from its own
histogram. With --fid it is FID, where pytorch-fid and its weights can be had. --weights judges
another run, or a file of weights, and --out writes elsewhere.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Generator, Tensor

from bfn_core import BFN, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.frechet import CLASSIFIERS, Features, features, frechet
from bfn_core.samplers import Ancestral
from bfn_core.training import load, shipped
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests, versions, write
from tools.record import weights as shipped_weights

NS = (10, 25, 50, 100)
SEED, PIECE = 0, 125  # images that are drawn together


def seeded(seed: int = SEED) -> Generator:
    return torch.Generator().manual_seed(seed)


def seen(name: str, pixels: Tensor) -> Tensor:
    """Bytes as the model has them."""
    return data.binarise(pixels, generator=seeded()) if name == "mnist" else data.quantise(pixels)


def yardsticks(name: str, images: data.Images, count: int) -> dict[str, Tensor]:
    """What samples are compared with, `count` images each."""
    rows = torch.randperm(len(images.train), generator=seeded())
    train = seen(name, images.train[rows[:count]])
    noise = torch.randint(256, train.shape, generator=seeded()).to(torch.uint8)
    alone = images.train[rows[:5_000]]
    which = torch.randint(len(alone), train.shape, generator=seeded())
    return {
        "training images": train,
        "pixels one by one": seen(name, alone.gather(0, which)),
        "noise": (noise > 127).long() if name == "mnist" else data.quantise(noise),
    }


def samples(bfn: BFN, shape, n: int, count: int, guess: str) -> Tensor:
    """`count` images that the model draws with n messages."""
    drawn = []
    for start in range(0, count, PIECE):
        size = min(PIECE, count - start)
        drawn.append(bfn.sample((size, *shape), n, sampler=Ancestral(guess),
                                generator=seeded(SEED + 1 + start)))
    return torch.cat(drawn)


def looked_at(x: Tensor, of: Features) -> Tensor:
    return torch.cat([of(part) for part in x.split(PIECE)])


def judged(x: Tensor, reference: Tensor, of: Features, began: float) -> dict[str, float]:
    """Against the reference's features, which are the same for all and so computed once."""
    found = frechet(looked_at(x, of), reference, lambda same: same, generator=seeded())
    row = {"distance": round(found.mean, 4), "standard error": round(found.standard_error, 4),
           "seconds": round(time.perf_counter() - began, 1)}
    return row


def figures(
    name: str, bfn: BFN, images: data.Images, of: Features, count: int, ns=NS, guesses=("draw",)
) -> dict:
    """The distance of everything to the test images, by name."""
    reference, shape = looked_at(seen(name, images.test), of), images.test.shape[1:]
    found = {}
    for what, x in yardsticks(name, images, count).items():
        found[what] = judged(x, reference, of, time.perf_counter())
        print(what, found[what], flush=True)
    for guess in guesses:
        for n in ns:
            began = time.perf_counter()
            x = samples(bfn, shape, n, count, guess)
            what = f"n = {n}" if guess == "draw" else f"n = {n}, about the mean"
            found[what] = judged(x, reference, of, began)
            print(what, found[what], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(CLASSIFIERS))
    parser.add_argument("--count", type=int, default=1_000, help="images of each kind")
    parser.add_argument("--n", type=int, nargs="+", default=NS, help="messages")
    parser.add_argument("--mean", action="store_true",
                        help="also with messages about the mean of p_O, of numbers")
    parser.add_argument("--fid", action="store_true", help="in the features of Inception v3")
    parser.add_argument("--weights", type=Path, help="a run or a file in place of the shipped ones")
    parser.add_argument("--out", type=Path, help="in place of assets/NAME_frechet.json")
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    name, weights = options.name, options.weights
    of = features("inception" if options.fid else name)
    images = getattr(data, name)(stand_in=False)
    bfn = load(weights) if weights else shipped(name)
    words = [f"python -m tools.frechet {name} --count {options.count}"]
    words += ["--mean"] if options.mean else []
    words += ["--fid"] if options.fid else []
    words += [f"--weights {weights}"] if weights else []
    words += [f"--n {' '.join(map(str, options.n))}"] if tuple(options.n) != NS else []
    record = {
        "command": " ".join(words),
        "what": "FID" if options.fid else "Fréchet distance in the features of features_"
                f"{name}.safetensors, which is not FID",
        "weights": str(weights) if weights else shipped_weights(name),
        "data": images.name, "reference": f"the {len(images.test):,} test images",
        "images of each kind": options.count, "seed": SEED,
        "device": "cpu", "threads": 1,
        "versions": versions(),
        "figures": figures(name, bfn, images, of, options.count, tuple(options.n),
                           ("draw", "mean") if options.mean else ("draw",)),
    }
    target = options.out or CHECKOUT / f"{name}_frechet.json"
    write(target, record)
    if options.out is None:
        renew_digests()


if __name__ == "__main__":
    main()
