"""Training curves: what was noted is what is drawn."""

from bfn_core.views import curves

RECORD = {
    "settings": {"steps": 100},
    "curve": [{"step": 50, "nats": 120.0}, {"step": 100, "nats": 90.0}],
    "validation": [{"step": 75, "validation": 95.0, "validation_error": 1.0}],
}
LOOK = {"limits": (50, 600)}


def drawn(figure):
    """The points of the curves of a figure, by label."""
    lines = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    return {line.get_label(): [tuple(map(float, p)) for p in line.get_xydata()] for line in lines}


def test_a_recorded_curve_shows_the_record():
    figure = curves.curve_figure(RECORD, {"a yardstick": 77.87}, **LOOK)
    assert drawn(figure) == {
        "training": [(50.0, 120.0), (100.0, 90.0)],
        "validation": [(75.0, 95.0)],
    }
    assert any(list(line.get_ydata()) == [77.87, 77.87] for line in figure.axes[0].lines)
    assert figure.axes[0].get_ylim() == (50, 600)


def test_a_narrow_axis_has_marks_too():
    figure = curves.curve_figure(RECORD, {}, limits=(75, 105), unit="nats")
    marks = figure.axes[0].get_yticks()
    assert len(marks) >= 3 and all(75 <= mark <= 105 for mark in marks)
