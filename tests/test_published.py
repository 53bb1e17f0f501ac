"""The paper's own models: networks and losses as the authors' code computes them, and the way
from a file on a server to a BFN.
"""

import json
import math
import os
import re
import socket
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow, GaussianParameters, flows, training
from bfn_core.data import DataError
from bfn_core.data.files import NoNetwork
from bfn_core.distributions import Categorical, DiscretisedNormal
from bfn_core.networks.published import (
    PublishedTransformer,
    PublishedUNet,
    PublishedVDM,
    in_half,
)
from bfn_core.numerics import pick
from bfn_core.official import (
    BoundedDiscretisedFlow,
    OfficialContinuousFlow,
    OfficialDiscreteFlow,
    OfficialDiscretisedFlow,
    OfficialNormal,
)
from bfn_core.training import pretrained
from bfn_core.training.__main__ import main
from bfn_core.training.scales import settings_for
from bfn_core.training.tasks import build_network
from tests.files import Quiet, served
from tests.official import fill, keys, stored

TOLERANCE = 1e-5  # outputs are about 2 in size; what was found is below 5e−6

# The networks


def small_vdm(outputs):
    return PublishedVDM(outputs, channels=16, blocks=3, groups=8)


SMALL = {
    "mnist": lambda: PublishedUNet(channels=32, multipliers=(1, 2), blocks=1),
    "mnist_narrow": lambda: PublishedUNet(channels=32),  # the published structure
    "cifar10_256d": lambda: small_vdm(2),
    "cifar10_16d": lambda: small_vdm(2),
    "cifar10_256c": lambda: small_vdm(1),
    "text8": lambda: PublishedTransformer(27, 20, layers=2, heads=3, width=48),
}
FULL = {
    "mnist_full": PublishedUNet,
    "cifar10_256d_full": PublishedVDM,
    "cifar10_256c_full": lambda: PublishedVDM(1),
    "text8_full": PublishedTransformer,
}


def small(name):
    """A network of small size with the weights that the fixture of its name has."""
    network = fill(SMALL[name](), "" if name == "mnist_narrow" else f"{name}:")
    return network.half().float() if name == "mnist" else network


@torch.no_grad()
def assert_as_official(network, name):
    cases = stored("networks")
    for case in "ab":
        if f"{name}.{case}.t" not in cases:
            assert (case == "b" and name not in SMALL) or name == "mnist_narrow"
            continue
        inputs, t, outputs = (cases[f"{name}.{case}.{k}"] for k in ("inputs", "t", "outputs"))
        found = network(inputs, t)
        assert found.shape == outputs.shape and outputs.abs().max() > 0.5
        assert (found - outputs).abs().max() < TOLERANCE, f"{name}, case {case}"


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_computes_what_the_official_one_does(name):
    assert_as_official(small(name), name)


@pytest.mark.parametrize("name", FULL)
def test_a_network_of_the_published_size_computes_what_the_official_one_does(name):
    assert_as_official(fill(FULL[name]()), name)


@pytest.mark.parametrize("name", pretrained.MODELS)
def test_every_tensor_of_a_published_file_has_the_name_and_shape_that_are_expected(name):
    model = pretrained.MODELS[name]
    assert model.shapes() == keys(model.file)


@pytest.mark.parametrize(
    ("data", "count"), [("mnist", 24_808_961), ("cifar10", 30_722_584), ("text8", 170_175_003)]
)
def test_the_paper_scale_has_exactly_the_published_networks(data, count):
    with torch.device("meta"):
        network = build_network(settings_for(data, "paper"))
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", FULL)
def test_what_no_output_shows_precisely_enough(name):
    """ε of a layer norm changes outputs by 6e−6 only; dropout nothing, when evaluating."""
    with torch.device("meta"):
        network = FULL[name]()
    norms = [m for m in network.modules() if isinstance(m, (nn.GroupNorm, nn.LayerNorm))]
    assert len(norms) > 30 and {m.eps for m in norms} == {1e-5}
    rates = {m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    assert rates == {{"m": 0.5, "c": 0.1, "t": 0.0}[name[0]]}


@pytest.mark.parametrize("name", SMALL)
def test_training_starts_as_published(name):
    """U-Nets add nothing in any block at first; the transformer's weights are small."""
    network = SMALL[name]()
    zero = {n for n, p in network.named_parameters() if not p.any()}
    if name.startswith("text8"):
        named = {n: p.detach() for n, p in network.named_parameters()}
        assert zero == {n for n in named if n.endswith("bias")}
        wide, last = (named[f"transformer.h.0.{n}.weight"] for n in ("attn.c_attn", "mlp.c_proj"))
        assert wide.std() == pytest.approx(0.02, rel=0.1)
        assert last.std() == pytest.approx(0.01, rel=0.1)  # 0.02/√(2 · 2)
        return
    last = ("out_layers.3.", "proj_out.", "out.2.") if name.startswith("mnist") else (
        "cond_proj.", "net2.3.", "mid_attn_block.layers.3.", "conv_out.2.")
    assert {n for n in zero if "norm" not in n and n.endswith("weight")} == {
        f"{m}.weight" for m, _ in network.named_modules() if f"{m}.".endswith(last)}


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (SMALL["mnist"], (2, 8, 8, 2), r"\(B, 1, H, W, 2\)"),
        (SMALL["cifar10_256d"], (2, 1, 8, 8), r"\(B, 3, H, W\)"),
        (SMALL["text8"], (2, 21, 27), r"\(B, L, 27\) with L up to 20"),
        (lambda: PublishedUNet(3), None, "classes must be 2"),
        (lambda: PublishedUNet(multipliers=(2, 2)), None, "begin with 1"),
        (lambda: PublishedTransformer(heads=5), None, "heads must divide width"),
    ],
)
def test_what_a_network_cannot_read_is_named(network, shape, message):
    with pytest.raises(ValueError, match=message):
        network()(torch.zeros(shape), torch.zeros(2))


@pytest.mark.parametrize("name", ["mnist", "cifar10_256d", "text8"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_body_alone(name, dtype):
    network, exact = in_half(small(name), dtype), small(name)
    assert next(network.parameters()).dtype == torch.float32  # and so are what a BFN hands it
    kinds = {n.split(".")[0]: p.dtype for n, p in network.named_parameters()}
    assert {n for n, kind in kinds.items() if kind == torch.float32} == set(network.EDGES)
    assert set(kinds.values()) == {torch.float32, dtype}
    cases = stored("networks")
    inputs, t = cases[f"{name}.a.inputs"], cases[f"{name}.a.t"]
    with torch.no_grad():
        rough, fine = network(inputs, t), exact(inputs, t)
        rounded = exact(inputs.to(dtype).float(), t.to(dtype).float())
    assert rough.dtype == torch.float32
    error = (rough - fine).square().mean().sqrt() / fine.square().mean().sqrt()
    assert 0 < error < (0.03 if dtype == torch.bfloat16 else 0.004)
    if name != "text8":  # what rounding the belief and the time would have cost alone
        assert error < (rounded - fine).square().mean().sqrt() / fine.square().mean().sqrt()


# The flows


@pytest.fixture(params=["cifar10_256d", "cifar10_16d", "cifar10_256c", "cifar10_16c"])
def gaussian(request):
    """(flow, what the official code computed, the name of the small network)."""
    name = request.param
    bins = int(name[8:-1])
    sigma_1 = math.sqrt({256: 1e-6, 16: 1e-3}[bins])
    flow = OfficialDiscretisedFlow(bins, sigma_1)
    if name.endswith("c"):
        flow = OfficialContinuousFlow(sigma_1, bins)
        assert f"bins={bins}" in repr(flow)
    return flow, stored(f"losses_{name}"), {"cifar10_16c": "cifar10_256c"}.get(name, name)


@pytest.fixture(params=["mnist", "text8"])
def discrete(request):
    settings = {"mnist": (2, 9.0), "text8": (27, 0.5625)}[request.param]
    numbers = stored(f"losses_{request.param}")
    return OfficialDiscreteFlow(*settings), numbers, request.param


def noisy(monkeypatch, noise):
    """Flows draw this noise."""
    monkeypatch.setattr(flows, "draw_normal", lambda like, generator, prefix=(): noise)


def close(found, expected, relative, absolute):
    torch.testing.assert_close(found, expected, rtol=relative, atol=absolute)


def test_flow_and_continuous_time_loss_of_numbers(gaussian, monkeypatch):
    flow, numbers, _ = gaussian
    x, t = numbers["x"], numbers["flow.t"]
    sure = t > 1e-4  # before, the official γ has lost its digits in float32, of no weight in a mean
    assert sure.sum() == 4
    noisy(monkeypatch, numbers["flow.noise"])
    theta = flow.sample_flow(x, t)
    close(theta.mean[sure], numbers["flow.mean"][sure], 0, 1e-6)
    theta = GaussianParameters(numbers["flow.mean"], theta.precision)
    for case in ("net", "near"):
        output = flow.output(numbers[f"cts.{case}.raw"], theta, t)
        cost, expected = flow.rate_cost(x, output, t), numbers[f"cts.{case}.loss"]
        close(cost[sure], expected[sure], 1e-3, 1e-3 * float(expected.mean()))
        close(cost.mean(), numbers[f"cts.{case}.loss_mean_over_all"][0], 2e-4, 0)
        if isinstance(output, OfficialNormal):
            log_probs = numbers[f"cts.{case}.log_prob_x"]
            assert (log_probs < math.log(1e-5)).sum() > 20  # some by the density
            close(output.log_prob(x)[sure], log_probs[sure], 1e-3, 1e-4)
            close(output.scale, numbers[f"cts.{case}.normal_std"], 1e-4, 0)
            assert torch.equal(output.mode, numbers[f"cts.{case}.mode"])


def test_reconstruction_loss_of_numbers(gaussian):
    flow, numbers, _ = gaussian
    one = torch.ones(len(numbers["x"]))
    theta = GaussianParameters(numbers["recon.mean"], 1 + flow.beta(one))
    for case in ("net", "near"):
        output = flow.output(numbers[f"recon.{case}.raw"], theta, one)
        found, expected = flow.final_cost(numbers["x"], output), numbers[f"recon.{case}.loss"]
        close(found, expected, 1e-4, 5e-5)  # theirs is a difference of two near 1 in float32


def test_n_step_loss_of_numbers(gaussian, monkeypatch):
    flow, numbers, _ = gaussian
    x, i, n = numbers["x"], numbers["nstep.i"], int(numbers["nstep.n"])
    t, alpha = (i - 1) / n, flow.alpha(i.float(), n)
    close(alpha, numbers["nstep.alpha"], 1e-5, 0)
    theta = GaussianParameters(numbers["nstep.mean"], 1 + flow.beta(t))
    output = flow.output(numbers["nstep.near.raw"], theta, t)
    if isinstance(flow, OfficialContinuousFlow):
        cost = flow.step_cost(x, output, alpha)
    else:
        sender, receiver = flow.sender(x, alpha), flow.receiver(output, alpha)
        noise = numbers["nstep.message_noise"] * alpha.rsqrt().reshape(-1, 1, 1, 1)
        costs = {s: sender.log_prob(x + s * noise) - receiver.log_prob(x + s * noise)
                 for s in (1, -1)}
        cost, both = costs[1].mean(0), 0
        for sign in (1, -1):  # what step_cost subtracts is odd in the noise
            noisy(monkeypatch, sign * numbers["nstep.message_noise"][0])
            both = both + flow.step_cost(x, output, alpha)
        close(both, costs[1][0] + costs[-1][0], 1e-4, 1e-4)
    found = n * cost.flatten(1).mean(1)
    close(found, numbers["nstep.loss_mean_over_variables"], 3e-4, 1e-5)


def test_sampler_steps_of_numbers(gaussian):
    flow, numbers, name = gaussian
    n, bfn = int(numbers["sample.n"]), BFN(flow, small(name))
    means, guesses = numbers["sample.theta_mean"], numbers["sample.guess"]
    for i in range(n + 1):
        count = means.shape[1]
        precision = numbers["sample.theta_precision"][i].float().expand(count)
        theta = GaussianParameters(means[i], precision)
        close(precision, (1 + flow.beta(torch.full((count,), i / n))), 1e-4, 0)
        with torch.no_grad():
            output = bfn.output(theta, i / n)
        if i == n:
            close(output.mode, numbers["sample.final_mode"], 0, 1e-4)
            break
        guess = output.mean
        if "sample.guess_noise" in numbers:  # the bin of a draw from the normal
            drawn = output.loc + output.scale * numbers["sample.guess_noise"][i]
            guess = flow.quantise(drawn.clamp(-1, 1))
        if i:  # at t = 0 there is nothing to read
            close(guess, guesses[i], 0, 1e-4)
        alpha = flow.alpha(i + 1, n)
        y = guesses[i] + numbers["sample.message_noise"][i] / math.sqrt(alpha)
        close(y, numbers["sample.y"][i], 1e-5, 1e-5)
        close(flow.update(theta, y, alpha).mean, means[i + 1], 1e-5, 1e-5)


def test_losses_of_classes(discrete, monkeypatch):
    flow, numbers, _ = discrete
    x, t = numbers["x"], numbers["flow.t"]
    noisy(monkeypatch, numbers["flow.noise"])
    theta = flow.sample_flow(x, t)
    close(theta.probs, numbers["flow.probs"], 0, 1e-5)
    one = torch.ones(len(x))
    for case in ("net", "near"):
        output = flow.output(numbers[f"cts.{case}.raw"], theta, t)
        close(flow.rate_cost(x, output, t), numbers[f"cts.{case}.loss"], 1e-5, 1e-5)
        output = flow.output(numbers[f"recon.{case}.raw"], theta, one)
        close(flow.final_cost(x, output), numbers[f"recon.{case}.loss"], 1e-5, 1e-5)
    part = {k.partition(".")[2]: v for k, v in numbers.items() if k.startswith("nstep")}
    i, n, k = part["i"], int(part["n"]), flow.classes
    alpha = flow.alpha(i.float(), n)
    output, a = Categorical(part["near.raw"]), alpha.reshape(-1, *[1] * x.dim())
    y = a * (k * F.one_hot(x, k) - 1) + (a * k).sqrt() * part["message_noise"]
    cost = torch.stack([flow.cost_of(message, x, output, alpha) for message in y]).mean(0)
    close(n * cost.flatten(1).mean(1), part["loss_mean_over_variables"], 1e-5, 1e-5)


def test_sampler_steps_of_classes(discrete):
    flow, numbers, name = discrete
    n, k, bfn = int(numbers["sample.n"]), flow.classes, BFN(flow, small(name))
    theta = flow.prior(numbers["sample.guess"].shape[1:])
    for i in range(n + 1):
        close(theta.probs, numbers["sample.theta_probs"][i], 0, 1e-5)
        with torch.no_grad():
            output = bfn.output(theta, i / n)
        if i == n:
            assert torch.equal(output.mode, numbers["sample.final_mode"])
            break
        u = numbers["sample.guess_uniform"][i].unsqueeze(-1)
        guess = (output.probs.cumsum(-1) <= u).sum(-1).clamp(max=k - 1)
        assert torch.equal(guess, numbers["sample.guess"][i])
        alpha = flow.alpha(i + 1, n)
        noise = numbers["sample.message_noise"][i]
        y = alpha * (k * F.one_hot(guess, k) - 1) + math.sqrt(alpha * k) * noise
        close(y, numbers["sample.y"][i], 1e-5, 1e-5)
        theta = flow.update(theta, y, alpha)


def test_the_bounds_are_those_of_the_authors_and_off_by_default():
    theta, t = GaussianParameters(torch.zeros(1, 2), torch.full((1,), 1e6)), 1.0
    raw = torch.tensor([[[0.0, -5.0], [0.0, 20.0]]])
    plain = DiscretisedFlow(256, 1e-3).output(raw, theta, t)
    bounded = BoundedDiscretisedFlow(256, 1e-3).output(raw, theta, t)
    close(plain.scale[0], torch.tensor([1e-5, 1e4]), 1e-5, 0)
    close(bounded.scale[0], torch.tensor([1e-3, 10.0]), 1e-5, 0)
    assert type(bounded) is DiscretisedNormal
    early = BoundedDiscretisedFlow(256, 1e-3).output(-raw, theta, 1e-4)  # |ln σ_ε| ≤ 10
    noise = math.sqrt(1 / DiscretisedFlow(256, 1e-3).gamma(1e-4) - 1)
    assert float(early.scale[0, 1]) == pytest.approx(max(1e-3, noise * math.exp(-10)))


def test_the_product_of_mixtures_is_too_high_by_what_is_written():
    """The figures of bfn_core/official.py, within four standard errors."""
    for k, beta_1, n, stated, count in ((2, 9.0, 10, 0.11, 200_000), (2, 9.0, 100, 0.01, 200_000),
                                        (27, 0.5625, 10, 0.03, 50_000),
                                        (27, 0.5625, 100, 0.002, 50_000)):
        flow, generator = OfficialDiscreteFlow(k, beta_1), torch.Generator().manual_seed(0)
        x = torch.randint(k, (count, 1), generator=generator)
        i = torch.arange(count) * n // count + 1
        theta, alpha = flow.sample_flow(x, (i - 1) / n, generator), flow.alpha(i.float(), n)
        output, sender = Categorical(theta.logits), flow.sender(x, alpha)  # knows the belief alone
        y, right, excess = sender.sample(generator=generator), 0, 0
        for message in (y, 2 * sender.mean - y):  # its mirror image takes most of the noise away
            cost = n * (pick(message, x) - (output.log_probs + message).logsumexp(-1))
            right = right + cost / 2
            excess = excess + (n * flow.cost_of(message, x, output, alpha) - cost) / 2
        share, error = excess.mean() / right.mean(), excess.std() / right.mean() / count**0.5
        assert abs(share - stated) < 4 * error + 0.005 * (stated > 0.005), (k, n, share, error)
        assert share > 4 * error or n == 100


# From a file to a BFN


TINY = {
    "mnist": {"channels": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4},
    "cifar10": {"channels": 16, "blocks": 1, "groups": 8},
    "text8": {"layers": 2, "heads": 2, "width": 64},
}


class Hub(Quiet):
    """Answers as the Hugging Face hub does."""

    def end_headers(self):
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"0123456789abcdef"')
        super().end_headers()


    def send_error(self, code, message=None, explain=None):
        """With the hub's own word for it."""
        self.send_response(code, message)
        if code == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()


class Broken(Hub):
    """Sends the first half of a file and hangs up."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        self.close_connection = True


class Failing(Hub):
    """Has trouble of its own."""

    def send_head(self):
        self.send_error(503, "Service Unavailable")


@pytest.fixture(params=["huggingface_hub", "pooch"])
def way(request, monkeypatch):
    """Files are fetched in this way."""
    if request.param == "huggingface_hub":
        pytest.importorskip("huggingface_hub")
    else:
        find_spec = pretrained.importlib.util.find_spec
        monkeypatch.setattr(
            pretrained.importlib.util, "find_spec",
            lambda name: None if name == "huggingface_hub" else find_spec(name),
        )
    return request.param


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of a pretended hub's files, and bfn_core with an empty folder of data."""
    folder = tmp_path / "hub" / pretrained.REPOSITORY / "resolve" / "main"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(pretrained, "settings_for", lambda data, scale: replace(
        settings_for(data, scale), network_arguments=TINY[data]))
    return folder


@pytest.fixture
def hub(home, tmp_path, monkeypatch):
    with served(tmp_path / "hub", Hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield home


def put(folder, name, change=None):
    """A file as it would be published; `change` may spoil its dict of tensors."""
    model = pretrained.MODELS[name]
    network = fill(build_network(model.settings))
    content = {f"net.{key}": value for key, value in network.state_dict().items()}
    content |= {f"net.{key}": torch.zeros(shape) for key, shape in network.UNUSED.items()}
    content = content if change is None else change(content)
    torch.save(content, folder / model.file)
    return network


def contents(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", pretrained.MODELS)
def test_a_model_is_fetched_once_and_computes_what_its_file_says(hub, tmp_path, name, way):
    network, told = put(hub, name), []
    bfn = training.published(name, say=told.append)
    file = pretrained.MODELS[name].file
    digest = pretrained.digest(hub / file)
    assert len(told) == 1 and digest in told[0] and "states none" in told[0]
    stem = file.removesuffix(".pt")
    kept = tmp_path / "data" / "published"
    assert contents(kept) == [f"{stem}.json", f"{stem}.safetensors"]
    assert json.loads((kept / f"{stem}.json").read_text("utf-8"))["sha256"] == digest
    (hub / file).unlink()
    again = training.published(name, say=told.append)
    assert len(told) == 1
    shape = {"m": (2, 1, 8, 8), "c": (2, 3, 8, 8), "t": (2, 256)}[name[0]]
    theta = bfn.flow.prior(shape)
    with torch.no_grad():
        inputs, t = bfn.flow.network_input(theta), torch.full((2,), 0.3)
        expected = network(inputs, t)
        for loaded in (bfn, again):
            assert not loaded.training and torch.equal(loaded.network(inputs, t), expected)
        sampled = bfn.sample(shape, 2)
    assert sampled.shape == shape


def test_flows_are_the_published_ones():
    flow = {name: model.flow() for name, model in pretrained.MODELS.items()}
    assert (flow["mnist"].classes, flow["mnist"].beta_1) == (2, 9)
    assert (flow["text8"].classes, flow["text8"].beta_1) == (27, 0.5625)
    assert (flow["cifar10"].bins, flow["cifar10"].sigma_1) == (256, 1e-3)
    assert flow["cifar10-16"].bins == 16
    assert flow["cifar10-16"].sigma_1 == pytest.approx(math.sqrt(1e-3))
    assert flow["cifar10-continuous"].sigma_1 == 1e-3
    assert type(flow["cifar10"]) is BoundedDiscretisedFlow
    assert type(flow["mnist"]) is DiscreteFlow
    kinds = [type(model.flow(official=True)) for model in pretrained.MODELS.values()]
    assert kinds == [OfficialDiscreteFlow, OfficialDiscretisedFlow, OfficialDiscretisedFlow,
                     OfficialContinuousFlow, OfficialDiscreteFlow]


def test_half_precision_and_the_official_flow_are_arguments(hub):
    put(hub, "text8")
    bfn = training.published("text8", dtype=torch.bfloat16, official=True, say=None)
    assert bfn.network.transformer.h[0].mlp.c_fc.weight.dtype == torch.bfloat16
    assert bfn.network.lm_head.weight.dtype == torch.float32
    assert isinstance(bfn.flow, OfficialDiscreteFlow)
    x = torch.randint(27, (2, 256))
    loss = bfn.loss(x)
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    with pytest.raises(ValueError, match=r"dtype must be .*, got torch.float64"):
        training.published("text8", dtype=torch.float64)
    with pytest.raises(ValueError, match=r"name must be one of mnist, .*, got 'imagenet'"):
        training.published("imagenet")


def test_a_file_that_lies_there_is_taken_and_left(home, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    put(tmp_path / "data", "mnist")
    training.published("mnist")
    assert "mnist_ema.pt has the SHA-256" in capsys.readouterr().out
    assert contents(tmp_path / "data") == [
        "mnist_ema.pt", "published/mnist_ema.json", "published/mnist_ema.safetensors"]


def refused(message, kind=DataError, name="mnist"):
    """A model is refused in one sentence; whatever was there stays as it was."""
    folder = pretrained.data_dir()
    before = contents(folder)
    with pytest.raises(kind, match=message) as caught:
        training.published(name, say=None)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 700
    assert not re.search(r"published.tmp", text)  # where it would be fetched to
    assert contents(folder) == before
    print(f"{type(caught.value).__name__}: {text}")


def test_no_network(home, monkeypatch, way):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    refused("mnist_ema.pt could not be fetched: .* could not be reached; try again", NoNetwork)


def test_no_such_file(hub, way):
    refused("resolve/main/mnist_ema.pt answered 404")


@pytest.mark.parametrize(("handler", "words"), [(Broken, "broke off"), (Failing, "answered 503")])
def test_a_server_in_trouble(home, tmp_path, monkeypatch, way, handler, words):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's client tries again
    put(home, "mnist")
    with served(tmp_path / "hub", handler) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        refused(words)


def test_no_space(hub, monkeypatch, way):
    put(hub, "mnist")
    full = pretrained.shutil.disk_usage("/")._replace(free=10_000)
    monkeypatch.setattr(pretrained.shutil, "disk_usage", lambda path: full)
    refused(r"cannot be written \(No space left on device\); mnist_ema.pt needs \d+ MB")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files there")
@pytest.mark.parametrize("size", [100_000, 350_000])
def test_no_space_all_of_a_sudden(hub, tmp_path, way, size):
    """In the download, or where the weights are converted."""
    import resource

    put(hub, "text8", lambda content: {k: v.half() for k, v in content.items()})
    assert 100_000 < (hub / "text8_ema.pt").stat().st_size < 350_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        refused(r"cannot be written .*text8_ema.pt needs \d+ MB while it is", name="text8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_cut_short(hub, way):
    put(hub, "mnist")
    path = hub / "mnist_ema.pt"
    path.write_bytes(path.read_bytes()[:100_000])
    refused("mnist_ema.pt is not used: it is damaged or cut short, 100,000 bytes")


def test_a_flipped_bit(hub):
    put(hub, "mnist")
    content = bytearray((hub / "mnist_ema.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (hub / "mnist_ema.pt").write_bytes(content)
    refused(r"damaged or cut short, .* \(check sum of .* differs\)")


def test_a_pickle_with_foreign_objects_is_not_executed(hub, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    put(hub, "mnist", lambda content: {**content, "bomb": Bomb()})
    refused(r"mnist_ema.pt is not used: it holds more than tensors \(.*mkdir\), and was not")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k.removeprefix("net."): v for k, v in c.items()},
         r"it lacks \d+ tensors, such as net\.input_adapter\.pos_feats"),
        (lambda c: {**c, "net.more": torch.zeros(1)},
         r"the network has none of 1 tensors, such as net\.more"),
        (lambda c: {**c, "net.out.0.weight": torch.zeros(7)},
         r"net\.out\.0\.weight has the shape \(7,\), but the network's is \(8,\)"),
        (lambda c: {"net.out.0.weight": "words"}, "it is no dict of tensors"),
        (lambda c: [1], "it is no dict of tensors"),
    ],
)
def test_other_names_and_shapes(hub, change, message):
    put(hub, "mnist", change)
    refused(f"mnist_ema.pt is not used: {message}")


def test_the_file_that_came_first_is_the_only_one_trusted(hub, tmp_path):
    put(hub, "mnist")
    training.published("mnist", say=None)
    kept = tmp_path / "data" / "published" / "mnist_ema.safetensors"
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("mnist_ema.safetensors is damaged")
    kept.unlink()
    training.published("mnist", say=None)  # the same file is taken again
    assert kept.read_bytes() == content
    kept.unlink()
    put(hub, "mnist", lambda c: {**c, "net.out.0.bias": torch.ones(8)})
    refused("mnist_ema.pt is not the file that was got first: its SHA-256 is")
    kept.with_suffix(".json").write_text("{}", "utf-8")
    refused("mnist_ema.json is damaged")


def test_two_at_once_fetch_it_once(hub, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    put(hub, "text8")
    told = []
    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(lambda _: training.published("text8", say=told.append), range(2)))
    assert len(loaded) == 2 and len(told) == 1


# From the shell


def test_the_shell_evaluates_a_published_model(hub, capsys):
    put(hub, "mnist")
    words = ["mnist", "--evaluate", "--published", "--n", "2", "--set", "scale=smoke",
             "--set", "test_examples=4", "--set", "test_draws=1"]
    assert main(words) == 0
    lines = capsys.readouterr().out
    assert "SHA-256" in lines and "test ELBO, n = 2:" in lines and "test ELBO, n = ∞:" in lines
    assert "In the paper, n = ∞: 77.87 nats per image" in lines
    assert main([*words, "--official"]) == 0
    official = capsys.readouterr().out
    two, other = (text.partition("n = 2: ")[2].split()[0] for text in (lines, official))
    assert float(other) != float(two)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--published"], "trained already"),
        (["--published", "--evaluate", "--run", "x"], "takes no --run"),
        (["--official", "--evaluate", "--run", "x"], "goes with --published"),
        ([], "required: --run"),
    ],
)
def test_the_shell_says_what_does_not_go_together(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["mnist", *words])
    assert message in capsys.readouterr().err


def test_the_shell_knows_of_no_weights_for_16_bins_as_real_numbers(capsys):
    words = ["cifar10", "--evaluate", "--published", "--continuous", "--bins", "16"]
    assert main(words) == 1
    assert "got 'cifar10-continuous-16'" in capsys.readouterr().err
