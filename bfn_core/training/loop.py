"""The training loop: the same for one CPU, one GPU and, through Accelerate, several.

Every step draws its randomness from a generator seeded by (seed, step), for the whole batch, and
each process takes its share. So a step depends on nothing but the weights, the optimiser and its
own number: a run can be killed and resumed anywhere, and two processes compute what one does. (But
for dropout, whose noise each process draws for its own share.)

No step waits for the device: what it computed is read when a line of metrics is due.
"""

from __future__ import annotations

import copy
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from bfn_core.beliefs import cut, in_precision, told
from bfn_core.flows import BayesianFlow
from bfn_core.model import BFN, stratified
from bfn_core.modes import modes_kept
from bfn_core.networks.unet import UNet
from bfn_core.networks.widening import widened
from bfn_core.numerics import in_rows
from bfn_core.training import devices
from bfn_core.training.averaging import MovingAverage
from bfn_core.training.evaluation import code_length, draw, evaluate, own_loss
from bfn_core.training.losses import added, check_objective, objective
from bfn_core.training.memory import keep_memory
from bfn_core.training.optimisers import ALL, Optimisers, highest_share, share
from bfn_core.training.pieces import Tree, count, dropped
from bfn_core.training.progress import Interruption, Pace, Progress, tensorboard
from bfn_core.training.ranges import check, made
from bfn_core.training.runs import Run, fit, initial_weights, save_weights
from bfn_core.training.scales import OWN, Settings, of_own
from bfn_core.training.seeds import mix
from bfn_core.training.tasks import (
    Task,
    TrainingError,
    build_flow,
    checked,
    limited,
    load_task,
    task_of,
)

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Result:
    """How a call of `train` ended."""

    bfn: BFN  # with the averaged weights, on the CPU, whatever it was trained on; one handed in
    # to `train` is another object, which has the last weights
    step: int  # the last step made
    finished: bool  # False if it was interrupted
    evaluation: dict[str, Any] | None  # what evaluation.json holds


def train(
    settings: Settings,
    folder: str | Path,
    *,
    task: Task | Tree | None = None,
    bfn: BFN | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    say: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    progress: bool = False,
) -> Result:
    """Train a BFN as `settings` say, and keep its run in `folder`.

    It takes the GPU that is there (NVIDIA's, or a Mac's), else the CPU; ACCELERATE_USE_CPU=true
    keeps it on the CPU. The model comes back on the CPU: `result.bfn.to("cuda")` moves it.

    Args:
        settings: `settings_for(data, scale)`, or for data and a BFN of one's own `own_settings()`.
        folder: of the run.
        task: one's own examples in the place of the data that the settings name: a tensor
            (N, *shape) of what the flow takes, which is split at random, or a task (`task_of`,
            `Task`), which may carry conditions.
        bfn: one's own, in the place of the flow and the network that the settings name. It is
            trained itself, from the weights it has; what `train` returns is a copy with the
            averaged weights. `bfn.loss` is what is minimised: a subclass may override it, and
            what it returns, (B,), is weighted and averaged. If it takes theta, which is drawn for
            the whole batch, then pieces and processes compute what one does; if not, each piece
            has a generator of its own, if it takes that. What is judged is L^∞ in any case.
        resume: go on from the folder's checkpoint, or from the start if it has none yet.
        watch: called with every record that goes into metrics.jsonl.
        say: called with sentences for a reader, such as print.
        stop: asked after every step; once it returns True the run ends as with Ctrl-C.
        progress: whether to show a progress bar on stderr.

    Raises:
        TrainingError, DataError: with a sentence on what to do; the last checkpoint stays.
        ValueError: a setting out of its range or data that the flow does not take, before anything
            is written.

    Ctrl-C (and SIGTERM) end it after the step that is being made, with a checkpoint.
    """
    trainer = Trainer(
        settings, Run(folder), task=task, bfn=bfn, watch=watch, say=say, stop=stop,
        progress=progress,
    )
    with reproducible(trainer.device, settings.deterministic), trainer.alone(), trainer.borrowed():
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

    def __init__(self, settings: Settings, run: Run, *, task: Task | Tree | None = None,
                 bfn: BFN | None = None, watch=None, say=None, stop=None, progress=False):
        settings = of_own(settings, task=task is not None, bfn=bfn is not None)
        check(settings)
        self.settings, self.run = settings, run
        self.given_task, self.given = taken(settings, task, bfn)
        self.accelerator = accelerator_for(settings.precision)
        self.main = self.accelerator.is_main_process
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_memory()
        self.watch, self.progress = watch, progress and self.main
        self.stop = stop or (lambda: False)
        self.say = say if say and self.main else lambda sentence: None
        self.step = 0
        self.seconds = 0.0  # of training, over all resumptions
        self.earlier: list[dict[str, Any]] = []  # the sessions that made the steps until here
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
        self.get_task()
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

    def get_task(self) -> None:
        """The data, checked where they or the flow are the reader's own."""
        flow = self.given.flow if self.given else build_flow(self.settings)
        if self.given_task is None:
            with self.accelerator.main_process_first():  # so that the data are fetched once
                self.task = load_task(self.settings, self.device, flow)
            if self.given:
                checked(self.task, flow, most=1000)
        else:
            task = limited(self.given_task, self.settings)
            checked(task, flow)
            self.task = task.to(self.device)
        known = self.task.train_condition is not None or self.task.hint is not None
        if self.settings.condition_dropout and not known:
            raise TrainingError("the setting condition_dropout is for examples with conditions, "
                                f"and {self.task.name} has none: leave it out")
        shape = self.task.shape
        if self.settings.flips and not (isinstance(shape, tuple) and len(shape) == 3):
            raise TrainingError("the setting flips is for images, (C, H, W), and "
                                f"{self.task.name} has examples of shape {shape}")

    def make_model(self) -> None:
        """The BFN that is trained; its weights' average; what moves them."""
        settings = self.settings
        torch.manual_seed(mix(settings.seed, "weights"))
        bfn = made(settings, self.task, self.device, self.given)
        count = getattr(bfn.network, "count", None)
        if count is not None and self.given is None:  # what it takes from the text itself
            count(text_of(self.task))
        self.begin_from_weights(bfn)
        if settings.channels_last:
            bfn.network.to(memory_format=torch.channels_last)
        # What has weights: those of a BFN of one's own may lie beside its network, too.
        self.plain = bfn if self.given else bfn.network
        self.ema = MovingAverage(self.plain, settings.ema)
        self.optimisers = Optimisers(
            self.plain, settings, self.say, blocks_of=bfn.network, scaler=self.accelerator.scaler
        )
        if settings.compile:
            bfn.network.compile()
        self.network = self.accelerator.prepare_model(bfn.network)
        # The same object in all but two parts, so that names in checkpoints stay what they are.
        self.bfn = copy.copy(bfn)
        self.bfn._modules = {**bfn._modules, "network": self.network}
        if self.device.type != "cpu":  # where each check would wait for the device
            self.bfn.flow = bfn.flow.trusting()
        self.look_at_loss()
        self.share_the_rest()
        self.like = torch.empty(0, dtype=bfn._reference.dtype, device=self.device)
        self.parameters = sum(p.numel() for p in self.plain.parameters())

    def begin_from_weights(self, bfn: BFN) -> None:
        """The initial weights, where the settings name some and no checkpoint has later ones."""
        self.initial = None
        if not self.settings.initial:
            return
        if self.run.checkpoint.exists():
            if self.run.settings.exists():
                self.initial = self.run.read_settings().get("initial weights")
            return
        weights, self.initial = initial_weights(self.settings)
        fit(bfn.network, told_more(as_wide(weights, bfn.network), bfn.network),
            Path(self.settings.initial))
        self.say(f"Beginning from the weights {self.initial} of {self.settings.initial}.")

    def look_at_loss(self) -> None:
        """What `bfn.loss`, which may be overridden, takes.

        Raises:
            TrainingError: it takes no condition, or the settings replace it.
        """
        known = inspect.signature(self.bfn.loss).parameters
        any_name = any(p.kind is p.VAR_KEYWORD for p in known.values())
        self.takes = {name for name in ("theta", "condition", "generator")
                      if any_name or name in known}
        told = self.task.train_condition is not None or self.task.hint is not None
        if told and "condition" not in self.takes:
            raise TrainingError(f"{self.task.name} has conditions, but {type(self.bfn).__name__}"
                                ".loss takes no condition")
        self.added = added(self.settings)
        if self.added and own_loss(self.bfn):
            raise TrainingError(f"the setting {self.added[0]} takes the place of bfn.loss, which "
                                "is overridden here: leave it out")
        check_objective(self.settings, self.bfn.flow)

    def share_the_rest(self) -> None:
        """Weights beside the network, which Accelerate does not look after, begin alike."""
        inside = {id(p) for p in self.network.parameters()}
        self.beside = [p for p in self.plain.parameters() if id(p) not in inside]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            with torch.no_grad():
                for weight in self.beside:
                    weight.copy_(broadcast(weight.detach().clone()))

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Give a BFN of one's own back as it came, but for its weights: on its device, in its mode,
        without what mixed precision puts around its network.
        """
        if self.given is None:
            yield
            return
        bfn, device = self.given, self.given._reference.device
        with modes_kept(bfn):
            try:
                yield
            finally:
                if hasattr(self, "network"):
                    self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)
                bfn.to(device)

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
        top = highest_share(settings)
        if top < 0.5:
            sentence += (f" The warm-up of {settings.warmup:,} steps leaves at most "
                         f"{100 * top:.0f} % of the learning rate: --set warmup="
                         f"{settings.steps // 10} leaves more.")
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
        """What settings.json holds: the last session's, and of all sessions what may change."""
        device = str(self.device)
        if self.device.type == "cuda":
            device = devices.name_of(self.device)
        machine = {
            "device": device,
            "threads": torch.get_num_threads(),
            "processes": self.accelerator.num_processes,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        session = {"from step": self.step, "steps": self.settings.steps,
                   "accumulation": self.settings.accumulation, **machine}
        return {
            **self.identity(),
            **({"initial weights": self.initial} if self.initial else {}),
            "notice": self.task.notice,
            "parameters": self.parameters,
            **machine,
            "command": " ".join(sys.argv),
            "sessions": [*self.earlier, session],
        }

    def identity(self) -> dict[str, Any]:
        """What a run must have in common with the one that it goes on with."""
        found = {"settings": self.settings.to_dict(), "data": self.task.name,
                 "shape": self.task.shape, "optimisers": self.optimisers.names()}
        if self.given:
            parts = {"bfn": self.given, "flow": self.given.flow, "network": self.given.network}
            found["own"] = {name: type(part).__name__ for name, part in parts.items()}
        return json.loads(json.dumps(found))

    def restore(self) -> None:
        """Take up the checkpoint, if there is one.

        Raises:
            TrainingError: it does not fit.
        """
        run, sessions = self.run, []
        # To the CPU: each optimiser moves what it wants on the device, and leaves its counters.
        state = run.read_checkpoint() if run.checkpoint.exists() else {}
        names = ALL[: len(state["optimisers"])] if state else self.optimisers.names()
        if run.settings.exists():
            begun = {**run.read_settings(), "optimisers": names}
            begun["settings"] = begun["settings"].to_dict()
            check_same(run.folder, begun, self.identity())
            sessions = begun.get("sessions", [])  # which runs of earlier versions do not have
        if not state:
            self.say(f"{run.folder} has no checkpoint yet: starting from the beginning.")
            if self.main:
                run.cut_metrics(-1)
            return
        try:
            begun = {"data": state["data"], **json.loads(state.get("identity", "{}")),
                     "optimisers": names}
            begun["settings"] = json.loads(state["settings"])
            check_same(run.checkpoint, begun, self.identity())
            if state["step"] > self.settings.steps:
                raise TrainingError(f"{run.folder} has made {state['step']:,} steps, so steps must "
                                    f"be at least that, got {self.settings.steps:,}; nothing was "
                                    "changed")
            fit(self.ema.module, state["ema"], run.checkpoint)
            self.optimisers.load(state["optimisers"], state.get("scaler"))
            self.ema.n_averaged.copy_(state["averaged"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.window = [values.to(self.device) for values in state["window"]]
            # Last, so that a BFN of the reader's own is as it was if anything is refused.
            fit(self.plain, state["network"], run.checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(f"{run.checkpoint} is not used, and nothing was changed: it is not "
                                f"a checkpoint of this run ({error})") from None
        self.saved_step = self.step
        # A session of which no checkpoint has kept a step is forgotten with its steps.
        self.earlier = [each for each in sessions if each["from step"] < self.step]
        if self.main:
            run.cut_metrics(self.step)
            if self.step < self.settings.steps:  # those of an earlier end; the checkpoint has more
                run.weights.unlink(missing_ok=True)
                run.evaluation.unlink(missing_ok=True)
        self.say(f"Resuming {run.folder} after step {self.step:,} of {self.settings.steps:,}.")

    # Steps ---------------------------------------------------------------------------------------

    def loop(self, interruption: Interruption) -> None:
        """Make steps until the last one, or until interrupted; a checkpoint is left either way."""
        settings = self.settings
        pace = Pace(self.device, self.step, settings.steps, self.say)
        if self.validation_due() and not self.validated():  # killed between the two
            self.validate()
        task = None if own_loss(self.bfn) else self.task  # which may be in no known unit
        with Progress(self.step, settings.steps, shown=self.progress, task=task) as bar:
            while self.step < settings.steps and not self.interrupted:
                began = time.perf_counter()
                self.make_step()
                last = self.step == settings.steps
                due = self.step % settings.log_every == 0 or last
                values = self.look() if due else None  # waits for the device, so it is timed
                self.seconds += time.perf_counter() - began
                bar.advance()
                pace.advance()
                if values is not None:
                    bar.show(self.log(values))
                self.interrupted = self.agreed(interruption.asked or self.stop())
                whole = self.step % settings.checkpoint_every == 0 or last or self.interrupted
                if whole or self.validation_due():  # first kept, then judged
                    self.save()
                if self.validation_due() and not self.interrupted:
                    self.validate()

    def make_step(self) -> None:
        """One step of the optimiser: this process's share of the batch, in equal pieces."""
        settings, accelerator = self.settings, self.accelerator
        batch = draw_batch(
            self.task, self.bfn.flow, settings, self.step, self.generator, like=self.like
        )
        torch.manual_seed(mix(settings.seed, "dropout", self.step, accelerator.process_index))
        self.optimisers.set_rates(share(settings, self.step))
        pieces = settings.accumulation * accelerator.num_processes
        size = settings.batch // pieces
        mine = range(settings.accumulation * accelerator.process_index, pieces)
        total = torch.zeros((), device=self.device)
        self.bfn.train()
        for piece in mine[: settings.accumulation]:
            part = cut(batch, slice(piece * size, (piece + 1) * size))
            last = piece == mine[settings.accumulation - 1]
            # Gradients are averaged over the processes once, with the last piece.
            with nullcontext() if last else accelerator.no_sync(self.network):
                aim, cost = self.costs(part, piece)
                accelerator.backward(self.mean(aim, part.weight))
            total = total + self.mean(cost, part.weight)
        for weight in self.beside if accelerator.num_processes > 1 else ():
            if weight.grad is not None:
                weight.grad = self.reduced(weight.grad, "mean")
        self.optimisers.unscale()
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), settings.clip)
        self.optimisers.step()
        self.ema.update_parameters(self.plain)
        self.window.append(torch.stack([total, norm.detach()]))
        self.step += 1

    def mean(self, costs: Tensor, weight: Tensor) -> Tensor:
        """A piece's share of the mean over the batch, of examples' costs and weights of t."""
        return (weight * costs).mean() / self.settings.accumulation

    def costs(self, part: Batch, piece: int) -> tuple[Tensor, Tensor]:
        """What is made smaller and what is written down of each example of a piece, (B,) each.

        Both are `bfn.loss`; but where the settings add something, L^∞ is what is written down.
        """
        options = told(part.condition)
        if self.added:
            output = self.bfn.output(part.theta, part.t, **options)
            aim, cost = objective(self.bfn.flow, part.x, output, part.t, self.settings)
            return in_rows(aim).sum(1), in_rows(cost.detach()).sum(1)
        if "theta" in self.takes:
            options["theta"] = part.theta
        elif "generator" in self.takes:
            seed = mix(self.settings.seed, "piece", self.step, piece)
            options["generator"] = self.generator.manual_seed(seed)
        costs = self.bfn.loss(part.x, part.t, **options)
        if not isinstance(costs, Tensor) or costs.shape != part.t.shape:
            raise TrainingError(
                f"{type(self.bfn).__name__}.loss must return a number for each example, a tensor "
                f"of shape {tuple(part.t.shape)}, got {getattr(costs, 'shape', type(costs))}"
            )
        return costs, costs.detach()

    def agreed(self, asked: bool) -> bool:
        """Whether any process was interrupted; several ask each other every two seconds or so."""
        if self.accelerator.num_processes == 1:
            return asked
        if self.step < self.next_vote:
            return False
        # All hear the same sums, so all choose the same step for the next vote.
        votes = torch.tensor([float(asked), self.seconds / self.step], device=self.device)
        asking, pace = self.reduced(votes, "sum").tolist()
        pace /= self.accelerator.num_processes
        self.next_vote = self.step + max(1, int(VOTE_SECONDS / max(pace, 1e-6)))
        return asking > 0

    def reduced(self, value: Tensor, how: str) -> Tensor:
        """The "sum" or "mean" of a tensor over the processes."""
        return cast(Tensor, self.accelerator.reduce(value, how))

    def look(self) -> Tensor:
        """The losses and gradient norms since the last line, (n, 2).

        Raises:
            TrainingError: one is not finite. Looking waits for the device, so it is done once
                per line of metrics, and before any checkpoint is written.
        """
        values = self.reduced(torch.stack(self.window), "mean").cpu()
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
        return self.reduced(answer, "sum").item() > 0

    def validate(self) -> None:
        """Cost the held-out examples with the averaged weights, and draw samples."""
        settings = self.settings
        seed = mix(settings.seed, "validation")
        generator = torch.Generator(self.device).manual_seed(seed)
        x = self.task.prepare(self.task.held_out, generator=generator)
        bfn = self.averaged()
        known = self.task.known(x, self.task.held_out_condition)
        total = code_length(bfn, x, seed=seed, condition=known,
                            accelerator=self.accelerator).total
        if self.main:  # before the record, so that whoever watches finds the samples
            draw(bfn, self.task, settings, self.run.folder)
        self.record({"step": self.step, "validation": total.mean,
                     "validation_error": total.standard_error})
        self.say(
            f"step {self.step:,}: {total.mean:.2f} ± {total.standard_error:.2f} nats on "
            f"{total.count:,} held-out examples"
        )

    def averaged(self) -> BFN:
        """The BFN with the averaged weights."""
        if self.given:
            return cast(BFN, self.ema.module.eval())
        return BFN(build_flow(self.settings), self.ema.module).eval()

    def save(self) -> None:
        """Replace the checkpoint."""
        if self.window:
            self.window = list(self.look().to(self.device))
        if self.main:
            self.run.write_checkpoint({
                "settings": json.dumps(self.settings.to_dict()),
                "identity": json.dumps(self.identity()),
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
            save_weights(run.weights, self.ema.module.state_dict(), settings,
                         data=self.task.name, step=self.step)
        figures = evaluate(bfn, self.task, settings, accelerator=self.accelerator)
        if self.main:
            figures["step"] = self.step
            figures["training seconds"] = round(self.seconds, 1)
            figures["parameters"] = self.parameters
            run.write_json(run.evaluation, figures)
            draw(bfn, self.task, settings, run.folder)
        self.accelerator.wait_for_everyone()
        return Result(bfn.to("cpu"), self.step, True, figures if self.main else None)


def as_wide(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of a narrower U-Net as those of this one, where it can compute the same; else as
    they are.

    Raises:
        TrainingError: they are of a wider one.
    """
    if isinstance(network, UNet) and "first.weight" in weights:
        old, new = len(weights["first.weight"]), network.first.out_channels
        if old > new:
            raise TrainingError(
                f"the initial weights are of a network with {old} channels, wider than the {new} "
                f"of this one: --set network_arguments.channels={old} makes it as wide"
            )
        with suppress(ValueError):
            return widened(weights, network)
    return weights


def told_more(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights with which a network that has learnt without a condition goes on with one.

    What reads a label, or a guess, is the network's own, new. A first layer that reads hints beside
    what it has read, as its last inputs, reads them with zeros: it begins as if there were none.
    """
    if (beginning := getattr(network, "beginning", None)) is not None:
        return beginning(weights)
    own = network.state_dict()
    new = ("conditions.", "embed_guess.")
    found = {**{name: own[name] for name in own if name.startswith(new)}, **weights}
    old, new = weights.get("first.weight"), own.get("first.weight")
    if old is None or new is None or not getattr(network, "hints", 0):
        return found
    if old.dim() == new.dim() and (rest := new.shape[1] - old.shape[1]) > 0:
        zeros = old.new_zeros(old.shape[0], rest, *old.shape[2:])
        found["first.weight"] = torch.cat([old, zeros], 1)
    return found


def text_of(task: Task) -> Tensor:
    """The text that a task's training sequences, one for each beginning, were cut from: (N,)."""
    train = cast(Tensor, task.train)
    return torch.cat([train[:, 0], train[-1, 1:]])


VOTE_SECONDS = 2.0  # between two questions whether any process was interrupted
MIN_SCALE = 2.0**-10  # fp16's loss scale begins at 2^16 and halves where a gradient is not finite


def accelerator_for(precision: str = "no"):
    """Accelerate's view of the devices and processes at hand.

    Raises:
        TrainingError: Accelerate refuses what is asked.
    """
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
    cuda, cudnn = device.type == "cuda", cast(Any, torch.backends.cudnn)
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


@dataclass(frozen=True)
class Batch:
    """A step's examples, or a piece of them."""

    x: Tree  # (B, *shape), as the flow takes them
    t: Tensor  # (B,), the times
    weight: Tensor  # (B,), what the costs at these times count
    theta: Any  # beliefs about x at the times t
    condition: Tree | None = None  # (B, …)


def draw_batch(
    task: Task,
    flow: BayesianFlow,
    settings: Settings,
    step: int,
    generator: Generator,
    *,
    like: Tensor | None = None,
) -> Batch:
    """A step's whole batch, whichever process asks.

    Examples are drawn with replacement, so that a step needs no memory of those before it.

    Args:
        like: a tensor of the precision of times and beliefs, and of data that are no classes;
            None: single precision.
    """
    generator.manual_seed(mix(settings.seed, "batch", step))
    device = task.device
    like = torch.empty(0, device=device) if like is None else like
    rows = count(task.train)
    chosen = torch.randint(rows, (settings.batch,), generator=generator, device=device)
    x = task.prepare(cut(task.train, chosen), generator=generator)
    x = in_precision(x, like.dtype)
    if settings.flips:
        mirrored = torch.rand(len(x), generator=generator, device=device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    u = stratified(settings.batch, like=like, generator=generator)
    t, weight = times(u, settings.time_power)
    theta = flow.trusting().sample_flow(x, t, generator)  # the loss looks at x
    condition = task.known(x, cut(task.train_condition, chosen))
    if condition is not None and settings.condition_dropout:
        condition = dropped(condition, settings.condition_dropout, generator)
    return Batch(x, t, weight, theta, condition)


def times(u: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """t = u^power for uniform u, (B,), and the weights dt/du under which ∫ cost dt stays itself.

    Below 1 late times are seen more often and count less each; with 1/2, t is drawn in proportion
    to t, the factor in the rate of discrete data.
    """
    # Below it a cost in proportion to t is nothing, and the weight would be infinite.
    u = u.clamp_min(1e-6) if power != 1 else u
    return u**power, power * u ** (power - 1)


JUDGED = ("test_examples", "step_examples", "test_draws", "sample_count", "sample_steps")


def check_same(where: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise TrainingError if what lies at `where` was begun with other settings, data or network.

    Only the number of steps may change, and the learning rate's schedule with it; the pieces of a
    batch, which change nothing but rounding; what is tested and drawn, which training does not
    depend on; the place of a text file, whose content is part of the data's name; and a rate of
    Muon where there was none.
    """
    # What was begun before a setting existed was begun with its default.
    new, old = now["settings"], Settings.from_dict(begun["settings"]).to_dict()
    free = ("steps", "accumulation", "text", *JUDGED)
    if new["muon"] is None and begun["optimisers"] == now["optimisers"]:  # its torch had none
        free = (*free, "muon")
    others = [name for name in new if name not in free and old[name] != new[name]]
    mine, theirs = (record.get("own") or {} for record in (now, begun))
    difference = ""
    if begun["data"] != now["data"]:
        difference = f"on {begun['data']}, but now {now['data']} is at hand"
    elif others:
        difference = f"with {others[0]} = {old[others[0]]}, not {new[others[0]]}"
    elif begun["optimisers"] != now["optimisers"]:
        difference = ("with Muon, which this torch does not have: 2.9 was the first"
                      if "Muon" in begun["optimisers"] else
                      "with AdamW for all weights, as its torch had no Muon: go on with "
                      "--set muon=null (None in Python)")
    elif begun.get("shape", now["shape"]) != now["shape"]:
        difference = f"on examples of shape {begun['shape']}, not {now['shape']}"
    elif theirs and theirs != mine:
        part = next(part for part in theirs if theirs[part] != mine.get(part))
        difference = f"with a {part} of the class {theirs[part]}, not {mine.get(part)}"
    if difference:
        raise TrainingError(f"{where} was begun {difference}; nothing was changed")


def taken(
    settings: Settings, task: Task | Tree | None, bfn: BFN | None
) -> tuple[Task | None, BFN | None]:
    """What was handed in, as a task and a BFN that can be trained.

    Raises:
        ValueError: it is not what the settings or the flow take.
    """
    if task is None and settings.data == OWN:
        raise ValueError("task must be given with settings for data of one's own, got None")
    if bfn is None and OWN in (settings.flow, settings.network):
        raise ValueError("bfn must be given with settings for a network of one's own, got None")
    if bfn is not None:
        if not isinstance(bfn, BFN):
            raise ValueError(f"bfn must be a BFN(flow, network), got {type(bfn)}")
        if bfn.network is None or not any(p.requires_grad for p in bfn.parameters()):
            raise ValueError("bfn must have a network with weights to train, got "
                             f"{type(bfn).__name__} of {type(bfn.network).__name__}")
    if isinstance(task, (Tensor, dict)):
        task = task_of(task)
    if not isinstance(task, Task | None):
        raise ValueError(f"task must be a tensor (N, *shape) or a Task, got {type(task)}")
    return task, bfn
