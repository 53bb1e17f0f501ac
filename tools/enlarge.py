"""What the network that enlarges digits from 7 × 7 to 28 × 28 is worth, beside other ways.

`python -m tools.enlarge` measures assets/mnist_enlarge.safetensors, which is told the means of the
4 × 4 blocks of each binarised digit, and writes assets/enlarge.json:

* "codes": nats per test digit for who knows the coarse picture. "bicubic" prices each pixel by how
  often pixels of the training digits were 1 where bicubic interpolation guessed as it does here
  (in LEVELS equal steps); "logistic regression" lets each pixel's odds be a linear function of all
  49 means, fitted to the training digits: the best that pixels can do, or nearly, if none knows of
  the others and nothing is bent. The figures of the two networks are those of their own records,
  of the same 10,000 digits, −ELBO at n = ∞.
* "untrained" and "trained": the peak signal-to-noise ratio ("psnr") in dB of guesses at some test
  digits, as images of 0 and 1. Untrained: bicubic, the regressions' probabilities, and fillings of
  the unconditional network's gap in the basis of block means, by weighted candidates. Trained: a
  draw of the network that is told the means, the mean of several, and its first guess, from one
  call without any message. "off" is how far the means of a draw's blocks are from those that were
  told (root mean square).

A part that is in the record already, of the same weights and options, is kept.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bfn_core import BFN, Solver, data
from bfn_core.binary import Signs
from bfn_core.data.assets import CHECKOUT
from bfn_core.enlarging import refined
from bfn_core.likelihood import Estimate
from bfn_core.networks.conditions import coarse_hints
from bfn_core.training import shipped
from bfn_core.training.memory import keep_memory
from tools.record import renew_digests, versions, weights, write

NAME, PLAIN, TARGET = "mnist_enlarge", "mnist", CHECKOUT / "enlarge.json"
SIZE, LEVELS, SEED = 4, 64, 0


def means(x: Tensor) -> Tensor:
    """Of the 4 × 4 blocks of classes 0 and 1, (B, 1, 28, 28), as (B, 1, 7, 7) in [0, 1]."""
    return F.avg_pool2d(x.float(), SIZE)


def bicubic(x: Tensor) -> Tensor:
    """What bicubic interpolation makes of the block means, (B, 1, 28, 28) in [0, 1]."""
    guess = F.interpolate(means(x), scale_factor=SIZE, mode="bicubic", align_corners=False)
    return guess.clamp(0, 1)


def stated(values: Tensor, digits: int = 4) -> dict[str, float]:
    estimate = Estimate.of(values.double())
    return {"mean": round(estimate.mean, digits),
            "standard error": round(estimate.standard_error, digits)}


def table_of(guess: Tensor, x: Tensor) -> Tensor:
    """How often a pixel is 1 where the guess is on each of LEVELS steps, (LEVELS,).

    One of each kind is added, so that nothing is impossible.
    """
    step = (guess * LEVELS).long().clamp(max=LEVELS - 1).flatten()
    ones = torch.bincount(step, x.flatten().double(), LEVELS) + 1
    return ones / (torch.bincount(step, minlength=LEVELS) + 2)


def bernoulli_cost(chance: Tensor, x: Tensor) -> Tensor:
    """Nats of each image, (B,), whose pixels are 1 with these chances."""
    right = torch.where(x == 1, chance.double(), 1 - chance.double())
    return -right.log().flatten(1).sum(1)


def regression(pixels: Tensor, steps: int = 4000, batch: int = 512) -> Callable[[Tensor], Tensor]:
    """Logistic regressions of all pixels on the 49 means, fitted to digits binarised anew at each
    step; from x to the chances of its pixels.
    """
    rng = torch.Generator().manual_seed(SEED)
    weight = torch.zeros(49, 784, requires_grad=True)
    bias = torch.full((784,), -2.0, requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias], 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def odds(x: Tensor) -> Tensor:
        return means(x).flatten(1) @ weight + bias

    for _ in range(steps):
        chosen = torch.randint(len(pixels), (batch,), generator=rng)
        x = data.binarise(pixels[chosen], generator=rng)
        loss = F.binary_cross_entropy_with_logits(odds(x), x.flatten(1).float(), reduction="sum")
        optimiser.zero_grad()
        (loss / batch).backward()
        optimiser.step()
        schedule.step()
    return lambda x: odds(x).detach().sigmoid().view(-1, 1, 28, 28)


def decibels(guess: Tensor, x: Tensor) -> Tensor:
    """PSNR of images of [0, 1], (B, 1, H, W), each, (B,)."""
    return -10 * (guess.double() - x).square().flatten(1).mean(1).clamp_min(1e-8).log10()


def off(guess: Tensor, x: Tensor) -> Tensor:
    """Root mean square of the differences of block means, of each, (B,)."""
    return (means(guess) - means(x)).square().flatten(1).mean(1).sqrt()


def drawn(bfn: BFN, x: Tensor, draws: int, n: int) -> Tensor:
    """(draws, B, 1, 28, 28), of the network that is told the block means of x."""
    rng, found = torch.Generator().manual_seed(SEED), []
    for part in x.split(50):
        told = coarse_hints(part, SIZE).repeat(draws, 1, 1, 1)
        one = bfn.sample((draws * len(part), 1, 28, 28), n, condition=told, generator=rng,
                         sampler=Solver("ab2", noise=1.0))
        found.append(one.view(draws, len(part), 1, 28, 28))
    return torch.cat(found, 1)


@torch.no_grad()
def first_guess(bfn: BFN, x: Tensor) -> Tensor:
    """The mean of p_O at t = 0, when nothing was sent: P(1), (B, 1, 28, 28)."""
    theta = bfn.flow.prior((len(x), 1, 28, 28))
    return bfn.output(theta, 0.0, condition=coarse_hints(x, SIZE)).probs[..., 1]


def filled(bfn: BFN, x: Tensor, draws: int, n: int, count: int) -> Tensor:
    """(draws, B, 1, 28, 28), of the untrained way: shades around [0, 1] with the means of x."""
    numbers = Signs(bfn)
    found = [refined(numbers, 2.0 * one - 1, SIZE, n, count, draws=draws, seed=SEED + k)
             for k, one in enumerate(x)]
    return (0.5 * (torch.stack(found, 1) + 1)).clamp(0, 1)


def codes(images: data.Images, fitted: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The two other codes, on all test digits."""
    rng = torch.Generator().manual_seed(SEED)
    x = data.binarise(images.train, generator=rng)
    table = table_of(bicubic(x), x)
    test = data.binarise(images.test, generator=torch.Generator().manual_seed(SEED))
    step = (bicubic(test) * LEVELS).long().clamp(max=LEVELS - 1)
    return {"bicubic": stated(bernoulli_cost(table[step], test)),
            "logistic regression": stated(bernoulli_cost(fitted(test), test)),
            "examples": len(test)}


def untrained(options: argparse.Namespace, x: Tensor,
              fitted: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """PSNR of guesses that need no network told the means, and how far a filling is from them."""
    start = time.process_time()
    free = filled(shipped(PLAIN), x, options.fillings, options.steps, options.candidates)
    seconds = (time.process_time() - start) / (len(x) * len(free))
    rows = {"bicubic": bicubic(x), "logistic regression": fitted(x), "untrained, a draw": free[0],
            f"untrained, mean of {len(free)}": free.mean(0)}
    return {**judged(rows, x, ("bicubic", "untrained, a draw")),
            "CPU seconds per draw": round(seconds, 3), "weights": {PLAIN: weights(PLAIN)}}


def trained(options: argparse.Namespace, x: Tensor) -> dict[str, Any]:
    """PSNR of what the network makes that is told the means, and how far a draw is from them."""
    bfn = shipped(NAME)
    start = time.process_time()
    many = drawn(bfn, x, options.draws, options.steps).float()
    seconds = (time.process_time() - start) / (len(x) * len(many))
    rows = {"trained, a draw": many[0],
            f"trained, mean of {options.fillings}": many[: options.fillings].mean(0),
            f"trained, mean of {len(many)}": many.mean(0), "trained, one call": first_guess(bfn, x)}
    return {**judged(rows, x, ("trained, a draw",)),
            "CPU seconds per draw": round(seconds, 3), "weights": {NAME: weights(NAME)}}


def judged(rows: dict[str, Tensor], x: Tensor, draws: tuple[str, ...]) -> dict[str, Any]:
    return {"psnr": {name: stated(decibels(guess, x)) for name, guess in rows.items()},
            "off": {name: stated(off(rows[name], x), 5) for name in draws}}


def main(words: list[str] | None = None, target: Path = TARGET) -> dict[str, Any]:
    """Measure what is not in the record yet, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m tools.enlarge")
    parser.add_argument("parts", nargs="*", help="codes, untrained, trained; without any: all")
    parser.add_argument("--digits", type=int, default=100, help="test digits whose guesses count")
    parser.add_argument("--draws", type=int, default=8, help="of the network, for each digit")
    parser.add_argument("--fillings", type=int, default=4, help="draws of the untrained way")
    parser.add_argument("--candidates", type=int, default=8, help="for each of those")
    parser.add_argument("--steps", type=int, default=20, help="of every sampler")
    options = parser.parse_args(words)
    parts = options.__dict__.pop("parts")
    keep_memory()
    torch.set_num_threads(1)
    images = data.mnist(stand_in=False)
    facts = {
        "command": "python -m tools.enlarge", **vars(options), "seed": SEED, "device": "cpu",
        "threads": 1, "data": images.name, "split": "test", "levels": LEVELS,
        "sampler": "Solver('ab2', noise=1.0); the untrained way: the paper's, by weight",
        "versions": versions(),
    }
    record = json.loads(target.read_text("utf-8")) if target.exists() else {}
    if {name: record.get(name) for name in facts} != facts:
        record = facts
    rng = torch.Generator().manual_seed(SEED)
    x = data.binarise(images.test, generator=rng)[: options.digits]
    fitted = cache(lambda: regression(images.train))
    for name, measure, used in (
        ("codes", lambda: codes(images, fitted()), ()),
        ("untrained", lambda: untrained(options, x, fitted()), (PLAIN,)),
        ("trained", lambda: trained(options, x), (NAME,)),
    ):
        if parts and name not in parts:
            continue
        if name in record and record[name].get("weights", {}) == {n: weights(n) for n in used}:
            continue
        start = time.process_time()
        record[name] = measure()
        record[name]["CPU seconds"] = round(time.process_time() - start)
        write(target, record)
        print(json.dumps(record[name], indent=1), flush=True)
    return record


if __name__ == "__main__":
    found = main()
    nats = json.loads((CHECKOUT / f"{NAME}.json").read_text("utf-8"))["evaluation"]["elbo"]
    told = nats["infinity"]
    print(f"told the coarse picture: {told['nats']:.2f} ± {told['standard error']:.2f} nats, "
          f"{told['nats'] / math.log(2):.1f} bits")
    renew_digests()
