"""What every setting may be: one table, looked at before a run writes or computes anything."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bfn_core import data
from bfn_core.beliefs import cut, told
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.training import devices
from bfn_core.training.scales import DATA_SETS, OWN, SCALES, SHIPPED, USUAL, Settings
from bfn_core.training.tasks import (
    NETWORKS,
    Task,
    TrainingError,
    build,
    network_class,
    reads_text,
)

# What a network may make of arguments that it did not foresee.
UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
GIVEN = ("classes", "outputs", "length")  # of a network's arguments, what other settings decide


@dataclass(frozen=True)
class Rule:
    """What a value must be: a test, and the words for it that follow "must be"."""

    holds: Callable[[Any], bool]
    words: str


def whole(low: int, high: float = math.inf) -> Rule:
    words = f"a whole number of at least {low}"
    words = words if high == math.inf else f"a whole number from {low} to {high}"
    return Rule(lambda value: type(value) is int and low <= value <= high, words)


def number(value: Any) -> bool:
    """Whether it is a number, and neither NaN nor infinite."""
    return type(value) in (int, float) and math.isfinite(value)


def one_of(words: tuple[str, ...]) -> Rule:
    return Rule(lambda value: value in words, f"one of {', '.join(words)}")


def or_own(rule: Rule) -> Rule:
    """Or what is handed in to `train`."""
    return Rule(lambda value: value == OWN or rule.holds(value), rule.words)


def or_none(rule: Rule) -> Rule:
    words = f"{rule.words}, or nothing (null)"
    return Rule(lambda value: value is None or rule.holds(value), words)


def pair(rule: Rule) -> Rule:
    return Rule(
        lambda value: type(value) is tuple and len(value) == 2 and all(map(rule.holds, value)),
        f"two numbers, each {rule.words}",
    )


POSITIVE = Rule(lambda value: number(value) and value > 0, "a number above 0")
NOT_NEGATIVE = Rule(lambda value: number(value) and value >= 0, "a number of at least 0")
SHARE = Rule(lambda value: number(value) and 0 <= value < 1, "a number from 0 on and below 1")
CLOSED = Rule(lambda value: number(value) and 0 <= value <= 1, "a number from 0 to 1")
BETWEEN = Rule(lambda value: number(value) and 0 < value < 1, "a number between 0 and 1")
FLAG = Rule(lambda value: type(value) is bool, "true or false")
PATH = Rule(lambda value: type(value) is str and bool(value), "the path of a file")
SYMBOLS = Rule(
    lambda value: type(value) is str and 2 <= len(value) == len(set(value)) <= 256,
    "2 to 256 different symbols",
)
NAMED = Rule(
    lambda value: type(value) is dict and all(type(key) is str for key in value),
    "arguments of the network by their names",
)

RULES = {
    "data": or_own(one_of(DATA_SETS)),
    "scale": or_own(one_of(SCALES)),
    "flow": or_own(one_of(("continuous", "discretised", "discrete"))),
    "network": or_own(one_of(tuple(NETWORKS))),
    "network_arguments": NAMED,
    "levels": whole(2, 256),
    "beta_1": or_none(POSITIVE),
    "sigma_1": or_none(BETWEEN),
    "length": or_none(whole(1)),
    "text": or_none(PATH),
    "alphabet": or_none(SYMBOLS),
    "initial": or_none(PATH),
    "flips": FLAG,
    "labels": FLAG,
    "coarse": or_none(whole(1)),
    "condition_dropout": SHARE,
    "steps": whole(1),
    "batch": whole(1),
    "accumulation": whole(1),
    "learning_rate": POSITIVE,
    "warmup": whole(0),
    "decay": FLAG,
    "cooldown": CLOSED,
    "betas": pair(SHARE),
    "weight_decay": NOT_NEGATIVE,
    "muon": or_none(POSITIVE),
    "time_power": POSITIVE,
    "cross_entropy": CLOSED,
    "width_weight": NOT_NEGATIVE,
    "clip": POSITIVE,
    "ema": SHARE,
    "seed": whole(0, 2**63 - 1),
    "precision": one_of(("no", "bf16", "fp16")),
    "channels_last": FLAG,
    "compile": FLAG,
    "deterministic": FLAG,
    "log_every": whole(1),
    "checkpoint_every": whole(1),
    "validate_every": whole(1),
    "held_out": whole(1),
    "test_examples": or_none(whole(1)),
    "step_examples": or_none(whole(1)),
    "test_draws": whole(1),
    "sample_count": whole(1),
    "sample_steps": whole(1),
}


def check(settings: Settings) -> None:
    """Raise ValueError, naming the setting, unless all are in range and go together."""
    for name in RULES:
        check_one(name, getattr(settings, name))
    for complaint in _discords(settings):
        raise ValueError(complaint)


def check_one(name: str, value: Any) -> None:
    """Raise ValueError, naming it, if a setting by itself is out of its range."""
    if not RULES[name].holds(value):
        raise ValueError(f"the setting {name} must be {RULES[name].words}, got {value!r}")


def _discords(settings: Settings) -> Iterator[str]:
    """What is in range by itself, but not together with the rest."""
    yield from _discords_of_the_flow(settings)
    yield from _discords_of_the_data(settings)
    yield from _without_effect(settings)
    if settings.network == OWN:
        if settings.initial:
            yield ("the setting initial is for bfn_core's networks; load(path, bfn=it) gives one "
                   "of one's own its weights")
        if settings.network_arguments:
            yield "network_arguments are for bfn_core's networks, and the network is one's own"
        return
    known = arguments_of(settings.network)
    for name in settings.network_arguments:
        if name not in known:
            yield (f"network_arguments.{name}: the network {settings.network} has no such "
                   f"argument, but {', '.join(known)}")


def _discords_of_the_flow(settings: Settings) -> Iterator[str]:
    needed = "beta_1" if settings.flow == "discrete" else "sigma_1"
    if settings.flow != OWN and getattr(settings, needed) is None:
        yield f"the flow {settings.flow} needs the setting {needed}, which is not set"


def _discords_of_the_data(settings: Settings) -> Iterator[str]:
    on_text = settings.data == "text8"
    if settings.data == OWN:
        if settings.labels:
            yield "the setting labels is for images that come with them; a task holds conditions"
        if settings.coarse:
            yield "the setting coarse is for the images that settings name; a task has its hint"
        if settings.initial == SHIPPED:
            yield "no weights are shipped for data of one's own: initial must be a path"
        if reads_text(settings.network) and settings.length is None:
            yield f"the network {settings.network} needs the setting length, which is not set"
        return
    if on_text and settings.flow not in ("discrete", OWN):
        yield f"text needs the flow discrete, got {settings.flow}"
    if on_text and settings.length is None:
        yield "text needs the setting length, characters in a sequence, which is not set"
    symbols = len(settings.alphabet or data.ALPHABET)
    if on_text and settings.levels != symbols:
        yield f"the setting levels must be {symbols}, as many as symbols, got {settings.levels}"
    for name in ("length", "text", "alphabet"):
        if not on_text and getattr(settings, name) is not None:
            yield f"the setting {name} is for text, so not for {settings.data}"
    for name in ("flips", "labels", "coarse"):
        if on_text and getattr(settings, name):
            yield f"the setting {name} is for images, so not for text"
    if settings.coarse and settings.flow == "discrete" and settings.levels != 2:
        yield f"the setting coarse needs binary pixels or numbers, got {settings.levels} classes"
    if settings.network != OWN and on_text != reads_text(settings.network):
        yield f"the network {settings.network} does not read {'text' if on_text else 'images'}"


def _without_effect(settings: Settings) -> Iterator[str]:
    """What is not as usual and changes nothing, though whoever set it means that it does."""
    usual = USUAL.get((settings.data, settings.scale))
    if usual is None:  # of one's own data: these are looked at when they are there
        return
    idle = {"discrete": "sigma_1", "discretised": "beta_1", "continuous": "beta_1"}
    name = idle.get(settings.flow)
    if name and getattr(settings, name) not in (None, getattr(usual, name)):
        yield f"the setting {name} is not for the flow {settings.flow}: leave it out"
    if settings.flow == "discrete" and settings.data != "text8" and settings.levels != 2:
        yield ("the setting levels must be 2 for images with the flow discrete, which are drawn in "
               f"black and white, got {settings.levels}")
    if settings.condition_dropout and not (settings.labels or settings.coarse):
        yield ("the setting condition_dropout is for a network that is told something: set labels "
               "or coarse too, or leave it out")


def arguments_of(network: str) -> list[str]:
    """The names that `network_arguments` may hold for a network."""
    known = inspect.signature(network_class(network)).parameters
    return [name for name in known if name not in GIVEN]


def made(
    settings: Settings, task: Task, device: torch.device, bfn: BFN | None = None
) -> BFN:
    """The BFN that the settings name, or `bfn` itself, on `device`, once its network has read an
    example of the task.

    Raises:
        TrainingError: it cannot be made so, or cannot read that.
    """
    theirs = f"the network {settings.network} cannot be made with network_arguments = "
    theirs += f"{settings.network_arguments}"
    try:
        made = build(settings) if bfn is None else bfn
        made = made.to(device)
        dtype = made._reference.dtype
        theta = made.flow.prior(task.batch_shape(1), dtype=dtype, device=device)
        one = slice(0, 1)
        known = cut(task.train_condition, one)
        if task.hint is not None:
            known = task.known(task.prepare(cut(task.train, one), generator=None), known)
        beside = told(known)
        with torch.no_grad(), evaluating(made):
            made.output(theta, 0.5, **beside)
    except UNFORESEEN as error:
        if devices.out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0][:200] if str(error) else type(error).__name__
        what = theirs if bfn is None else "the network of the given bfn does not work"
        raise TrainingError(f"{what} for examples of shape {task.shape}: {reason}") from None
    return made
