"""What a trained model is worth: its test ELBO with standard errors, and what it draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bfn_core import data
from bfn_core.baselines.images import encode
from bfn_core.likelihood import ELBO, Estimate, elbo
from bfn_core.model import BFN, evaluating, stratified
from bfn_core.training.runs import write_atomically
from bfn_core.training.scales import Settings
from bfn_core.training.seeds import mix
from bfn_core.training.tasks import Task

PIECE = 256  # examples that are costed together, with noise of their own


def code_length(
    bfn: BFN, x: Tensor, n: int | None = None, *, repeats: int = 1, seed: int, accelerator=None
) -> ELBO:
    """−ELBO of x as `likelihood.elbo` has it, shared among the processes of an `accelerator`.

    Each piece of x has a seed of its own, so any number of processes finds the same on the same
    kind of device, and each of them gets the whole answer.
    """
    rank, processes = 0, 1
    if accelerator is not None:
        rank, processes = accelerator.process_index, accelerator.num_processes
    found = []
    for index, piece in list(enumerate(x.split(PIECE)))[rank::processes]:
        generator = torch.Generator(x.device).manual_seed(mix(seed, "cost", n, index))
        bound = elbo(bfn, piece, n, repeats=repeats, batch_size=PIECE, generator=generator)
        found.append((index, bound))
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    bounds = [bound for _, bound in sorted(found, key=lambda pair: pair[0])]
    parts = ("messages", "reconstruction", "total")
    return ELBO(*(pooled([getattr(bound, part) for bound in bounds]) for part in parts), n)


def pooled(estimates: list[Estimate]) -> Estimate:
    """The estimate over all examples from those over parts of them."""
    count = sum(e.count for e in estimates)
    mean = sum(e.count * e.mean for e in estimates) / count
    if count == 1:
        return estimates[0]
    squares = sum(e.count * (e.mean - mean) ** 2 for e in estimates)  # between the parts
    squares += sum(e.count * (e.count - 1) * e.standard_error**2 for e in estimates if e.count > 1)
    return Estimate(mean, math.sqrt(squares / (count * (count - 1))), count)


def evaluate(
    bfn: BFN, task: Task, settings: Settings, steps: Iterable[int | None] = (None,), *,
    accelerator=None,
) -> dict[str, Any]:
    """The test ELBO, L^n + L^r, for each n of `steps` (None: n = ∞), as JSON can hold it.

    At n < ∞ on the first `settings.step_examples` of the test examples, where that is set.

    Binary pixels are drawn once, the same for every n, and every call gives the same figures on
    the same kind of device. With an `accelerator` its processes share the work.
    """
    device = task.test.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    x = task.prepare(task.test, generator=generator)
    found = {}
    for n in steps:
        judged = x if n is None else x[: settings.step_examples]
        bound = code_length(
            bfn, judged, n, repeats=settings.test_draws, seed=settings.seed, accelerator=accelerator
        )
        found["infinity" if n is None else str(n)] = figures(bound, task)
    return {
        "data": task.name,
        "split": "test",
        "examples": len(x),
        "draws per example": settings.test_draws,
        "unit": "nats per example",
        "elbo": found,
    }


@torch.no_grad()
def bill(
    bfn: BFN, task: Task, settings: Settings, parts: int = 20, batch: int = 200
) -> dict[str, Any]:
    """Which times cost how much: L^∞ of the test set, cut into equal `parts` of [0, 1], at most as
    many as examples, so that none is empty.

    "t" are their middles, and "nats" sum to L^∞. Images add what the dimensions cost: "pixels"
    (H × W, grey ones) or "channels" (C, colour ones), in nats over all t.
    """
    device = task.test.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    x = task.prepare(task.test, generator=generator)
    parts = min(parts, len(x), batch)
    times, costs, dimensions = [], [], 0.0
    with evaluating(bfn):
        for part in x.split(batch):
            t = stratified(len(part), like=torch.empty(0, device=device), generator=generator)
            output = bfn.output(bfn.flow.sample_flow(part, t, generator), t)
            cost = bfn.flow.rate_cost(part, output, t).cpu().double()  # a Mac's GPU has no float64
            times.append(t.cpu())
            costs.append(cost.flatten(1).sum(1))
            dimensions = dimensions + cost.sum(0) / len(x)
    t, cost = torch.cat(times), torch.cat(costs)
    group = (t * parts).long().clamp(max=parts - 1)
    shares = [Estimate.of(cost[group == g]).scaled(1 / parts) for g in range(parts)]
    found = {
        "t": [(g + 0.5) / parts for g in range(parts)],
        "nats": [share.mean for share in shares],
        "standard error": [share.standard_error for share in shares],
    }
    if len(task.shape) == 3 and task.shape[0] == 1:
        found["pixels"] = [[round(c, 4) for c in row] for row in dimensions[0].tolist()]
    elif len(task.shape) == 3:
        found["channels"] = dimensions.sum((1, 2)).tolist()
    return found


def figures(bound: ELBO, task: Task) -> dict[str, float]:
    """An ELBO as numbers: −ELBO and its parts in nats, and its bits per variable."""
    return {
        "nats": bound.total.mean,
        "standard error": bound.total.standard_error,
        "examples": bound.total.count,
        "messages": bound.messages.mean,
        "reconstruction": bound.reconstruction.mean,
        task.unit: bound.total.bits(task.variables).mean,
    }


def sentences(found: dict[str, Any]) -> list[str]:
    """What `evaluate` found, for a reader: one line for each n."""
    lines = []
    for n, row in found["elbo"].items():
        unit = next(name for name in row if name.startswith("bits"))
        n = "∞" if n == "infinity" else n
        lines.append(
            f"test ELBO, n = {n}: {row['nats']:.2f} ± {row['standard error']:.2f} nats per example "
            f"({row[unit]:.4f} {unit}), on {row['examples']:,} test examples of {found['data']}"
        )
    return lines


def draw(bfn: BFN, task: Task, settings: Settings, folder: Path) -> Path:
    """Write samples of the model to `folder`, as a picture or as text, and return the path."""
    device = task.test.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    shape = (settings.sample_count, *task.shape)
    x = bfn.sample(shape, settings.sample_steps, generator=generator).cpu()
    if len(task.shape) == 1:
        lines = data.decode(x, settings.alphabet or data.ALPHABET)
        content = "".join(line.replace("\n", "↵") + "\n" for line in lines).encode()
        path = folder / "samples.txt"
    else:
        pixels = (x * 255).to(torch.uint8) if settings.flow == "discrete" else data.to_bytes(x)
        path, content = folder / "samples.png", encode(grid(pixels), "PNG")
    write_atomically(path, lambda file: file.write(content))
    return path


def grid(pixels: Tensor, gap: int = 2) -> Tensor:
    """Images (N, C, H, W) side by side, (C, rows · (H + gap), columns · (W + gap)), uint8."""
    columns = math.ceil(math.sqrt(len(pixels)))
    missing = -len(pixels) % columns
    framed = torch.nn.functional.pad(pixels, (0, gap, 0, gap), value=128)
    framed = torch.cat([framed, framed.new_full((missing, *framed.shape[1:]), 128)])
    rows = framed.unflatten(0, (-1, columns))  # (rows, columns, C, H, W)
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
