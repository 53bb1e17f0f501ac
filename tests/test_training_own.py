"""Training on one's own examples, with one's own network, and with one's own loss."""

import copy
import json
import math
import signal
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    MixedFlow,
    data,
    training,
)
from bfn_core.beliefs import cut
from bfn_core.networks.mlp import MLP
from bfn_core.training import TrainingError, evaluation, loop, own_settings, settings_for, task_of
from bfn_core.training.pieces import dropped
from bfn_core.training.runs import Run
from bfn_core.training.scales import Settings, command
from tests.accelerator import Pretend
from tests.test_training import _child, assert_close, metrics, processes, unix

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = own_settings(
    steps=4, batch=8, log_every=1, checkpoint_every=2, validate_every=3, warmup=1, test_draws=1,
    sample_count=4, sample_steps=2, test_examples=10, held_out=10,
)
KINDS = {
    "continuous": (ContinuousFlow(0.1), torch.rand(40, 3) * 2 - 1, (3,)),
    "discretised": (DiscretisedFlow(4, 0.1), data.quantise(torch.rand(40, 3), 4), (3, 2)),
    "discrete": (DiscreteFlow(3, 4.0), torch.randint(3, (40, 3)), (3, 3)),
}


def example(kind="continuous", of=BFN, seed=0, hidden=16):
    """Data of three variables, and a BFN for them."""
    flow, x, outputs = KINDS[kind]
    torch.manual_seed(seed)
    size = 3 * (flow.classes if kind == "discrete" else 1)
    return x, of(flow, MLP(size, outputs, hidden=hidden, depth=1))


class Both(nn.Module):
    """Reads places and kinds."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2 + 3 * 4, 2 + 3 * 4)

    def forward(self, inputs, t):
        read = torch.cat([inputs["place"], inputs["kind"].flatten(1)], 1)
        place, kind = self.layer(read).split([2, 12], 1)
        return {"place": place, "kind": kind.reshape(-1, 3, 4)}


def several():
    """Data of two kinds in one example, and a BFN for them."""
    torch.manual_seed(0)
    flow = MixedFlow(place=ContinuousFlow(0.1), kind=DiscreteFlow(4, 2.0))
    return {"place": torch.rand(40, 2), "kind": torch.randint(4, (40, 3))}, BFN(flow, Both())


def same(one, other):
    return all(torch.equal(w, other[name]) for name, w in one.items())


def test_the_bill_over_t_is_found_for_mixed_data_too():
    """Its sum is L^∞, of the parts together, within the error of both."""
    x, bfn = several()
    x = cut(x, torch.arange(40).repeat(100))
    settings = replace(SMALL, test_examples=4000)
    task = replace(task_of(x, name="pairs"), test=x)
    found = evaluation.bill(bfn, task, settings, parts=4)
    assert found["t"] == [0.125, 0.375, 0.625, 0.875] and set(found) == {
        "t", "nats", "standard error"}
    with torch.no_grad():
        cost = bfn.loss(x, generator=torch.Generator().manual_seed(5))
    error = math.hypot(float(cost.std()) / 4000**0.5, *found["standard error"])
    assert sum(found["nats"]) == pytest.approx(float(cost.mean()), abs=4 * error)
    assert error < 0.02 * sum(found["nats"])


# Own examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_is_learnt_from_with_each_flow(kind, tmp_path):
    x, bfn = example(kind)
    before = {name: w.clone() for name, w in bfn.state_dict().items()}
    said = []
    result = training.train(SMALL, tmp_path / "run", task=x, bfn=bfn, say=said.append)
    found = result.evaluation
    assert result.finished and found["examples"] == 4
    row = found["elbo"]["infinity"]
    assert row["bits per dimension"] == pytest.approx(row["nats"] / 3 / math.log(2))
    assert any("Of the 40 examples of my data, 32 are learnt from, 4 are held out" in s
               for s in said)
    assert len(metrics(tmp_path / "run")) == 5  # four steps and a validation
    drawn = load_file(tmp_path / "run" / "samples.safetensors")["x"]
    assert drawn.shape == (4, 3) and drawn.dtype == x.dtype
    bfn.flow.check(drawn.clamp(-1, 1) if kind == "continuous" else drawn)
    assert not same(before, bfn.state_dict())  # it is trained itself
    assert not same(result.bfn.state_dict(), bfn.state_dict())  # and the average is another


def test_the_loss_falls(tmp_path):
    settings = replace(SMALL, steps=60, batch=32, learning_rate=1e-2, validate_every=100)
    x = torch.tensor([0.5, -0.5, 0.2]).repeat(100, 1)
    training.train(settings, tmp_path / "run", task=x, bfn=example()[1])
    losses = [row["loss"] for row in metrics(tmp_path / "run")]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 5])
def test_samples_of_images_are_a_picture(channels, classes, tmp_path):
    x = torch.randint(classes, (20, channels, 4, 4))
    network = MLP(16 * channels * classes, (channels, 4, 4, classes), hidden=8, depth=1)
    bfn = BFN(DiscreteFlow(classes, 2.0), network)
    training.train(SMALL, tmp_path / "run", task=x, bfn=bfn)
    with Image.open(tmp_path / "run" / "samples.png") as picture:
        assert picture.size == (12, 12) and len(picture.getbands()) == channels
        values = set(np.asarray(picture).flatten().tolist())
    levels = {255 * k // (classes - 1) for k in range(classes)} | {128}  # 128 between them
    assert values <= levels and len(values) > 2


def test_samples_of_text_are_text_in_its_own_alphabet(tmp_path):
    task = task_of(torch.randint(3, (40, 3)), "letters", alphabet="xyz")
    result = training.train(SMALL, tmp_path / "run", task=task, bfn=example("discrete")[1])
    lines = (tmp_path / "run" / "samples.txt").read_text("utf-8").splitlines()
    assert len(lines) == 4 and all(len(line) == 3 and set(line) <= set("xyz") for line in lines)
    assert "bits per character" in result.evaluation["elbo"]["infinity"]


def test_a_task_is_a_partition_at_random_and_its_name_says_of_what():
    x = torch.arange(50)
    task = task_of(x, "numbers", condition=-x, held_out=7, test=8)
    parts = [task.train, task.held_out, task.test]
    assert [len(part) for part in parts] == [35, 7, 8]
    assert sorted(torch.cat(parts).tolist()) == x.tolist()
    assert task.train.tolist() != list(range(35))
    assert torch.equal(task.held_out_condition, -task.held_out)
    assert torch.equal(task.train_condition, -task.train)
    again = task_of(x, "numbers", condition=-x, held_out=7, test=8)
    assert again.name == task.name and torch.equal(again.test, task.test)
    assert task.name.startswith("numbers (")
    others = [task_of(x + 1, "numbers", condition=-x, held_out=7, test=8),
              task_of(x, "numbers", condition=x, held_out=7, test=8),
              task_of(x, "numbers", condition=-x, held_out=8, test=7),
              task_of(x, "numbers", condition=-x, held_out=7, test=8, seed=1)]
    assert len({task.name, *(other.name for other in others)}) == 5


def test_examples_are_prepared_when_they_are_used(tmp_path):
    grey = torch.randint(256, (30, 3), dtype=torch.uint8)
    for prepare, flow in ((data.quantise, DiscretisedFlow(256, 0.01)),
                          (data.binarise, DiscreteFlow(2, 4.0))):
        task = task_of(grey, prepare=prepare)
        assert task.train.dtype == torch.uint8
        size = 6 if prepare is data.binarise else 3
        bfn = BFN(flow, MLP(size, (3, 2), hidden=8, depth=1))
        run = tmp_path / prepare.__name__
        assert training.train(SMALL, run, task=task, bfn=bfn).finished


def test_own_images_are_learnt_by_a_network_of_ours_and_loaded_without_it(tmp_path):
    settings = settings_for("cifar10", "smoke", steps=2, flips=True, sample_count=4)
    x = data.quantise(torch.randint(256, (30, 3, 8, 8), dtype=torch.uint8))
    result = training.train(settings, tmp_path / "run", task=x)
    record = json.loads(Run(tmp_path / "run").settings.read_text("utf-8"))
    assert record["settings"]["data"] == "own" and record["settings"]["network"] == "unet"
    assert record["data"].startswith("my data (") and "own" not in record
    assert same(training.load(tmp_path / "run").state_dict(), result.bfn.state_dict())


# Own network, own BFN ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "text8"])
def test_a_network_of_ones_own_learns_our_data(name, tmp_path):
    class Linear(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.layer = nn.Linear(classes, classes)

        def forward(self, inputs, t):
            return self.layer(inputs)

    settings = settings_for(name, "smoke", steps=2)
    flow = DiscreteFlow(settings.levels, settings.beta_1)
    result = training.train(settings, tmp_path / "run", bfn=BFN(flow, Linear(settings.levels)))
    assert result.finished and isinstance(result.bfn.network, Linear)
    settings = Run(tmp_path / "run").read_settings()["settings"]
    assert (settings.data, settings.flow, settings.network) == (name, "own", "own")


def test_the_kind_of_the_bfn_is_kept_and_its_weights_are_averaged(tmp_path):
    class Mine(BFN):
        pass

    x, bfn = example(of=Mine)
    start = {name: w.clone() for name, w in bfn.state_dict().items()}
    settings = replace(SMALL, steps=2, ema=0.3, validate_every=9)
    seen = []

    def watch(record):
        seen.append({name: w.clone() for name, w in bfn.state_dict().items()})

    result = training.train(settings, tmp_path / "run", task=x, bfn=bfn, watch=watch)
    assert type(result.bfn) is Mine and not result.bfn.training
    assert result.bfn is not bfn and not same(start, seen[0])
    for name, weight in result.bfn.state_dict().items():
        keep = 2 / 11  # the second update's, below 0.3
        assert torch.allclose(weight, keep * seen[0][name] + (1 - keep) * seen[1][name], atol=1e-7)
    loaded = training.load(tmp_path / "run", bfn=example(of=Mine, seed=5)[1])
    assert type(loaded) is Mine and same(loaded.state_dict(), result.bfn.state_dict())


def test_a_bfn_comes_back_as_it_was_but_for_its_weights(tmp_path):
    x, bfn = example()
    bfn.eval()
    bfn.network.inlet.train()
    network, flow, forward = bfn.network, bfn.flow, bfn.network.forward.__func__
    modes = [module.training for module in bfn.modules()]
    with Pretend("cuda"):
        training.train(replace(SMALL, precision="bf16"), tmp_path / "run", task=x, bfn=bfn)
    assert bfn.network is network and bfn.flow is flow and flow.validate
    assert bfn.network.forward.__func__ is forward
    assert [module.training for module in bfn.modules()] == modes
    assert {p.device.type for p in bfn.parameters()} == {"cpu"}


class Warm(BFN):
    """A BFN with a weight of its own, and a loss that uses it."""

    def __init__(self, flow, network):
        super().__init__(flow, network)
        self.weight = nn.Parameter(0.1 * torch.randn(()))

    def loss(self, x, t=None, **options):
        return (1 + self.weight.exp()) * super().loss(x, t, **options)


def test_weights_beside_the_network_are_trained_kept_and_loaded(tmp_path):
    x, bfn = example(of=Warm)
    result = training.train(SMALL, tmp_path / "run", task=x, bfn=bfn)
    start = example(of=Warm)[1].weight
    assert bfn.weight < start and result.bfn.weight < start
    other = training.load(tmp_path / "run", bfn=example(of=Warm)[1])
    assert other.weight == result.bfn.weight


def test_tied_weights_and_double_precision_are_kept(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
            self.other.weight = self.one.weight

        def forward(self, inputs, t):
            return self.other(self.one(inputs).tanh())

    def fresh():
        return BFN(ContinuousFlow(0.1), Tied().double())

    result = training.train(SMALL, tmp_path / "run", task=example()[0], bfn=fresh())
    assert {w.dtype for w in result.bfn.parameters()} == {torch.float64}
    loaded = training.load(tmp_path / "run", bfn=fresh())
    assert same(loaded.state_dict(), result.bfn.state_dict())
    assert loaded.network.one.weight is loaded.network.other.weight


# Own loss ----------------------------------------------------------------------------------------


class Recorder(BFN):
    """Writes down what it is called with."""

    def __init__(self, flow, network):
        super().__init__(flow, network)
        self.seen = []

    def loss(self, x, t=None, **options):
        self.seen.append((x, t, options))
        return super().loss(x, t, **options)


class Halved(BFN):
    def loss(self, x, t=None, *, theta=None, generator=None):
        return 0.5 * super().loss(x, t, theta=theta, generator=generator)


class Own(BFN):
    """A loss that draws for itself."""

    def __init__(self, flow, network):
        super().__init__(flow, network)
        self.seen = []

    def loss(self, x, t=None, *, generator=None):
        self.seen.append(generator.initial_seed())
        return super().loss(x, t, generator=generator)


class Plain(BFN):
    """A loss that knows no more than data and times."""

    def loss(self, x, t):
        return (x - self.network(x, t)).square().sum(1) + torch.rand(len(x))


def test_the_loss_of_a_subclass_is_what_is_called(tmp_path):
    x, bfn = example(of=Recorder)
    training.train(replace(SMALL, accumulation=2), tmp_path / "run", task=x, bfn=bfn)
    assert len(bfn.seen) == 2 * SMALL.steps  # and never for validation or the test
    for x, t, options in bfn.seen:
        assert len(x) == len(t) == len(options["theta"].mean) == 4


def test_half_the_loss_has_half_the_gradient_and_the_same_code_length(tmp_path):
    rows, lengths = {}, {}
    for kind in (BFN, Halved):
        x, bfn = example(of=kind)
        settings = replace(SMALL, steps=1, clip=1e9)
        training.train(settings, tmp_path / kind.__name__, task=x, bfn=bfn)
        (rows[kind],) = metrics(tmp_path / kind.__name__)
        lengths[kind] = evaluation.code_length(example(of=kind)[1], x, seed=0).total.mean
    assert rows[Halved]["loss"] == 0.5 * rows[BFN]["loss"] > 0
    assert rows[Halved]["gradient_norm"] == 0.5 * rows[BFN]["gradient_norm"] > 0
    assert lengths[Halved] == lengths[BFN]


def test_a_loss_hung_on_the_object_is_one_of_ones_own(tmp_path):
    x, bfn = example()
    bfn.loss = lambda x, t: bfn.network(x, t).square().sum(1)
    assert evaluation.own_loss(bfn) and not evaluation.own_loss(example()[1])
    training.train(SMALL, tmp_path / "run", task=x, bfn=bfn)
    losses = [row["loss"] for row in metrics(tmp_path / "run") if "loss" in row]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", [BFN, Halved, Warm])
def test_pieces_compute_what_the_whole_does(kind, tmp_path):
    for pieces in (1, 4):
        x, bfn = example(of=kind)
        settings = replace(SMALL, accumulation=pieces, time_power=0.5)
        training.train(settings, tmp_path / str(pieces), task=x, bfn=bfn)
    assert_close(metrics(tmp_path / "4"), metrics(tmp_path / "1"))


def test_a_loss_that_draws_for_itself_has_a_generator_for_each_piece(tmp_path):
    for run in ("one", "other"):
        x, bfn = example(of=Own)
        training.train(replace(SMALL, accumulation=2), tmp_path / run, task=x, bfn=bfn)
        assert len(set(bfn.seen)) == len(bfn.seen) == 2 * SMALL.steps
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")


@unix
@pytest.mark.parametrize("kind", [BFN, Own, Plain, Warm])
def test_an_interrupted_run_goes_on_to_the_same_digits(kind, tmp_path):
    def stop(record):
        if record["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    x, bfn = example(of=kind)
    training.train(SMALL, tmp_path / "whole", task=x, bfn=bfn)
    broken = training.train(SMALL, tmp_path / "run", task=x, bfn=example(of=kind)[1], watch=stop)
    assert (broken.finished, broken.step) == (False, 2)
    loaded = training.load(tmp_path / "run", bfn=example(of=kind)[1])
    assert same(loaded.state_dict(), broken.bfn.state_dict())
    again = example(of=kind, seed=3)[1]  # whose weights the checkpoint replaces
    assert training.train(SMALL, tmp_path / "run", task=x, bfn=again, resume=True).finished
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert same(again.state_dict(), bfn.state_dict())


def train_warm(folder, seed):
    _, bfn = example(of=Warm, seed=seed)
    evaluation.PIECE = 3
    training.train(SMALL, folder, task=torch.linspace(-1, 1, 120).reshape(40, 3), bfn=bfn)


@unix
@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "PIECE", 3)
    train_warm(tmp_path / "alone", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    pair = []
    for rank in (0, 1):
        environment = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
        }
        # The second begins with other weights, which are not taken.
        target = (train_warm, (tmp_path / "run", rank), environment)
        pair.append(processes.Process(target=_child, args=target))
        pair[-1].start()
    for process in pair:
        process.join(90)
    assert [process.exitcode for process in pair] == [0, 0]
    assert_close(metrics(tmp_path / "run"), metrics(tmp_path / "alone"))
    states = [Run(tmp_path / name).read_checkpoint()["network"] for name in ("run", "alone")]
    assert states[0].keys() == states[1].keys()
    for name, weight in states[0].items():
        assert torch.allclose(weight, states[1][name], atol=1e-6), name


# Devices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("loss", [BFN, Warm, Own, Both])
def test_no_step_waits_for_the_device(kind, loss, tmp_path):
    quiet = {"log_every": 99, "validate_every": 99, "checkpoint_every": 99}
    settings = replace(SMALL, steps=20, accumulation=2, **quiet)
    seen = []

    class Watched(loop.Trainer):
        def make_step(self):
            seen.append(device.waits.copy() if len(seen) in (12, 16) else None)
            super().make_step()

    with Pretend(kind) as device:
        x, bfn = several() if loss is Both else example("discretised", of=loss)
        trainer = Watched(settings, Run(tmp_path / "run"), task=x, bfn=bfn)
        with trainer.alone(), trainer.borrowed(), loop.Interruption() as interruption:
            trainer.begin(False)
            trainer.loop(interruption)
            result = trainer.end()
    assert not seen[16] - seen[12]
    assert {p.device.type for p in [*result.bfn.parameters(), *bfn.parameters()]} == {"cpu"}


def test_double_precision_becomes_single_where_there_is_no_other(tmp_path):
    x, bfn = example()
    with Pretend("mps"):
        assert training.train(SMALL, tmp_path / "run", task=x.double(), bfn=bfn).finished


# Conditions --------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """Reads a class beside its input; −1 is no class."""

    def __init__(self):
        super().__init__()
        self.classes, self.seen = nn.Embedding(5, 3), []
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs, t, condition):
        self.seen.append(condition.cpu())
        return self.layer(torch.cat([inputs, self.classes(condition + 1)], 1))


def labelled():
    """Each class has a point of its own."""
    torch.manual_seed(0)
    labels = torch.randint(4, (80,))
    points = torch.linspace(-0.9, 0.9, 12).reshape(4, 3)
    return points[labels], labels, BFN(ContinuousFlow(0.1), Labelled())


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_conditions_go_with_their_examples_and_are_dropped_at_their_rate(kind, tmp_path):
    x, labels, bfn = labelled()
    points = torch.linspace(-0.9, 0.9, 12).reshape(4, 3)
    settings = replace(SMALL, steps=40, batch=32, accumulation=2, condition_dropout=0.25,
                       log_every=20, validate_every=99)
    pairs = []

    class Paired(BFN):
        def loss(self, x, t=None, *, condition=None, **options):
            pairs.append((x.cpu(), condition.cpu()))
            return super().loss(x, t, condition=condition, **options)

    bfn = Paired(bfn.flow, bfn.network)
    with Pretend("cuda") if kind == "cuda" else torch.enable_grad():
        result = training.train(
            settings, tmp_path / "run", task=task_of(x, condition=labels), bfn=bfn
        )
    rows, classes = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    known = classes >= 0
    assert torch.equal(rows[known], points[classes[known]])
    assert (~known).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert result.finished
    drawn = load_file(tmp_path / "run" / "samples.safetensors")["x"]
    assert drawn.shape == (4, 3)


def test_a_class_told_lowers_the_code_length(tmp_path):
    x, labels, bfn = labelled()
    settings = replace(SMALL, steps=150, batch=32, learning_rate=3e-2, log_every=50,
                       validate_every=999, checkpoint_every=999, test_draws=20)
    task = task_of(x, condition=labels)
    told = training.train(settings, tmp_path / "run", task=task, bfn=bfn)
    untold = replace(task, test_condition=torch.full_like(task.test_condition, -1))
    other = training.evaluate(told.bfn, untold, settings)["elbo"]["infinity"]["nats"]
    assert told.evaluation["elbo"]["infinity"]["nats"] < 0.8 * other


def test_what_is_dropped_is_minus_one_or_zero_for_all_parts_together():
    generator = torch.Generator().manual_seed(0)
    condition = {"label": torch.randint(7, (4000,), dtype=torch.uint8), "image":
                 torch.ones(4000, 2, 2)}
    found = dropped(condition, 0.3, generator)
    gone = found["label"] == -1
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(found["label"][~gone], condition["label"][~gone].long())
    assert torch.equal(found["image"], torch.ones(4000, 2, 2) * ~gone[:, None, None])
    assert torch.equal(cut(found, slice(2, 5))["label"], found["label"][2:5])


# Several kinds of data ---------------------------------------------------------------------------


def test_examples_of_several_kinds_are_learnt_together(tmp_path):
    x, _ = several()
    for pieces in (1, 2):
        settings = replace(SMALL, accumulation=pieces)
        result = training.train(settings, tmp_path / str(pieces), task=x, bfn=several()[1])
    assert_close(metrics(tmp_path / "2"), metrics(tmp_path / "1"))
    drawn = load_file(tmp_path / "1" / "samples.safetensors")
    assert drawn["place"].shape == (4, 2) and drawn["kind"].shape == (4, 3)
    row = result.evaluation["elbo"]["infinity"]
    assert row["bits per dimension"] == pytest.approx(row["nats"] / 5 / math.log(2))


# What goes wrong ---------------------------------------------------------------------------------

X = torch.rand(40, 3)
MISTAKES = {
    "no_task": ({}, ValueError, "task must be given"),
    "no_bfn": ({"task": X, "bfn": None}, ValueError, "bfn must be given"),
    "an_array": ({"task": X.numpy()}, ValueError, "task must be a tensor .* got .*ndarray"),
    "no_weights": ({"task": X, "bfn": ExactBFN(ContinuousFlow(0.1), X)}, ValueError,
                   "bfn must have a network with weights"),
    "a_network": ({"task": X, "bfn": nn.Linear(3, 3)}, ValueError, "bfn must be a BFN"),
    "too_few": ({"task": X[:2]}, ValueError, "x must hold more than 2 examples"),
    "out_of_range": ({"task": X * 3}, ValueError, "task.train is not what the flow takes: x must"),
    "nan": ({"task": X / 0 * 0}, ValueError, "is not what the flow takes: x must .* NaN"),
    "whole": ({"task": torch.ones(40, 3).long()}, ValueError, "takes: x must be a floating"),
    "shape": ({"task": X[:, :2]}, TrainingError, r"does not work for examples of shape \(2,\)"),
    "flips": ({"task": X, "settings": replace(SMALL, flips=True)}, TrainingError, "flips is for"),
    "dropout": ({"task": X, "settings": replace(SMALL, condition_dropout=0.5)}, TrainingError,
                r"condition_dropout is for examples with conditions, and my data \(\w+\) has none"),
    "cross_entropy": ({"task": X, "settings": replace(SMALL, cross_entropy=1.0)}, TrainingError,
                      "cross_entropy takes the place of bfn.loss"),
    "condition": ({"task": task_of(X, condition=X)}, TrainingError,
                  "has conditions, but Halved.loss takes no condition"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(name, tmp_path):
    given, kind, said = MISTAKES[name]
    given = {"settings": SMALL, "bfn": example(of=Halved)[1], **given}
    if name == "condition":  # which the network does read
        given["bfn"].output = lambda theta, t, condition=None: None
    with pytest.raises(kind, match=said) as caught:
        training.train(given.pop("settings"), tmp_path / "run", **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_loss_of_another_shape_is_named(tmp_path):
    x, bfn = example()
    bfn.loss = lambda x, t: bfn.network(x, t).sum()
    with pytest.raises(TrainingError, match=r"must return a number for each .* \(8,\), got torch"):
        training.train(SMALL, tmp_path / "run", task=x, bfn=bfn)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": X[:0]}, "task.test must hold at least one example"),
        ({"held_out": X[:3, :2]}, r"task.held_out must have examples of shape \(3,\), got \(2,\)"),
        ({"train_condition": X[:30]}, "task must have conditions for train, held_out and test"),
        ({"train_condition": X[:9], "held_out_condition": X, "test_condition": X},
         "task.train_condition must have a row for each of the 30"),
    ],
)
def test_a_task_made_by_hand_is_looked_at(change, said, tmp_path):
    task = replace(training.Task("mine", "", X[:30], X[30:35], X[35:]), **change)
    with pytest.raises(ValueError, match=said):
        training.train(SMALL, tmp_path / "run", task=task, bfn=example()[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"x": [1, 2]}, "x must be a tensor .* got <class 'list'>"),
        ({"x": {"a": X, "b": X[:9]}}, r"x must hold tensors of one length, got \[9, 40\]"),
        ({"x": X, "condition": X[:9]}, "condition must have a row for each of the 40 .* got 9"),
        ({"x": X, "held_out": 30, "test": 10}, "x must hold more than 40 examples, .* got 40"),
        ({"x": X, "held_out": 0}, "held_out"),
    ],
)
def test_what_no_task_can_be_made_of_is_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        task_of(**arguments)


def test_a_run_goes_on_only_with_what_it_was_begun_with(tmp_path):
    x, bfn = example()
    training.train(replace(SMALL, steps=1), tmp_path / "run", task=x, bfn=bfn)
    other = nn.Sequential(bfn.network)
    cases = [
        (x + 0.001, bfn, r"begun on my data \(\w+\), but now my data \(\w+\) is at hand"),
        (x, example(of=Halved)[1], "begun with a bfn of the class BFN, not Halved"),
        (x, example(hidden=8)[1], "of another network"),
    ]
    for task, given, said in cases:
        with pytest.raises(TrainingError, match=said):
            training.train(SMALL, tmp_path / "run", task=task, bfn=given, resume=True)
    with pytest.raises(TrainingError, match="a BFN that was handed in to train.*bfn=it"):
        training.load(tmp_path / "run")
    with pytest.raises(TrainingError, match="of another network"):
        training.load(tmp_path / "run", bfn=BFN(bfn.flow, other))
    by_hand = training.Task("mine", "", x[:30], x[30:35], x[35:])
    training.train(replace(SMALL, steps=1), tmp_path / "hand", task=by_hand, bfn=bfn)
    wide = training.Task("mine", "", *(torch.zeros(9, 4) for _ in range(3)))
    wider = BFN(bfn.flow, MLP(4, (4,), hidden=16, depth=1))
    with pytest.raises(TrainingError, match=r"begun on examples of shape \[3\], not \[4\]"):
        training.train(SMALL, tmp_path / "hand", task=wide, bfn=wider, resume=True)


def test_a_bfn_that_is_refused_stays_as_it_is(tmp_path):
    x, bfn = example()
    training.train(SMALL, tmp_path / "run", task=x, bfn=bfn)
    deeper = BFN(bfn.flow, MLP(3, (3,), hidden=16, depth=2))  # some of whose weights would fit
    plain = example(seed=1)[1]
    before = [copy.deepcopy(each.state_dict()) for each in (deeper, plain)]
    for settings, given in ((SMALL, deeper), (replace(SMALL, steps=3), plain)):
        with pytest.raises(TrainingError, match="nothing was changed"):
            training.train(settings, tmp_path / "run", task=x, bfn=given, resume=True)
    with pytest.raises(TrainingError, match=r"another network .*: none in the file, \(16,\)"):
        training.load(tmp_path / "run", bfn=deeper)
    run = Run(tmp_path / "run")
    run.write_checkpoint({**run.read_checkpoint(), "optimisers": [{}]})
    with pytest.raises(TrainingError, match="nothing was changed"):
        training.train(SMALL, run.folder, task=x, bfn=plain, resume=True)
    assert all(map(same, before, (deeper.state_dict(), plain.state_dict())))


def test_own_settings_are_settings(tmp_path, capsys):
    from bfn_core.training.__main__ import main

    settings = own_settings(steps=3, batch=4)
    assert (settings.steps, settings.batch, settings.data) == (3, 4, "own")
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(ValueError, match="there is no setting 'stepz'"):
        own_settings(stepz=3)
    with pytest.raises(ValueError, match="batch must be a whole number"):
        own_settings(batch=0)
    with pytest.raises(ValueError, match="no command trains on data, or a network"):
        command(settings)
    with pytest.raises(ValueError, match="data is 'own'"):
        settings_for("own")
    x, bfn = example()
    training.train(replace(SMALL, steps=1), tmp_path / "run", task=x, bfn=bfn)
    assert main(["mnist", "--run", str(tmp_path / "run"), "--resume"]) == 1
    assert "a run with data own, not mnist" in capsys.readouterr().err


# A folder of images ------------------------------------------------------------------------------


def write(folder, name, mode="L", size=(5, 4), colour=7):
    Image.new(mode, size, colour).save(folder / name)


def test_a_folder_of_png_files_is_read_in_the_order_of_names(tmp_path):
    write(tmp_path, "b.PNG", colour=2)
    write(tmp_path, "a.png", colour=1)
    write(tmp_path, "c.png", mode="1", colour=1)
    (tmp_path / "notes.txt").write_text("not an image", "utf-8")
    grey = data.folder(tmp_path)
    assert grey.shape == (3, 1, 4, 5) and grey.dtype == torch.uint8
    assert grey[:, 0, 0, 0].tolist() == [1, 2, 255]
    write(tmp_path, "d.png", mode="RGB", colour=(1, 2, 3))
    colours = data.folder(str(tmp_path))
    assert colours.shape == (4, 3, 4, 5)
    assert colours[:, :, 0, 0].tolist() == [[1] * 3, [2] * 3, [255] * 3, [1, 2, 3]]
    palette = Image.new("P", (5, 4), 0)
    palette.putpalette([9, 8, 7])
    palette.save(tmp_path / "e.png")
    assert data.folder(tmp_path)[4, :, 0, 0].tolist() == [9, 8, 7]


def test_grey_in_a_palette_is_grey_and_what_macos_leaves_beside_is_left_out(tmp_path):
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    palette = Image.new("P", (5, 4), 0)
    palette.putpalette([9, 9, 9])
    palette.save(tmp_path / "a.png")
    grey = data.folder(tmp_path)
    assert grey.shape == (1, 1, 4, 5) and grey[0, 0, 0, 0] == 9


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(data.DataError, match="none cannot be read as a folder"):
        data.folder(tmp_path / "none")
    with pytest.raises(data.DataError, match="holds no PNG file"):
        data.folder(tmp_path)
    write(tmp_path, "a.png")
    for name, options, said in [
        ("b.png", {"size": (5, 5)}, "b.png is 5 × 5 pixels high and wide, but a.png is 4 × 5"),
        ("c.png", {"mode": "RGBA", "colour": (1, 2, 3, 4)}, "c.png has transparent parts"),
        ("d.png", {"mode": "I;16"}, "d.png is of Pillow's mode I"),
    ]:
        write(tmp_path, name, **options)
        with pytest.raises(data.DataError, match=said):
            data.folder(tmp_path)
        (tmp_path / name).unlink()
    content = (tmp_path / "a.png").read_bytes()
    for broken in (b"no picture", content[:40], content[:-20]):
        (tmp_path / "e.png").write_bytes(broken)
        with pytest.raises(data.DataError, match="e.png cannot be read as an image"):
            data.folder(tmp_path)
