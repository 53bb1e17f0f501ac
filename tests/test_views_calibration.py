"""Pictures of calibration show what was measured."""

import pytest
import torch

from bfn_core.calibration import Coverage, Reliability
from bfn_core.likelihood import Estimate
from bfn_core.views.kit import calibration, style


def covered(share):
    rows = tuple((Estimate(share, 0.01, 9), Estimate(0.9, 0.005, 9)) for _ in range(3))
    ranks = torch.full((3, 20), 0.05)
    ranks[1, 0] = 0.4
    return Coverage((0.1, 0.4, 0.8), (0.5, 0.9), rows, ranks, (Estimate(3.0, 0.1, 9),) * 3)


def test_shares_are_drawn_at_their_times_beside_their_levels():
    found = {"before": covered(0.8), "after": covered(0.5)}
    figure = calibration.coverage_figure(found, t=0.4)
    left, right = figure.axes
    lines = [line.get_ydata() for line in left.lines]
    assert any(len(y) == 3 and y[0] == pytest.approx(80) for y in lines)
    assert any(len(y) == 2 and set(y) == {50.0} for y in lines)  # the level
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["before", "after"]
    heights = right.patches[0].get_data().values
    assert heights[0] == pytest.approx(40) and heights[1] == pytest.approx(5)
    assert len(style.to_png(figure)) > 1000
    with pytest.raises(ValueError):
        calibration.coverage_figure(found, t=0.3)  # which was not judged


def test_points_lie_where_guesses_came_true():
    guessed = torch.tensor([[0.2, float("nan")], [0.3, 0.9]])
    found = Reliability((0.1, 0.6), torch.tensor([0.0, 0.5, 1.0]), guessed, guessed * 0.5,
                        torch.full((2, 2), 0.01), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    figure = calibration.reliability_figure(found, "guesses of ink")
    assert [axis.get_title("left") for axis in figure.axes] == ["t = 0.1", "t = 0.6"]
    points = figure.axes[1].collections[-1].get_offsets()
    assert points[:, 0].tolist() == pytest.approx([30, 90])
    assert points[:, 1].tolist() == pytest.approx([15, 45])
    assert len(style.to_png(figure)) > 1000


def test_two_models_lie_in_the_same_squares_under_their_names():
    guessed = torch.tensor([[0.2, 0.8]])
    found = [Reliability((0.1,), torch.tensor([0.0, 0.5, 1.0]), guessed, guessed * share,
                         torch.full((1, 2), 0.01), torch.full((1, 2), 0.5)) for share in (1, 0.5)]
    figure = calibration.reliability_figure(dict(zip(("network", "belief"), found, strict=True)))
    (axis,) = figure.axes
    shown = {points.get_label(): points.get_offsets()[:, 1].tolist()
             for points in axis.collections if points.get_label() in ("network", "belief")}
    assert shown == {"network": pytest.approx([20, 80]), "belief": pytest.approx([10, 40])}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["network", "belief"]
