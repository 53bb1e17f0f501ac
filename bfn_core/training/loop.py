"""The training loop: the same for one CPU, one GPU and, through Accelerate, several.

Every step draws its randomness from a generator seeded by (seed, step), for the whole batch, and
each process takes its share. So a step depends on nothing but the weights, the optimiser and its
own number: a run can be killed and resumed anywhere, and two processes compute what one does. (But
for dropout, whose noise each process draws for its own share.)

No step waits for the device: what it computed is read when a line of metrics is due.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bfn_core.flows import BayesianFlow
from bfn_core.model import BFN, stratified
from bfn_core.training import devices
from bfn_core.training.averaging import MovingAverage
from bfn_core.training.evaluation import code_length, draw, evaluate
from bfn_core.training.losses import objective
from bfn_core.training.memory import keep_memory
from bfn_core.training.optimisers import Optimisers, share
from bfn_core.training.progress import Interruption, Pace, Progress, tensorboard
from bfn_core.training.ranges import check, made
from bfn_core.training.runs import Run, fit, save_weights
from bfn_core.training.scales import Settings
from bfn_core.training.seeds import mix
from bfn_core.training.tasks import Task, TrainingError, build_flow, load_task

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Result:
    """How a call of `train` ended."""

    bfn: BFN  # with the averaged weights, on the CPU, whatever it was trained on
    step: int  # the last step made
    finished: bool  # False if it was interrupted
    evaluation: dict[str, Any] | None  # what evaluation.json holds


def train(
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    say: Callable[[str], None] | None = None,
    progress: bool = False,
) -> Result:
    """Train a BFN as `settings` say, and keep its run in `folder`.

    It takes the GPU that is there (NVIDIA's, or a Mac's), else the CPU; ACCELERATE_USE_CPU=true
    keeps it on the CPU. The model comes back on the CPU: `result.bfn.to("cuda")` moves it.

    resume: go on from the folder's checkpoint, or from the start if it has none yet.
    watch: called with every record that goes into metrics.jsonl.
    say: called with sentences for a reader, such as print.
    progress: whether to show a progress bar on stderr.

    Ctrl-C (and SIGTERM) end it after the step that is being made, with a checkpoint.
    Raises TrainingError or DataError with a sentence on what to do; the last checkpoint stays. And
    ValueError for a setting out of its range, before anything is written.
    """
    trainer = Trainer(settings, Run(folder), watch=watch, say=say, progress=progress)
    with reproducible(trainer.device, settings.deterministic), trainer.alone():
        try:
            trainer.begin(resume)
            with Interruption() as interruption:
                trainer.loop(interruption)
            return trainer.end()
        except RuntimeError as error:
            if not devices.out_of_memory(error):
                raise
            raise TrainingError(trainer.too_large()) from None


class Trainer:
    """The state of a run while it runs. `train` is the way to use it."""

    def __init__(self, settings: Settings, run: Run, *, watch=None, say=None, progress=False):
        check(settings)
        self.settings, self.run = settings, run
        self.accelerator = accelerator_for(settings.precision)
        self.main = self.accelerator.is_main_process
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_memory()
        self.watch, self.progress = watch, progress and self.main
        self.say = say if say and self.main else lambda sentence: None
        self.step = 0
        self.seconds = 0.0  # of training, over all resumptions
        self.window: list[Tensor] = []  # (loss, gradient norm) since the last line of metrics
        self.saved_step: int | None = None
        self.interrupted = False
        self.next_vote = 0  # the step after which the processes ask each other next
        self.generator = torch.Generator(self.device)
        processes = self.accelerator.num_processes
        if settings.batch % (processes * settings.accumulation):
            raise TrainingError(
                f"a batch of {settings.batch} cannot be shared evenly by {processes} processes "
                f"in {settings.accumulation} pieces each"
            )

    def alone(self):
        """Keep other runs out of the folder (the main process speaks for all of this run's)."""
        return self.run.held() if self.main else nullcontext()

    # Beginning -----------------------------------------------------------------------------------

    def begin(self, resume: bool) -> None:
        """Data, network, optimiser; and the checkpoint's state where a run is resumed."""
        if self.run.exists and not resume:
            raise TrainingError(
                f"{self.run.folder} already holds a run: add --resume to go on with it, or choose "
                "another directory"
            )
        with self.accelerator.main_process_first():  # so that the data are fetched once
            self.task = load_task(self.settings, self.device)
        if self.task.notice:
            self.say(self.task.notice)
        self.make_model()
        self.say(self.plan())
        if resume and self.run.exists:
            self.restore()
        self.accelerator.wait_for_everyone()
        if self.main:
            self.run.write_json(self.run.settings, self.facts())
        self.board = tensorboard(self.run.folder, self.step) if self.main else None

    def make_model(self) -> None:
        settings = self.settings
        torch.manual_seed(mix(settings.seed, "weights"))
        plain = made(settings, self.task.shape, self.device)
        if settings.channels_last:
            plain = plain.to(memory_format=torch.channels_last)
        self.ema = MovingAverage(plain, settings.ema)
        self.optimisers = Optimisers(plain, settings, self.say, scaler=self.accelerator.scaler)
        self.plain = plain
        if settings.compile:
            plain.compile()
        self.network = self.accelerator.prepare_model(plain)
        flow = build_flow(settings)
        flow.validate = self.device.type == "cpu"  # elsewhere each check would wait for the device
        self.bfn = BFN(flow, self.network)
        self.parameters = sum(p.numel() for p in plain.parameters())

    def plan(self) -> str:
        """What is about to be done, and on what."""
        settings, processes = self.settings, self.accelerator.num_processes
        kind = settings.precision if self.accelerator.native_amp else "float32"
        where = devices.name_of(self.device)
        where += f", {processes} processes" if processes > 1 else ""
        sentence = (
            f"{self.task.name}: {settings.steps:,} steps of {settings.batch:,} examples, a network "
            f"of {self.parameters:,} parameters, in {kind} on {where}."
        )
        card = devices.card() if settings.precision == "bf16" else None
        if card and card.precision != "bf16":
            sentence += f" This GPU only emulates bf16: --set precision={card.precision} is faster."
        return sentence

    def too_large(self) -> str:
        """What to do when the device's memory does not suffice."""
        settings = self.settings
        kept = "there is no checkpoint yet"
        if self.saved_step is not None:
            kept = f"the checkpoint of step {self.saved_step:,} is intact"
        return (
            f"the memory of {devices.name_of(self.device)} does not suffice for a batch of "
            f"{settings.batch:,} in {settings.accumulation} piece{'s'[:settings.accumulation > 1]}:"
            f" try --set accumulation={2 * settings.accumulation} (the same losses, by smaller "
            "pieces) with --resume, or, in another directory, a smaller batch (--set batch="
            f"{settings.batch // 2}) or scale; {kept}"
        )

    def facts(self) -> dict[str, Any]:
        """What settings.json holds."""
        device = str(self.device)
        if self.device.type == "cuda":
            device = devices.name_of(self.device)
        return {
            "settings": self.settings.to_dict(),
            "data": self.task.name,
            "notice": self.task.notice,
            "parameters": self.parameters,
            "device": device,
            "threads": torch.get_num_threads(),
            "processes": self.accelerator.num_processes,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "command": " ".join(sys.argv),
        }

    def restore(self) -> None:
        """Take up the checkpoint, if there is one. Raises TrainingError if it does not fit."""
        run = self.run
        if run.settings.exists():
            begun = run.read_settings()
            old = begun["settings"].to_dict()
            check_same(run.folder, old, begun["data"], self.settings, self.task)
        if not run.checkpoint.exists():
            self.say(f"{run.folder} has no checkpoint yet: starting from the beginning.")
            if self.main:
                run.cut_metrics(-1)
            return
        # To the CPU: each optimiser moves what it wants on the device, and leaves its counters.
        state = run.read_checkpoint()
        try:
            fit(self.plain, state["network"], run.checkpoint)
            fit(self.ema.module, state["ema"], run.checkpoint)
            old = json.loads(state["settings"])
            check_same(run.checkpoint, old, state["data"], self.settings, self.task)
            self.optimisers.load(state["optimisers"], state.get("scaler"))
            self.ema.n_averaged.copy_(state["averaged"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.window = [values.to(self.device) for values in state["window"]]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(f"{run.checkpoint} is not used, and nothing was changed: it is not "
                                f"a checkpoint of this run ({error})") from None
        self.saved_step = self.step
        if self.main:
            run.cut_metrics(self.step)
        self.say(f"Resuming {run.folder} after step {self.step:,} of {self.settings.steps:,}.")

    # Steps ---------------------------------------------------------------------------------------

    def loop(self, interruption: Interruption) -> None:
        """Make steps until the last one, or until interrupted; a checkpoint is left either way."""
        settings = self.settings
        pace = Pace(self.device, self.step, settings.steps, self.say)
        if self.validation_due() and not self.validated():  # killed between the two
            self.validate()
        with Progress(self.step, settings.steps, shown=self.progress, task=self.task) as bar:
            while self.step < settings.steps and not self.interrupted:
                began = time.perf_counter()
                self.make_step()
                last = self.step == settings.steps
                due = self.step % settings.log_every == 0 or last
                values = self.look() if due else None  # waits for the device, so it is timed
                self.seconds += time.perf_counter() - began
                bar.advance()
                pace.advance()
                if due:
                    bar.show(self.log(values))
                self.interrupted = self.agreed(interruption.asked)
                whole = self.step % settings.checkpoint_every == 0 or last or self.interrupted
                if whole or self.validation_due():  # first kept, then judged
                    self.save()
                if self.validation_due() and not self.interrupted:
                    self.validate()

    def make_step(self) -> None:
        """One step of the optimiser: this process's share of the batch, in equal pieces."""
        settings, accelerator = self.settings, self.accelerator
        x, t, weight, theta = draw_batch(
            self.task, self.bfn.flow, settings, self.step, self.generator
        )
        torch.manual_seed(mix(settings.seed, "dropout", self.step, accelerator.process_index))
        self.optimisers.set_rates(share(settings, self.step))
        pieces = settings.accumulation * accelerator.num_processes
        size = settings.batch // pieces
        mine = range(settings.accumulation * accelerator.process_index, pieces)
        total = torch.zeros((), device=self.device)
        self.network.train()
        for piece in mine[: settings.accumulation]:
            part = slice(piece * size, (piece + 1) * size)
            last = piece == mine[settings.accumulation - 1]
            # Gradients are averaged over the processes once, with the last piece.
            with nullcontext() if last else accelerator.no_sync(self.network):
                output = self.bfn.output(cut(theta, part), t[part])
                cost = self.bfn.flow.rate_cost(x[part], output, t[part])
                aim = objective(cost, self.bfn.flow, x[part], output, t[part], settings)
                accelerator.backward(self.mean(aim, weight[part]))
            total = total + self.mean(cost.detach(), weight[part])  # L^∞, whatever is learned from
        self.optimisers.unscale()
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), settings.clip)
        self.optimisers.step()
        self.ema.update_parameters(self.plain)
        self.window.append(torch.stack([total, norm.detach()]))
        self.step += 1

    def mean(self, cost: Tensor, weight: Tensor) -> Tensor:
        """A piece's share of the mean over the batch, of costs per variable and weights of t."""
        return (weight * cost.flatten(1).sum(1)).mean() / self.settings.accumulation

    def agreed(self, asked: bool) -> bool:
        """Whether any process was interrupted; several ask each other every two seconds or so."""
        if self.accelerator.num_processes == 1:
            return asked
        if self.step < self.next_vote:
            return False
        # All hear the same sums, so all choose the same step for the next vote.
        votes = torch.tensor([float(asked), self.seconds / self.step], device=self.device)
        asking, pace = self.accelerator.reduce(votes, "sum").tolist()
        pace /= self.accelerator.num_processes
        self.next_vote = self.step + max(1, int(VOTE_SECONDS / max(pace, 1e-6)))
        return asking > 0

    def look(self) -> Tensor:
        """The losses and gradient norms since the last line, (n, 2).

        Raises TrainingError if one is not finite. Looking waits for the device, so it is done once
        per line of metrics, and before any checkpoint is written.
        """
        values = self.accelerator.reduce(torch.stack(self.window), "mean").cpu()
        # With fp16 a gradient that is not finite is a step that was left out, and no fault.
        judged = values[:, :1] if self.optimisers.scaler else values
        good = judged.isfinite().all(1)
        if not good.all():
            wrong = int((~good).nonzero()[0])
            step = self.step - len(values) + wrong + 1
            what = "loss" if not values[wrong, 0].isfinite() else "gradient"
            kept = "there is no checkpoint yet"
            if self.saved_step is not None:
                kept = f"the last good checkpoint is {self.run.checkpoint}, step {self.saved_step}"
            raise TrainingError(
                f"the {what} of step {step:,} is not a number, so training stops; {kept}; try a "
                "lower learning rate, a longer warm-up, or precision no in place of bf16 or fp16"
            )
        if self.optimisers.scale < MIN_SCALE:
            raise TrainingError(
                f"at step {self.step:,} no gradient has been finite in fp16 for long, so training "
                "stops; try precision no, or a lower learning rate"
            )
        return values

    # Records -------------------------------------------------------------------------------------

    def log(self, values: Tensor) -> dict[str, Any]:
        """Write a line of metrics: means of the `values` since the line before."""
        losses, norms = values.double().unbind(1)
        made = norms[norms.isfinite()]  # fp16 leaves a step out where a gradient is not finite
        record = {
            "step": self.step,
            "loss": losses.mean().item(),
            "gradient_norm": made.mean().item() if len(made) else None,
            "learning_rate": self.optimisers.groups()[0]["lr"],
            "seconds": round(self.seconds, 3),
        }
        if self.optimisers.scaler:
            record["left_out"] = len(norms) - len(made)
        self.window.clear()
        self.record(record)
        return record

    def record(self, record: dict[str, Any]) -> None:
        if not self.main:
            return
        self.run.append(record)
        if self.board:
            for name in record.keys() - {"step", "seconds"}:
                if record[name] is not None:
                    self.board.add_scalar(name, record[name], self.step)
        if self.watch:
            self.watch(record)

    def validation_due(self) -> bool:
        """Whether the step just made is one to validate after."""
        at = self.step % self.settings.validate_every == 0
        return at and 0 < self.step < self.settings.steps

    def validated(self) -> bool:
        """Whether the metrics have this step's validation (all processes hear the same)."""
        rows = self.run.read_metrics() if self.main else []
        found = any(row["step"] == self.step and "validation" in row for row in rows)
        answer = torch.tensor(float(found), device=self.device)
        return self.accelerator.reduce(answer, "sum").item() > 0

    def validate(self) -> None:
        """Cost the held-out examples with the averaged weights, and draw samples."""
        settings = self.settings
        seed = mix(settings.seed, "validation")
        generator = torch.Generator(self.device).manual_seed(seed)
        x = self.task.prepare(self.task.held_out, generator=generator)
        bfn = self.averaged()
        total = code_length(bfn, x, seed=seed, accelerator=self.accelerator).total
        self.record({"step": self.step, "validation": total.mean,
                     "validation_error": total.standard_error})
        self.say(
            f"step {self.step:,}: {total.mean:.2f} ± {total.standard_error:.2f} nats on "
            f"{total.count:,} held-out examples"
        )
        if self.main:
            draw(bfn, self.task, settings, self.run.folder)

    def averaged(self) -> BFN:
        """The BFN with the averaged weights."""
        return BFN(build_flow(self.settings), self.ema.module).eval()

    def save(self) -> None:
        """Replace the checkpoint."""
        if self.window:
            self.window = list(self.look().to(self.device))
        if self.main:
            self.run.write_checkpoint({
                "settings": json.dumps(self.settings.to_dict()),
                "data": self.task.name,
                "step": self.step,
                "seconds": self.seconds,
                "window": self.window,
                "network": self.plain.state_dict(),
                "ema": self.ema.module.state_dict(),
                "averaged": self.ema.n_averaged,
                "optimisers": self.optimisers.states(),
                "scaler": self.optimisers.scaler and self.optimisers.scaler.state_dict(),
            })
        self.saved_step = self.step

    # Ending --------------------------------------------------------------------------------------

    def end(self) -> Result:
        """Weights, samples and test figures of a finished run; or how to go on with another."""
        run, settings = self.run, self.settings
        if self.board:
            self.board.close()
        bfn = self.averaged()
        if self.interrupted:
            self.say(
                f"Stopped after step {self.step:,} of {settings.steps:,}; a checkpoint is in "
                f"{run.folder}: the same command with --resume goes on from there."
            )
            return Result(bfn.to("cpu"), self.step, False, None)
        if self.main:
            save_weights(run.weights, bfn.network.state_dict(), settings, data=self.task.name,
                         step=self.step)
        figures = evaluate(bfn, self.task, settings, accelerator=self.accelerator)
        if self.main:
            figures["training seconds"] = round(self.seconds, 1)
            figures["parameters"] = self.parameters
            run.write_json(run.evaluation, figures)
            draw(bfn, self.task, settings, run.folder)
        self.accelerator.wait_for_everyone()
        return Result(bfn.to("cpu"), self.step, True, figures if self.main else None)


VOTE_SECONDS = 2.0  # between two questions whether any process was interrupted
MIN_SCALE = 2.0**-10  # fp16's loss scale begins at 2^16 and halves where a gradient is not finite


def accelerator_for(precision: str = "no"):
    """Accelerate's view of the devices and processes at hand. Raises TrainingError."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # One process may train several runs in turn (a notebook does), with another precision each.
    AcceleratorState._reset_state()
    # The others wait for the first process while it draws samples and writes files.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=2))
    try:
        return Accelerator(mixed_precision=precision, kwargs_handlers=[patience])
    except ValueError as error:
        raise TrainingError(
            f"precision {precision} cannot be had here ({error}): try --set precision=no"
        ) from None


@contextmanager
def reproducible(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Leave torch's global generator as it was; and where `deterministic`, let the same seed give
    the same losses to the last digit on CUDA as it does on a CPU.

    Otherwise CUDA adds in whatever order is fastest, and two runs differ by rounding.
    """
    cuda, cudnn = device.type == "cuda", torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng([device] if cuda else []):
        if not cuda:  # on a CPU sums are always taken in the same order
            yield
            return
        try:
            cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
            if deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
                torch.use_deterministic_algorithms(True)
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before[:2]
            torch.use_deterministic_algorithms(before[2])


def draw_batch(
    task: Task, flow: BayesianFlow, settings: Settings, step: int, generator: Generator
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """x, t, the weights of the times and θ of a step's whole batch, whichever process asks.

    Examples are drawn with replacement, so that a step needs no memory of those before it.
    """
    generator.manual_seed(mix(settings.seed, "batch", step))
    device = task.train.device
    chosen = torch.randint(len(task.train), (settings.batch,), generator=generator, device=device)
    x = task.prepare(task.train[chosen], generator=generator)
    if settings.flips:
        mirrored = torch.rand(len(x), generator=generator, device=device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    like = torch.empty(0, device=device)
    u = stratified(settings.batch, like=like, generator=generator)
    t, weight = times(u, settings.time_power)
    return x, t, weight, flow.sample_flow(x, t, generator)


def times(u: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """t = u^power for uniform u, (B,), and the weights dt/du under which ∫ cost dt stays itself.

    Below 1 late times are seen more often and count less each; with 1/2, t is drawn in proportion
    to t, the factor in the rate of discrete data.
    """
    # Below it a cost in proportion to t is nothing, and the weight would be infinite.
    u = u.clamp_min(1e-6) if power != 1 else u
    return u**power, power * u ** (power - 1)


def cut(theta: Any, part: slice) -> Any:
    """Some examples' share of a batch of input parameters."""
    fields = (field.name for field in dataclasses.fields(theta))
    return type(theta)(*(getattr(theta, name)[part] for name in fields))


JUDGED = ("test_examples", "step_examples", "test_draws", "sample_count", "sample_steps")


def check_same(
    where: Path, old: dict[str, Any], old_data: str, settings: Settings, task: Task
) -> None:
    """Raise TrainingError if what lies at `where` was begun with other settings or data.

    Only the number of steps may change, and the learning rate's schedule with it; the pieces of a
    batch, which change nothing but rounding; what is tested and drawn, which training does not
    depend on; and the place of a text file, whose content is part of the data's name.
    """
    # What was begun before a setting existed was begun with its default.
    new, old = settings.to_dict(), Settings.from_dict(old).to_dict()
    free = ("steps", "accumulation", "text", *JUDGED)
    others = [name for name in new if name not in free and old[name] != new[name]]
    difference = ""
    if old_data != task.name:
        difference = f"on {old_data}, but now {task.name} is at hand"
    elif others:
        difference = f"with {others[0]} = {old[others[0]]}, not {new[others[0]]}"
    if difference:
        raise TrainingError(f"{where} was begun {difference}; nothing was changed")
