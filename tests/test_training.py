"""Training: killed, interrupted, resumed, refused, shared between processes, and evaluated."""

import errno
import json
import multiprocessing
import os
import pickle
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
import torch
from safetensors.torch import save_file

from bfn_core import training
from bfn_core.data import files
from bfn_core.training import TrainingError, evaluation, loop, optimisers, runs, settings_for
from bfn_core.training.runs import Run
from bfn_core.training.scales import DATA_SETS, SCALES, Settings, changed, of_pixels
from bfn_core.training.scales import command as command_of

ROOT = Path(__file__).parents[1]

TINY = replace(
    settings_for("mnist", "smoke"), steps=9, batch=8, log_every=2, checkpoint_every=3,
    validate_every=4, held_out=8, test_examples=8, sample_count=4, sample_steps=2, warmup=2,
)
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix signals")


pytestmark = pytest.mark.usefixtures("one_thread")


def metrics(folder):
    """The metrics without the seconds, which no two runs share."""
    found = Run(folder).read_metrics()
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nobody disturbed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "finished"
    training.train(TINY, folder)
    torch.set_num_threads(threads)
    return folder


# Children that can be killed ---------------------------------------------------------------------

if sys.platform != "win32":
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["bfn_core.training", "accelerate", "sklearn.datasets"])


def child(target, *args, environment=None):
    """Run a function of this module in a fresh process; its exit code."""
    process = processes.Process(target=_child, args=(target, args, environment or {}))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the child hangs"
    return process.exitcode


def _child(target, args, environment):
    os.environ.update(environment)
    torch.set_num_threads(1)
    target(*args)


def kill_self(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_between_checkpoints(folder):
    """After step 5; the last checkpoint is that of step 4, made before its validation."""
    make_step = loop.Trainer.make_step

    def last_step(self):
        make_step(self)
        if self.step == 5:
            kill_self()

    loop.Trainer.make_step = last_step
    training.train(TINY, folder)


def die_before_validating(folder):
    """At a validation: its step is kept, so that one that cannot end does not end the run."""
    loop.Trainer.validate = kill_self
    training.train(TINY, folder)


def die_while_writing_a_checkpoint(folder):
    """Half of checkpoint 6 is on the disk, and a line of metrics is newer than checkpoint 4."""
    save = torch.save

    def half(state, file):
        if state["step"] == 6:
            save(state, file)
            file.flush()
            os.ftruncate(file.fileno(), file.tell() // 2)
            kill_self()
        save(state, file)

    torch.save = half
    training.train(TINY, folder)


def die_before_the_first_checkpoint(folder):
    """Half a line of metrics is on the disk, and no checkpoint."""

    def half_a_line(self, record):
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record)[:10])
        kill_self()

    Run.append = half_a_line
    training.train(TINY, folder)


@unix
@pytest.mark.parametrize(
    ("moment", "checkpoint"),
    [
        (die_between_checkpoints, 4),
        (die_before_validating, 4),
        (die_while_writing_a_checkpoint, 4),
        (die_before_the_first_checkpoint, None),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(moment, checkpoint, finished, tmp_path):
    folder = tmp_path / "run"
    assert child(moment, folder) == -signal.SIGKILL
    if checkpoint is None:
        assert not Run(folder).checkpoint.exists()
    else:
        assert Run(folder).read_checkpoint()["step"] == checkpoint
    result = training.train(TINY, folder, resume=True)
    assert result.finished and metrics(folder) == metrics(finished)
    assert same_weights(folder, finished)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(finished))  # no .part is left


def same_weights(one, other):
    pairs = [Run(folder).read_checkpoint() for folder in (one, other)]
    for part in ("network", "ema"):
        for name, weight in pairs[0][part].items():
            if not torch.equal(weight, pairs[1][part][name]):
                return False
    return True


def command(*words):
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "BFN_SCALE": "smoke", "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "bfn_core.training", *map(str, words)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )


@unix
def test_the_command_line_is_stopped_and_resumed_and_evaluates(tmp_path):
    folder = tmp_path / "run"
    steps = 40  # more than it can make before the signal arrives
    process = command("mnist", "--run", folder, "--steps", steps, "--seed", 3)
    while process.poll() is None and len(metrics(folder)) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stand in" in out and "Stopped after step" in out and "--resume" in out
    assert "Traceback" not in err and "\r" not in err
    stopped = Run(folder).read_checkpoint()["step"]
    assert 2 <= stopped < steps and metrics(folder)[-1]["step"] == stopped

    process = command("mnist", "--run", folder, "--resume")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"Resuming {folder} after step {stopped} of {steps}" in out
    assert "test ELBO, n = ∞" in out and "digits stand-in" in out

    settings = settings_for("mnist", "smoke", steps=steps, seed=3)
    training.train(settings, tmp_path / "other")
    assert metrics(folder) == metrics(tmp_path / "other")
    assert metrics(folder)[-1]["loss"] < 0.8 * metrics(folder)[0]["loss"]


def test_ctrl_c_in_a_notebook_leaves_a_checkpoint_and_says_how_to_go_on(finished, tmp_path):
    said, before = [], signal.getsignal(signal.SIGINT)

    def interrupt(record):
        if record["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    result = training.train(TINY, tmp_path / "run", watch=interrupt, say=said.append)
    assert (result.step, result.finished) == (2, False)
    assert "Stopped after step 2 of 9" in said[-1] and "--resume" in said[-1]
    assert signal.getsignal(signal.SIGINT) is before
    training.train(TINY, tmp_path / "run", resume=True)
    assert metrics(tmp_path / "run") == metrics(finished)


def test_training_leaves_the_global_generator_alone(tmp_path):
    before = torch.get_rng_state()
    training.train(replace(TINY, steps=1), tmp_path / "run")
    assert torch.equal(before, torch.get_rng_state())


# Several processes, several pieces ---------------------------------------------------------------


def train_in_small_pieces(settings, folder):
    """Three examples are judged at a time, so that there is something to share."""
    evaluation.PIECE = 3
    training.train(settings, folder)


@unix
@pytest.mark.slow
def test_two_processes_compute_what_one_does(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation, "PIECE", 3)
    alone = tmp_path / "alone"
    training.train(TINY, alone)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = tmp_path / "run"
    pair = []
    for rank in "01":
        environment = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
        }
        target = (train_in_small_pieces, (TINY, folder), environment)
        pair.append(processes.Process(target=_child, args=target))
        pair[-1].start()
    for process in pair:
        process.join(90)
    assert [process.exitcode for process in pair] == [0, 0]
    assert json.loads(Run(folder).settings.read_text("utf-8"))["processes"] == 2
    assert_close(metrics(folder), metrics(alone))
    found, wanted = (run.read_json(run.evaluation)["elbo"] for run in (Run(folder), Run(alone)))
    assert found["infinity"] == pytest.approx(wanted["infinity"], rel=2e-5)


@unix
@pytest.mark.slow
def test_torchrun_trains_as_the_readme_says(tmp_path):
    """It takes --run for an option of its own; after -- it does not."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^torchrun .*$", readme, re.M)
    words = shlex.split(line.replace("--nproc_per_node 8", "--standalone --nproc_per_node 2"))
    words[words.index("paper")] = "smoke"
    words[words.index("--run") + 1] = str(tmp_path / "run")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words[1:], "--steps", "2"],
        cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", errors="replace",
    )
    assert run.returncode == 0, run.stderr
    assert Run(tmp_path / "run").read_json(Run(tmp_path / "run").settings)["processes"] == 2
    assert Run(tmp_path / "run").weights.exists()


def assert_close(found, wanted):
    """Equal but for the order of sums."""
    assert [r["step"] for r in found] == [r["step"] for r in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=2e-5)


def test_a_batch_in_pieces_is_the_batch(finished, tmp_path):
    training.train(replace(TINY, accumulation=4), tmp_path / "run")
    assert_close(metrics(tmp_path / "run"), metrics(finished))


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="batch of 8 cannot be shared evenly"):
        training.train(replace(TINY, accumulation=3), tmp_path / "run")


# What goes wrong ---------------------------------------------------------------------------------


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def copy_of(finished, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in contents(finished).items():
        (folder / name).write_bytes(content)
    return folder


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_text(path):
    path.write_text("not a checkpoint", "utf-8")


def replace_by_another_file_of_torch(path):
    torch.save({"weights": torch.zeros(3)}, path)


def replace_by_a_pickle_that_runs(path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(path.with_name("executed")),)

    torch.save({"format": runs.FORMAT, "network": Bomb()}, path)


def replace_by_a_plain_pickle(path):
    path.write_bytes(pickle.dumps({"format": runs.FORMAT}))


def replace_by_another_shape(path):
    arguments = {**TINY.network_arguments, "channels": 16}
    other = replace(TINY, network_arguments=arguments, steps=1)
    training.train(other, path.parent.parent / "other")
    path.write_bytes(Run(path.parent.parent / "other").checkpoint.read_bytes())


def replace_by_another_run(path):
    training.train(replace(TINY, seed=1, steps=1), path.parent.parent / "other")
    path.write_bytes(Run(path.parent.parent / "other").checkpoint.read_bytes())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_short, "damaged or cut short"),
        (flip_a_byte, "damaged"),
        (replace_by_text, "damaged or cut short"),
        (replace_by_another_file_of_torch, "not a checkpoint of bfn_core"),
        (replace_by_a_pickle_that_runs, "not a checkpoint of bfn_core"),
        (replace_by_a_plain_pickle, "damaged or cut short"),
        (replace_by_another_shape, "was begun with network_arguments = .*'channels': 16"),
        (replace_by_another_run, "checkpoint.pt was begun with seed = 1, not 0"),
    ],
)
def test_a_bad_checkpoint_is_refused_by_name(finished, tmp_path, damage, reason):
    folder = copy_of(finished, tmp_path)
    damage(Run(folder).checkpoint)
    before = contents(folder)
    with pytest.raises(TrainingError, match=reason) as caught:
        training.train(TINY, folder, resume=True)
    assert str(Run(folder).checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(folder) == before and not (folder / "executed").exists()


def test_other_settings_or_data_are_refused(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    before = contents(folder)
    with pytest.raises(TrainingError, match="begun with batch = 8, not 4"):
        training.train(replace(TINY, batch=4), folder, resume=True)
    record = json.loads(Run(folder).settings.read_text("utf-8"))
    Run(folder).settings.write_text(json.dumps({**record, "data": "MNIST"}), "utf-8")
    with pytest.raises(TrainingError, match="begun on MNIST, but now digits stand-in is at hand"):
        training.train(TINY, folder, resume=True)
    Run(folder).settings.write_text("{", "utf-8")
    with pytest.raises(TrainingError, match=r"settings.json is damaged"):
        training.train(TINY, folder, resume=True)
    after = contents(folder)
    assert {**after, "settings.json": b""} == {**before, "settings.json": b""}


def test_an_existing_run_is_not_overwritten(finished):
    before = contents(finished)
    with pytest.raises(TrainingError, match="already holds a run: add --resume"):
        training.train(TINY, finished)
    assert contents(finished) == before


def test_a_run_can_be_made_longer(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    result = training.train(replace(TINY, steps=11), folder, resume=True)
    assert result.step == 11 and metrics(folder)[-1]["step"] == 11
    assert Run(folder).read_settings()["settings"].steps == 11


def test_fewer_steps_than_were_made_are_refused(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    before = contents(folder)
    with pytest.raises(TrainingError, match="has made 9 steps, so steps must be .*, got 6"):
        training.train(replace(TINY, steps=6), folder, resume=True)
    assert contents(folder) == before


def test_the_settings_tell_of_all_sessions(tmp_path):
    folder = tmp_path / "run"

    def sessions(**changes):
        asked = iter([False, True])
        training.train(replace(TINY, **changes), folder, resume=True, stop=lambda: next(asked))
        found = Run(folder).read_settings()["sessions"]
        assert {"device", "threads", "versions", "processes"} < found[-1].keys()
        return [(each["from step"], each["steps"], each["accumulation"]) for each in found]

    assert sessions() == [(0, 9, 1)]
    assert sessions(steps=7) == [(0, 9, 1), (2, 7, 1)]
    record = json.loads(Run(folder).settings.read_text("utf-8"))
    del record["sessions"]  # as runs begun by earlier versions have it
    Run(folder).write_json(Run(folder).settings, record)
    assert sessions(accumulation=2) == [(4, 9, 2)]
    # One that is killed before its first checkpoint has left nothing.
    record = json.loads(Run(folder).settings.read_text("utf-8"))
    record["sessions"].append({**record["sessions"][0], "from step": 6, "steps": 99})
    Run(folder).write_json(Run(folder).settings, record)
    assert sessions() == [(4, 9, 2), (6, 9, 1)]


def test_resume_in_an_empty_place_begins(tmp_path):
    assert training.train(replace(TINY, steps=1), tmp_path / "new", resume=True).step == 1


def test_two_runs_cannot_share_a_directory(tmp_path):
    with Run(tmp_path).held(), pytest.raises(TrainingError, match="another process is training"):
        training.train(TINY, tmp_path)
    with Run(tmp_path).held():
        assert os.listdir(tmp_path) == [".bfn_core.lock"]
    assert os.listdir(tmp_path) == []


def hold_and_die(folder):
    with Run(folder).held():
        kill_self()


@unix
def test_a_killed_process_shuts_nobody_out(tmp_path):
    assert child(hold_and_die, tmp_path) == -signal.SIGKILL
    with Run(tmp_path).held():
        pass
    assert os.listdir(tmp_path) == []


def no_locks(path):
    """What filelock gives on a file system without locks."""

    class Lock:
        is_locked = False

        def acquire(self, timeout):
            raise OSError(errno.ENOLCK, "No locks available")

    return Lock()


def no_room(path):
    """filelock's own lock, where no file can be made: below another."""
    return filelock.FileLock(Path(__file__) / "lock")


@pytest.mark.parametrize("lock", [no_locks, no_room])
def test_where_nothing_can_be_locked_a_run_goes_on_without(lock, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_lock", lock)
    with Run(tmp_path).held():
        assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_not_taken_for_one_that_is_held(tmp_path, monkeypatch):
    class Windows:
        """What filelock 3.16 gives there: it takes a file it may not make for a held one."""

        is_locked = False

        def acquire(self, timeout):
            raise filelock.Timeout("lock")

    def refuse(self, *_, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "_lock", lambda path: Windows())
    with pytest.raises(TrainingError, match="another process"), Run(tmp_path).held():
        pass
    monkeypatch.setattr(files.Path, "touch", refuse)
    with Run(tmp_path).held():
        assert os.listdir(tmp_path) == []


def test_an_error_of_the_run_is_not_taken_for_a_lock(tmp_path):
    with pytest.raises(BlockingIOError, match="no pipe"), Run(tmp_path).held():
        raise BlockingIOError("no pipe")


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step(finished, tmp_path):
    folder = tmp_path / "run"
    make_step = loop.Trainer.make_step

    class Poisoned(loop.Trainer):
        def make_step(self):
            if self.step == 5:
                with torch.no_grad():
                    next(self.plain.parameters()).fill_(float("nan"))
            make_step(self)

    trainer = Poisoned(TINY, Run(folder))
    expected = pytest.raises(TrainingError, match="the loss of step 6 is not a number")
    with expected as caught, trainer.alone(), loop.Interruption() as interruption:
        trainer.begin(False)
        trainer.loop(interruption)
    assert f"{Run(folder).checkpoint}, step 4" in str(caught.value)
    assert "lower learning rate" in str(caught.value)
    state = Run(folder).read_checkpoint()
    assert state["step"] == 4 and all(w.isfinite().all() for w in state["network"].values())
    training.train(TINY, folder, resume=True)
    assert metrics(folder) == metrics(finished)


def fill_the_disk(folder):
    """Files may grow to 100 kB only: a checkpoint has 250 kB. The first one is still allowed."""
    import resource

    def limit(record):
        if record["step"] == 6:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    try:
        training.train(TINY, folder, watch=limit)
    except TrainingError as error:
        (folder.parent / "said").write_text(str(error), "utf-8")


@unix
def test_a_full_disk_is_named_and_the_last_checkpoint_is_intact(finished, tmp_path):
    folder = tmp_path / "run"
    assert child(fill_the_disk, folder) == 0
    said = (tmp_path / "said").read_text("utf-8")
    assert f"{Run(folder).checkpoint} cannot be written" in said
    assert "what was there before is intact" in said and "\n" not in said
    assert Run(folder).read_checkpoint()["step"] == 4
    training.train(TINY, folder, resume=True)
    assert metrics(folder) == metrics(finished)


def test_a_checkpoint_that_another_program_reads_is_replaced_a_little_later(
    finished, tmp_path, monkeypatch
):
    """As on Windows, where a scanner of viruses may have it open."""
    rename, refused = os.replace, []

    def reluctant(new, path):
        if path.name == "checkpoint.pt" and len(refused) < 3:
            refused.append(path)
            raise PermissionError(13, "in use by another process")
        rename(new, path)

    monkeypatch.setattr(os, "replace", reluctant)
    training.train(TINY, tmp_path / "run")
    assert len(refused) == 3 and metrics(tmp_path / "run") == metrics(finished)


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(TrainingError, match=r"file.run cannot be made"):
        training.train(TINY, tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["mnist", "--run", "{finished}"], 1, "error: .* already holds a run: add --resume"),
        (["mnist", "--run", "{new}", "--evaluate"], 1, "error: .*holds no run to evaluate"),
        (["mnist", "--run", "{finished}", "--resume", "--seed", "5"], 1, "with seed 0, not 5"),
        (["cifar10", "--run", "{finished}", "--resume"], 1, "with data mnist, not cifar10"),
        (["mnist", "--run", "{new}", "--steps", "0"], 2, "'0' is not a whole number from 1 on"),
        (["digits", "--run", "{new}"], 2, "invalid choice: 'digits'"),
        (["mnist", "--run", "{new}", "--set", "stepz=3"], 1, "there is no setting 'stepz'"),
        (["mnist", "--run", "{new}", "--set", "batch=many"], 1, "'many' is of another kind"),
        (["mnist", "--run", "{new}", "--set", "batch"], 2, "'batch' is not NAME=VALUE"),
    ],
)
def test_the_command_line_refuses_in_a_sentence(finished, tmp_path, capsys, words, status, said):
    from bfn_core.training.__main__ import main

    words = [word.format(finished=finished, new=tmp_path / "new") for word in words]
    try:
        assert main(words) == status
    except SystemExit as exit:
        assert exit.code == status
    shown = capsys.readouterr()
    assert re.search(said, shown.err), shown.err
    assert "Traceback" not in shown.err


def test_any_setting_can_be_changed_and_the_command_says_so():
    """What `command` writes, the command line reads back as the same settings."""
    from bfn_core.training.__main__ import arguments, chosen

    settings = settings_for("mnist", "laptop", steps=7, seed=3, precision="bf16", clip=2.0)
    for name, value in [("network_arguments.channels", 64), ("network_arguments.attention", [0]),
                        ("betas", [0.5, 0.9]), ("learning_rate", 1)]:
        settings = changed(settings, name, value)
    assert settings.network_arguments["channels"] == 64 and settings.learning_rate == 1.0
    assert settings.network_arguments["attention"] == (0,) and settings.betas == (0.5, 0.9)
    words = shlex.split(command_of(settings))
    assert words[:3] == ["python", "-m", "bfn_core.training"]
    assert chosen(arguments(words[3:])) == settings
    plain = command_of(settings_for("text8", "gpu"))
    assert "--set" not in plain and "--scale gpu" in plain
    without = changed(settings_for("text8", "laptop"), "muon", None)
    words = shlex.split(command_of(without))
    assert "muon=null" in words and chosen(arguments(words[3:])) == without
    fewer = replace(without, network_arguments={"layers": 4, "heads": 4, "width": 256})
    words = shlex.split(command_of(fewer))  # none of the recipe's other arguments comes back
    assert chosen(arguments(words[3:])) == fewer
    with pytest.raises(ValueError, match="'batch' has no parts, so no 'size'"):
        changed(settings, "batch.size", 3)
    with pytest.raises(ValueError, match="'batch' is 64, and None is of another kind"):
        changed(settings, "batch", None)


def test_pixels_come_in_256_or_16_bins_discretised_or_continuous(tmp_path):
    from bfn_core.training.__main__ import arguments, chosen

    words = ["cifar10", "--scale", "paper", "--run", str(tmp_path)]
    sixteen = chosen(arguments([*words, "--bins", "16"]))
    assert (sixteen.levels, sixteen.sigma_1**2) == (16, pytest.approx(1e-3))
    laptop = of_pixels(settings_for("cifar10", "laptop"), 16).network_arguments
    assert laptop["differences"] == sixteen.sigma_1
    real = chosen(arguments([*words, "--continuous"]))
    assert (real.flow, real.levels, real.sigma_1) == ("continuous", 256, 1e-3)
    with pytest.raises(ValueError, match="bins must be one of 256, 16, got 10"):
        chosen(arguments([*words, "--bins", "10"]))
    with pytest.raises(ValueError, match="mnist has no grey levels"):
        of_pixels(settings_for("mnist"), 16)
    small = of_pixels(settings_for("cifar10", "smoke"), 16, continuous=True)
    task = training.load_task(small)
    x = task.prepare(task.train)
    assert len(x.unique()) == 16 and training.build(small).flow.sigma_1 == small.sigma_1
    assert training.build(small).loss(x[:4]).isfinite().all()


def test_flips_mirror_about_half_of_the_training_images():
    settings = settings_for("cifar10", "smoke", batch=64, flips=True)
    task, flow = training.load_task(settings), training.build(settings).flow
    plain = loop.draw_batch(task, flow, replace(settings, flips=False), 0, torch.Generator()).x
    x = loop.draw_batch(task, flow, settings, 0, torch.Generator()).x
    mirrored = (x == plain.flip(-1)).flatten(1).all(1)
    assert ((x == plain).flatten(1).all(1) | mirrored).all()
    assert 16 < mirrored.sum() < 48


# What a run leaves -------------------------------------------------------------------------------


def test_the_records_say_what_was_run(finished):
    run = Run(finished)
    record = json.loads(run.settings.read_text("utf-8"))
    assert record["data"] == "digits stand-in" and "not MNIST" in record["notice"]
    assert Settings.from_dict(record["settings"]) == TINY
    assert record["parameters"] == sum(p.numel() for p in training.build(TINY).parameters())
    steps = [r["step"] for r in run.read_metrics() if "loss" in r]
    assert steps == [2, 4, 6, 8, 9]
    assert [r["step"] for r in run.read_metrics() if "validation" in r] == [4, 8]
    from PIL import Image

    with Image.open(finished / "samples.png") as picture:
        assert picture.size == (60, 60)  # 2 × 2 digits, 2 pixels apart


def test_evaluation_gives_figures_with_errors_and_repeats_exactly(finished, tmp_path, capsys):
    from bfn_core.training.__main__ import main

    folder = copy_of(finished, tmp_path)
    assert main(["mnist", "--run", str(folder), "--evaluate", "--n", "10"]) == 0
    found = json.loads(Run(folder).evaluation.read_text("utf-8"))
    before = json.loads(Run(finished).evaluation.read_text("utf-8"))
    assert set(found["elbo"]) == {"10", "infinity"} and found["examples"] == 8
    row = found["elbo"]["10"]
    assert row["nats"] == pytest.approx(row["messages"] + row["reconstruction"])
    assert row["bits per dimension"] == pytest.approx(row["nats"] / 784 / 0.6931472, rel=1e-6)
    assert row["standard error"] > 0
    assert found["parameters"] == before["parameters"]
    assert "test ELBO, n = 10: " in capsys.readouterr().out

    task = training.load_task(TINY)
    again = training.evaluate(training.load(folder), task, TINY)
    assert again["elbo"]["infinity"] == before["elbo"]["infinity"]


def test_a_quick_look_leaves_the_table_of_a_run_and_a_full_one_renews_it(
    finished, tmp_path, capsys
):
    from bfn_core.training.__main__ import main

    folder = copy_of(finished, tmp_path)
    path = Run(folder).evaluation

    def look(*words):
        assert main(["mnist", "--run", str(folder), "--evaluate", *words]) == 0
        return json.loads(path.read_text("utf-8"))

    fewer = ("--n", "25", "--set", "test_examples=5")
    at_end = path.read_bytes()
    look(*fewer)
    assert path.read_bytes() == at_end and "stays as it is" in capsys.readouterr().out
    one = look("--n", "3")
    assert list(one["elbo"]) == ["3", "infinity"] and one["step"] == 9
    two = look("--n", "2")
    assert list(two["elbo"]) == ["2", "3", "infinity"] and two["elbo"]["3"] == one["elbo"]["3"]
    before = path.read_bytes()
    look(*fewer)
    look("--set", "test_examples=5")  # all five n, but not the two of the table
    assert path.read_bytes() == before
    path.write_text(json.dumps({**json.loads(at_end), "step": 3}), "utf-8")
    assert look(*fewer)["step"] == 9  # the table was that of other weights
    old = json.loads(at_end)
    del old["step"]  # as runs of earlier versions have it
    path.write_text(json.dumps(old), "utf-8")
    assert look("--n", "3")["elbo"].keys() == {"3", "infinity"}
    path.write_text(json.dumps(old), "utf-8")
    whole = look("--set", "test_examples=5", "--set", "test_draws=2")
    assert list(whole["elbo"]) == ["10", "25", "50", "100", "infinity"]
    assert (whole["examples"], whole["draws per example"], whole["step"]) == (5, 2, 9)


def test_a_run_that_has_not_ended_has_no_record(tmp_path):
    from tools.record import record

    asked = iter([False, True])
    training.train(TINY, tmp_path / "run", stop=lambda: next(asked))
    (tmp_path / "run" / "evaluation.json").write_text("{}", "utf-8")
    (tmp_path / "kept.safetensors").write_bytes(b"earlier")
    with pytest.raises(SystemExit, match="run has not ended"):
        record(tmp_path / "run", tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.safetensors", "run"]
    training.train(replace(TINY, steps=3), tmp_path / "run", resume=True)
    written = record(tmp_path / "run", tmp_path / "kept")
    assert len(written["sessions"]) == 2 and "step" not in written["evaluation"]
    assert (tmp_path / "kept.safetensors").stat().st_size > 1000


def test_the_bill_over_t_sums_to_the_loss(finished):
    """An untrained network returns the belief, whose cost at each time is known otherwise."""
    settings = replace(TINY, test_examples=300)
    task = training.load_task(settings)
    bfn = training.build(settings)
    found = training.bill(bfn, task, settings, parts=5, batch=100)
    assert found["t"] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    pixels = torch.tensor(found["pixels"])
    assert pixels.shape == (28, 28)
    # Not exactly: the parts hold a few draws more or fewer than a fifth of all.
    assert pixels.sum().item() == pytest.approx(sum(found["nats"]), rel=5e-3)
    x = task.prepare(task.test, generator=torch.Generator().manual_seed(1))
    for t, nats, error in zip(found["t"], found["nats"], found["standard error"], strict=True):
        times = t + 0.2 * (torch.rand(len(x), generator=torch.Generator().manual_seed(2)) - 0.5)
        with torch.no_grad():
            cost = bfn.loss(x, times, generator=torch.Generator().manual_seed(3)) / 5
        assert nats == pytest.approx(cost.mean().item(), abs=6 * error)
        assert 0 < error < 0.1 * nats


def test_weights_are_loaded_from_a_run_or_a_file(finished, tmp_path):
    bfn = training.load(finished)
    state = Run(finished).read_checkpoint()["ema"]
    assert all(torch.equal(w, state[name]) for name, w in bfn.network.state_dict().items())
    assert not bfn.training and bfn.flow.beta_1 == 9.0

    half = tmp_path / "half.safetensors"
    weights = {name: w.half() for name, w in bfn.network.state_dict().items()}
    runs.save_weights(half, weights, TINY)
    other = training.load(half)
    assert all(w.dtype == torch.float32 for w in other.network.state_dict().values())
    x = other.sample((2, 1, 28, 28), 2, generator=torch.Generator().manual_seed(0))
    assert x.shape == (2, 1, 28, 28)

    folder = copy_of(finished, tmp_path)
    Run(folder).weights.unlink()  # as in a run that has not ended
    unended = training.load(folder).network.state_dict()
    assert all(torch.equal(w, state[name]) for name, w in unended.items())


def test_weights_that_cannot_be_loaded_are_named(finished, tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(TrainingError, match="does not exist"):
        training.load(path)
    path.write_bytes(Run(finished).weights.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"weights.safetensors is damaged"):
        training.load(path)
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(TrainingError, match="holds weights, but not of bfn_core: the settings"):
        training.load(path)
    save_file({"weight": torch.zeros(3)}, path, {"bfn_core": "{}"})
    with pytest.raises(TrainingError, match="the settings in .* are not bfn_core's"):
        training.load(path)
    with pytest.raises(TrainingError, match="holds no run"):
        training.load(tmp_path.parent)


def test_the_learning_rate_rises_and_falls():
    settings = replace(TINY, warmup=10, steps=100)
    rates = [optimisers.share(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(rates[9], rel=0.03)
    assert rates[50] == pytest.approx(0.5) and 0 < rates[-1] < 0.001
    flat = replace(settings, decay=False, warmup=0)
    assert {optimisers.share(flat, step) for step in range(100)} == {1.0}


def test_a_cooldown_leaves_what_was_before_it_as_it_was():
    settings = replace(TINY, warmup=10, steps=1000, cooldown=0.2)
    short = replace(settings, steps=100)
    rates = [optimisers.share(short, step) for step in range(100)]
    assert rates[:80] == [optimisers.share(settings, step) for step in range(80)]
    assert rates[0] == pytest.approx(0.1) and set(rates[9:81]) == {1.0}
    assert rates[90] == pytest.approx(0.5) and rates[99] == pytest.approx(1 / 20)


def test_the_average_of_the_weights_follows_its_definition(tmp_path):
    trainer = loop.Trainer(replace(TINY, ema=0.3), Run(tmp_path / "run"))
    with trainer.alone():
        trainer.begin(False)
        wanted = None
        for count in range(6):
            trainer.make_step()
            now = trainer.plain.last.weight.detach().clone()
            keep = min(0.3, (1 + count) / (10 + count))
            wanted = now if wanted is None else keep * wanted + (1 - keep) * now
    assert torch.allclose(trainer.ema.module.last.weight, wanted, atol=1e-7)
    assert not torch.allclose(now, wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("data", "name", "unit", "samples"),
    [
        ("cifar10", "photograph crops stand-in", "bits per dimension", "samples.png"),
        ("text8", "Python documentation stand-in", "bits per character", "samples.txt"),
    ],
)
def test_other_data_train_with_the_same_loop(tmp_path, data, name, unit, samples):
    settings = settings_for(data, "smoke", steps=2, held_out=4, test_examples=4)
    found = training.train(settings, tmp_path / "run").evaluation
    assert found["data"] == name
    assert 0.5 < found["elbo"]["infinity"][unit] < 20
    assert (tmp_path / "run" / samples).stat().st_size > 100


def unreachable(file, target, home=None):
    """`files.fetch` where there is no network."""
    raise files.NoNetwork(f"{file.name} could not be fetched")


@pytest.mark.filterwarnings("ignore::bfn_core.data.StandInWarning")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("data", DATA_SETS)
def test_without_network_training_goes_on_at_every_scale(data, scale, monkeypatch, tmp_path):
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(files, "fetch", unreachable)
    task = training.load_task(settings_for(data, scale, labels=data != "text8"))
    assert "stand-in" in task.name
    assert len(task.train) > 8 * len(task.held_out) > 0
    if data != "text8":
        labels = (task.train_condition, task.held_out_condition, task.test_condition)
        assert [len(part) for part in (task.train, task.held_out, task.test)] == [*map(len, labels)]
        assert set(labels[0].tolist()) == set(range(10 if data == "mnist" else 2))


@pytest.mark.filterwarnings("ignore::bfn_core.data.StandInWarning")
def test_a_stand_in_that_is_too_small_says_what_it_stands_in_for(monkeypatch, tmp_path):
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(files, "fetch", unreachable)
    with pytest.raises(TrainingError, match="too short for sequences of 90000 .*NO NETWORK"):
        training.load_task(settings_for("text8", "laptop", length=90_000))


# Scales ------------------------------------------------------------------------------------------


def test_the_scale_in_force(monkeypatch):
    monkeypatch.setenv("BFN_SCALE", "paper")
    assert training.current_scale() == "paper"
    monkeypatch.setenv("BFN_SCALE", "tiny")
    with pytest.raises(ValueError, match="BFN_SCALE is 'tiny'"):
        training.current_scale()
    monkeypatch.delenv("BFN_SCALE")
    assert training.current_scale() == ("gpu" if torch.cuda.is_available() else "laptop")


def test_every_data_set_has_settings_at_every_scale_that_survive_json():
    for data in DATA_SETS:
        for scale in SCALES:
            settings = settings_for(data, scale)
            assert (settings.data, settings.scale) == (data, scale)
            assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(ValueError, match="unknown settings: nonsense"):
        Settings.from_dict({"nonsense": 1})
    with pytest.raises(ValueError, match="data is 'digits'"):
        settings_for("digits")


def test_the_paper_scale_is_the_published_one():
    mnist, cifar10, text8 = (settings_for(data, "paper") for data in DATA_SETS)
    assert (mnist.beta_1, cifar10.sigma_1**2, text8.beta_1) == pytest.approx((9, 1e-6, 0.75**2))
    assert (mnist.batch, cifar10.batch, text8.batch, text8.length) == (512, 32, 3328, 256)
    assert [s.learning_rate for s in (mnist, cifar10, text8)] == [1e-4, 2e-4, 1e-4]
    for settings in (mnist, cifar10, text8):
        assert (settings.ema, settings.clip, settings.weight_decay) == (0.9999, 5.0, 0.01)
        assert not settings.decay and settings.steps >= 1_000_000
