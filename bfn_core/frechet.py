"""How far the law of samples is from that of data, in the features of a small classifier.

The features of two sets of images are taken for two normal distributions, and the distance is
Fréchet's between these: 0 if means and covariances agree. With the features of Inception v3 it is
called FID (Heusel et al. 2017, arXiv 1706.08500); with those of `features("mnist")`, a classifier
of some 0.1 M parameters that was trained in this repository, **it is not FID**, and its figures
can only be compared with one another: with those of real images of the same number, and of noise.

    frechet(samples, test_images, features("mnist"))

Covariances of few images are noisy, which makes the distance larger than that of their laws. So
compare figures of equally many samples.
"""

import importlib
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from bfn_core.data import DataError, asset
from bfn_core.likelihood import Estimate
from bfn_core.networks.convnet import ConvNet
from bfn_core.numerics import wide

CLASSIFIERS = {"mnist": 1, "cifar10": 3}  # channels of their images
Features = Callable[[Tensor], Tensor]


def frechet_distance(mean: Tensor, covariance: Tensor, mean_2: Tensor, covariance_2: Tensor):
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½), of two normal distributions.

    Args:
        mean, mean_2: (d,).
        covariance, covariance_2: (d, d), symmetric and not negative.

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal
    distributions".
    """
    root = _root(covariance)
    between = torch.linalg.eigvalsh(root @ covariance_2 @ root).clamp(min=0.0).sqrt().sum()
    apart = (mean - mean_2).square().sum()
    return apart + covariance.trace() + covariance_2.trace() - 2 * between


def frechet(
    samples: Tensor, reference: Tensor, features: Features,
    *, resamples: int = 50, batch_size: int = 500, generator: Generator | None = None,
) -> Estimate:
    """The Fréchet distance between two sets of images, and its standard error.

    The error is that of the bootstrap: the standard deviation of the distance over sets that are
    drawn with replacement from both. It says nothing of the bias that few images bring.

    Args:
        samples, reference: (N, …) and (M, …), as `features` takes them; at least two each.
        features: from a batch of images to (B, d), such as `features("mnist")`.
        resamples: sets that are drawn, at least 2.
        batch_size: images at a time.
        generator: of the sets, on the CPU.

    Raises:
        ValueError: fewer than two images or sets.
    """
    if min(len(samples), len(reference), resamples) < 2:
        raise ValueError("samples, reference and resamples must be at least two, got "
                         f"{len(samples)}, {len(reference)} and {resamples}")
    both = [_features(x, features, batch_size) for x in (samples, reference)]
    distance = frechet_distance(*_moments(both[0]), *_moments(both[1]))
    again = torch.stack([
        frechet_distance(*(moment for each in both for moment in _moments(each[
            torch.randint(len(each), (len(each),), generator=generator)])))
        for _ in range(resamples)
    ])
    return Estimate(float(distance), float(again.std()), len(samples))


def features(name: str) -> Features:
    """What says what is in an image.

    Args:
        name: "mnist" or "cifar10", for the features of a small classifier of that data set which
            this repository ships: of x as a flow has it, binary pixels (B, 1, 28, 28) of 0 and 1,
            or colours (B, 3, 32, 32) in [−1, 1]. Or "inception", for those of Inception v3 as FID
            has them: of the same, enlarged to 299 × 299; it needs pytorch-fid and the network.

    Raises:
        ValueError: another name.
        DataError: the weights are not at hand and cannot be fetched.
    """
    if name == "inception":
        return _inception()
    if name not in CLASSIFIERS:
        raise ValueError(f"name must be one of {', '.join(CLASSIFIERS)}, inception, got {name!r}")
    return classifier(name).features_of


def classifier(name: str) -> "Classifier":
    """The shipped classifier of "mnist" or "cifar10"; `data.record(f"features_{name}")` says how it
    was trained and how often it is right.
    """
    from safetensors.torch import load_file

    net = Classifier(CLASSIFIERS[name])
    weights = load_file(asset(f"features_{name}.safetensors"))
    net.load_state_dict({key: w.float() if w.is_floating_point() else w
                         for key, w in weights.items()})
    return net.eval().requires_grad_(False)


class Classifier(ConvNet):
    """A ConvNet of data as flows have them, binary pixels as whole numbers among them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(as_images(x))

    def features_of(self, x: Tensor) -> Tensor:
        """(B, 64)."""
        return self.features(as_images(x))


def as_images(x: Tensor) -> Tensor:
    """Binary pixels of 0 and 1, int64, as −1 and 1; others, which lie in [−1, 1], as they are."""
    return x if x.is_floating_point() else 2.0 * x - 1.0


@torch.no_grad()
def _features(x: Tensor, features: Features, batch_size: int) -> Tensor:
    return torch.cat([wide(features(batch)).cpu() for batch in x.split(batch_size)])


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(0), torch.atleast_2d(values.T.cov())


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0.0).sqrt() @ vectors.T


def _inception() -> Features:
    """Inception v3's 2,048 features as pytorch-fid has them.

    Raises:
        DataError: pytorch-fid or its weights cannot be had.
    """
    try:
        InceptionV3 = importlib.import_module("pytorch_fid.inception").InceptionV3
    except ImportError:
        raise DataError("FID needs the package pytorch-fid, which is not installed: "
                        "pip install pytorch-fid") from None
    try:
        net: nn.Module = InceptionV3().eval().requires_grad_(False)
    except OSError as error:  # URLError is one
        raise DataError("FID needs the weights of Inception v3, which pytorch-fid could not fetch "
                        f"from github.com ({error})") from None

    def of(x: Tensor) -> Tensor:
        colours = as_images(x).float().expand(-1, 3, -1, -1)
        return net(0.5 * colours + 0.5)[0].flatten(1)  # it reads [0, 1]

    return of
