"""A pretended accelerator: tensors say "cuda" or "mps", and compute on the CPU.

    with Pretend("mps") as device:
        bfn = BFN(flow, network).to("mps")
        bfn.loss(x.to("mps")).mean().backward()
    assert not device.waits

What the real device refuses is refused in its words: tensors of two devices in one operation, a
generator of another device, and on mps float64 and operations for which torch has no MPS kernel.
Each time the host waits for the device is counted, with the line of this project that made it wait.

What it cannot show: speed, memory, rounding, and whether a kernel of the real device is right. A
copy with non_blocking=True counts as no wait, though it is one where the host's memory is not
pinned. Attention is computed in plain steps, never by a fused kernel.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(__file__).with_suffix(".cpp")
NUMBER = {"cuda": 1, "mps": 13}  # of c10::DeviceType
ASK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
GOOD, NO_KERNEL, NOT_DETERMINISTIC = range(3)
COPIES = (None, "copy to the device", "copy to the host")

# Beside copies, what waits: its result is a number, or of a size that the device decides.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
         "unique_consecutive", "unique_dim_consecutive", "equal", "bincount"}
# What torch.use_deterministic_algorithms(True) refuses on CUDA, of what a BFN might use.
RANDOM_ORDER = {"cumsum", "put_", "histc", "median", "nll_loss2d_forward",
                "grid_sampler_2d_backward", "_adaptive_avg_pool2d_backward",
                "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
                "reflection_pad2d_backward"}
TRIED = (2, 13)  # the version of torch that the compiled part was last tried with


def version() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", torch.__version__)[:2]
    return int(major), int(minor)


def needed() -> ctypes.CDLL:
    """The compiled part. Where there is none the test is skipped, or fails in CI.

    It is skipped there too where there can be none.
    """
    if sys.platform != "linux" or torch.version.cuda or torch.backends.mps.is_built():
        pytest.skip("an accelerator is pretended only on Linux, with a torch for CPUs")
    found = library()
    if isinstance(found, str):
        (pytest.fail if os.environ.get("CI") and version() >= TRIED else pytest.skip)(found)
    return found


@functools.lru_cache
def library() -> ctypes.CDLL | str:
    """The compiled part, made once for each torch; or a sentence that says why there is none."""
    home, standard = Path(torch.__file__).parent, "c++17" if version() < (2, 9) else "c++20"
    flags = ["g++", f"-std={standard}", "-O0", "-shared", "-fPIC", "-w",
             f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
             f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}", str(SOURCE),
             f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu", "-ltorch"]
    key = " ".join([torch.__version__, *flags, SOURCE.read_text(encoding="utf-8")])
    name = f"bfn_accelerator_{os.getuid()}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # what lies in it is run
        return f"{folder} belongs to somebody else"
    made, part = folder / "accelerator.so", folder / f"{os.getpid()}.so"
    if not made.exists():
        try:
            subprocess.run(
                [*flags, "-o", str(part)], check=True, capture_output=True,
                encoding="utf-8", errors="replace",
            )
        except FileNotFoundError:
            return "an accelerator is pretended with g++, and there is none: apt install g++"
        except subprocess.CalledProcessError as error:
            return f"the accelerator cannot be compiled for torch {torch.__version__}: " + next(
                (line for line in error.stderr.splitlines() if "error" in line), error.stderr)
        part.replace(made)
    return ctypes.CDLL(str(made))


@functools.lru_cache
def kernels() -> dict[str, tuple[str | None, frozenset[str]]]:
    """Of each of torch's operations: to which it leaves the work, and what has a kernel for it."""
    try:
        import torchgen
    except ImportError:
        return {}
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    found = {}
    for block in path.read_text(encoding="utf-8").split("\n- func: ")[1:]:
        delegate = re.search(r"^  structured_delegate: (\S+)", block, re.MULTILINE)
        rows = re.findall(r"^    ([\w, ]+):", block, re.MULTILINE)  # "    CPU, CUDA: name"
        keys = frozenset(key.strip() for row in rows for key in row.split(","))
        found[block.partition("(")[0]] = (delegate and delegate[1], keys)
    return found


def full_name(operation) -> str:
    """As native_functions.yaml has it."""
    name = operation._schema.name.partition("::")[2]
    return f"{name}.{operation._schema.overload_name}".removesuffix(".")


def has_mps_kernel(operation: str, composed: bool = False) -> bool:
    """Of its own; or, where `composed`, one that is composed of other operations."""
    delegate, keys = kernels().get(operation, (None, frozenset()))
    if delegate:
        return has_mps_kernel(delegate, composed)
    return "MPS" in keys or (composed and any(key.startswith("Composite") for key in keys))


class Generator(torch._C.Generator):
    """A generator that says a device: the CPU's under another label."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls, "cpu")
        self.where = torch.device(device)
        return self

    device = property(lambda self: self.where)


class Draws(TorchFunctionMode):
    """A generator serves the device that it was made for."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is not None:
            tensor = next((x for x in args if isinstance(x, torch.Tensor)), torch.empty(0))
            device = torch.device(kwargs.get("device") or tensor.device)
            if device.type != generator.device.type:
                raise RuntimeError(f"Expected a '{device.type}' device type for generator but "
                                   f"found '{generator.device.type}'")
        return func(*args, **kwargs)


class Operations(TorchDispatchMode):
    """Sees each operation as it was asked for, before torch takes it apart for the device."""

    def __init__(self, device: Pretend) -> None:
        super().__init__()
        self.pretended = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outer, self.pretended.trusted = self.pretended.trusted, has_mps_kernel(full_name(func))
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.pretended.trusted = outer


class Pretend(contextlib.ExitStack):
    """Within it this machine has one device of `kind`, "cuda" or "mps".

    waits: how often the host waited for it, by (what, line).
    alerts: what CUDA does in an order that changes, by (operation, line), counted where
        torch.use_deterministic_algorithms is on.
    calls: how often each operation ran on the device.
    """

    def __init__(self, kind: str, *, capability=(9, 0), memory=80 * 2**30, name="Pretended GPU"):
        super().__init__()
        self.kind, self.capability, self.memory, self.name = kind, capability, memory, name
        self.waits, self.alerts, self.calls = (collections.Counter() for _ in range(3))
        self.trusted = False  # whether MPS has a kernel of its own for what is being done
        self.ask = ASK(self.asked)

    def asked(self, name: bytes, overload: bytes, copy: int) -> int:
        """What is to be said of an operation that has reached the device."""
        name = name.decode().removeprefix("aten::")
        self.calls[name] += 1
        if copy or name in WAITS:
            self.wait(COPIES[copy] or name)
        if self.kind == "cuda":
            if name in RANDOM_ORDER and torch.are_deterministic_algorithms_enabled():
                self.alerts[name, line()] += 1
                return NOT_DETERMINISTIC
        elif not self.trusted and kernels():
            full = f"{name}.{overload.decode()}".removesuffix(".")
            if full in kernels() and not has_mps_kernel(full, composed=True):
                return NO_KERNEL
        return GOOD

    def wait(self, what: str) -> None:
        self.waits[what, line()] += 1

    def __enter__(self) -> Pretend:
        super().__enter__()
        stub = needed()
        stub.pretend(NUMBER[self.kind], self.ask)
        self.callback(stub.pretend, 0, self.ask)
        self.enter_context(mock.patch.dict(os.environ))
        os.environ.pop("ACCELERATE_USE_CPU", None)
        for place, name, value in [*self.everywhere(), *getattr(self, self.kind)()]:
            self.enter_context(mock.patch.object(place, name, value, create=True))
        forget()
        self.callback(forget)
        # Without threads of autograd's own, which would be one per device that was there at first.
        self.enter_context(torch.autograd.set_multithreading_enabled(False))
        self.enter_context(Draws())
        self.enter_context(Operations(self))
        return self

    def everywhere(self):
        """(where, name, value) of what is replaced for either kind."""
        real_load = torch.load

        def load(file, map_location=None, **options):
            found = real_load(file, map_location="cpu", **options)
            place = torch.device(map_location or "cpu")
            return tree_map(lambda x: x.to(place) if isinstance(x, torch.Tensor) else x, found)

        def clone(storage):
            memory = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            return memory.clone().untyped_storage()

        def attention(*args, **options):
            return torch.ops.aten._scaled_dot_product_attention_math(*args, **options)[0]

        yield torch, "Generator", Generator
        yield torch, "load", load
        yield torch.UntypedStorage, "clone", clone
        yield torch.nn.functional, "scaled_dot_product_attention", attention

    def mps(self):
        yield torch.backends.mps, "is_available", lambda: True
        yield torch.backends.mps, "is_built", lambda: True
        yield torch.mps, "is_available", lambda: True
        yield torch.mps, "device_count", lambda: 1
        yield torch.mps, "synchronize", lambda: self.wait("synchronize")
        yield torch.mps, "get_rng_state", lambda *args: torch.get_rng_state()
        yield torch.mps, "set_rng_state", lambda state, *args: torch.set_rng_state(state)
        for name in ("manual_seed", "empty_cache"):
            yield torch.mps, name, lambda *args: None
        for name in ("current_allocated_memory", "driver_allocated_memory"):
            yield torch.mps, name, lambda: 0
        yield torch.mps, "recommended_max_memory", lambda: self.memory

    def cuda(self):
        major, minor = self.capability
        properties = SimpleNamespace(
            name=self.name, major=major, minor=minor, total_memory=self.memory,
            multi_processor_count=1,
        )
        values = {
            "is_available": True, "is_initialized": True, "_is_in_bad_fork": False,
            "is_current_stream_capturing": False, "device_count": 1, "current_device": 0,
            "get_device_name": self.name, "get_device_properties": properties,
            "get_device_capability": self.capability, "is_bf16_supported": True,
            "mem_get_info": (self.memory, self.memory), "memory_allocated": 0,
            "max_memory_allocated": 0, "memory_reserved": 0, "max_memory_reserved": 0,
        }
        for name, value in values.items():
            yield torch.cuda, name, lambda *args, value=value, **options: value
        for name in ("_lazy_init", "init", "set_device", "manual_seed", "manual_seed_all",
                     "empty_cache", "reset_peak_memory_stats"):
            yield torch.cuda, name, lambda *args, **options: None
        yield torch.cuda, "synchronize", lambda *args: self.wait("synchronize")
        yield torch.cuda, "get_rng_state", lambda *args: torch.get_rng_state()
        yield torch.cuda, "set_rng_state", lambda state, *args: torch.set_rng_state(state)
        yield torch.cuda, "get_rng_state_all", lambda: [torch.get_rng_state()]
        yield torch.cuda, "set_rng_state_all", lambda states: torch.set_rng_state(states[0])


def forget() -> None:
    """Accelerate remembers a process's device: let it look again."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def line() -> str:
    """The innermost line of the package, or of a notebook's cell, that is being run."""
    frame = sys._getframe(1)
    package = str(ROOT / "bfn_core")
    while frame:
        file = frame.f_code.co_filename
        if file.startswith((package, "<cell")):
            return f"{file.removeprefix(str(ROOT) + os.sep)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
