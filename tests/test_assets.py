"""What the repository ships beside its code: found, fetched, checked, and what it claims to be."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from bfn_core import BFN, DiscreteFlow, data, training
from bfn_core.data import assets
from bfn_core.training.scales import Settings, command
from bfn_core.views.kit import in_browser
from tests.files import served
from tests.test_data import UNREACHABLE
from tools import record as record_tool

NAMES = sorted(path.stem for path in assets.CHECKOUT.glob("*.safetensors")
               if not path.stem.startswith("features_")  # classifiers: see test_frechet.py
               and path.stem not in ("strings", "trees"))  # a tool trained them


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """bfn_core as if installed without its checkout, with the repository on a local server."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "CHECKOUT", tmp_path / "nothing")
    with served(home) as address:
        monkeypatch.setattr(assets, "_home", lambda: address)
        yield home


def test_without_a_checkout_a_file_is_fetched_once_and_checked(elsewhere):
    original = assets.CHECKOUT.parent.parent  # a file of that name must come from the server
    source = assets.Path(assets.__file__).resolve().parents[2] / "assets" / "simplex_flow.svg"
    shutil.copy(source, elsewhere)
    found = data.asset("simplex_flow.svg")
    assert found.read_bytes() == source.read_bytes() and original in found.parents
    (elsewhere / "simplex_flow.svg").unlink()
    assert data.asset("simplex_flow.svg") == found


def test_a_file_that_is_not_the_one_shipped_is_refused(elsewhere):
    (elsewhere / "simplex_flow.svg").write_text("<svg/>", "utf-8")
    with pytest.raises(data.DataError, match="was not the file"):
        data.asset("simplex_flow.svg")
    with pytest.raises(data.DataError, match="no file 'ponies' is shipped"):
        data.asset("ponies")


def test_the_digests_are_those_of_the_files():
    from bfn_core.data.files import digest

    written = json.loads(assets.DIGESTS.read_text("utf-8"))
    files = {p.name: digest(p) for p in assets.CHECKOUT.iterdir() if not p.name.startswith(".")}
    assert written == files, "python tools/record.py renews them"


def test_a_kept_file_of_an_older_version_is_fetched_again(elsewhere):
    source = assets.DIGESTS.parents[2] / "assets" / "simplex_flow.svg"
    shutil.copy(source, elsewhere)
    kept = data.asset("simplex_flow.svg")
    kept.write_text("<svg/>", "utf-8")  # what an older bfn_core called by this name
    assert data.asset("simplex_flow.svg").read_bytes() == source.read_bytes()


def test_who_asks_for_what_a_newer_version_replaced_is_told_to_update(elsewhere):
    (elsewhere / "simplex_flow.svg").write_text("<svg/>", "utf-8")
    with pytest.raises(data.DataError, match="SHA-256 differs.*or update bfn_core"):
        data.asset("simplex_flow.svg")


def test_a_copy_that_is_not_installed_says_that_it_does_not_know_its_repository(monkeypatch):
    def nothing(name):
        raise assets.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(assets.importlib.metadata, "metadata", nothing)
    with pytest.raises(data.DataError, match="bfn_core is not installed"):
        assets._home()


def test_what_lies_in_the_place_of_the_runtime_is_no_runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(in_browser, "RUNTIME", replace(in_browser.RUNTIME, urls=(UNREACHABLE,)))
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / in_browser.RUNTIME.name).write_text("<html>proxy</html>", "utf-8")
    with pytest.raises(data.DataError, match="could not be reached"):
        in_browser.runtime.__wrapped__()


def test_what_a_file_manager_leaves_is_not_taken_for_an_asset(tmp_path, monkeypatch):
    (tmp_path / "assets").mkdir()
    for name in (".DS_Store", "kept.json"):
        (tmp_path / "assets" / name).write_text("{}", "utf-8")
    monkeypatch.setattr(record_tool, "CHECKOUT", tmp_path / "assets")
    monkeypatch.setattr(record_tool, "DIGESTS", tmp_path / "assets.json")
    assert list(record_tool.renew_digests()) == ["kept.json"]


@pytest.mark.parametrize(("classes", "length"), [(27, 95), (26, 128)])
def test_letters_that_the_browsers_line_does_not_fit_are_refused(classes, length):
    script = (in_browser.JAVASCRIPT / "write.js").read_text("utf-8")
    assert f"LONGEST_LINE = {in_browser.LONGEST_LINE};" in script
    bfn = BFN(DiscreteFlow(classes, 0.6), nn.Identity())
    with pytest.raises(ValueError, match="27 symbols and up to 96 letters"):
        in_browser.settings(bfn, length)
    assert in_browser.settings(BFN(DiscreteFlow(27, 0.6), nn.Identity()), 96)["length"] == 96


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_those_of_their_record(name):
    bfn, record = training.shipped(name), data.record(name)
    settings = Settings.from_dict(record["settings"])
    assert record["command"] == command(settings)
    assert record["parameters"] == sum(p.numel() for p in bfn.parameters())
    assert not record["notice"], "trained on a stand-in"
    assert assets.asset(f"{name}.safetensors").stat().st_size < 20e6
    evaluation = record["evaluation"]
    assert evaluation["split"] == "test" and evaluation["training seconds"] > 0
    assert {"10", "25", "50", "100", "infinity"} <= set(evaluation["elbo"])
    for row in evaluation["elbo"].values():
        assert row["nats"] > 0 and row["standard error"] > 0
    exact = evaluation["elbo"]["infinity"]
    assert sum(record["bill"]["nats"]) == pytest.approx(exact["messages"], rel=0.03)


@pytest.mark.skipif("mnist" not in NAMES, reason="no MNIST weights are shipped")
def test_drawn_digits_are_whole_digits_which_their_model_finds_likely():
    digits = data.drawn_digits()
    assert digits.shape == (64, 1, 28, 28) and set(digits.unique().tolist()) == {0, 1}
    assert digits[..., 0, :].float().mean() < 0.05 < digits.float().mean() < 0.25  # dark frames
    bfn = training.shipped("mnist")
    with torch.no_grad():
        nats, shuffled = (
            bfn.loss(x, generator=torch.Generator().manual_seed(0)).mean()
            for x in (digits, digits[..., torch.randperm(28)])
        )
    assert nats < 120 < shuffled
