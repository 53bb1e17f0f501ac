"""From settings to what they name: the data, the flow and the network."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from bfn_core import data
from bfn_core.beliefs import cut, first, over
from bfn_core.checks import whole
from bfn_core.data.files import digest
from bfn_core.flows import BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.model import BFN
from bfn_core.networks.conditions import coarse_hints
from bfn_core.training.pieces import Tree, split
from bfn_core.training.scales import OWN, Settings


class TrainingError(Exception):
    """Training cannot begin or go on; the message says why and what to do."""


def as_it_is(content: Tree, *, generator: Generator | None = None) -> Tree:
    """What is x already."""
    return content


@dataclass(frozen=True)
class Task:
    """Examples to learn from and to be judged by, held on the device that uses them.

    Examples are a tensor (N, *shape), or for a MixedFlow a dict of tensors; images and text are
    held as bytes. Conditions are a tensor (N, …) or a dict of tensors, one row for each example.
    `task_of` makes a task of one's own examples.
    """

    name: str  # what the data really are: "MNIST", or "digits stand-in"
    notice: str  # one sentence if something stands in for the data, or on how they were split
    train: Tree  # (N, *shape); for text a view, one example per starting character
    held_out: Tree  # (V, *shape), kept from the training set for validation
    test: Tree  # (M, *shape)
    prepare: Callable[..., Tree] = as_it_is  # (examples, generator=…) → x as the flow takes it
    alphabet: str | None = None  # the symbols, where the examples are text
    train_condition: Tree | None = None  # (N, …)
    held_out_condition: Tree | None = None  # (V, …)
    test_condition: Tree | None = None  # (M, …)
    # What a network is told of x itself, once its pixels are drawn: x → hints, (B, …) floats.
    hint: Callable[[Tree], Tensor] | None = None

    @property
    def shape(self) -> Any:
        """Shape of one example; a dict of shapes where examples are dicts."""
        return over(lambda part: tuple(part.shape[1:]), self.train)

    def known(self, x: Tree, condition: Tree | None) -> Tree | None:
        """What a network is told of examples x, (B, …): their condition, and the task's hint."""
        if self.hint is None:
            return condition
        hints = self.hint(x)
        if condition is None:
            return hints
        beside = condition if isinstance(condition, dict) else {"label": condition}
        return {**beside, "hints": hints}

    @property
    def variables(self) -> int:
        """Dimensions, or characters, of one example."""
        parts = self.train.values() if isinstance(self.train, dict) else [self.train]
        return sum(part[0].numel() for part in parts)

    @property
    def unit(self) -> str:
        """What nats per example become when divided by `variables` · ln 2."""
        return "bits per character" if self.alphabet else "bits per dimension"

    @property
    def device(self) -> torch.device:
        """Where the examples are."""
        return first(self.train).device

    def batch_shape(self, examples: int) -> Any:
        """The shape of a batch, as `BFN.sample` takes it."""
        if isinstance(self.train, dict):
            return {name: (examples, *shape) for name, shape in self.shape.items()}
        return (examples, *self.shape)

    def to(self, device: torch.device | str) -> Task:
        """The same task on `device`; float64 becomes float32 on a Mac's GPU, which has none."""

        def moved(part: Tensor) -> Tensor:
            if torch.device(device).type == "mps" and part.dtype == torch.float64:
                part = part.float()
            return part.to(device)

        trees = ("train", "held_out", "test")
        names = (*trees, *(f"{name}_condition" for name in trees))
        return replace(self, **{name: over(moved, getattr(self, name)) for name in names})


def task_of(
    x: Tree,
    name: str = "my data",
    *,
    condition: Tree | None = None,
    held_out: int | None = None,
    test: int | None = None,
    seed: int = 0,
    prepare: Callable[..., Tree] | None = None,
    alphabet: str | None = None,
) -> Task:
    """A task of one's own examples, split at random.

    Args:
        x: the examples, (N, *shape), as the flow takes them: float in [−1, 1], or int64 classes;
            for a MixedFlow a dict of such tensors. With `prepare`, what that takes.
        name: what a run calls them. What they hold and how they are split is a part of the name.
        condition: what is known of each example, a tensor (N, …) or a dict of them.
        held_out: examples kept from training for validation; by default a tenth.
        test: examples for the test; by default a tenth.
        seed: of the permutation by which they are split.
        prepare: makes x of examples as they are held, whenever some are used, such as
            `data.quantise` of bytes; called with generator=… too, where it takes that.
        alphabet: the symbols, where x is text: samples are then written as text.

    Raises:
        ValueError: no tensors, parts of different lengths, or too few examples to split.

    To split in another way, call `Task` itself.
    """
    n = _length("x", x)
    if condition is not None and (length := _length("condition", condition)) != n:
        raise ValueError(f"condition must have a row for each of the {n} examples, got {length}")
    held_out = max(1, n // 10) if held_out is None else whole("held_out", held_out)
    test = max(1, n // 10) if test is None else whole("test", test)
    if held_out + test >= n:
        raise ValueError(
            f"x must hold more than {held_out + test} examples, of which {held_out} are held out "
            f"and {test} are for the test, got {n}"
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    train = n - held_out - test
    parts = dict(zip(("train", "held_out", "test"), order.split([train, held_out, test]),
                     strict=True))
    trees = {part: _rows(x, chosen) for part, chosen in parts.items()}
    if condition is not None:
        trees |= {f"{part}_condition": _rows(condition, chosen) for part, chosen in parts.items()}
    notice = (
        f"Of the {n:,} examples of {name}, {train:,} are learnt from, {held_out:,} are held out "
        f"and {test:,} are for the test, chosen at random (seed {seed})."
    )
    content = _digest((held_out, test, seed), x, condition)
    return Task(f"{name} ({content})", notice, prepare=_taking_generator(prepare),
                alphabet=alphabet, **trees)


def _length(name: str, tree: Any) -> int:
    """Rows of a tensor, or of every tensor in a dict.

    Raises:
        ValueError: naming the argument.
    """
    parts = tree if isinstance(tree, dict) else {"": tree}
    for part in parts.values():
        if not isinstance(part, Tensor) or part.dim() == 0:
            kind = "a number" if isinstance(part, Tensor) else type(part)
            raise ValueError(f"{name} must be a tensor (N, …) or a dict of such tensors, got "
                             f"{kind}; torch.as_tensor makes one of an array")
    lengths = {len(part) for part in parts.values()}
    if len(lengths) != 1:
        raise ValueError(f"{name} must hold tensors of one length, got {sorted(lengths)}")
    return lengths.pop()


def _digest(split: tuple[int, ...], *trees: Tree | None) -> str:
    """Eight hexadecimal digits that tell examples, their conditions and their split from others."""
    found = hashlib.sha256(repr(split).encode())

    def add(name: str, part: Tensor) -> None:
        found.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
        found.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())

    for tree in trees:
        parts = tree if isinstance(tree, dict) else {"": tree}
        for name in sorted(parts):
            if (part := parts[name]) is not None:
                add(name, part)
    return found.hexdigest()[:8]


def _rows(tree: Tree, chosen: Tensor) -> Tree:
    return over(lambda part: part[chosen.to(part.device)], tree)


def _taking_generator(prepare: Callable[..., Tree] | None) -> Callable[..., Tree]:
    """`prepare`, which may take no generator."""
    if prepare is None:
        return as_it_is
    if "generator" in inspect.signature(prepare).parameters:
        return prepare
    return lambda content, *, generator=None: prepare(content)


def checked(task: Task, flow: BayesianFlow, most: int | None = None) -> None:
    """Raise ValueError unless a task is whole, and is what the flow takes.

    Args:
        most: look at so many examples of each part only.
    """
    shape = task.shape
    for name in ("train", "held_out", "test"):
        part, condition = getattr(task, name), getattr(task, f"{name}_condition")
        rows = _length(f"task.{name}", part)
        if not rows:
            raise ValueError(f"task.{name} must hold at least one example, got none")
        if (found := over(lambda each: tuple(each.shape[1:]), part)) != shape:
            raise ValueError(f"task.{name} must have examples of shape {shape}, got {found}")
        if (condition is None) != (task.train_condition is None):
            raise ValueError("task must have conditions for train, held_out and test, or for none")
        if condition is not None and _length(f"task.{name}_condition", condition) != rows:
            raise ValueError(f"task.{name}_condition must have a row for each of the {rows} "
                             f"examples, got {_length('', condition)}")
        for piece in split(cut(part, slice(most)), 1024):
            try:
                flow.check(task.prepare(cut(part, piece), generator=None))
            except ValueError as error:
                raise ValueError(f"task.{name} is not what the flow takes: {error}") from None


def limited(task: Task, settings: Settings) -> Task:
    """A task of one's own with as many examples to be judged by as the settings allow."""
    few = {"held_out": slice(settings.held_out), "test": slice(settings.test_examples)}
    trees = [(f"{name}{end}", part) for name, part in few.items() for end in ("", "_condition")]
    return replace(task, **{name: cut(getattr(task, name), part) for name, part in trees})


def load_task(
    settings: Settings, device: torch.device | str = "cpu", flow: BayesianFlow | None = None
) -> Task:
    """The data of a run, on `device`, as `flow` takes them (None: the settings' own).

    At scale smoke always what ships with the dependencies (or the text file that the settings
    name), so that the same settings mean the same everywhere.

    Raises:
        DataError: a data file is damaged or cannot be had (no network is no error: the stand-in
            is taken, and `notice` says so).
        TrainingError: there are too few examples.
        ValueError: for a setting of the data that is out of its range.
    """
    from bfn_core.training.ranges import check_one

    if settings.data == OWN:
        raise TrainingError("the data are of one's own, which no settings can name: hand them in, "
                            "train(settings, folder, task=…)")
    for name in ("data", "scale", "flow", "levels", "length", "held_out", "test_examples"):
        check_one(name, getattr(settings, name))
    source, name = _source(settings)
    source = source.to(device)
    conditions: dict[str, Any] = {}
    beside = f". {source.notice}" if source.notice else ""  # the network may be to blame
    if isinstance(source, data.Text):
        length = cast(int, settings.length)
        if len(source.test) < length:  # the shortest part, a twentieth
            raise TrainingError(
                f"{name} is too short for sequences of {length} characters: it needs at least "
                f"{20 * length:,}; try --set length={max(8, len(source.test) // 8)}{beside}"
            )
        train = source.train.unfold(0, length, 1)
        held_out = source.validation.unfold(0, length, length)[: settings.held_out]
        test = source.test.unfold(0, length, length)
    else:
        kept = _held_out(source, settings)
        train, held_out, test = source.train[:-kept], source.train[-kept:], source.test
        conditions = _labels(source, settings, kept) if settings.labels else {}
        if settings.coarse:
            conditions["hint"] = partial(coarse_hints, size=settings.coarse)
    if min(map(len, (train, held_out, test))) < 1:
        raise TrainingError(f"{name} has too few examples for these settings{beside}")
    return Task(
        name, source.notice, train, held_out, test[: settings.test_examples],
        _preparation(settings, flow), getattr(source, "alphabet", None), **conditions,
    )


def _held_out(source: data.Images, settings: Settings) -> int:
    """How many training images are held out: of a stand-in, for which the settings of the larger
    scales were not made, a tenth at most.
    """
    return min(settings.held_out, len(source.train) // 10 if source.stand_in else settings.held_out)


def _labels(source: data.Images, settings: Settings, kept: int) -> dict[str, Tensor]:
    """The classes of the images of each part, of which `kept` are held out, as a network is told
    them.
    """
    labels, test = source.train_labels.long(), source.test_labels.long()
    return {
        "train_condition": labels[:-kept],
        "held_out_condition": labels[-kept:],
        "test_condition": test[: settings.test_examples],
    }


def _source(settings: Settings) -> tuple[data.Images | data.Text, str]:
    """The data and their name; a reader's own text is known by its content too."""
    if settings.text is not None:
        text = data.text_file(settings.text, settings.alphabet)
        content = torch.cat([text.train, text.validation, text.test]).numpy().tobytes()
        return text, f"{text.name} ({digest(content)[:8]})"
    load = getattr(data, settings.data)
    source = load(stand_in=True if settings.scale == "smoke" else None)
    return source, source.name


def _preparation(settings: Settings, flow: BayesianFlow | None) -> Callable[..., Tensor]:
    """How bytes become x: drawn (binary pixels), taken as they are (text), or quantised."""
    if isinstance(flow, DiscreteFlow) or (flow is None and settings.flow == "discrete"):
        return data.binarise if settings.data != "text8" else _as_classes
    return partial(_as_bins, bins=getattr(flow, "bins", settings.levels))


def _as_classes(content: Tensor, *, generator: Generator | None = None) -> Tensor:
    return content.long()


def _as_bins(content: Tensor, *, bins: int, generator: Generator | None = None) -> Tensor:
    return data.quantise(content, bins)


def build_flow(settings: Settings) -> BayesianFlow:
    """The flow that the settings name."""
    if settings.flow == "discrete":
        return DiscreteFlow(settings.levels, settings.beta_1)
    if settings.flow == "discretised":
        return DiscretisedFlow(settings.levels, settings.sigma_1)
    return ContinuousFlow(settings.sigma_1)


# The module in bfn_core.networks and the class; the published ones are those of the paper.
NETWORKS = {
    "unet": ("unet", "UNet"),
    "transformer": ("transformer", "Transformer"),
    "chain_transformer": ("chains", "ChainTransformer"),
    "published_unet": ("published", "PublishedUNet"),
    "published_vdm": ("published", "PublishedVDM"),
    "published_transformer": ("published", "PublishedTransformer"),
}


def reads_text(network: str) -> bool:
    """Whether a network of that name reads sequences; the others read images."""
    return network.endswith("transformer")


def network_class(name: str) -> type[nn.Module]:
    """The class of a network that settings name.

    Raises:
        TrainingError: there is none (yet).
    """
    try:
        module, network = NETWORKS[name]
        return getattr(importlib.import_module(f"bfn_core.networks.{module}"), network)
    except (KeyError, ModuleNotFoundError):
        known = ", ".join(NETWORKS)
        raise TrainingError(f"the network {name!r} is none of bfn_core's, which are {known}; one "
                            "of one's own is handed in, train(settings, folder, bfn=…)") from None


def build_network(settings: Settings) -> nn.Module:
    """The network that the settings name, with weights from torch's global generator.

    Raises:
        TrainingError: bfn_core has no such network (yet).
    """
    return network_class(settings.network)(**arguments_of(settings))


def arguments_of(settings: Settings) -> dict[str, Any]:
    """All arguments of the network that the settings name: what its flow asks for, and its own."""
    if settings.flow == "discrete":
        outputs: dict[str, Any] = {"classes": settings.levels}
    else:
        outputs = {"outputs": 2 if settings.flow == "discretised" else 1}
    if reads_text(settings.network):
        outputs["length"] = settings.length
    return dict(**outputs, **settings.network_arguments)  # neither may stand in for the other


def build(settings: Settings) -> BFN:
    """A BFN with fresh weights: the flow and the network that the settings name."""
    return BFN(build_flow(settings), build_network(settings))
