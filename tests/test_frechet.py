"""The Fréchet distance, against closed forms, and the classifiers in whose features it is taken."""

import sys
import types

import pytest
import torch

from bfn_core import BFN, DiscretisedFlow, data
from bfn_core.frechet import (
    CLASSIFIERS,
    Classifier,
    as_images,
    classifier,
    features,
    frechet,
    frechet_distance,
)
from tests.oracles import generator
from tools import frechet as tool
from tools.record import weights


def as_it_is(x):
    return x


def test_normals_of_one_number_have_a_closed_form():
    """(μ₁ − μ₂)² + (σ₁ − σ₂)²."""
    one, other = (torch.tensor([value]).double() for value in (0.3, -0.5))
    widths = [torch.tensor([[s * s]]).double() for s in (2.0, 0.5)]
    found = frechet_distance(one, widths[0], other, widths[1])
    assert found.item() == pytest.approx(0.8**2 + 1.5**2)


def test_normals_that_share_their_axes_have_one_too():
    """In a common basis the distance is the sum over axes, though the matrices are full."""
    basis = torch.linalg.qr(torch.randn(5, 5, generator=generator(0)).double())[0]
    a, b = (torch.rand(5, generator=generator(seed)).double() * 3 for seed in (1, 2))
    a[0] = 0.0  # along one axis the first is a point
    one, other = (basis @ torch.diag(s.square()) @ basis.T for s in (a, b))
    zero = torch.zeros(5).double()
    found = frechet_distance(zero, one, zero, other)
    assert found.item() == pytest.approx((a - b).square().sum().item(), abs=1e-6)


def test_it_is_the_least_mean_square_between_pairs():
    """tr(Σ₁ + Σ₂ − 2C) is least over all couplings at C = (Σ₁Σ₂)^½: none that is tried is below,
    and the linear map that carries one normal to the other reaches it.
    """
    parts = [torch.randn(4, 4, generator=generator(seed)).double() for seed in (3, 4)]
    one, other = (a @ a.T for a in parts)
    zero = torch.zeros(4).double()
    least = frechet_distance(zero, one, zero, other).item()
    x = torch.randn(200, 4, 4, generator=generator(5)).double()
    turns = torch.linalg.qr(x)[0]
    pairs = [torch.linalg.cholesky(each) for each in (one, other)]
    costs = (pairs[0] - pairs[1] @ turns).square().sum((1, 2))  # ‖A − BQ‖²: couplings AQᵀB
    assert (costs >= least - 1e-9).all()
    u, _, v = torch.linalg.svd(pairs[1].T @ pairs[0])
    assert (pairs[0] - pairs[1] @ (u @ v)).square().sum().item() == pytest.approx(least)


def test_samples_of_normals_are_as_far_apart_as_the_normals():
    x = torch.randn(20_000, 3, generator=generator(6))
    y = 2.0 * torch.randn(20_000, 3, generator=generator(7)) + torch.tensor([1.0, 0.0, 0.0])
    found = frechet(x, y, as_it_is, generator=generator(8))
    assert found.mean == pytest.approx(1 + 3, abs=4 * found.standard_error)
    assert found.count == 20_000 and found.standard_error < 0.1


def test_the_standard_error_is_the_spread_of_the_distance():
    def distance(seed):
        x = torch.randn(400, 2, generator=generator(seed))
        y = torch.randn(400, 2, generator=generator(1000 + seed)) + 1.0
        return frechet(x, y, as_it_is, generator=generator(seed), resamples=20)

    found = [distance(seed) for seed in range(60)]
    spread = torch.tensor([each.mean for each in found]).std().item()
    said = sum(each.standard_error for each in found) / 60
    assert said == pytest.approx(spread, rel=0.25)


def test_few_samples_make_it_larger():
    """As the docstring warns: for d features of N samples each, by about d(d + 1)/(4N) · 2."""
    def mean(count):
        pairs = [[torch.randn(count, 8, generator=generator(2 * s + k)) for k in range(2)]
                 for s in range(20)]
        return sum(frechet(*pair, as_it_is, resamples=2).mean for pair in pairs) / 20

    assert mean(50) > 3 * mean(400) > 0


def test_what_is_too_little_is_refused():
    x = torch.randn(4, 2)
    with pytest.raises(ValueError, match="must be at least two, got 1, 4 and 50"):
        frechet(x[:1], x, as_it_is)
    with pytest.raises(ValueError, match="name must be one of mnist, cifar10, inception, got 'm'"):
        features("m")


def test_binary_pixels_are_read_as_minus_one_and_one():
    assert as_images(torch.tensor([0, 1])).tolist() == [-1.0, 1.0]
    assert as_images(torch.tensor([0.25])).tolist() == [0.25]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_features_decide_what_the_shipped_classifier_says(name):
    net = classifier(name)
    x = {"mnist": torch.randint(2, (3, 1, 28, 28), generator=generator(9)),
         "cifar10": torch.rand(3, 3, 32, 32, generator=generator(9)) * 2 - 1}[name]
    found = features(name)(x)
    assert found.shape == (3, 64)
    assert torch.allclose(net.head(found), net(x), atol=1e-5)
    path = data.asset(f"features_{name}.safetensors")
    assert path.stat().st_size < 300_000
    record = data.record(f"features_{name}")
    assert record["command"] == f"python -m tools.features {name}"
    assert record["parameters"] == sum(p.numel() for p in net.parameters())
    assert record["training seconds"] > 0 and record["seed"] == 0
    assert record["accuracy"] > {"mnist": 0.97, "cifar10": 0.6}[name]


def test_the_shipped_classifier_knows_digits_that_were_never_mnists():
    """scikit-learn's digits, enlarged: most are named rightly, and noise is far from them."""
    images = data.mnist(stand_in=True)
    x = data.binarise(images.test, generator=generator(10))
    assert (classifier("mnist")(x).argmax(1) == images.test_labels).float().mean() > 0.6
    noise = torch.randint(2, x.shape, generator=generator(11))
    near = frechet(data.binarise(images.train[: len(x)], generator=generator(12)), x,
                   features("mnist"), resamples=2)
    assert frechet(noise, x, features("mnist"), resamples=2).mean > 5 * near.mean


def test_a_classifier_learns(tmp_path):
    from tools import features as tool

    images = data.mnist(stand_in=True)
    net = tool.trained("mnist", images, 40)
    assert isinstance(net, Classifier) and tool.accuracy("mnist", net, images) > 0.5


# The figures of the shipped model ----------------------------------------------------------------


def test_the_tool_judges_samples_and_yardsticks_alike():
    images = data.cifar10(stand_in=True)
    bfn = BFN(DiscretisedFlow(256, 0.02), Centred())

    def colours(x):
        return x.mean((2, 3))

    found = tool.figures("cifar10", bfn, images, colours, 6, (1, 2), ("draw", "mean"))
    assert list(found) == ["training images", "pixels one by one", "noise", "n = 1", "n = 2",
                           "n = 1, about the mean", "n = 2, about the mean"]
    x = bfn.sample((6, 3, 32, 32), 2, generator=tool.seeded(tool.SEED + 1))
    expected = frechet(x, data.quantise(images.test), colours, generator=tool.seeded())
    assert found["n = 2"]["distance"] == round(expected.mean, 4)
    assert found["n = 2"]["standard error"] == round(expected.standard_error, 4) > 0


class Centred(torch.nn.Module):
    """Takes the belief itself for the noise."""

    def forward(self, inputs, t):
        return torch.stack([inputs, torch.full_like(inputs, -1.0)], -1)


def test_the_record_of_cifar10_is_of_the_weights_that_are_shipped():
    record = data.record("cifar10_frechet")
    assert record["weights"] == weights("cifar10"), f"measured on others: {record['command']}"
    assert record["images of each kind"] > 2 * 64  # more than twice the features
    far = {name: row["distance"] for name, row in record["figures"].items()}
    drawn = [far[f"n = {n}"] for n in tool.NS]
    assert far["training images"] < min(drawn) and max(drawn) < min(far["noise"],
                                                                    far["pixels one by one"])


# FID, where its weights are ---------------------------------------------------------------------


def inception(monkeypatch, make):
    package, module = types.ModuleType("pytorch_fid"), types.ModuleType("pytorch_fid.inception")
    module.InceptionV3 = make
    monkeypatch.setitem(sys.modules, "pytorch_fid", package)
    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", module)


def test_fid_reads_colours_in_0_to_1(monkeypatch):
    class Mean(torch.nn.Module):
        def forward(self, x):
            assert x.shape[1] == 3 and x.min() >= 0 and x.max() <= 1
            return [x.mean((2, 3), keepdim=True)]

    inception(monkeypatch, Mean)
    of = features("inception")
    assert torch.allclose(of(torch.full((2, 3, 8, 8), 0.5)), torch.full((2, 3), 0.75))
    assert torch.allclose(of(torch.ones(2, 1, 8, 8).long()), torch.ones(2, 3))  # binary digits


def test_without_its_package_or_its_weights_fid_says_what_is_missing(monkeypatch):
    def refused():
        raise OSError("no network")

    inception(monkeypatch, refused)
    with pytest.raises(data.DataError, match="weights of Inception v3.*no network"):
        features("inception")
    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", None)
    with pytest.raises(data.DataError, match="pip install pytorch-fid"):
        features("inception")
