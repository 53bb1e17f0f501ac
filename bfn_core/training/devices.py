"""What this machine computes on, and what that is good for.

Looking does not start CUDA wherever that can be avoided: a process in which CUDA has started cannot
fork, and `notebook_launcher` forks.

This module imports nothing but the standard library and torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True)
class Card:
    """An NVIDIA GPU.

    Attributes:
        name: as its driver calls it.
        capability: CUDA's compute capability, such as (7, 5) for a T4 or (9, 0) for an H100.
        memory: GiB in all.
    """

    name: str
    capability: tuple[int, int]
    memory: float

    @property
    def precision(self) -> str:
        """The fastest mixed precision that it has circuits for: bf16, fp16 or no."""
        if self.capability >= (8, 0):
            return "bf16"  # before, it is emulated
        return "fp16" if self.capability >= (7, 0) else "no"  # before, there are no tensor cores

    @property
    def scale(self) -> str:
        """What it does in about an hour: gpu, t4 or, where it is old or small, laptop."""
        if self.capability >= (8, 0) and self.memory >= 20:
            return "gpu"
        return "t4" if self.capability >= (7, 0) and self.memory >= 7 else "laptop"

    def __str__(self) -> str:
        return f"{self.name}, {self.memory:.0f} GiB of memory"


def device_type() -> str:
    """Where `train` computes: "cuda", "mps" (a Mac's GPU) or "cpu". Does not start CUDA.

    ACCELERATE_USE_CPU=true keeps everything on the CPU, as it does for Accelerate.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t"):
        return "cpu"
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if cuda_present() else "cpu"


def cuda_present() -> bool:
    """Whether torch can use an NVIDIA GPU, asked of the driver's library alone."""
    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        return torch.cuda.is_available()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def card(start: bool = True) -> Card | None:
    """The GPU that training would use, or None where it would use none.

    Args:
        start: whether CUDA may be started where there is no other way to know; if not, None
            too, as     where the driver does not say.
    """
    if device_type() != "cuda":
        return None
    if not torch.cuda.is_initialized() and (found := _asked_of_the_driver()):
        return found
    if not torch.cuda.is_initialized() and not start:
        return None
    try:
        gpu = torch.cuda.get_device_properties(0)
    except (AssertionError, RuntimeError, NameError):  # a driver, or a torch, that cannot say
        return None
    return Card(gpu.name, (gpu.major, gpu.minor), gpu.total_memory / 2**30)


@lru_cache
def _asked_of_the_driver() -> Card | None:
    """The first card, by nvidia-smi, which starts no CUDA here; None where that cannot say."""
    program = shutil.which("nvidia-smi")
    # Which card is the first is the variable's to say; its other forms are left to CUDA.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if program is None or not visible.isdigit():
        return None
    query = "--query-gpu=name,compute_cap,memory.total"
    try:
        answer = subprocess.run(
            [program, query, "--format=csv,noheader,nounits", f"--id={visible}"],
            capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True,
        )
        name, capability, memory = (w.strip() for w in answer.stdout.strip().rsplit(",", 2))
        major, minor = map(int, capability.split("."))
        return Card(name, (major, minor), float(memory) / 1024)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def name_of(device: torch.device) -> str:
    """What a reader calls a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"mps": "a Mac's GPU (mps)", "cpu": "the CPU"}.get(device.type, str(device))


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was asked to; for timing."""
    torch.zeros((), device=device).item()  # work is done in the order in which it was asked for


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory did not suffice."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)
