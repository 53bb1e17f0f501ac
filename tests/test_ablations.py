"""tools/ablations.py: what it takes away is away, it measures −ELBO, and its record fits it."""

import json

import pytest
import torch

from bfn_core import DiscreteFlow, Estimate, ExactBFN
from bfn_core.data.strings import palindromes
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from tests.oracles import generator
from tests.test_views_networks import shaken
from tools import ablations
from tools.ablations import Outcome, Trial

MEANS = torch.randn(2, 1, 8, 8, generator=generator(0))
T = torch.tensor([0.2, 0.7])


def unet():
    return shaken(UNet(1, outputs=2, channels=8, multipliers=(1, 2), blocks=2, attention=(1,)))


def transformer():
    return shaken(Transformer(3, 4, layers=1, heads=2, width=16))


@torch.no_grad()
def test_a_blind_network_is_told_no_time():
    seeing, blind = unet(), ablations.Blind(unet())
    assert not torch.allclose(seeing(MEANS, T), seeing(MEANS, T.flip(0)))
    assert torch.equal(blind(MEANS, T), blind(MEANS, T.flip(0)))
    torch.testing.assert_close(blind(MEANS, T), seeing(MEANS, torch.full_like(T, 0.5)))


@torch.no_grad()
def test_without_skips_the_way_up_hears_nothing_of_the_way_down():
    given = {}
    network = ablations.without_skips(unet())
    for level, stage in enumerate(network.up):
        for number, block in enumerate(stage):
            keep = lambda module, inputs, name=(level, number): given.update({name: inputs[0]})  # noqa: E731
            block.norm1.register_forward_pre_hook(keep)
    assert not torch.allclose(network(MEANS, T), unet()(MEANS, T))
    assert len(given) == 4
    for (level, _), h in given.items():
        width = 8 * 2**level  # of what comes across
        assert not h[:, -width:].any() and h[:, :-width].any()


@torch.no_grad()
def test_without_norms_none_is_left():
    kinds = (torch.nn.GroupNorm, torch.nn.LayerNorm)
    for network in (unet(), transformer()):
        assert any(isinstance(module, kinds) for module in network.modules())
        bare = ablations.without_norms(network)
        assert not any(isinstance(module, kinds) for module in bare.modules())


@torch.no_grad()
def test_without_attention_no_letter_reads_another():
    probs = torch.rand(1, 4, 3, generator=generator(1)).softmax(-1)
    other = probs.clone()
    other[:, 0] = torch.tensor([0.8, 0.1, 0.1])
    whole, apart = transformer(), ablations.without_attention(transformer())
    assert not torch.allclose(whole(probs, T[:1])[:, 1:], whole(other, T[:1])[:, 1:])
    torch.testing.assert_close(apart(probs, T[:1])[:, 1:], apart(other, T[:1])[:, 1:])


def test_the_costs_are_a_perfect_network_s_bill():
    language = palindromes("abc", 2)
    bfn = ExactBFN(DiscreteFlow(3, 4.0), language.data)
    bill = Estimate.of(ablations.costs(bfn, language.data.repeat(60, 1), 4))
    assert bill.standard_error < 0.1
    assert abs(bill.mean - language.entropy) < 4 * bill.standard_error
    again = ablations.costs(bfn, language.data, 2)
    assert torch.equal(again, ablations.costs(bfn, language.data, 2))  # the same noise for all


def test_a_row_compares_example_by_example_and_seed_by_seed():
    base = [Outcome(torch.tensor([1.0, 9.0]), torch.zeros(2), 1.0, 5),
            Outcome(torch.tensor([3.0, 11.0]), torch.zeros(2), 1.0, 5)]
    own = [Outcome(torch.tensor([2.0, 10.0]), torch.ones(2), 3.0, 7),
           Outcome(torch.tensor([6.0, 14.0]), torch.ones(2), 5.0, 7)]
    row = ablations.row(Trial("other"), own, base)
    assert row["nats"] == 8.0 and row["seconds"] == 4.0 and row["parameters"] == 7
    more = row["more than as it is"]
    assert (more["nats"], more["standard error"], more["seed by seed"]) == (2.0, 0.0, [1.0, 3.0])
    assert row["last weights, not averaged"]["nats"] == 1.0


def test_a_study_is_kept_beside_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "TARGET", tmp_path / "networks.json")
    for name, found in (("text", 1), ("digits", 2), ("text", 3)):
        ablations.keep(name, {"trials": found})
    record = json.loads(ablations.TARGET.read_text("utf-8"))
    assert record["studies"] == {"digits": {"trials": 2}, "text": {"trials": 3}}
    assert list(record["studies"]) == ["digits", "text"]  # in the tool's order


@pytest.mark.parametrize("name", ["palindromes", "digits"])
def test_the_record_is_of_these_studies(name):
    """A tool that was changed needs a new record; the other two studies' data are not at hand."""
    record = json.loads(ablations.TARGET.read_text("utf-8"))
    study, written = ablations.STUDIES[name](), record["studies"][name]
    assert written["command"].startswith("python -m tools.ablations") and written["threads"] == 1
    assert [row["trial"] for row in written["trials"]] == [trial.name for trial in study.trials]
    plain = {"settings": study.settings, "arguments": study.network.keywords}
    for part, value in json.loads(json.dumps(plain)).items():
        assert written[part] == value
    assert written["trials"][0]["more than as it is"]["nats"] == 0
    changed = [{**trial.arguments, **trial.settings} for trial in study.trials]
    assert [row["changed"] for row in written["trials"]] == json.loads(json.dumps(changed))
    for row in written["trials"]:
        assert row["standard error"] > 0
        assert len(row["more than as it is"]["seed by seed"]) == len(written["seeds"])
