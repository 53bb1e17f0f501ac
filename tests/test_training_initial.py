"""Training that begins from weights that are there already."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from bfn_core import data, training
from bfn_core.training import TrainingError, loop, own_settings, settings_for
from bfn_core.training.__main__ import arguments, chosen, main
from bfn_core.training.ranges import check
from bfn_core.training.runs import Run

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(
    settings_for("mnist", "smoke"), steps=2, batch=8, log_every=1, checkpoint_every=1,
    validate_every=9, held_out=8, test_examples=8, sample_count=4, sample_steps=2, warmup=2,
)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A run whose weights others begin from."""
    folder = tmp_path_factory.mktemp("runs") / "before"
    training.train(replace(TINY, seed=5), folder)
    return folder


def begun(settings, folder):
    """The trainer of a run before its first step, and what it said."""
    said = []
    trainer = loop.Trainer(settings, Run(folder), say=said.append)
    with trainer.alone():
        trainer.begin(True)
    return trainer, said


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_run_begins_from_the_averaged_weights_of_another(before, tmp_path, form):
    path = before if form == "folder" else Run(before).weights
    trainer, said = begun(replace(TINY, initial=str(path)), tmp_path / "run")
    wanted = training.load(before).network.state_dict()
    for found in (trainer.plain, trainer.ema.module):
        assert all(torch.equal(wanted[k], v) for k, v in found.state_dict().items())
    digest = json.loads(Run(tmp_path / "run").settings.read_text("utf-8"))["initial weights"]
    assert len(digest) == 8 and any(digest in sentence for sentence in said)


def test_other_weights_have_another_digest(before, tmp_path):
    trainer, _ = begun(replace(TINY, initial=str(before)), tmp_path / "a")
    training.train(replace(TINY, seed=6), tmp_path / "other")
    other, _ = begun(replace(TINY, initial=str(tmp_path / "other")), tmp_path / "b")
    assert trainer.initial != other.initial


def test_a_run_goes_on_from_its_checkpoint_though_the_initial_weights_are_gone(before, tmp_path):
    start = tmp_path / "start.safetensors"
    start.write_bytes(Run(before).weights.read_bytes())
    settings = replace(TINY, initial=str(start))
    training.train(settings, tmp_path / "run")
    record = Run(tmp_path / "run").read_settings()
    start.unlink()
    longer = training.train(replace(settings, steps=3), tmp_path / "run", resume=True)
    assert longer.step == 3
    assert Run(tmp_path / "run").read_settings()["initial weights"] == record["initial weights"]
    with pytest.raises(TrainingError, match="begun with initial = "):
        training.train(replace(settings, initial=None, steps=4), tmp_path / "run", resume=True)


def test_shipped_weights_may_be_the_initial_ones(tmp_path):
    arguments = training.shipped("mnist").network.state_dict()
    network = data.record("mnist")["settings"]["network_arguments"]
    settings = replace(TINY, initial="shipped", network_arguments=network)
    trainer, _ = begun(settings, tmp_path / "run")
    assert all(torch.equal(arguments[k], v) for k, v in trainer.plain.state_dict().items())


def test_a_wider_network_goes_on_from_a_narrower_one(before, tmp_path):
    wide = {**TINY.network_arguments, "channels": 2 * TINY.network_arguments["channels"]}
    settings = replace(TINY, initial=str(before), network_arguments=wide)
    trainer, _ = begun(settings, tmp_path / "run")
    wanted, found = training.load(before).network, trainer.plain.eval()
    inputs, t = torch.rand(3, 1, 8, 8, 2), torch.full((3,), 0.4)
    assert len(found.first.weight) == 2 * len(wanted.first.weight)
    with torch.no_grad():
        assert torch.allclose(found(inputs, t), wanted(inputs, t), atol=1e-5)
    hinted = replace(COARSE, initial=str(before), network_arguments={**wide, "hints": 1})
    trainer, _ = begun(hinted, tmp_path / "hinted")
    with torch.no_grad():
        raw = trainer.plain.eval()(inputs, t, torch.rand(3, 1, 8, 8))
        assert torch.allclose(raw, wanted(inputs, t), atol=1e-5)


def test_the_command_line_begins_from_weights(before, tmp_path, monkeypatch):
    monkeypatch.chdir(before.parent)
    words = ["mnist", "--scale", "smoke", "--run", "new", "--initial"]
    assert chosen(arguments([*words, "before"])).initial == str(before)  # from anywhere
    assert chosen(arguments([*words, "shipped"])).initial == "shipped"
    assert "--set initial=shipped" in training.scales.command(replace(TINY, initial="shipped"))


def test_weights_that_do_not_fit_are_refused_and_leave_no_run(before, tmp_path, capsys):
    words = ["mnist", "--scale", "smoke", "--run", str(tmp_path / "new"), "--initial"]
    assert main([*words, str(before), "--set", "network_arguments.channels=12"]) == 1
    assert "of another network" in capsys.readouterr().err
    assert main([*words, str(before), "--set", "network_arguments.channels=4"]) == 1
    assert "--set network_arguments.channels=8 makes it as wide" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_network_of_ones_own_brings_its_own_weights(tmp_path):
    x = torch.rand(40, 3)
    bfn = training.tasks.BFN(training.tasks.ContinuousFlow(0.1), nn.Linear(3, 3))
    with pytest.raises(ValueError, match="gives one of one's own its weights"):
        training.train(own_settings(initial="there"), tmp_path / "run", task=x, bfn=bfn)
    with pytest.raises(ValueError, match="no weights are shipped for data of one's own"):
        check(replace(TINY, data="own", initial="shipped"))


# Weights that learnt without a condition, and go on with one.

LABELLED = replace(TINY, labels=True, condition_dropout=0.25,
                   network_arguments={**TINY.network_arguments, "labels": 10})


def test_a_network_may_go_on_with_labels(before, tmp_path):
    trainer, _ = begun(replace(LABELLED, initial=str(before)), tmp_path / "run")
    wanted = training.load(before).network.state_dict()
    found = trainer.plain.state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert found.keys() - wanted.keys() == {"conditions.label.weight"}
    assert found["conditions.label.weight"].std() > 0


def test_weights_of_a_labelled_network_bring_their_own_embedding(tmp_path):
    training.train(LABELLED, tmp_path / "first")
    wanted = training.load(tmp_path / "first").network.state_dict()
    trainer, _ = begun(replace(LABELLED, initial=str(tmp_path / "first")), tmp_path / "run")
    assert all(torch.equal(wanted[k], v) for k, v in trainer.plain.state_dict().items())


# Weights that learnt without hints, and go on with a coarse picture.

COARSE = replace(TINY, coarse=4, network_arguments={**TINY.network_arguments, "hints": 1})


def test_a_network_that_goes_on_with_hints_begins_as_if_there_were_none(before, tmp_path):
    trainer, _ = begun(replace(COARSE, initial=str(before)), tmp_path / "run")
    wanted, found = training.load(before).network, trainer.plain
    inputs, t = torch.rand(3, 1, 8, 8, 2), torch.full((3,), 0.4)
    hints = torch.rand(3, 1, 8, 8)
    assert found.first.weight.shape[1] == 2 * wanted.first.weight.shape[1]
    with torch.no_grad():
        raw = found.eval()(inputs, t, hints)
        assert torch.allclose(raw, wanted(inputs, t), atol=1e-6)
        found.first.weight[:, -1] += 1.0  # what reads the hints
        assert not torch.allclose(found(inputs, t, hints), raw, atol=1e-3)


def test_a_run_is_told_the_block_means_of_the_pixels_that_were_drawn(tmp_path):
    from bfn_core.training.loop import draw_batch
    from bfn_core.training.tasks import build_flow, load_task

    task, told = load_task(COARSE), []
    batch = draw_batch(task, build_flow(COARSE), COARSE, 3, torch.Generator())
    assert set(batch.x.unique().tolist()) == {0, 1}
    blocks = (2.0 * batch.x - 1).unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
    assert torch.equal(batch.condition[..., ::4, ::4], blocks)
    assert torch.equal(batch.condition, blocks.repeat_interleave(4, 2).repeat_interleave(4, 3))

    class Listening(training.tasks.BFN):
        def output(self, theta, t, *, condition=None):
            told.append(condition)
            return super().output(theta, t, condition=condition)

    bfn = Listening(build_flow(COARSE), training.tasks.build(COARSE).network)
    training.evaluation.evaluate(bfn, task, COARSE, (None, 2))
    training.evaluation.bill(bfn, task, COARSE)
    training.evaluation.draw(bfn, task, COARSE, tmp_path)
    assert len(told) > 5 and all(hints is not None for hints in told)
    both = replace(COARSE, labels=True)
    known = load_task(both).known(batch.x, torch.arange(4))
    assert torch.equal(known["hints"], batch.condition) and known["label"].tolist() == [0, 1, 2, 3]


def test_a_run_learns_from_the_coarse_picture(tmp_path):
    with pytest.raises(TrainingError, match="hints=0"):
        training.train(replace(TINY, coarse=4), tmp_path / "deaf")
    with pytest.raises(TrainingError, match="multiples of size = 3"):
        training.train(replace(COARSE, coarse=3), tmp_path / "crooked")
    result = training.train(replace(COARSE, steps=3), tmp_path / "run")
    assert result.finished and training.load(tmp_path / "run").network.hints == 1
    with pytest.raises(ValueError, match="coarse is for images, so not for text"):
        settings_for("text8", "smoke", coarse=4)
    with pytest.raises(ValueError, match="coarse needs binary pixels or numbers, got 4 classes"):
        check(replace(COARSE, levels=4))
    with pytest.raises(ValueError, match="coarse is for the images that settings name"):
        own_settings(coarse=4)


def test_the_labels_of_a_run_are_those_of_its_images():
    from bfn_core import data
    from bfn_core.training.tasks import load_task

    task, images = load_task(LABELLED), data.mnist(stand_in=True)
    for part, images_of, labels in (("train", images.train[:-8], images.train_labels[:-8]),
                                    ("held_out", images.train[-8:], images.train_labels[-8:]),
                                    ("test", images.test[:8], images.test_labels[:8])):
        assert torch.equal(getattr(task, part), images_of)
        condition = getattr(task, f"{part}_condition")
        assert torch.equal(condition, labels.long()) and condition.dtype == torch.int64
    assert load_task(TINY).train_condition is None


def test_labels_need_a_network_that_reads_them(tmp_path):
    with pytest.raises(TrainingError, match="this network has labels=0"):
        training.train(replace(TINY, labels=True), tmp_path / "run")


def test_a_tasks_own_conditions_take_the_place_of_labels():
    from bfn_core.training.scales import of_own

    assert not of_own(LABELLED, task=True, bfn=False).labels
    with pytest.raises(ValueError, match="labels is for images that come with them"):
        own_settings(labels=True)
