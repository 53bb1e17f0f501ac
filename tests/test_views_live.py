"""A run while it goes on: what was noted is what is drawn, and the button stops it."""

import math
import threading

import ipywidgets
import pytest

from bfn_core.training import settings_for, train, train_or_load
from bfn_core.views.kit import curves, hearing, live
from tests.hearing import press_while_busy
from tests.test_views_curves import drawn, six_steps_of

LOOK = {"limits": (50, 600)}


def small(**changes):
    return settings_for("mnist", "smoke", **{"steps": 6, "validate_every": 3, **changes})


def test_it_shows_the_run_and_goes_on_with_it(tmp_path):
    settings = small()
    shown = live.LiveRun(settings, tmp_path, {"coin": 543.4}, every=0.0, **LOOK)
    before = shown._image.value
    result = shown.end(train(settings, tmp_path, **shown.watching))
    assert result.finished and shown._image.value != before
    _, points = six_steps_of(tmp_path, shown)
    again = live.LiveRun(settings, tmp_path, {}, **LOOK)
    assert drawn(again.figure()) == points


def test_it_says_what_the_run_says_and_how_long_it_takes(tmp_path):
    settings = small(steps=8, validate_every=100)
    shown = live.LiveRun(settings, tmp_path, {}, **LOOK)
    train(settings, tmp_path, **shown.watching)
    assert "8 steps of 32 examples" in shown.said[1] and "s a step: about" in shown.said[2]
    assert "step 8 of 8" in shown._words.value and "0 s to go" in shown._words.value


def test_losses_may_be_in_another_unit(tmp_path):
    settings = small()
    shown = live.LiveRun(settings, tmp_path, {}, per=784 * math.log(2), unit="bits", **LOOK)
    for record in ({"step": 1, "loss": 543.4, "seconds": 1}, {"step": 3, "validation": 271.7}):
        shown(record)
    assert shown.losses == [(1, pytest.approx(1.0, abs=1e-4))]
    assert shown.validations == [(3, pytest.approx(0.5, abs=1e-4))]


def test_it_is_redrawn_at_the_end_however_seldom_otherwise(tmp_path):
    shown = live.LiveRun(small(steps=2), tmp_path, {}, every=1e9, **LOOK)
    pictures = [shown._image.value]
    for step in (1, 2):
        shown({"step": step, "loss": 400.0 / step, "seconds": 200.0 * step})
        pictures.append(shown._image.value)
    assert pictures[0] == pictures[1] != pictures[2]
    assert "7 minutes so far" in shown._words.value


def test_text_with_dollars_is_drawn_as_it_is_and_is_no_formula(tmp_path):
    (tmp_path / "samples.txt").write_text("the cost $x_$ of\n", "utf-8")
    figure = live.LiveRun(small(), tmp_path, {}, **LOOK).figure()
    figure.canvas.draw()
    (text,) = figure.axes[1].texts
    assert text.get_text().startswith("the cost $x_$ of") and not text.get_parse_math()


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", ipywidgets.Image), ("text8", ipywidgets.HTML)]
)
def test_samples_are_beside_it_when_it_was_judged(name, kind, tmp_path):
    settings = settings_for(name, "smoke", steps=4, validate_every=2)
    shown, seen = live.LiveRun(settings, tmp_path, {}, **LOOK), []

    def watch(record):
        shown(record)
        seen.append((record["step"], "validation" in record, len(shown._samples.children)))

    train(settings, tmp_path, watch=watch)
    assert seen == [(1, False, 0), (2, False, 0), (2, True, 1), (3, False, 1), (4, False, 1)]
    (widget,) = shown._samples.children
    assert isinstance(widget, kind)
    before = widget.value
    shown.end(train(settings, tmp_path, resume=True))  # draws anew, with the last weights
    assert shown._samples.children == (widget,) and widget.value != before
    assert len(shown.figure().axes) == 2


def test_the_button_stops_after_the_step_and_the_run_can_be_gone_on_with(tmp_path):
    settings = small(validate_every=100)
    shown = live.LiveRun(settings, tmp_path, {}, **LOOK)

    def watch(record):
        shown(record)
        if record["step"] == 2:  # as JupyterLab does: in another thread, by a message
            click = {"method": "custom", "content": {"event": "click"}}
            message = {"content": {"data": click}, "buffers": []}
            press = threading.Thread(
                target=shown._button._handle_msg, args=(message,)
            )
            press.start()
            press.join()

    result = shown.end(train_or_load(settings, tmp_path, **{**shown.watching, "watch": watch}))
    assert (result.step, result.finished) == (2, False)
    assert shown._button.disabled and "Stopped after step 2 of 6" in shown._words.value
    assert "run the cell again" in shown._words.value and "--resume" not in shown._words.value
    fresh = live.LiveRun(settings, tmp_path, {}, **LOOK)
    result = fresh.end(train_or_load(settings, tmp_path, **fresh.watching))
    assert result.finished and [step for step, _ in fresh.losses] == [1, 2, 3, 4, 5, 6]
    assert "All 6 steps are made" in fresh._words.value


def test_a_button_is_heard_while_its_cell_runs_and_all_else_in_its_turn():
    assert press_while_busy() == ["[1] []", "second", "third [7] [1]"]


def test_where_nothing_runs_there_is_nothing_to_hear():
    hearing.hear(ipywidgets.Button())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99.0, "99 s"), (300.0, "5 minutes"), (62_640.0, "17.4 hours")],
)
def test_durations(seconds, words):
    assert curves.duration(seconds) == words
