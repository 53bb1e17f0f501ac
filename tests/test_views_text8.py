"""Pictures of a language model: what they show against bfn_core."""

import json
import math
import re
from dataclasses import replace

import numpy
import pytest
import torch

from bfn_core import characters, data
from bfn_core.calibration import Reliability
from bfn_core.data.files import digest
from bfn_core.infilling import fill, ranked
from bfn_core.views import text8 as views
from bfn_core.views.kit import calibration, style
from bfn_core.views.kit.letters import Letters
from tests.oracles import LINE, generator, language_model


@pytest.fixture(scope="module")
def bfn():
    return language_model()


def numbers(caption):
    return [float(number) for number in re.findall(r"\d+\.?\d*", re.sub("<.*?>", "", caption))]


def letters(page):
    heights = page.get_offsets()[:, 1]
    wide = int((heights == heights[0]).sum())
    return [data.decode(torch.from_numpy(row)) for row in page.classes.reshape(-1, wide)]


def pages(explorer):
    return [artist for axes in explorer._canvas._figure.axes for artist in axes.collections
            if isinstance(artist, Letters)]


# Pages --------------------------------------------------------------------------------------------


def drawn(axes):
    figure = axes.figure
    figure.canvas.draw()
    return numpy.asarray(figure.canvas.buffer_rgba())[..., :3]


def test_a_page_draws_each_letter_in_its_cell_in_its_colours():
    figure, axes = style.subplots(size=(4, 1))
    axes.set_position([0, 0, 1, 1])
    figure.set_layout_engine("none")
    page = views.Page(axes, 2, 10, size=14)
    paper = numpy.ones((2, 10, 3))
    paper[1, 4] = (1, 0.5, 0)
    page.show(numpy.zeros((2, 10), int), numpy.zeros(3), paper)
    empty = drawn(axes)
    assert tuple(empty[75, 180]) == (255, 128, 0) and (empty[:50] == 255).all()
    classes = numpy.zeros((2, 10), int)
    classes[0, 7] = 13
    page.show(classes, numpy.array([0, 0, 1.0]))
    dark = (drawn(axes)[..., 0] < 100).nonzero()
    assert len(dark[0]) and dark[0].max() < 50 and dark[1].min() >= 280 and dark[1].max() < 320


# Beliefs ------------------------------------------------------------------------------------------


def test_the_belief_explorer_counts_bits_and_right_letters(bfn):
    other = LINE[::-1]
    explorer = views.belief_explorer(bfn, {"one": LINE, "two": other}, shown=60, n_steps=8)
    assert "bfn-explorer" in explorer._dom_classes
    seen = {explorer.png}
    for t, name, line in ((0.0, "one", LINE), (0.5, "one", LINE), (1.0, "two", other)):
        explorer.set(t=t, text=name)
        assert explorer.error is None and explorer.png not in seen
        seen.add(explorer.png)
        reading, i = characters.read(bfn, line, 8), round(8 * t)
        pair = reading.theta.probs[i, :60], reading.output.probs[i, :60]
        bits = [float(-torch.xlogy(p, p).sum(-1).mean()) / math.log(2) for p in pair]
        right = [int((p.argmax(-1) == reading.x[:60]).sum()) for p in pair]
        found = numbers(explorer.caption)
        assert found[:3] == pytest.approx([t, *bits], abs=0.006)
        assert [found[3], found[5]] == right and found[4] == 60
        above, below, truth = pages(explorer)
        assert letters(truth) == [line[:60]]
        assert letters(above) == [data.decode(pair[0].argmax(-1))]
        assert letters(below) == [data.decode(pair[1].argmax(-1))]
    assert f"{math.log2(27):.2f}" in (explorer.set(t=0.0), explorer.caption)[1]


# Text as it forms ---------------------------------------------------------------------------------


def test_the_writing_explorer_shows_the_samples_on_their_way(bfn):
    explorer = views.writing_explorer(bfn, count=2, n_steps=5)
    writing = characters.write(bfn, 2, 5, seed=1)
    walk = list(bfn.sampling_steps((2, 128), 5, generator=generator(1)))
    seen = set()
    for step in (0, 3, 5):
        explorer.set(step=step)
        assert explorer.error is None and explorer.png not in seen
        seen.add(explorer.png)
        p = walk[step].output.probs
        assert torch.equal(writing.guesses[:, step], p.argmax(-1))
        changing = int((p.argmax(-1) != walk[-1].output.probs.argmax(-1)).sum())
        rows = letters(pages(explorer)[0])
        assert "".join(rows[:2]) == data.decode(p[0].argmax(-1)) and rows[2].strip() == ""
        found = numbers(explorer.caption)
        assert found[:2] == [step, 5] and found[4:6] == [changing, 256]
        assert found[3] == pytest.approx(100 * float(p.amax(-1).mean()), abs=0.51)
    before = explorer.png
    explorer.controls["others"].click()
    assert explorer.error is None and explorer.png != before


def test_figures_of_the_record_hold_its_numbers():
    record = {
        "command": "python -m bfn_core.training text8",
        "settings": {"length": 128, "steps": 20},
        "curve": [{"step": s, "nats": 400.0 - s} for s in (5, 10, 15)],
        "validation": [{"step": 10, "validation": 395.0, "validation_error": 1.0}],
        "evaluation": {"elbo": {
            "10": {"bits per character": 2.5, "standard error": 2.0},
            "infinity": {"bits per character": 2.4, "standard error": 2.0},
        }},
    }
    curve = views.curve_chart(record, {"trigram": 2.9}, "A curve.").json
    assert curve["data"][0]["y"][0] == pytest.approx(395 / (128 * math.log(2)))
    assert views.NOT_PUBLISHED in curve["data"][0]["hovertemplate"].replace("<br>", " ")
    chart = views.steps_chart(record, {"a": 2.9}, 1.41, "Bits.").json
    assert [trace["y"] for trace in chart["data"]] == [[2.5, 2.4], [1.41]]
    error = 2 * 2.0 / (128 * math.log(2))
    assert chart["data"][0]["error_y"]["array"] == pytest.approx([error, error])
    steps = views.steps_figure(record, {"a": 2.9, "b": 2.92}, 1.41).axes[0]
    assert views.NOT_PUBLISHED in (steps.get_title("left"), steps.get_title())
    heights = {text.get_text(): text.get_position()[1] for text in steps.texts}
    assert heights["b"] - heights["a"] > 0.05  # the labels do not overlap
    share = {"share": 0.5, "standard error": 0.1}
    writing = {"spelling": {"5": share, "10": share}, "spelling of the test text": {"share": 0.9}}
    assert views.spelling_figure(writing).axes[0].get_ylim() == (0, 1.08)
    writing |= {"command": "python -m tools.text8 writing", "samples": 2, "length": 128}
    (spelling,) = views.spelling_chart(writing, "Shares.").json["data"]
    assert spelling["y"] == [50, 50] and spelling["error_y"]["array"] == [20, 20]
    kinds = {name: {"settled": [0.1, 0.5, 1.0]} for name in characters.KINDS}
    axes = views.settling_figure({"n": 2, "kinds": kinds}).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(characters.KINDS)


# Gaps ---------------------------------------------------------------------------------------------


def test_the_filling_explorer_shows_what_fill_gives(bfn):
    sentence, own = "a w_rd is missing", "two h_les h_re"
    explorer = views.filling_explorer(bfn, [sentence, "an_ther"], n_steps=3, count=5, rows=4)
    page = pages(explorer)[0]
    seen = set()
    for shown, seed in ((sentence, 1), (own, 2), (own, 3)):
        if seed == 2:
            explorer.set(own=own)
            assert "2 missing characters: press" in explorer.caption
            assert [row.strip() for row in letters(page)[1:]] == [""] * 4
            assert explorer.png not in seen
        if seed > 1:
            explorer.controls["fill_it"].click()
        assert explorer.error is None and explorer.png not in seen
        seen.add(explorer.png)
        hole = characters.gap(shown, 128)
        filling = fill(bfn, hole.x, hole.known, 3, 5, generator=generator(seed))
        best, share = ranked(filling, hole.holes)[0]
        filled = list(shown)
        for position, letter in zip(hole.holes - hole.start, best, strict=True):
            filled[position] = data.ALPHABET[letter]
        rows = letters(page)
        assert rows[0].rstrip() == shown.replace("_", " ") and rows[1].rstrip() == (
            "".join(filled).rstrip()
        )
        assert f"worth {filling.effective:.1f} of" in explorer.caption
        figure = explorer._canvas._figure
        assert figure.axes[1].patches[0].get_width() == pytest.approx(share)
    explorer.set(own="no hole")
    assert "a _ for each character" in explorer.caption and explorer.error is not None
    explorer.set(own="a gap of fifty seven letters does not fit into the picture __")
    assert "56 fit the picture" in explorer.caption


# Words --------------------------------------------------------------------------------------------


def test_spelling_counts_the_letters_of_whole_words():
    known = {"the", "cat", "a"}
    found = data.spelling(["xx the cat zz yy", "of a kat to"], known)
    assert found.mean == pytest.approx((6 + 1) / (8 + 4)) and found.count == 2
    right, total = torch.tensor([6.0, 1.0]), torch.tensor([8.0, 4.0])
    spread = (right - found.mean * total) / 6
    assert found.standard_error == pytest.approx(float(spread.std()) / math.sqrt(2))
    with pytest.raises(ValueError, match="at least one word"):
        data.spelling(["onlyoneword", "two cut"], known)


def test_the_word_list_holds_words_of_the_alphabet():
    words = data.words()
    assert {"the", "anarchism", "nine"} <= words and "quimbly" not in words
    assert len(words) > 10_000 and all(set(word) <= set(data.ALPHABET[1:]) for word in words)


# Calibration --------------------------------------------------------------------------------------


def certified(bend):
    """Guesses of 20 and 90 per cent, of which a share to the power `bend` comes true."""
    guessed = torch.tensor([[0.2, math.nan], [0.2, 0.9]])
    weight = torch.tensor([[1.0, 0.0], [0.001, 0.999]])
    return Reliability((0.2, 0.6), torch.tensor([0.0, 0.5, 1.0]), guessed, guessed**bend,
                       torch.full((2, 2), 0.01), weight)


def test_points_of_each_model_lie_where_its_guesses_came_true_and_rare_ones_are_left_out():
    found = {"one": certified(1.0), "two": certified(2.0)}
    figure = calibration.reliability_figure(found, least=0.002)
    assert [axis.get_title("left") for axis in figure.axes] == ["t = 0.2", "t = 0.6"]
    points = [axis.collections[i].get_offsets().tolist() for axis in figure.axes for i in (1, 3)]
    for found, wanted in zip(points, [(20, 20), (20, 4), (90, 90), (90, 81)], strict=True):
        assert found == [pytest.approx(wanted)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert len(style.to_png(figure)) > 1000
    late = replace(certified(1.0), times=(0.2, 0.7))
    with pytest.raises(ValueError, match="two was judged at"):
        calibration.reliability_figure({"one": certified(1.0), "two": late})


def test_a_certificate_is_read_as_it_was_written():
    found = certified(2.0)
    read = Reliability.of(json.loads(json.dumps(found.row(), allow_nan=False)))
    assert read.times == found.times
    for name in ("edges", "guessed", "true", "standard_error", "weight"):
        assert torch.allclose(getattr(read, name), getattr(found, name), atol=1e-5, equal_nan=True)
    assert read.first(1).times == found.times[:1] and len(read.first(1).true) == 1


def test_the_shipped_certificate_is_that_of_the_shipped_weights():
    written = json.loads(data.asset("text8_calibration.json").read_text("utf-8"))
    assert written["weights"] == digest(data.asset("text8.safetensors"))[:8], written["command"]
    for row in written["rows"].values():
        read = Reliability.of(row)
        assert torch.allclose(read.weight.sum(1), torch.ones(len(read.times)), atol=1e-3)
