"""Training curves: what was noted is what is drawn."""

from bfn_core.training import growth, settings_for, train
from bfn_core.training.progress import spelled
from bfn_core.training.runs import Run
from bfn_core.views.kit import curves

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


def test_the_axis_of_joined_runs_holds_all_their_steps():
    """Their settings are those of the last run, whose steps are counted from its own beginning."""
    then = {**RECORD, "settings": {"steps": 60}}
    joined = growth.joined(RECORD, {**then, "curve": [{"step": 60, "nats": 80.0}]})
    assert joined["curve"][-1]["step"] == 160
    assert curves.curve_figure(joined, {}, **LOOK).axes[0].get_xlim()[1] >= 160


def test_a_narrow_axis_has_marks_too():
    figure = curves.curve_figure(RECORD, {}, limits=(75, 105), unit="nats")
    marks = figure.axes[0].get_yticks()
    assert len(marks) >= 3 and all(75 <= mark <= 105 for mark in marks)


def six_steps_of(folder, live):
    """A run's metrics, and what is drawn of it, which must be the six steps that they tell of."""
    metrics = Run(folder).read_metrics()
    losses = [(r["step"], r["loss"]) for r in metrics if "loss" in r]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    shown = drawn(live.figure())
    assert shown["training"] == losses
    assert [step for step, _ in shown["validation"]] == [3]
    return metrics, shown


def test_a_live_curve_shows_the_run_and_goes_on_with_it(tmp_path):
    settings = settings_for("mnist", "smoke", steps=6, validate_every=3)
    curve = curves.LiveCurve(settings.steps, {"coin": 543.4}, every=0.0, **LOOK)
    before = curve._image.value
    train(settings, tmp_path, watch=curve)
    assert curve._image.value != before
    metrics, shown = six_steps_of(tmp_path, curve)
    assert "step 6 of 6" in curve._words.value
    again = curves.LiveCurve(settings.steps, {}, before=metrics, **LOOK)
    assert drawn(again.figure()) == shown


def test_it_is_redrawn_at_the_end_however_seldom_otherwise():
    curve = curves.LiveCurve(2, {}, every=1e9, **LOOK)
    pictures = [curve._image.value]
    for step in (1, 2):
        curve({"step": step, "loss": 400.0 / step, "seconds": 200.0 * step})
        pictures.append(curve._image.value)
    assert pictures[0] == pictures[1] != pictures[2]
    assert f"{spelled(400.0)} so far" in curve._words.value


def test_samples_are_drawn_at_redraws_only():
    asked = []

    def samples():
        asked.append(len(curve.losses))
        return "<b>1+1=02</b>"

    curve = curves.LiveCurve(10, {}, every=0.0, samples=samples, **LOOK)
    assert not asked  # before there is a model
    for step in range(1, 10):
        curve.every = 0.0 if step in (4, 8) else 1e9
        curve({"step": step, "loss": 60.0, "seconds": 1.0})
    curve({"step": 10, "loss": 60.0, "seconds": 2.0})
    assert asked == [4, 8, 10]
    assert "step 10 of 10" in curve._words.value and "<b>1+1=02</b>" in curve._words.value


def test_only_a_run_that_is_judged_has_a_legend():
    assert curves.LiveCurve(10, {}, **LOOK).figure().axes[0].get_legend() is None
    assert curves.curve_figure(RECORD, {}, **LOOK).axes[0].get_legend()
