"""The tables of `make bench` about training: whole models, loading data, and the recipe."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bfn_core import data
from bfn_core.likelihood import elbo
from bfn_core.training.loop import Trainer
from bfn_core.training.runs import Run
from bfn_core.training.scales import DATA_SETS, Settings, settings_for
from bfn_core.training.tasks import build

# Dense bf16, as NVIDIA's data sheets state it, in TFLOP/s.
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121}
MARKS = (15, 30, 60, 120, 300)  # CPU seconds
# What was published with the paper, beside the network: see the paper scale in scales.py.
PUBLISHED = {
    "learning_rate": 1e-4, "betas": (0.9, 0.98), "weight_decay": 0.01, "ema": 0.9999,
    "warmup": 0, "decay": False, "cooldown": 0.0, "muon": None, "batch": 512,
}


def bench_models() -> None:
    """Training steps of the whole laptop models (on a GPU: the gpu models), one process each."""
    print("Whole models, training steps (share: what bfn_core adds to the network and optimiser):")
    for name in DATA_SETS:
        code = f"from tools.bench_training import one_model; one_model({name!r})"
        found = json.loads(subprocess.check_output([sys.executable, "-c", code], encoding="utf-8"))
        print(
            f"  {name:<8} {found['scale']:<6} {found['parameters'] / 1e6:5.2f} M parameters, "
            f"batch {found['batch']}, {found['precision']}: {found['rate']:.2f} steps/s, "
            f"bfn_core's share {100 * found['share']:.0f} %, peak "
            f"memory {found['memory']:.0f} MB beyond import, "
            f"{found['speed']}"
        )


def peak_memory() -> float:
    """The most memory that this process has had at any time, in MiB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # a Mac counts bytes, Linux kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def one_model(name: str, rounds: int = 6) -> None:
    """Measure one model and print JSON; in a process of its own, for the sake of peak memory."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    settings = settings_for(name, "gpu" if on_gpu else "laptop")
    before = peak_memory()
    torch.manual_seed(0)
    bfn = build(settings).to(device)
    bfn.flow.validate = not on_gpu
    optimiser = torch.optim.AdamW(bfn.parameters(), settings.learning_rate)
    x = examples(settings).to(device)
    theta = bfn.flow.sample_flow(x, torch.full((len(x),), 0.5, device=device))
    inputs, t = bfn.flow.network_input(theta), torch.full((len(x),), 0.5, device=device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")

    def whole():
        with autocast:
            bfn.loss(x).mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    def bare():
        with autocast:
            bfn.network(inputs, t).float().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    def timed(step) -> float:
        start = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed(whole), timed(bare)
    pairs = [(timed(whole), timed(bare)) for _ in range(rounds)]
    both = statistics.median(a for a, _ in pairs)
    if on_gpu:
        memory = torch.cuda.max_memory_allocated() / 2**20
    else:
        memory = peak_memory() - before
    with FlopCounterMode(display=False) as counter:
        whole()
    achieved = counter.get_total_flops() / both / 1e12
    speed = f"{1000 * achieved:.0f} GFLOP/s"
    if on_gpu:
        device_name = torch.cuda.get_device_name()
        peak = next((p for key, p in PEAKS.items() if key in device_name), None)
        speed = f"{achieved:.1f} TFLOP/s" + (f", {100 * achieved / peak:.0f} %" if peak else "")
    print(json.dumps({
        "scale": settings.scale, "parameters": sum(p.numel() for p in bfn.parameters()),
        "batch": settings.batch, "precision": settings.precision, "rate": 1 / both,
        "share": statistics.median(1 - b / a for a, b in pairs), "memory": memory, "speed": speed,
    }))


def examples(settings: Settings) -> torch.Tensor:
    """Random data of the shape that a model learns."""
    if settings.length:
        return torch.randint(settings.levels, (settings.batch, settings.length))
    if settings.flow == "discrete":
        return torch.randint(2, (settings.batch, 1, 28, 28))
    pixels = torch.randint(256, (settings.batch, 3, 32, 32), dtype=torch.uint8)
    return data.quantise(pixels, settings.levels)


def bench_bins(shape: tuple[int, ...] = (16, 3, 32, 32)) -> None:
    """Mean of a 256-bin output and its gradient: the closed form against the table of bins."""
    print(f"Mean over 256 bins and its gradient, at {shape}, one process each:")
    for form in ("closed", "naive"):
        code = f"from tools.bench_training import one_mean; one_mean({form!r}, {shape!r})"
        found = json.loads(subprocess.check_output([sys.executable, "-c", code], encoding="utf-8"))
        milliseconds = 1000 * found["seconds"]
        print(f"  {form:<7} {milliseconds:7.1f} ms, peak memory {found['memory']:.0f} MB")


def one_mean(form: str, shape: tuple[int, ...], rounds: int = 10) -> None:
    """Time one form and print JSON; in a process of its own, for the sake of peak memory."""
    from bfn_core.distributions import DiscretisedNormal

    torch.manual_seed(0)
    mean = (2 * torch.rand(shape) - 1).requires_grad_()
    std = (0.01 + 0.3 * torch.rand(shape)).requires_grad_()
    before = peak_memory()

    def closed():
        return DiscretisedNormal(mean, std, 256).mean

    def naive():
        edges = torch.linspace(-1, 1, 257)[1:-1]
        below = torch.distributions.Normal(mean[..., None], std[..., None]).cdf(edges)
        ends = torch.zeros_like(below[..., :1])
        probs = torch.cat([below, ends + 1], -1) - torch.cat([ends, below], -1)
        return probs @ ((2 * torch.arange(256) + 1) / 256 - 1)

    call = {"closed": closed, "naive": naive}[form]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call().sum().backward()
        times.append(time.perf_counter() - start)
    memory = peak_memory() - before
    print(json.dumps({"seconds": statistics.median(times), "memory": memory}))


def bench_data() -> None:
    """Time to read each data set from the cache; nothing is fetched."""
    print("Loading from the cache (aim: MNIST and text8 under 1 s, CIFAR-10 under 2 s):")
    code = (
        "import sys, time, socket\n"
        "socket.socket.connect = None\n"  # not a byte from the network
        "from bfn_core import data\n"
        "start = time.perf_counter()\n"
        "found = getattr(data, sys.argv[1])(stand_in=False)\n"
        "print(f'{time.perf_counter() - start:.2f} s, {found.name}')"
    )
    for name in DATA_SETS:
        command = [sys.executable, "-c", code, name]
        ran = subprocess.run(command, capture_output=True, encoding="utf-8")
        print(f"  {name:<8} {ran.stdout.strip() or 'is not in the cache'}")


def bench_recipe() -> None:
    """Held-out nats of MNIST's laptop network over CPU time: our recipe, the published settings."""
    ours = settings_for("mnist", "laptop", held_out=1000)
    print(f"Nats on {ours.held_out:,} held-out digits after so many CPU seconds from scratch, the")
    print("same network (laptop), our settings against those published with the paper:")
    rows = {"ours": track(ours), "published": track(replace(ours, **PUBLISHED))}
    print(f"  {'CPU s':>10} " + " ".join(f"{mark:>8}" for mark in MARKS))
    for name, row in rows.items():
        print(f"  {name:>10} " + " ".join(f"{nats:8.1f}" for nats in row))
    target = rows["published"][-1]
    reached = [m for m, nats in zip(MARKS, rows["ours"], strict=True) if nats <= target]
    if reached:
        print(f"  What the published settings reach after {MARKS[-1]} s, {target:.1f} nats, ours "
              f"have by {reached[0]} s: at least {MARKS[-1] / reached[0]:.0f} times as fast.")
    else:
        print(f"  Ours do not reach the published settings' {target:.1f} nats in that time.")


def track(settings: Settings) -> list[float]:
    """Nats with the averaged weights at each of MARKS; the schedule ends with the last mark."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", data.StandInWarning)
        trial = Trainer(settings, Run(Path(folder) / "trial"), say=print)
        trial.run.folder.mkdir()
        trial.begin(resume=False)
        trial.make_step()
        start = time.process_time()
        for _ in range(10):
            trial.make_step()
        steps = int(MARKS[-1] / (time.process_time() - start) * 10)
        trainer = Trainer(replace(settings, steps=steps), Run(Path(folder) / "run"))
        trainer.run.folder.mkdir()
        trainer.begin(resume=False)
        generator = torch.Generator().manual_seed(1)
        held_out = trainer.task.prepare(trainer.task.held_out, generator=generator)
        used, found = 0.0, []
        for mark in MARKS:
            while used < mark:
                start = time.process_time()
                trainer.make_step()
                used += time.process_time() - start
                trainer.window.clear()
                trainer.step = min(trainer.step, steps - 1)  # the estimate of steps may be short
            generator.manual_seed(2)
            found.append(elbo(trainer.averaged(), held_out, generator=generator).total.mean)
        return found


TABLES = {
    "models": bench_models, "bins": bench_bins, "data": bench_data, "recipe": bench_recipe,
}
os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
