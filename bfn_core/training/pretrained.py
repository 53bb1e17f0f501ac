"""The paper's own models: `published("mnist")` is the trained BFN, without training.

Their authors put the weights (the moving averages) on the Hugging Face hub. A file is fetched once,
read without executing any pickle, compared tensor by tensor with what the network has, and kept as
safetensors, which can hold nothing but numbers, in bfn_core's folder of data. Its publisher states
no digest. So the SHA-256 of what was got first is told and kept beside the file, and from then on
nothing else is taken in its place.

Tested: the networks, as networks/published.py says; and everything here, with files of the same
names and shapes on a pretended server. Not tested: the real files, which were not at hand, and so
neither the figures.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from bfn_core.data.files import (
    TIMEOUT,
    DataError,
    NoNetwork,
    RemoteFile,
    data_dir,
    digest,
    fetch,
    find,
    locked,
    write_whole,
)
from bfn_core.flows import BayesianFlow, ContinuousFlow, DiscreteFlow
from bfn_core.model import BFN
from bfn_core.networks.published import Published, in_half
from bfn_core.official import (
    BoundedDiscretisedFlow,
    OfficialContinuousFlow,
    OfficialDiscreteFlow,
    OfficialDiscretisedFlow,
)
from bfn_core.training.runs import fit, read_torch, read_weights, save_weights
from bfn_core.training.scales import Settings, of_pixels, settings_for
from bfn_core.training.tasks import TrainingError, build_network

REPOSITORY = "rupspace/pretrained-BFNs"
FOLDER = "published"  # within data_dir()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Model:
    """One of the paper's models.

    Attributes:
        file: its weights, in the repository.
        data: what it was trained on, as `settings_for` calls it.
        figure: −ELBO of the test data in the paper, n = ∞; None where it is not stated here.
        bins, continuous: of pixels, as `of_pixels` takes them.
    """

    file: str
    data: str
    figure: str | None = None
    bins: int | None = None
    continuous: bool = False

    @property
    def settings(self) -> Settings:
        """Those of the scale "paper", whose network is this model's."""
        settings = settings_for(self.data, "paper")
        if self.bins is None:
            return settings
        return of_pixels(settings, self.bins, self.continuous)

    def flow(self, official: bool = False) -> BayesianFlow:
        """Its flow, with the bounds of σ that it was trained with; or with all the habits of the
        authors' code, see bfn_core/official.py.
        """
        settings = self.settings
        if settings.flow == "discrete":
            kind = OfficialDiscreteFlow if official else DiscreteFlow
            return kind(settings.levels, settings.beta_1)
        if settings.flow == "discretised":
            kind = OfficialDiscretisedFlow if official else BoundedDiscretisedFlow
            return kind(settings.levels, settings.sigma_1)
        if official:
            return OfficialContinuousFlow(settings.sigma_1, settings.levels)
        return ContinuousFlow(settings.sigma_1)

    def network(self) -> Published:
        """Its network, on the device "meta", where it takes no room: without values."""
        with torch.device("meta"):
            return cast(Published, build_network(self.settings))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of all tensors in its file."""
        network = self.network()
        own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        return {f"net.{name}": shape for name, shape in {**network.UNUSED, **own}.items()}


MODELS = {
    "mnist": Model("mnist_ema.pt", "mnist", "77.87 nats per image"),
    "cifar10": Model("cifar10_256d_ema.pt", "cifar10", "2.68 bits per dimension", 256),
    "cifar10-16": Model("cifar10_16d_ema.pt", "cifar10", None, 16),
    "cifar10-continuous": Model("cifar10_256c_ema.pt", "cifar10", "2.66 bits per dimension", 256,
                                continuous=True),
    "text8": Model("text8_ema.pt", "text8", "1.41 bits per character"),
}


def model(name: str) -> Model:
    """One of the paper's models by its name.

    Raises:
        ValueError: there is none of it.
    """
    if name not in MODELS:
        raise ValueError(f"name must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]


def published(
    name: str, *, dtype: torch.dtype = torch.float32, official: bool = False,
    say: Callable[[str], object] | None = print,
) -> BFN:
    """One of the paper's own models, trained, on the CPU and in eval mode.

    | name                 | parameters | file   | data                           |
    |----------------------|------------|--------|--------------------------------|
    | "mnist"              | 24.8 M     | 100 MB | MNIST, dynamically binarised   |
    | "cifar10"            | 30.7 M     | 124 MB | CIFAR-10, 256 bins             |
    | "cifar10-16"         | 30.7 M     | 124 MB | CIFAR-10, 16 bins              |
    | "cifar10-continuous" | 30.7 M     | 124 MB | CIFAR-10, as real numbers      |
    | "text8"              | 170.2 M    | 682 MB | text8, 256 characters at a time |

    The first time it is fetched, with huggingface_hub where that is installed; while it is
    converted, the disk must hold it twice. A file that lies in the folder of data already
    (BFN_DATA_DIR) is taken and left there.

    Args:
        name: which.
        dtype: torch.float32, or torch.bfloat16 or torch.float16 for half the memory; what reads
            the belief and the time, and writes the output, is in float32 all the same.
        official: with the habits of the authors' code, for figures equal to theirs; see
            bfn_core/official.py.
        say: is told, once, which file was got and what its SHA-256 is; None for nobody.

    Raises:
        ValueError: another name or dtype.
        DataError: the file cannot be had or kept, is damaged, or is not what it should be
            (NoNetwork where the hub cannot be reached). Nothing is left behind then.
    """
    chosen = model(name)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(
            f"dtype must be torch.float32, torch.float16 or torch.bfloat16, got {dtype}"
        )
    path, network = weights_of(name, say), chosen.network()
    try:
        fit(network, read_weights(path)[1], path, assign=True)
    except TrainingError as error:
        raise DataError(str(error)) from None
    if dtype != torch.float32:
        in_half(network, dtype)
    return BFN(chosen.flow(official), network).eval()


def weights_of(name: str, say: Callable[[str], object] | None = print) -> Path:
    """The path of a model's weights as safetensors; fetched and converted the first time.

    Raises:
        DataError, NoNetwork: as for `published`.
    """
    wanted, folder = model(name), data_dir() / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            return _weights_in(folder, wanted, say)
    except TrainingError as error:
        raise DataError(f"{error}; {_more_room(wanted)}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{folder} cannot be written ({reason}); {_more_room(wanted)}") from None


def _weights_in(folder: Path, wanted: Model, say: Callable[[str], object] | None) -> Path:
    target = folder / Path(wanted.file).with_suffix(".safetensors")
    record = target.with_suffix(".json")
    known = _read_record(record)
    if known and target.exists():
        if digest(target) != known["converted"]:
            raise DataError(f"{target} is damaged: its SHA-256 is not the one in {record.name}; "
                            "delete it, and it is made again")
        return target
    if own := find(wanted.file, (FOLDER, ".")):
        found = _converted(own, wanted, target, known)
    else:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            found = _converted(_download(wanted, Path(scratch)), wanted, target, known)
    if known is None and say is not None:
        say(f"{wanted.file} has the SHA-256 {found['sha256']}. Its publisher states none to "
            f"compare with: this one is kept in {record}, and from now on no other file is taken.")
    write_whole(record, (json.dumps(found, indent=2) + "\n").encode())
    return target


def _read_record(path: Path) -> dict[str, str] | None:
    """The digests of what was got first, {"sha256", "converted"}; None if nothing was."""
    try:
        known = json.loads(path.read_text("utf-8"))
        return {name: known[name] for name in ("file", "from", "sha256", "converted")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: it holds no digests; delete it, and the next file "
                        "that comes is trusted in its place") from None


def _converted(
    path: Path, wanted: Model, target: Path, known: dict[str, str] | None
) -> dict[str, str]:
    """Write the weights of a published file to `target`; what there is to remember of both."""
    sha256 = digest(path)
    if known and known["sha256"] != sha256:
        raise DataError(
            f"{path.name} is not the file that was got first: its SHA-256 is {sha256}, and "
            f"{known['sha256']} is kept in {target.with_suffix('.json')}; delete that if you know "
            "why it has changed"
        )
    weights = _tensors(path, wanted)
    source = address(wanted)
    save_weights(target, weights, wanted.settings, source=source, sha256=sha256)
    return {"file": wanted.file, "from": source, "sha256": sha256, "converted": digest(target)}


def _tensors(path: Path, wanted: Model) -> dict[str, Tensor]:
    """The network's tensors out of a published file, in single precision."""
    refused = f"{path.name} is not used:"
    try:
        content = read_torch(path)
    except OSError as error:
        raise DataError(f"{refused} it is damaged or cut short, {path.stat().st_size:,} bytes "
                        f"({error})") from None
    except ValueError as error:
        raise DataError(f"{refused} it holds more than tensors ({error}), and was not opened, "
                        "since what else a pickle holds may be a program") from None
    shapes = wanted.shapes()
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise DataError(f"{refused} it is no dict of tensors")
    for names, fault in (
        (shapes.keys() - content.keys(), "it lacks"),
        (content.keys() - shapes.keys(), "the network has none of"),
    ):
        if names:
            one = min(map(str, names))
            raise DataError(f"{refused} {fault} {len(names)} tensors, such as {one}")
    for name, shape in shapes.items():
        if tuple(content[name].shape) != shape:
            raise DataError(f"{refused} {name} has the shape {tuple(content[name].shape)}, but the "
                            f"network's is {shape}")
    used = wanted.network().state_dict()
    return {name: content[f"net.{name}"].float() for name in used}


def address(wanted: Model) -> str:
    """Where a model's file is: on the hub, or its mirror that HF_ENDPOINT names."""
    return f"{_hub()}/{REPOSITORY}/resolve/main/{wanted.file}"


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _bytes(wanted: Model) -> int:
    return 4 * sum(torch.Size(shape).numel() for shape in wanted.shapes().values())


def _more_room(wanted: Model) -> str:
    return (f"{wanted.file} needs {2 * _bytes(wanted) / 1e6:,.0f} MB while it is converted, and "
            "BFN_DATA_DIR may name another folder")


def _download(wanted: Model, folder: Path) -> Path:
    """Fetch a model's file into a folder.

    Raises:
        NoNetwork, DataError: it cannot be had.
        OSError: the disk does not take it.
    """
    if shutil.disk_usage(folder).free < 2 * _bytes(wanted):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if importlib.util.find_spec("huggingface_hub"):
        _check_reachable(wanted)
        return _from_hub(wanted, folder)
    target = folder / wanted.file
    fetch(RemoteFile(wanted.file, None, (address(wanted),)), target, data_dir() / FOLDER)
    return target


def _failed(wanted: Model, how: str) -> str:
    return (f"{wanted.file} could not be fetched: {address(wanted)} {how}; try again later, or put "
            f"the file into {data_dir() / FOLDER} yourself")


def _check_reachable(wanted: Model) -> None:
    """Raise NoNetwork or DataError at once where the hub's client would try for half a minute."""
    import requests

    try:
        answer = requests.head(address(wanted), timeout=TIMEOUT)
    except requests.RequestException:
        raise NoNetwork(_failed(wanted, "could not be reached")) from None
    if not answer.ok:
        raise DataError(_failed(wanted, f"answered {answer.status_code} {answer.reason}"))


def _from_hub(wanted: Model, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    options = {"local_dir": folder, "token": False, "endpoint": _hub()}
    try:
        return Path(hf_hub_download(REPOSITORY, wanted.file, **options))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):  # by HF_HUB_OFFLINE, or just now
        raise NoNetwork(_failed(wanted, "could not be reached")) from None
    except Exception as error:  # of whatever library the hub's client is built on
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(_failed(wanted, f"broke off ({reason[0][:200]})")) from None
