"""From settings to what they name: the data, the flow and the network."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from bfn_core import data
from bfn_core.data.files import digest
from bfn_core.flows import BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.model import BFN
from bfn_core.training.scales import Settings


class TrainingError(Exception):
    """Training cannot begin or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Task:
    """Examples to learn from and to be judged by, held as bytes on the device that uses them."""

    name: str  # what the data really are: "MNIST", or "digits stand-in"
    notice: str  # one sentence if something stands in for the data, else empty
    train: Tensor  # (N, *shape) uint8; for text a view, one example per starting character
    held_out: Tensor  # (V, *shape) uint8, kept from the training set for validation
    test: Tensor  # (M, *shape) uint8
    prepare: Callable[..., Tensor]  # bytes, generator → x as the flow takes it

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train.shape[1:])

    @property
    def variables(self) -> int:
        """Dimensions, or characters, of one example."""
        return self.train[0].numel()

    @property
    def unit(self) -> str:
        """What nats per example become when divided by `variables` · ln 2."""
        return "bits per character" if len(self.shape) == 1 else "bits per dimension"


def load_task(settings: Settings, device: torch.device | str = "cpu") -> Task:
    """The data of a run, on `device`. At scale smoke always what ships with the dependencies
    (or the text file that the settings name), so that the same settings mean the same everywhere.

    Raises DataError if a data file is damaged or cannot be had (no network is no error: the
    stand-in is taken, and `notice` says so), TrainingError if there are too few examples, and
    ValueError for a setting of the data that is out of its range.
    """
    from bfn_core.training.ranges import check_one

    for name in ("data", "scale", "flow", "levels", "length", "held_out", "test_examples"):
        check_one(name, getattr(settings, name))
    source, name = _source(settings)
    source = source.to(device)
    if isinstance(source, data.Text):
        length = settings.length
        if len(source.test) < length:  # the shortest part, a twentieth
            raise TrainingError(
                f"{name} is too short for sequences of {length} characters: it needs at least "
                f"{20 * length:,}; try --set length={max(8, len(source.test) // 8)}"
            )
        train = source.train.unfold(0, length, 1)
        held_out = source.validation.unfold(0, length, length)[: settings.held_out]
        test = source.test.unfold(0, length, length)
    else:
        train, held_out = source.train[: -settings.held_out], source.train[-settings.held_out :]
        test = source.test
    if min(map(len, (train, held_out, test))) < 1:
        raise TrainingError(f"{name} has too few examples for these settings")
    return Task(
        name, source.notice, train, held_out, test[: settings.test_examples],
        _preparation(settings),
    )


def _source(settings: Settings) -> tuple[data.Images | data.Text, str]:
    """The data and their name; a reader's own text is known by its content too."""
    if settings.text is not None:
        text = data.text_file(settings.text, settings.alphabet)
        content = torch.cat([text.train, text.validation, text.test]).numpy().tobytes()
        return text, f"{text.name} ({digest(content)[:8]})"
    load = getattr(data, settings.data)
    source = load(stand_in=True if settings.scale == "smoke" else None)
    return source, source.name


def _preparation(settings: Settings) -> Callable[..., Tensor]:
    """How bytes become x: drawn (binary pixels), taken as they are (text), or quantised."""
    if settings.flow == "discrete":
        return data.binarise if settings.length is None else _as_classes
    return partial(_as_bins, bins=settings.levels)


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


NETWORKS = {"unet": "UNet", "transformer": "Transformer"}


def build_network(settings: Settings) -> nn.Module:
    """The network that the settings name, with weights from torch's global generator.

    Raises TrainingError if bfn_core has no such network (yet).
    """
    name = settings.network
    try:
        module = importlib.import_module(f"bfn_core.networks.{name}")
        network = getattr(module, NETWORKS[name])
    except (KeyError, ModuleNotFoundError):
        raise TrainingError(
            f"{settings.data} needs the network {name!r}, which bfn_core does not have yet"
        ) from None
    if settings.flow == "discrete":
        outputs = {"classes": settings.levels}
    else:
        outputs = {"outputs": 2 if settings.flow == "discretised" else 1}
    if name == "transformer":
        outputs["length"] = settings.length
    return network(**outputs, **settings.network_arguments)


def build(settings: Settings) -> BFN:
    """A BFN with fresh weights: the flow and the network that the settings name."""
    return BFN(build_flow(settings), build_network(settings))
