"""What the repository ships beside its code: found, fetched, checked, and what it claims to be."""

import json
import shutil

import pytest
import torch

from bfn_core import data, training
from bfn_core.data import assets
from bfn_core.training.scales import Settings, command
from tests.files import served

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
