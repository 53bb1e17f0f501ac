"""How much work to do: the five scales, and the settings of every data set at each of them.

This module imports nothing but the standard library and, to see which GPU is there, `devices`.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, cast

from bfn_core.training import devices

SCALES = ("smoke", "laptop", "t4", "gpu", "paper")
DATA_SETS = ("mnist", "cifar10", "text8")
OWN = "own"  # in a setting: handed in to `train`, where no name can say what it is
SHIPPED = "shipped"  # as the initial weights: those that the repository ships for the data


def current_scale(start: bool = True) -> str:
    """The scale in force: the variable BFN_SCALE, else what the machine does in about an hour.

    That is "gpu" on a good NVIDIA GPU, "t4" on one that is older or smaller, else "laptop".

    Args:
        start: whether CUDA may be started where that alone can tell; if not, "gpu or t4" is
            said.

    Raises:
        ValueError: BFN_SCALE is set to something else than smoke, laptop, t4, gpu or paper.
    """
    scale = os.environ.get("BFN_SCALE", "").strip().lower()
    if not scale:
        if card := devices.card(start):
            return card.scale
        unknown = "gpu" if start else "gpu or t4"
        return unknown if devices.device_type() == "cuda" else "laptop"
    if scale not in SCALES:
        raise ValueError(f"BFN_SCALE is {scale!r}, but must be one of {', '.join(SCALES)}")
    return scale


@dataclass(frozen=True)
class Settings:
    """Everything that, with the code and the data, decides what a training run computes.

    For one's own data, network or flow, handed in to `train`, the names are "own".
    """

    # Data and model
    data: str  # mnist, cifar10 or text8
    scale: str  # smoke, laptop, t4, gpu or paper
    flow: str  # continuous, discretised or discrete
    network: str  # one of tasks.NETWORKS
    network_arguments: dict[str, Any] = field(default_factory=dict)
    levels: int = 2  # K, the classes or bins of one dimension
    beta_1: float | None = None  # β(1), discrete data
    sigma_1: float | None = None  # σ₁, continuous and discretised data
    length: int | None = None  # characters in a sequence, text only
    text: str | None = None  # path of a text file that takes text8's place
    alphabet: str | None = None  # the symbols of that file; None: normalised to text8's 27

    # Where it begins
    # Weights in place of random ones: a file, a run's folder, "shipped". A U-Net may have more
    # channels than theirs (networks/widening.py).
    initial: str | None = None

    # What is shown in training
    flips: bool = False  # show half of the training images mirrored left to right
    labels: bool = False  # tell the network each image's class, as a condition
    coarse: int | None = None  # tell the network the means of squares of so many pixels, as hints
    condition_dropout: float = 0.0  # share of examples shown without their condition

    # Optimisation
    steps: int = 1000  # optimiser steps
    batch: int = 128  # examples per step, over all processes
    accumulation: int = 1  # pieces into which each process cuts its share of the batch
    learning_rate: float = 2e-3  # its highest value
    warmup: int = 100  # steps over which the learning rate rises from 0
    decay: bool = True  # lower it along a half cosine to 0 at the last step; else keep it
    cooldown: float = 0.0  # instead keep it, but lower it to 0 in this last share of the steps
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    weight_decay: float = 0.01  # of AdamW and Muon
    muon: float | None = None  # highest learning rate of Muon, for the blocks' matrices or kernels
    time_power: float = 1.0  # t = u^power, u uniform; the costs are weighted so that L^∞ stays
    cross_entropy: float = 0.0  # its share of what is minimised, see losses.py; 0: L^∞
    width_weight: float = 0.0  # of −ln p_O(x), for the widths of discretised data; 0: L^∞ alone
    clip: float = 5.0  # gradients are scaled down to this norm
    ema: float = 0.998  # decay of the average of the weights, per step, see averaging.py
    seed: int = 0  # of the initial weights, the batches and all noise

    # The machine
    precision: str = "no"  # mixed precision, as Accelerate calls it: no, bf16 or fp16
    channels_last: bool = False  # memory layout of an image network
    compile: bool = False  # torch.compile the network
    deterministic: bool = False  # on CUDA: the same losses to the last digit every time, but slower

    # Records, and judging
    log_every: int = 10  # steps per line of metrics.jsonl
    checkpoint_every: int = 500
    validate_every: int = 500  # also draws samples
    held_out: int = 2000  # training examples kept for validation
    test_examples: int | None = None  # how many of the test set are evaluated; None: all
    step_examples: int | None = None  # how many of those for L^n, dear at 256 bins; None: all
    test_draws: int = 4  # draws of t and of the flow per test example
    sample_count: int = 64
    sample_steps: int = 50  # n of the sampler

    def __post_init__(self) -> None:
        for name, value in _with(tuple, vars(self)).items():
            object.__setattr__(self, name, value)  # numbers of NumPy as Python's, lists as tuples

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return _with(list, asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The settings that `to_dict` wrote.

        Raises:
            ValueError: on unknown or missing names.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown settings: {', '.join(unknown)}")
        try:
            return cls(**_with(tuple, values))
        except TypeError as error:
            raise ValueError(f"incomplete settings: {error}") from None


def _with(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The same, every sequence in it as a list or as a tuple, and NumPy's numbers as Python's."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return _with(kind, value)
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            value = [convert(part) for part in value]
        return kind(value) if isinstance(value, (list, tuple)) else value

    return {key: convert(value) for key, value in values.items()}


def settings_for(data: str, scale: str | None = None, **changes: Any) -> Settings:
    """The settings for a data set at a scale (None: the one in force), with `changes` applied.

    Where they ask for mixed precision and an NVIDIA GPU is at hand, it is of the kind that this GPU
    has circuits for: bf16, on older ones fp16.

    Raises:
        ValueError: there is no such data set, scale or setting, or a value is out of its range
            (`ranges.RULES`).
    """
    from bfn_core.training.ranges import check

    scale = current_scale() if scale is None else scale
    if data not in DATA_SETS:
        raise ValueError(f"data is {data!r}, but must be one of {', '.join(DATA_SETS)}")
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}, but must be one of {', '.join(SCALES)}")
    if unknown := sorted(set(changes) - {f.name for f in fields(Settings)}):
        raise ValueError(f"there is no setting {unknown[0]!r}")
    settings = USUAL[data, scale]
    if settings.precision != "no" and "precision" not in changes and (card := devices.card()):
        settings = replace(settings, precision=card.precision)
    settings = replace(settings, **changes)
    check(settings)
    return settings


def own_settings(**changes: Any) -> Settings:
    """Settings for one's own examples and BFN: `train(settings, folder, task=…, bfn=…)`.

    They are the defaults of `Settings`, with `changes` applied: steps and batch above all.

    Raises:
        ValueError: there is no such setting, or a value is out of its range.
    """
    from bfn_core.training.ranges import check

    if unknown := sorted(set(changes) - {f.name for f in fields(Settings)}):
        raise ValueError(f"there is no setting {unknown[0]!r}")
    settings = Settings(**{"data": OWN, "scale": OWN, "flow": OWN, "network": OWN, **changes})
    check(settings)
    return settings


def of_own(settings: Settings, *, task: bool, bfn: bool) -> Settings:
    """The settings without what a task or a BFN that is handed in takes the place of."""
    if task:
        settings = replace(settings, data=OWN, text=None, alphabet=None, labels=False,
                           coarse=None)
    if bfn:
        settings = replace(settings, flow=OWN, network=OWN, network_arguments={}, beta_1=None,
                           sigma_1=None)
    return settings


def on_text(settings: Settings, path: str | os.PathLike, alphabet: str | None = None) -> Settings:
    """text8's settings for a text file of one's own, see `data.text_file`.

    Args:
        alphabet: the file's symbols (`data.alphabet_of` finds them); None normalises it to
            text8's 27. β(1) is then such that K β(1), what the messages say in all of the
            difference between two classes, stays as it is.

    Raises:
        ValueError: the settings are not text8's.
    """
    if settings.data != "text8":
        raise ValueError(f"a text file can take the place of text8, but not of {settings.data}")
    settings = replace(settings, text=os.path.abspath(path), alphabet=alphabet)
    if alphabet is None or len(alphabet) == settings.levels:
        return settings
    beta_1 = settings.levels * cast(float, settings.beta_1) / len(alphabet)
    return replace(settings, levels=len(alphabet), beta_1=beta_1)


def of_pixels(settings: Settings, bins: int | None = None, continuous: bool = False) -> Settings:
    """Settings for images of `bins` grey levels (None: as they are), as discretised or, if asked,
    as continuous data; with the published σ₁, 0.001 for 256 bins and √0.001 for 16.

    Raises:
        ValueError: for data that are not images of grey levels, and for other bins.
    """
    if settings.sigma_1 is None:
        raise ValueError(f"{settings.data} has no grey levels to put into bins")
    bins = settings.levels if bins is None else bins
    if bins not in SIGMAS:
        raise ValueError(f"bins must be one of {', '.join(map(str, SIGMAS))}, got {bins}")
    network = dict(settings.network_arguments)
    if "differences" in network:
        network["differences"] = SIGMAS[bins]
    if continuous:  # whose p_O has no width
        settings = replace(settings, flow="continuous", width_weight=0.0)
    else:
        settings = replace(settings, flow="discretised")
    return replace(settings, levels=bins, sigma_1=SIGMAS[bins], network_arguments=network)


def changed(settings: Settings, name: str, value: Any) -> Settings:
    """The settings with one of them changed; `network_arguments.channels` names one of a network.

    Raises:
        ValueError: there is no setting of that name, or its value is of another kind or out of
            its range. Whether it goes together with the others is seen when training begins.
    """
    from bfn_core.training.ranges import check_one

    name, _, argument = name.partition(".")
    known = {f.name: f for f in fields(Settings)}
    if name not in known:
        raise ValueError(f"there is no setting {name!r}")
    old = getattr(settings, name)
    if isinstance(old, dict):
        value = {**old, argument: value} if argument else value
    elif argument:
        raise ValueError(f"the setting {name!r} has no parts, so no {argument!r}")
    value = _with(tuple, {name: value})[name]
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    nothing = value is None and known[name].default is None
    if old is not None and not nothing and type(value) is not type(old):
        raise ValueError(
            f"the setting {name!r} is {old!r}, and {value!r} is of another kind"
        )
    check_one(name, value)
    return replace(settings, **{name: value})


def command(settings: Settings, run: str = "RUN") -> str:
    """The shell command that trains with these settings.

    Raises:
        ValueError: there is none: for one's own data or network.
    """
    if OWN in (settings.data, settings.flow, settings.network):
        raise ValueError("no command trains on data, or a network, that are handed in to `train`")
    words = [f"python -m bfn_core.training {settings.data} --scale {settings.scale}"]
    old = USUAL[settings.data, settings.scale]  # not this machine's: the command is for any
    if settings.text is not None:
        old = on_text(old, settings.text, settings.alphabet)
        words.append(f"--text {_word(settings.text)}")
        words += ["--own-alphabet"] if settings.alphabet else []
    old, new = old.to_dict(), settings.to_dict()
    for name in new:
        if name in ("steps", "seed"):
            words.append(f"--{name} {new[name]}")
        elif isinstance(new[name], dict):
            if old[name].keys() - new[name].keys():  # one by one, none can be taken away
                words.append(f"--set {name}={_word(new[name])}")
                continue
            parts = {k: v for k, v in new[name].items() if old[name].get(k) != v}
            words += [f"--set {name}.{k}={_word(v)}" for k, v in parts.items()]
        elif new[name] != old[name]:
            words.append(f"--set {name}={_word(new[name])}")
    return " ".join([*words, f"--run {run}"])


def _word(value: Any) -> str:
    """A value as `--set` reads it, in quotes where a shell needs them."""
    return shlex.quote(value if isinstance(value, str) else json.dumps(value))


# The settings published with the paper that all of its models share. The networks' arguments are by
# default the published ones, too; of the images a hundredth was held out.
_PUBLISHED = {
    "scale": "paper", "weight_decay": 0.01, "ema": 0.9999, "clip": 5.0, "warmup": 0, "decay": False,
    "precision": "bf16", "log_every": 100, "checkpoint_every": 5_000, "validate_every": 10_000,
    "steps": 1_000_000,
}

_MNIST = {"data": "mnist", "flow": "discrete", "network": "unet", "levels": 2, "beta_1": 9.0}
SIGMAS = {256: 1e-3, 16: 1e-3**0.5}  # bins: σ₁
_CIFAR10 = {
    "data": "cifar10", "flow": "discretised", "network": "unet", "levels": 256,
    "sigma_1": SIGMAS[256],
}
_TEXT8 = {
    "data": "text8", "flow": "discrete", "network": "transformer", "levels": 27, "beta_1": 0.5625
}

_ALL = [
    Settings(
        **_MNIST, scale="smoke", steps=20, batch=32, warmup=5, ema=0.9,
        network_arguments={"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": ()},
        log_every=1, checkpoint_every=10, validate_every=20, held_out=100, test_examples=100,
        test_draws=1, sample_count=16, sample_steps=5,
    ),
    Settings(
        **_MNIST, scale="laptop", steps=12_000, batch=64, warmup=200, cooldown=0.5, ema=0.9995,
        muon=0.01, channels_last=True,
        network_arguments={
            "channels": 16, "multipliers": (1, 2, 4), "blocks": 1, "attention": (2,),
        },
    ),
    Settings(
        **_MNIST, scale="t4", steps=30_000, batch=128, warmup=500, ema=0.9995, precision="fp16",
        channels_last=True,
        network_arguments={
            "channels": 64, "multipliers": (1, 2), "blocks": 2, "attention": (1,), "dropout": 0.1,
        },
        log_every=50, checkpoint_every=1_000, validate_every=5_000, sample_steps=100,
    ),
    Settings(
        **_MNIST, scale="gpu", steps=40_000, batch=512, warmup=1_000, learning_rate=1e-3,
        ema=0.9995, precision="bf16", channels_last=True,
        network_arguments={
            "channels": 96, "multipliers": (1, 2, 2), "blocks": 2, "attention": (1, 2),
            "dropout": 0.2,
        },
        log_every=50, checkpoint_every=2_000, validate_every=5_000, sample_steps=100,
    ),
    Settings(
        **{**_MNIST, "network": "published_unet"}, **_PUBLISHED, batch=512, learning_rate=1e-4,
        betas=(0.9, 0.98), held_out=600, channels_last=True, sample_steps=100,
    ),
    Settings(
        **_CIFAR10, scale="smoke", steps=10, batch=8, warmup=5, ema=0.9,
        network_arguments={
            "image_channels": 3, "channels": 8, "multipliers": (1, 2), "blocks": 1,
            "attention": (), "fourier": 2,
        },
        log_every=1, checkpoint_every=5, validate_every=10, held_out=32, test_examples=32,
        test_draws=1, sample_count=4, sample_steps=5,
    ),
    Settings(
        **_CIFAR10, scale="laptop", steps=10_000, batch=32, warmup=200, cooldown=0.5,
        betas=(0.9, 0.99), ema=0.9995, muon=0.02, width_weight=1.0, channels_last=True,
        network_arguments={
            "image_channels": 3, "channels": 24, "multipliers": (1, 2, 4), "blocks": 1,
            "attention": (2,), "fourier": 2, "differences": 1e-3,
        },
        validate_every=2_500, held_out=1_000, step_examples=256, test_draws=1, sample_count=16,
        sample_steps=100,
    ),
    Settings(
        **_CIFAR10, scale="t4", steps=40_000, batch=64, warmup=500, learning_rate=1e-3,
        betas=(0.9, 0.99), ema=0.9995, width_weight=1.0, precision="fp16", channels_last=True,
        network_arguments={
            "image_channels": 3, "channels": 128, "multipliers": (1, 2), "blocks": 2,
            "attention": (1,), "patch": 2, "fourier": 2, "differences": 1e-3,
        },
        log_every=50, checkpoint_every=1_000, validate_every=5_000, held_out=1_000,
        step_examples=256, test_draws=1, sample_count=16, sample_steps=100,
    ),
    Settings(
        **_CIFAR10, scale="gpu", steps=50_000, batch=128, warmup=1_000, learning_rate=5e-4,
        betas=(0.9, 0.99), ema=0.9995, width_weight=1.0, precision="bf16", channels_last=True,
        network_arguments={
            "image_channels": 3, "channels": 128, "multipliers": (1, 2, 2), "blocks": 3,
            "attention": (1, 2), "dropout": 0.1, "fourier": 2, "differences": 1e-3,
        },
        log_every=50, checkpoint_every=2_000, validate_every=5_000, sample_steps=100,
    ),
    Settings(
        **{**_CIFAR10, "network": "published_vdm"}, **_PUBLISHED, batch=32, learning_rate=2e-4,
        betas=(0.9, 0.99), held_out=500, channels_last=True, sample_steps=250,
    ),
    Settings(
        **_TEXT8, scale="smoke", length=32, steps=20, batch=16, warmup=5, ema=0.9,
        network_arguments={"layers": 1, "heads": 2, "width": 32},
        log_every=1, checkpoint_every=10, validate_every=20, held_out=32, test_examples=64,
        test_draws=1, sample_count=4, sample_steps=5,
    ),
    Settings(
        **_TEXT8, scale="laptop", length=128, steps=4_000, batch=32, warmup=100, cooldown=0.25,
        ema=0.999, muon=0.02, time_power=0.5, cross_entropy=1.0,
        network_arguments={
            "layers": 4, "heads": 4, "width": 256, "reach": 4, "positions": "rotary",
        },
        sample_count=20, sample_steps=100, held_out=500, test_examples=2_000, test_draws=1,
    ),
    Settings(
        **_TEXT8, scale="t4", length=128, steps=20_000, batch=128, warmup=500, learning_rate=1e-3,
        ema=0.9995, precision="fp16", time_power=0.5,
        network_arguments={"layers": 6, "heads": 6, "width": 384, "reach": 4}, sample_count=20,
        log_every=50, checkpoint_every=1_000, validate_every=5_000, sample_steps=100,
        held_out=1_000, test_examples=2_000, test_draws=1,
    ),
    Settings(
        **_TEXT8, scale="gpu", length=256, steps=30_000, batch=256, warmup=1_000,
        learning_rate=6e-4, ema=0.9995, precision="bf16",
        network_arguments={"layers": 8, "heads": 8, "width": 512, "reach": 4}, sample_count=8,
        log_every=50, checkpoint_every=2_000, validate_every=5_000, sample_steps=256,
        held_out=1_000,
    ),
    Settings(
        **{**_TEXT8, "network": "published_transformer"}, **_PUBLISHED, length=256, batch=3_328,
        learning_rate=1e-4, betas=(0.9, 0.98), held_out=1_000,
        accumulation=26,  # pieces of 128 sequences, which one GPU of 80 GiB holds
        sample_count=8, sample_steps=1_000,
    ),
]
USUAL = {(settings.data, settings.scale): settings for settings in _ALL}
