"""A run's directory: its settings, its metrics, and a checkpoint replaced whole or not at all.

    settings.json         what was run, on which data, with which versions, in which sessions
    metrics.jsonl         one line per log_every steps, and one per validation
    checkpoint.pt         everything needed to go on as if nothing had happened
    weights.safetensors   the averaged weights, once the run has ended
    evaluation.json       the test figures, once the run has ended
    samples.png           what the model draws (samples.txt for text, samples.safetensors for data
                          that are neither)

Nothing here ever executes a pickle: checkpoints are read with weights_only=True, weights with
safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bfn_core.data import asset
from bfn_core.data.assets import CHECKOUT
from bfn_core.data.files import locked, replace
from bfn_core.model import BFN
from bfn_core.training.scales import OWN, SHIPPED, Settings
from bfn_core.training.tasks import TrainingError, build

HALF = (torch.float16, torch.bfloat16)
FORMAT = "bfn_core checkpoint 1"


DRIVE = Path("/content/drive/MyDrive")  # a Google Drive, where Colab mounts it


def runs_dir() -> Path:
    """Where the notebooks keep their runs, whatever the working directory.

    It is BFN_RUNS_DIR; else bfn_core_runs on a Drive that is mounted in Colab; else runs/ in the
    checkout that holds bfn_core; else, where it was installed without one, bfn_core_runs in the
    user's home folder.
    """
    if chosen := os.environ.get("BFN_RUNS_DIR"):
        return Path(chosen).absolute()
    if DRIVE.is_dir():
        return DRIVE / "bfn_core_runs"
    return CHECKOUT.parent / "runs" if CHECKOUT.is_dir() else Path.home() / "bfn_core_runs"


class Run:
    """The files of one run in `folder`, which need not exist yet."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.settings = self.folder / "settings.json"
        self.metrics = self.folder / "metrics.jsonl"
        self.checkpoint = self.folder / "checkpoint.pt"
        self.weights = self.folder / "weights.safetensors"
        self.evaluation = self.folder / "evaluation.json"

    @property
    def exists(self) -> bool:
        """Whether a run has begun here."""
        return self.settings.exists() or self.checkpoint.exists()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other processes from training in it at the same time.

        A new folder that is still empty in the end is removed: a run that was refused leaves none.

        Raises:
            TrainingError: it cannot be made or another process trains there.
        """
        new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{self.folder} cannot be made ({error.strerror})") from None
        try:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(locked(self.folder, timeout=0))
                except BlockingIOError:
                    raise TrainingError(
                        f"another process is training in {self.folder}: choose another directory"
                    ) from None
                yield
        finally:
            if new:
                with contextlib.suppress(OSError):  # as it should be, not empty
                    self.folder.rmdir()

    def read_settings(self) -> dict[str, Any]:
        """What settings.json holds: "settings", "data" and more.

        Raises:
            TrainingError: the folder cannot be written.
        """
        try:
            record = json.loads(self.settings.read_text("utf-8"))
            record["settings"] = Settings.from_dict(record["settings"])
            record["data"]
        except FileNotFoundError:
            raise TrainingError(f"{self.folder} holds no run (no {self.settings.name})") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.settings} is damaged ({error}); nothing was changed"
            ) from None
        return record

    def write_json(self, path: Path, record: dict[str, Any]) -> None:
        """Write a small record whole.

        Raises:
            TrainingError: the folder cannot be written.
        """
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        # What UTF-8 has no bytes for, in the name of a file say, JSON escapes in the same way.
        content = text.encode("utf-8", "backslashreplace")
        write_atomically(path, lambda file: file.write(content))

    def read_json(self, path: Path) -> dict[str, Any]:
        """What `write_json` wrote.

        Raises:
            TrainingError: it is missing or damaged.
        """
        try:
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} cannot be read ({error})") from None

    def last_step(self) -> int:
        """The step that made the weights that `load` has given."""
        from safetensors import safe_open

        if not self.weights.exists():
            return self.read_checkpoint()["step"]
        with safe_open(self.weights, "pt") as file:
            facts = json.loads(file.metadata()["bfn_core"])
        return facts.get("step", facts["settings"]["steps"])

    def append(self, record: dict[str, Any]) -> None:
        """Add a line to the metrics.

        Raises:
            TrainingError: the folder cannot be written.
        """
        try:
            with self.metrics.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(
                f"{self.metrics} cannot be written ({error.strerror}); the last checkpoint is "
                "intact"
            ) from None

    def read_metrics(self) -> list[dict[str, Any]]:
        """The metrics' lines; one that a kill cut short is left out."""
        records = []
        if self.metrics.exists():
            for line in self.metrics.read_text("utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    records.append(json.loads(line))
        return records

    def cut_metrics(self, step: int) -> None:
        """Forget the lines after `step`, which are about to be computed again."""
        if self.metrics.exists():
            kept = [json.dumps(r) + "\n" for r in self.read_metrics() if r["step"] <= step]
            write_atomically(self.metrics, lambda file: file.write("".join(kept).encode()))

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: it cannot be written; then the last one is intact.
        """
        state = {"format": FORMAT, **state}
        write_atomically(self.checkpoint, lambda file: torch.save(state, file))

    def read_checkpoint(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """The checkpoint.

        Raises:
            TrainingError: naming it, if it is damaged or not one of ours.
        """
        refused = f"{self.checkpoint} is not used, and nothing was changed: it is"
        try:
            state = read_torch(self.checkpoint, device)
        except OSError as error:
            raise TrainingError(f"{refused} damaged or cut short ({error})") from None
        except ValueError as error:
            raise TrainingError(f"{refused} not a checkpoint of bfn_core ({error})") from None
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise TrainingError(f"{refused} not a checkpoint of bfn_core")
        return state


def read_torch(path: Path, device: torch.device | str = "cpu") -> Any:
    """What torch.save wrote. No pickle is executed.

    Raises:
        OSError: the file cannot be read, is damaged or cut short.
        ValueError: it holds anything but tensors, numbers, words, and lists and dicts of them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():  # torch.load does not look at the check sums
                raise OSError(f"check sum of {bad} differs")
        return torch.load(path, map_location=device, weights_only=True)
    except (zipfile.BadZipFile, EOFError) as error:
        raise OSError(str(error)) from None
    except (RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))  # what a pickle would have imported
        reason = asked[1] if asked else str(error).strip().splitlines()[0][:200]
        raise ValueError(reason) from None


def write_atomically(path: Path, write) -> None:
    """Call `write(file)` on a new file beside `path`, then give it that name in one step.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; whatever was at `path`
            is then still there, whole.
    """
    partial = path.with_name(path.name + ".part")
    try:
        try:
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:  # torch.save gives a RuntimeError on a full disk
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        kept = "; what was there before is intact" if path.exists() else ""
        raise TrainingError(f"{path} cannot be written ({reason}){kept}") from None


def save_weights(path: Path, weights: dict[str, Tensor], settings: Settings, **facts: Any) -> None:
    """Write weights as safetensors, with the settings that rebuild their BFN and other facts."""
    from safetensors.torch import save

    facts = {"settings": settings.to_dict(), **facts}
    # safetensors knows no channels-last layout, and no weights that share memory
    content = save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()},
        {"bfn_core": json.dumps(facts)},
    )
    write_atomically(path, lambda file: file.write(content))


def load(path: str | Path, *, bfn: BFN | None = None) -> BFN:
    """The BFN of a run's directory, or of a weights.safetensors file, ready to sample.

    A run that has not ended gives the averaged weights of its last checkpoint. Weights stored in
    half precision are used in single precision.

    Args:
        bfn: one like that which was handed in to `train`, whose weights are replaced; without
            it a network of one's own cannot be rebuilt.

    Raises:
        TrainingError: there is nothing to load, or it is damaged or does not fit.
    """
    path = Path(path)
    run = Run(path)
    if path.is_dir() and not run.weights.exists():
        settings = run.read_settings()["settings"]
        if not run.checkpoint.exists():
            raise TrainingError(f"{path} holds neither weights nor a checkpoint yet")
        weights = run.read_checkpoint()["ema"]
        path = run.checkpoint
    else:
        path = run.weights if path.is_dir() else path
        settings, weights = read_weights(path)
    own = settings.network == OWN
    if own and bfn is None:
        raise TrainingError(
            f"{path} holds weights of a BFN that was handed in to train, and what that was a file "
            "cannot tell: make it again, and load(folder, bfn=it) gives it these weights"
        )
    bfn = build(settings) if bfn is None else bfn
    fit(bfn if own else bfn.network, weights, path)
    return bfn.eval()


def shipped(name: str) -> BFN:
    """The BFN whose trained weights this repository ships: "mnist", "cifar10" or "text8";
    or "mnist_conditional", which may be told a digit's label, or "mnist_enlarge", which is told its
    coarse picture (`bfn_core.networks.conditions.coarse_hints`); or "text8_chain", whose network
    has a table of letters inside (`bfn_core.networks.chains`), or "text8_guess", in which the
    transformer beside the table reads the table's guess and its own.

    Raises:
        DataError: there are no such weights, or they cannot be had; `data.record(name)` says
            how they were trained and what they are worth.
    """
    return load(asset(f"{name}.safetensors"))


def initial_weights(settings: Settings) -> tuple[dict[str, Tensor], str]:
    """The network's weights that `settings.initial` names, and eight hexadecimal digits of their
    content, by which a record tells them from others.

    Raises:
        TrainingError, DataError: there are none, or they cannot be read.
    """
    chosen = settings.initial
    if chosen is None:
        raise TrainingError("the settings name no initial weights")
    weights = (shipped(settings.data) if chosen == SHIPPED else load(chosen)).network.state_dict()
    content = hashlib.sha256()
    for name in sorted(weights):
        content.update(name.encode() + weights[name].float().contiguous().numpy().tobytes())
    return weights, content.hexdigest()[:8]


def read_weights(path: Path) -> tuple[Settings, dict[str, Tensor]]:
    """What `save_weights` wrote, in single precision.

    Raises:
        TrainingError: naming the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = (file.metadata() or {}).get("bfn_core")
            if facts is None:
                raise TrainingError(
                    f"{path} holds weights, but not of bfn_core: the settings that rebuild their "
                    "network are not in it"
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        weights = {name: w.float() if w.dtype in HALF else w for name, w in weights.items()}
        return Settings.from_dict(json.loads(facts)["settings"]), weights
    except FileNotFoundError:
        raise TrainingError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is damaged, or no safetensors file ({error})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the settings in {path} are not bfn_core's ({error})") from None


def fit(
    module: torch.nn.Module, weights: dict[str, Tensor], path: Path, assign: bool = False
) -> None:
    """Load weights that must fit exactly.

    Args:
        assign: the tensors themselves become the module's, which may be on the device "meta".

    Raises:
        TrainingError: naming the file and the misfit; the module is then as it was.
    """
    try:
        # torch copies what fits before it complains of the rest.
        if not (misfit := misfit_of(weights, module.state_dict())):
            module.load_state_dict(weights, assign=assign)
    except (RuntimeError, AttributeError, TypeError) as error:
        misfit = str(error).strip().splitlines()[-1].strip()
    if misfit:
        raise TrainingError(f"{path} is not used, and nothing was changed: it is of another "
                            f"network ({misfit[:200]})")


def misfit_of(weights: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    """The first name or shape in which weights differ from a module's own; empty if none does."""
    for name in {**own, **weights}:
        theirs, ours = (tuple(w[name].shape) if name in w else "none" for w in (weights, own))
        if theirs != ours:
            return f"{name}: {theirs} in the file, {ours} in the network"
    return ""
