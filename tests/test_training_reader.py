"""The reader's own run: where it is kept, when it is loaded, and which model a page shows."""

import json
import sys
from types import ModuleType

import pytest
import torch

from bfn_core import data
from bfn_core.training import (
    TrainingError,
    choose,
    load,
    run_folder,
    runs,
    runs_dir,
    settings_for,
    shipped,
    train,
    train_or_load,
)
from bfn_core.training.__main__ import main
from bfn_core.training.runs import Run


def small(name="mnist", **changes):
    return settings_for(name, "smoke", **{"steps": 4, "validate_every": 2, **changes})


def same(one, other):
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


# Where it is kept.


def test_at_smoke_it_is_a_temporary_folder_that_stays_while_the_process_lives():
    folder = run_folder("mnist", "smoke")
    assert folder == run_folder("mnist", "smoke") != run_folder("text8", "smoke")
    assert runs_dir() not in folder.parents and folder.parent.is_dir()


def test_in_colab_it_is_on_the_drive_or_a_sentence_says_how(monkeypatch, tmp_path):
    monkeypatch.delenv("BFN_RUNS_DIR", raising=False)
    said, drive = [], tmp_path / "MyDrive"
    for module in (runs, sys.modules["bfn_core.training.reader"]):
        monkeypatch.setattr(module, "DRIVE", drive)
    assert run_folder("mnist", "gpu", say=said.append) == runs_dir() / "mnist_gpu"
    assert said == []  # not in Colab
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    run_folder("mnist", "gpu", say=said.append)
    assert 'drive.mount("/content/drive")' in said.pop()
    drive.mkdir()
    folder = run_folder("mnist", "gpu", say=said.append)
    assert folder == drive / "bfn_core_runs" / "mnist_gpu" and said == []


# Stopped, gone on with, complete.


def test_it_is_trained_in_as_many_sittings_as_one_likes_and_then_loaded(tmp_path):
    once = train(small(), tmp_path / "once")
    said, asked = [], iter([False, True])
    folder = tmp_path / "twice"
    result = train_or_load(small(), folder, stop=lambda: next(asked), say=said.append)
    assert (result.step, result.finished, result.evaluation) == (2, False, None)
    result = train_or_load(small(), folder, say=said.append)
    assert result.finished and same(result.bfn, once.bfn)
    assert result.evaluation["elbo"] == once.evaluation["elbo"]

    watched, said = [], []
    loaded = train_or_load(small(), folder, say=said.append, watch=watched.append)
    assert same(loaded.bfn, once.bfn) and loaded.finished and loaded.step == 4
    assert loaded.evaluation == json.loads((folder / "evaluation.json").read_text("utf-8"))
    assert watched == [] and "complete, 4 steps on digits stand-in" in said[0] and len(said) == 1


def test_more_steps_go_on_with_a_complete_run_whose_end_is_no_longer_its_end(tmp_path):
    first = train_or_load(small(), tmp_path)
    asked = iter([False, True])
    stopped = train_or_load(small(steps=8), tmp_path, stop=lambda: next(asked))
    assert (stopped.step, stopped.finished) == (6, False)
    assert same(load(tmp_path), stopped.bfn) and not same(load(tmp_path), first.bfn)
    assert not Run(tmp_path).evaluation.exists()
    assert train_or_load(small(steps=8), tmp_path).step == 8


def test_other_settings_are_refused_and_what_is_there_stays(tmp_path):
    train_or_load(small(), tmp_path)
    before = Run(tmp_path).weights.read_bytes()
    with pytest.raises(TrainingError, match="with batch = 32, not 16"):
        train_or_load(small(batch=16), tmp_path)
    assert Run(tmp_path).weights.read_bytes() == before


# Which model a page shows.


@pytest.mark.parametrize("name", ["mnist", "cifar10", "text8"])
def test_the_shipped_model_and_what_it_says(name):
    chosen, record = choose(name), data.record(name)
    assert same(chosen.bfn, shipped(name)) and chosen.bill() == record["bill"]
    assert chosen.name == "the shipped model" and chosen.sure
    nats = record["evaluation"]["elbo"]["infinity"]["nats"]
    for part in ("The shipped model", f"{record['parameters']:,} parameters", f"{nats:.2f} ±",
                 f"{record['settings']['steps']:,} steps"):
        assert part in chosen.says


def test_mine_is_the_run_in_the_folder(tmp_path):
    result = train(small(), tmp_path)
    chosen = choose("mnist", "mine", tmp_path)
    assert same(chosen.bfn, result.bfn) and chosen.settings == small() and not chosen.sure
    assert chosen.evaluation == result.evaluation and chosen.name == "your model"
    nats = result.evaluation["elbo"]["infinity"]["nats"]
    assert f"Your model, from {tmp_path}" in chosen.says and f"{nats:.2f} ±" in chosen.says
    found = chosen.bill()
    assert sum(found["nats"]) == pytest.approx(nats, rel=0.3) and len(found["t"]) == 20


def test_mine_may_have_been_stopped(tmp_path):
    asked = iter([False, False, True])
    train(small(), tmp_path, stop=lambda: next(asked))
    says = choose("mnist", "mine", tmp_path).says
    assert "3 of 4 steps" in says and "at step 2: " in says.lower()
    assert choose("mnist", "mine", tmp_path).evaluation is None


def test_a_run_that_was_judged_before_its_end_has_not_ended(tmp_path):
    asked = iter([False, False, True])
    train(small(), tmp_path, stop=lambda: next(asked))
    run = Run(tmp_path)
    assert main(["mnist", "--run", str(tmp_path), "--evaluate", "--n", "3"]) == 0
    chosen = choose("mnist", "mine", tmp_path)
    assert "3 of 4 steps" in chosen.says and "Test ELBO, n = ∞" in chosen.says
    assert chosen.evaluation == run.read_json(run.evaluation)
    # Without a step, as earlier versions wrote it, or of an earlier one.
    for other in ({}, {"step": 2}):
        found = {k: v for k, v in chosen.evaluation.items() if k != "step"}
        run.write_json(run.evaluation, {**found, **other})
        again = choose("mnist", "mine", tmp_path)
        assert "3 of 4 steps" in again.says and "At step 2: " in again.says
        assert again.evaluation is None


def test_a_run_that_was_killed_while_it_was_judged_is_judged_with_all_its_facts(tmp_path):
    train(small(), tmp_path)
    run = Run(tmp_path)
    wanted = run.read_json(run.evaluation)
    run.evaluation.unlink()
    assert main(["mnist", "--run", str(tmp_path), "--evaluate", "--n", "3"]) == 0
    found = run.read_json(run.evaluation)
    assert all(found[name] == wanted[name] for name in ("training seconds", "parameters", "step"))


def test_until_there_is_a_run_the_shipped_model_stands_in_and_it_says_so(tmp_path):
    chosen = choose("mnist", "mine", tmp_path / "none")
    assert same(chosen.bfn, shipped("mnist")) and chosen.sure
    assert "There is no run of yours" in chosen.says and "The shipped model: " in chosen.says


@pytest.mark.parametrize("name, figure", [
    ("mnist", "77.87 nats"), ("cifar10", "2.68 bits"), ("text8", "1.41 bits"),
])
def test_the_papers_own_model_may_be_chosen(monkeypatch, name, figure):
    """Its file is pretended: the hub's cannot be had here."""
    from bfn_core.training import pretrained

    stand_in = shipped(name)
    asked = []
    monkeypatch.setattr(pretrained, "published", lambda name: asked.append(name) or stand_in)
    chosen = choose(name, "published")
    assert asked == [name] and chosen.bfn is stand_in and not chosen.sure
    assert chosen.settings.scale == "paper" and chosen.evaluation is None
    assert figure in chosen.says and "its authors published" in chosen.says
    assert chosen.claim(False, "It is so.").startswith("Not so with the paper's model")


def test_what_there_is_not_cannot_be_chosen(tmp_path):
    with pytest.raises(ValueError, match="one of shipped, mine, published, got 'yours'"):
        choose("mnist", "yours", tmp_path)
    with pytest.raises(ValueError, match="folder"):
        choose("mnist", "mine")
    train(small(), tmp_path)
    with pytest.raises(TrainingError, match="on mnist, not on text8"):
        choose("text8", "mine", tmp_path)


def test_a_claim_must_hold_of_the_shipped_model_only(tmp_path):
    train(small(steps=1), tmp_path)
    shipped_one, mine = choose("mnist"), choose("mnist", "mine", tmp_path)
    assert shipped_one.claim(True, "It is so.") == mine.claim(True, "It is so.") == "It is so."
    assert mine.claim(False, "It is so.").startswith("Not so with your model")
    with pytest.raises(AssertionError, match="It is so"):
        shipped_one.claim(False, "It is so.")
