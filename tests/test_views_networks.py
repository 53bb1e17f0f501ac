"""The pictures of networks: what they show is what the network computed."""

import re

import pytest
import torch
from matplotlib.patches import Rectangle

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow
from bfn_core.data.strings import palindromes
from bfn_core.looking_inside import attention_weights
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.step_by_step import tell
from bfn_core.views import networks
from tests.oracles import generator, shaken

LANGUAGE = palindromes("abc", 2)
TRIALS = [
    {"trial": "as it is", "nats": 80.0, "standard error": 1.0},
    {"trial": "no skips", "more than as it is": {"nats": 6.0, "standard error": 0.5,
                                                 "seed by seed": [5.0, 7.0]}},
    {"trial": "patch = 2", "more than as it is": {"nats": -2.0, "standard error": 0.25,
                                                  "seed by seed": [-2.5, -1.5]}},
]


@pytest.fixture(scope="module")
def unet():
    network = UNet(1, outputs=2, channels=8, multipliers=(1, 2), blocks=1, attention=(1,))
    return BFN(DiscretisedFlow(17, 0.05), shaken(network))


@pytest.fixture(scope="module")
def reader():
    network = Transformer(3, LANGUAGE.length, layers=2, heads=2, width=16)
    return BFN(DiscreteFlow(3, 2.0), shaken(network))


@pytest.fixture(scope="module")
def images():
    return DiscretisedFlow(17, 0.05).quantise(torch.rand(3, 1, 8, 8, generator=generator(0)) - 0.5)


def words(caption):
    return re.sub("<[^>]*>", "", caption)


def test_the_drawn_unet_has_a_box_of_its_size_for_every_part():
    figure = networks.unet_figure([(16, 8), (32, 4)], inlet=1, outlet=2, attention=(1,))
    (axes,) = figure.axes
    told = [text.get_text() for text in axes.texts]
    for label in ("belief\n1 × 8 × 8", "down: block\n16 × 8 × 8", "output\n2 × 8 × 8",
                  "up: block + attention\n32 × 4 × 4"):
        assert label in told
    assert told.count("skip") == 2 and told.count("halve") == told.count("double") == 1
    boxes = [box for box in axes.patches if isinstance(box, Rectangle)]
    assert len(boxes) == 6
    down, below = boxes[1], boxes[3]
    assert below.get_width() > down.get_width() and below.get_height() < down.get_height()


def test_the_features_explorer_moves_with_every_control(unet, images):
    layers = {"down": unet.network.down[1][0], "up": unet.network.up[0][0]}
    explorer = networks.feature_explorer(unet, images, layers)
    assert "16 maps of 4 × 4 from down" in words(explorer.caption)
    way, i = tell(unet, images[0], networks.STEPS, generator=generator(1)), 12  # t = 0.3
    belief, guess = (float((part.mean[i] - images[0]).square().mean().sqrt())
                     for part in (way.theta, way.output))
    assert f"off by {belief:.2f}, the guess by {guess:.2f}" in words(explorer.caption)
    for change in ({"t": 0.7}, {"layer": "up"}, {"image": 2}):
        before = explorer.png
        explorer.set(**change)
        assert explorer.error is None and explorer.png != before
    before = explorer.png
    explorer.controls["again"].click()
    assert explorer.error is None and explorer.png != before
    assert len(networks.feature_figure(unet, images[0], layers).axes) == 4 * (2 + len(layers))


def test_the_attention_explorer_tells_how_much_of_it_goes_to_the_mirror_image(reader):
    explorer = networks.attention_explorer(reader, LANGUAGE, ["abba", "cccc"])
    x, i = LANGUAGE.encode(["abba"])[0], round(0.4 * networks.STEPS)
    way = tell(reader, x, networks.STEPS, generator=generator(0))
    weights = attention_weights(reader.network, way.theta.probs, way.times)
    matrix = weights[0, i, 0]
    mirror = sum(float(matrix[place, 3 - place]) for place in range(4)) / 4
    shown = re.findall(r"(\d+)%", words(explorer.caption))
    assert int(shown[0]) == pytest.approx(100 * mirror, abs=0.51)
    right = sum(float(way.theta.probs[i, d, k]) for d, k in enumerate([0, 1, 1, 0])) / 4
    assert int(shown[1]) == pytest.approx(100 * right, abs=0.51)
    right = sum(float(way.output.probs[i, d, k]) for d, k in enumerate([0, 1, 1, 0])) / 4
    assert int(shown[2]) == pytest.approx(100 * right, abs=0.51)
    for change in ({"t": 0.8}, {"head": (1, 1)}, {"string": "cccc"}):
        before = explorer.png
        explorer.set(**change)
        assert explorer.error is None and explorer.png != before
    before = explorer.png
    explorer.controls["again"].click()
    assert explorer.error is None and explorer.png != before
    assert len(networks.attention_figure(weights[:, i]).axes) == 4


def test_the_clock_s_caption_measures_the_waves(unet):
    explorer = networks.clock_explorer(unet.network.time)
    before = explorer.png
    explorer.set(t=0.5)
    assert explorer.error is None and explorer.png != before
    times = torch.tensor([0.45, 0.5, 0.55])
    angles = times[:, None] * unet.network.time.waves
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    near = float(sum(waves[1] @ waves[i] / waves[i].norm() / waves[1].norm() for i in (0, 2))) / 2
    shown = float(re.search(r"cosine of (-?[\d.]+)", words(explorer.caption))[1])
    assert shown == pytest.approx(near, abs=0.006)
    assert len(networks.clock_figure(unet.network.time).axes) == 2


def test_the_ablations_are_drawn_where_the_record_has_them():
    record = {"studies": {"digits": {"trials": TRIALS}}}
    axes = networks.ablation_figure(record, {"digits": "digits"}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["patch = 2", "no skips"]
    assert axes.get_xlabel() == "nats more than 80.0"
    bars = [list(bar.get_xdata()) for bar in axes.lines]
    assert [0, 6.0] in bars and [0, -2.0] in bars and [5.0, 7.0] in bars
    (whiskers,) = [c.lines[2][0].get_segments() for c in axes.containers][1:]
    assert whiskers[0][:, 0].tolist() == [5.0, 7.0]  # two standard errors to each side
