"""Pictures of photographs: their numbers are bfn_core's, and every control moves them."""

import io
import math
import re

import pytest
import torch
from PIL import Image

from bfn_core import BFN, DiscretisedFlow, data, photographs
from bfn_core.views import cifar10 as views
from tests.oracles import Copy

SIGMA = 1e-3
X = data.quantise(data.photographs()[[1, 7, 8, 13]])
NAMES = {"roof": 0, "leaf": 2}


@pytest.fixture(scope="module")
def copying():
    return BFN(DiscretisedFlow(256, SIGMA), Copy())


@pytest.fixture(scope="module")
def walk(copying):
    return photographs.walk(copying, X, n=16, seed=1)


def numbers(caption):
    text = re.sub("<[^>]*>", "", caption).replace(",", "")
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?(?:e\+\d+)?", text)]


def every_control_moves(explorer, **moves):
    assert set(moves) == set(explorer.controls)
    for name, value in moves.items():
        before = explorer.png, explorer.controls[name].value
        explorer.set(**{name: value})
        assert explorer.error is None
        assert explorer.png != before[0], name
        explorer.set(**{name: before[1]})


def test_doubt_and_strength(walk):
    assert walk.doubt(0.0) == math.inf and views._strength(walk, 0.0) == 1
    assert walk.doubt(0.5) == pytest.approx(walk.bfn.flow.beta(0.5) ** -0.5)
    assert views._strength(walk, 1.0) == pytest.approx(1000 / 3, rel=1e-3)
    assert photographs.levels(2 / 256) == 1 and walk.at(0.49) == 8


def test_a_picture_shows_the_bytes():
    shown = views.picture(X[:1])
    assert (shown == data.to_bytes(X[0]).permute(1, 2, 0).numpy()).all()
    tiled = views.picture(X)
    assert tiled.shape == (65, 65, 3) and (tiled[33:, :32] == views.picture(X[2:3])).all()


def test_the_explorer_of_the_flow(walk):
    explorer = views.flow_explorer(walk, NAMES, t=0.5)
    beta, doubt, _, wrong, strength, naming = numbers(explorer.caption)
    assert beta == pytest.approx(walk.bfn.flow.beta(0.5), rel=0.01)
    assert doubt == pytest.approx(128 * walk.doubt(0.5), abs=0.06)
    off = float((walk.guesses[8, 0] - X[0]).square().mean().sqrt())
    assert wrong == pytest.approx(128 * off, abs=0.06)
    assert strength == pytest.approx(1 / (3 * walk.doubt(0.5)), abs=0.5)
    assert naming == pytest.approx(float(walk.naming[8, 0].mean()), abs=0.006)
    every_control_moves(explorer, t=0.25, photo=2)
    explorer.set(t=0.0)
    assert "not been asked" in explorer.caption and "inf" not in explorer.caption
    explorer.set(t=1.0)
    assert explorer.error is None


def test_the_explorer_of_bits(walk):
    explorer = views.where_explorer(walk, NAMES, t=0.5)
    t, spent, bill, share = numbers(explorer.caption)[:4]
    assert t == 0.5 and spent == pytest.approx(float(walk.spent[8, 0].mean()), abs=0.006)
    assert bill == pytest.approx(float(walk.bill[0].mean()), abs=0.006)
    assert share == pytest.approx(100 * spent / bill, abs=1)
    every_control_moves(explorer, t=0.75, photo=2)
    explorer.set(t=0.0)
    assert numbers(explorer.caption)[1] == 0 and "inf" not in explorer.caption


def test_bits_per_pixel_are_averaged_over_neighbours():
    bits = torch.zeros(2, 3, 6, 6)
    bits[1, :, 3, 3] = 3.0
    found = views._per_pixel(bits)
    assert found.shape == (2, 6, 6) and float(found[0].sum()) == 0
    assert torch.allclose(found[1, 2:5, 2:5], torch.ones(3, 3)) and float(found[1, 1, 1]) == 0
    assert torch.allclose(views._per_pixel(torch.ones(3, 4, 4)), torch.full((4, 4), 3.0))


def test_images_as_they_form(copying):
    first = torch.Generator().manual_seed(0)
    found = photographs.record(copying, (4, 3, 8, 8), 6, generator=first)
    beliefs, guesses, doubts, samples = found
    assert beliefs.shape == guesses.shape == doubts.shape == (7, 4, 3, 8, 8)
    steps = copying.sampling_steps((4, 3, 8, 8), 6, generator=torch.Generator().manual_seed(0))
    for i, step in enumerate(steps):
        assert torch.equal(beliefs[i], step.theta.mean)
        assert torch.equal(guesses[i], step.output.mean)
    torch.testing.assert_close(copying.flow.quantise(samples), samples)
    explorer = views.samples_explorer(beliefs, guesses, step=2)
    i, n, t, whole, side, _, layout = numbers(explorer.caption)
    assert (i, n, t, side) == (2, 6, 0.33, 8)
    apart = guesses[2] - guesses[-1]
    assert whole == pytest.approx(128 * float(apart.square().mean().sqrt()), rel=0.05)
    means = apart.mean((2, 3))  # the images are 8 × 8: one square each
    assert layout == pytest.approx(128 * float(means.square().mean().sqrt()), rel=0.05)
    every_control_moves(explorer, step=5)
    explorer.set(step=0)
    assert explorer.error is None
    assert len(views.samples_figure(beliefs, guesses, (0, 3, 6)).axes) == 6


def test_figures_say_what_was_measured(walk, tmp_path):
    maps = views.maps_figure(walk, [0, 2])
    labels = [axis.get_xlabel() for axis in maps.axes]
    assert f"{float(walk.bill[2].mean()):.2f}" in labels
    over_time, channels, _ = views.shares_figure(walk).axes
    heights = [bar.get_height() for bar in channels.patches]
    assert heights == pytest.approx(walk.bill.mean((0, 2, 3)).tolist())
    shown = torch.as_tensor(over_time.lines[1].get_ydata())
    assert torch.equal(shown, walk.rates[1:].mean((1, 2, 3, 4)))
    flow = views.flow_figure(walk, 0, times=(0.0, 1.0))
    assert [axis.get_xlabel() for axis in flow.axes][-2:] == ["× 1", "× 333"]
    curve = [{"step": 10, "nats": 3072 * math.log(2) * 5}, {"step": 100, "nats": 3072.0}]
    (axis,) = views.curves_figure({"a": curve}, 3072, {"b": 4.0}).axes
    assert axis.lines[0].get_ydata() == pytest.approx([5, 1 / math.log(2)])
    assert axis.get_ylim()[0] < 1 / math.log(2) and axis.lines[1].get_ydata()[0] == 4
    chart = views.curves_chart({"a": curve}, 3072, {"a": "seed 0"}, "A curve.", {"b": 4.0}).json
    assert chart["data"][0]["y"] == pytest.approx([5, 1 / math.log(2)])
    assert "seed 0" in chart["data"][0]["hovertemplate"]
    assert chart["layout"]["yaxis"]["range"] == pytest.approx(axis.get_ylim())
    content = io.BytesIO()
    Image.fromarray(views.picture(X)).save(content, "png")
    (tmp_path / "sheet.png").write_bytes(content.getvalue())
    (axis,) = views.sheet_figure(tmp_path / "sheet.png").axes
    assert (axis.images[0].get_array() == views.picture(X)).all()
    upper = views.sheets_figure({"a": tmp_path / "sheet.png", "b": tmp_path / "sheet.png"},
                                 share=0.5).axes[1].images[0].get_array()
    assert (upper == views.picture(X)[: len(upper)]).all()
    assert len(upper) == round(0.5 * len(views.picture(X)))


def test_distances_of_samples_are_drawn_beside_what_they_are_compared_with():
    rows = {"training images": 0.1, "noise": 20.0, "n = 10": 4.0, "n = 100": 2.0,
            "n = 10, about the mean": 3.0}
    figures = {name: {"distance": distance, "standard error": distance / 10}
               for name, distance in rows.items()}
    (axis,) = views.frechet_figure(figures).axes
    (line, _, (bars,)) = axis.containers[0]
    assert line.get_xydata().tolist() == [[10, 4.0], [100, 2.0]]
    assert bars.get_segments()[0][:, 1] == pytest.approx([4.0 - 0.8, 4.0 + 0.8])
    assert {text.get_text(): text.xy[1] for text in axis.texts} == {
        "training images": 0.1, "noise": 20.0}
    record = {"command": "python -m tools.frechet", "images of each kind": 50, "seed": 3}
    (trace,) = views.frechet_chart({**record, "figures": figures}, "Distances.").json["data"]
    assert (trace["x"], trace["y"]) == ([10, 100], [4.0, 2.0])
    assert trace["error_y"]["array"] == pytest.approx([0.8, 0.4])
    assert "50 images, seed 3" in trace["hovertemplate"].replace("<br>", " ")


def test_bytes_are_shown_as_numbers():
    image = data.photographs()[5]
    _, table, histogram = views.bytes_figure(image, 4, 6, rows=2, columns=3).axes
    shown = [int(text.get_text()) for text in table.texts]
    assert shown == image[0, 4:6, 6:9].flatten().tolist()
    assert [float(p.get_data().values.sum()) for p in histogram.patches] == [1024] * 3


def test_no_curve_is_left_out_in_silence():
    curve = [{"step": step, "nats": 9000.0} for step in (1, 10, 100)]
    (axis,) = views.curves_figure(dict.fromkeys("abc", curve), 3072).axes
    assert [line.get_label() for line in axis.lines] == ["a", "b", "c"]
    assert len({line.get_color() for line in axis.lines}) == 3
    with pytest.raises(ValueError, match="zip"):
        views.curves_figure(dict.fromkeys("abcd", curve), 3072)
