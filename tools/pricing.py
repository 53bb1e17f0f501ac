"""What a message costs in two ways of pricing it: `python -m tools.pricing` writes the record.

For MNIST's shipped weights and each n of the paper's table: −ELBO with the receiver as one mixture
over the pair of numbers that a pixel's message is (190), and with a mixture for each number, as the
authors' code has it (bfn_core/official.py); for the same beliefs and messages, so that the
difference is known better than either. One message and one last fee for each test image. The
record is assets/mnist_pricing.json.
"""

import time

import torch

from bfn_core import Estimate, data
from bfn_core.data.assets import CHECKOUT
from bfn_core.model import BFN, stratified
from bfn_core.modes import evaluating
from bfn_core.official import OfficialDiscreteFlow
from bfn_core.training import shipped
from tools.record import renew_digests, weights, write

TARGET = CHECKOUT / "mnist_pricing.json"
NS = (10, 25, 50, 100)
SEED, BATCH = 0, 250


@torch.no_grad()
def prices(bfn: BFN, x: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """n times the price of one message i of n, drawn for each image: by (190), and what a mixture
    for each number adds, (2, B).
    """
    flow, official = bfn.flow, OfficialDiscreteFlow(bfn.flow.classes, bfn.flow.beta_1)
    spread = stratified(len(x), like=torch.ones(1), generator=generator)
    before = (spread * n).floor().clamp(max=n - 1)  # i − 1
    alpha = flow.alpha(before + 1, n)
    output = bfn.output(flow.sample_flow(x, before / n, generator), before / n)
    state = generator.get_state()
    steady = flow.step_cost(x, output, alpha, generator)  # of the variance of one y, little is left
    y = flow.sender(x, alpha).sample(generator=generator.set_state(state))  # the same y
    whole = flow.sender(x, alpha).log_prob(y) - flow.receiver(output, alpha).log_prob(y)
    more = official.cost_of(y, x, output, alpha) - whole
    return n * torch.stack([steady, more]).flatten(2).sum(2)


def priced(bfn: BFN, x: torch.Tensor) -> dict:
    """For each n the two ways' −ELBO and their difference, as [mean, standard error] in nats."""
    generator = torch.Generator().manual_seed(SEED)
    with evaluating(bfn), torch.no_grad():
        fee = torch.cat([bfn.reconstruction_loss(part, generator=generator)
                         for part in x.split(BATCH)])
        rows = {}
        for n in NS:
            one, more = torch.cat(
                [prices(bfn, part, n, generator) for part in x.split(BATCH)], 1)
            found = {"one mixture": one + fee, "a mixture for each number": one + more + fee,
                     "more": more}
            rows[str(n)] = {
                name: [round(each.mean, 4), round(each.standard_error, 4)]
                for name, each in ((name, Estimate.of(value)) for name, value in found.items())
            }
            print(n, rows[str(n)], flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    images, start = data.mnist(stand_in=False), time.monotonic()
    x = data.binarise(images.test, generator=torch.Generator().manual_seed(SEED))
    rows = priced(shipped("mnist"), x)
    record = {
        "command": "python -m tools.pricing", "weights": weights("mnist"),
        "data": images.name, "split": "test", "examples": len(x), "seed": SEED, "device": "cpu",
        "seconds": round(time.monotonic() - start), "unit": "nats per example", "n": rows,
    }
    write(TARGET, record)
    renew_digests()


if __name__ == "__main__":
    main()
