"""What a trained model is worth: its test ELBO with standard errors, and what it draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bfn_core import data
from bfn_core.baselines.images import encode
from bfn_core.beliefs import cut, first, over, told
from bfn_core.flows import DiscreteFlow
from bfn_core.likelihood import ELBO, Estimate, elbo
from bfn_core.model import BFN, stratified
from bfn_core.modes import evaluating
from bfn_core.numerics import in_rows
from bfn_core.training.pieces import Tree, count, split
from bfn_core.training.runs import write_atomically
from bfn_core.training.scales import Settings
from bfn_core.training.seeds import mix
from bfn_core.training.tasks import Task

PIECE = 256  # examples that are costed together, with noise of their own


def home(bfn: BFN) -> type[BFN]:
    """The class of bfn_core that a BFN, of a class of one's own perhaps, comes from."""
    return next(kind for kind in type(bfn).__mro__ if kind.__module__.startswith("bfn_core."))


def own_loss(bfn: BFN) -> bool:
    """Whether a BFN's loss is one's own, so that it may be no code length."""
    return "loss" in vars(bfn) or type(bfn).loss is not home(bfn).loss


def paper_loss(bfn: BFN) -> BFN:
    """The same BFN, whose loss is L^∞ again where it was overridden."""
    if not own_loss(bfn):
        return bfn
    twin = copy.copy(bfn)
    twin.loss = home(bfn).loss.__get__(twin)
    return twin


def code_length(
    bfn: BFN,
    x: Tree,
    n: int | None = None,
    *,
    repeats: int = 1,
    seed: int,
    condition: Tree | None = None,
    accelerator=None,
) -> ELBO:
    """−ELBO of x as `likelihood.elbo` has it, shared among the processes of an `accelerator`.

    L^∞ is the paper's, also where `bfn.loss` is overridden: only so are the nats a code length.

    Each piece of x has a seed of its own, so any number of processes finds the same on the same
    kind of device, and each of them gets the whole answer.
    """
    rank, processes = 0, 1
    if accelerator is not None:
        rank, processes = accelerator.process_index, accelerator.num_processes
    found, bfn, device = [], paper_loss(bfn), first(x).device
    for index, piece in list(enumerate(split(x, PIECE)))[rank::processes]:
        generator = torch.Generator(device).manual_seed(mix(seed, "cost", n, index))
        beside = told(cut(condition, piece))
        bound = elbo(bfn, cut(x, piece), n, repeats=repeats, batch_size=PIECE,
                     generator=generator, **beside)
        found.append((index, bound))
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    bounds = [bound for _, bound in sorted(found, key=lambda pair: pair[0])]
    parts = ("messages", "reconstruction", "total")
    found = {part: pooled([getattr(bound, part) for bound in bounds]) for part in parts}
    return ELBO(**found, n=n)


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
    device = task.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    x = task.prepare(task.test, generator=generator)
    known, found = task.known(x, task.test_condition), {}
    for n in steps:
        judged = slice(None if n is None else settings.step_examples)
        bound = code_length(
            bfn, cut(x, judged), n, repeats=settings.test_draws, seed=settings.seed,
            condition=cut(known, judged), accelerator=accelerator,
        )
        found[named(n)] = figures(bound, task)
    return {
        "data": task.name,
        "split": "test",
        "examples": count(x),
        "draws per example": settings.test_draws,
        "unit": "nats per example",
        "elbo": found,
    }


def named(n: int | None) -> str:
    """n as a name in `evaluate`'s table; None: n = ∞."""
    return "infinity" if n is None else str(n)


def by_n(table: dict[str, Any]) -> dict[str, Any]:
    """`evaluate`'s table, ∞ last, as whoever shows the last row expects it."""
    return dict(sorted(table.items(), key=lambda row: float(row[0])))


@torch.no_grad()
def bill(
    bfn: BFN, task: Task, settings: Settings, parts: int = 20, batch: int = 200
) -> dict[str, Any]:
    """Which times cost how much: L^∞ of the test set, cut into equal `parts` of [0, 1], at most as
    many as examples, so that none is empty.

    "t" are their middles, and "nats" sum to L^∞. Images add what the dimensions cost: "pixels"
    (H × W, grey ones) or "channels" (C, colour ones), in nats over all t.
    """
    device = task.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    x = task.prepare(task.test, generator=generator)
    known = task.known(x, task.test_condition)
    parts = min(parts, count(x), batch)
    times, costs, shares_of = [], [], []
    with evaluating(bfn):
        for piece in split(x, batch):
            part, beside = cut(x, piece), told(cut(known, piece))
            like = torch.empty(0, device=device)
            t = stratified(count(part), like=like, generator=generator)
            output = bfn.output(bfn.flow.sample_flow(part, t, generator), t, **beside)
            cost = bfn.flow.rate_cost(part, output, t).cpu().double()  # a Mac's GPU has no float64
            times.append(t.cpu())
            costs.append(in_rows(cost).sum(1))
            shares_of.append(cost.sum(0) / count(x))
    t, cost, dimensions = torch.cat(times), torch.cat(costs), torch.stack(shares_of).sum(0)
    group = (t * parts).long().clamp(max=parts - 1)
    shares = [Estimate.of(cost[group == g]).scaled(1 / parts) for g in range(parts)]
    found: dict[str, list] = {
        "t": [(g + 0.5) / parts for g in range(parts)],
        "nats": [share.mean for share in shares],
        "standard error": [share.standard_error for share in shares],
    }
    if is_image(task) and task.shape[0] == 1:
        found["pixels"] = [[round(c, 4) for c in row] for row in dimensions[0].tolist()]
    elif is_image(task):
        found["channels"] = dimensions.sum((1, 2)).tolist()
    return found


def is_image(task: Task) -> bool:
    """Whether examples are images, (C, H, W), grey or in colours."""
    return isinstance(task.train, Tensor) and len(task.shape) == 3 and task.shape[0] in (1, 3)


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
        examples = row.get("examples", found["examples"])  # older rows have no count
        n = "∞" if n == "infinity" else n
        lines.append(
            f"test ELBO, n = {n}: {row['nats']:.2f} ± {row['standard error']:.2f} nats per example "
            f"({row[unit]:.4f} {unit}), on {examples:,} test examples of {found['data']}"
        )
    return lines


def draw(bfn: BFN, task: Task, settings: Settings, folder: Path) -> Path:
    """Write samples of the model to `folder` and return the path: a picture, or text, or for data
    that are neither samples.safetensors with the tensor "x" (or the tensors by their names).

    Where the task has conditions, samples get those of the first test examples, in their order.
    """
    device = task.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    beside = {}
    if task.test_condition is not None or task.hint is not None:
        turns = torch.arange(settings.sample_count, device=device) % count(task.test)
        known = cut(task.test_condition, turns)
        if task.hint is not None:
            known = task.known(task.prepare(cut(task.test, turns), generator=generator), known)
        beside = told(known)
    shape = task.batch_shape(settings.sample_count)
    x = bfn.sample(shape, settings.sample_steps, generator=generator, **beside)
    name, content = written(over(Tensor.cpu, x), bfn, task)
    write_atomically(folder / name, lambda file: file.write(content))
    return folder / name


def written(x: Tree, bfn: BFN, task: Task) -> tuple[str, bytes]:
    """The name and the content of a file of samples."""
    if task.alphabet:
        lines = data.decode(x, task.alphabet)
        return "samples.txt", "".join(line.replace("\n", "↵") + "\n" for line in lines).encode()
    if is_image(task):
        if isinstance(bfn.flow, DiscreteFlow):
            pixels = (x * 255 // (bfn.flow.classes - 1)).to(torch.uint8)
        else:
            pixels = data.to_bytes(x)
        return "samples.png", encode(grid(pixels), "PNG")
    from safetensors.torch import save

    parts = x if isinstance(x, dict) else {"x": x}
    return "samples.safetensors", save({k: v.contiguous() for k, v in parts.items()})


def grid(pixels: Tensor, gap: int = 2) -> Tensor:
    """Images (N, C, H, W) side by side, (C, rows · (H + gap), columns · (W + gap)), uint8."""
    columns = math.ceil(math.sqrt(len(pixels)))
    missing = -len(pixels) % columns
    framed = torch.nn.functional.pad(pixels, (0, gap, 0, gap), value=128)
    framed = torch.cat([framed, framed.new_full((missing, *framed.shape[1:]), 128)])
    rows = framed.unflatten(0, (-1, columns))  # (rows, columns, C, H, W)
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
