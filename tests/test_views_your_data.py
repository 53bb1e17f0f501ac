"""Pictures of a reader's own data show what was computed."""

import json
import re

import pytest
import torch
from torch import nn

from bfn_core import BFN, data, training
from bfn_core.infilling import Filling
from bfn_core.networks.tables import TableNetwork
from bfn_core.views import your_data as views

pytestmark = pytest.mark.usefixtures("one_thread")


class Copying(nn.Module):
    """Is sure that the second class is the first, and knows nothing else."""

    def forward(self, inputs, t):
        sure = 20 * (inputs["one"] - 0.5) * (t.reshape(-1, 1, 1) > 0.2)
        return {"one": torch.zeros_like(sure), "two": sure}


@pytest.fixture
def copied(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("one,two\na,a\nb,b\n,b\na,a\n", "utf-8")
    table = data.read_table(path)
    return table, BFN(table.flow(), Copying())


def test_what_is_known_tells_what_is_not(copied):
    table, bfn = copied
    row = table.row(one="b", two="b")
    found = views._beliefs(bfn, table, row, ["one"])
    assert list(found) == ["two"] and found["two"].shape == (2,)
    assert found["two"][1] > 0.95 and float(found["two"].sum()) == pytest.approx(1, abs=1e-5)
    nothing = views._beliefs(bfn, table, row, [])
    assert set(nothing) == {"one", "two"}
    assert 0.2 < float(nothing["one"][1]) < 0.8
    gap = views._beliefs(bfn, table, table.row(two="a"), ["one", "two"])
    assert list(gap) == ["one"]  # what is missing cannot be told


def test_the_row_explorer_says_what_the_truth_costs(copied):
    table, bfn = copied
    explorer = views.row_explorer(bfn, table, table.x, known=["one"])
    assert explorer.error is None
    told = re.search(r"two: most likely <b>a</b>, the truth costs ([\d.]+) bits", explorer.caption)
    assert told and float(told[1]) < 0.2 and "one:" not in explorer.caption
    before = explorer.png
    explorer.set(known_0=False)
    assert "one: most likely" in explorer.caption and explorer.png != before
    explorer.set(row=2, known_0=True)
    assert "missing in the file" in explorer.caption and explorer.error is None
    explorer.set(row=0, known_1=True)
    assert explorer.caption == "All is known; there is nothing to guess."


def test_the_bars_are_the_beliefs(copied):
    table, bfn = copied
    row = table.row(one="b", two="b")
    figure = views.row_figure(bfn, table, row, [[], ["one"]])
    bars = [[bar.get_height() for bar in axis.patches] for axis in figure.axes]
    probs = views._beliefs(bfn, table, row, ["one"])["two"]
    assert bars[3] == pytest.approx((probs / probs.max()).tolist(), abs=1e-6)
    assert bars[2] == [0.0, 1.0]  # known
    assert len(figure.axes) == 4


def test_dollars_in_a_table_are_drawn_as_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("$x_$,two\n$0-$50,a\n$50-$100,b\n", "utf-8")
    table = data.read_table(tmp_path / "t.csv")
    figure, axis = views.style.subplots()
    views._Bars(axis, table.columns[0])
    figure.canvas.draw()  # what is no formula is an error
    drawn = [*axis.get_xticklabels(), axis.title]
    assert [text.get_text() for text in drawn] == ["$0-$50", "$50-$100", "$x_$"]
    assert not any(text.get_parse_math() for text in drawn)


def test_complaints_are_told_without_the_folder(tmp_path):
    missing = views.scratch() / "none.csv"
    told = views.complaint(data.read_table, missing)
    assert told.startswith("DataError: none.csv cannot be read")
    with pytest.raises(AssertionError, match="found nothing wrong"):
        views.complaint(str, 3)


def test_a_sheet_has_its_images_in_rows():
    images = torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 1, 2, 2) * 10
    sheet = views._sheet(images, 2)
    assert sheet.shape == (8, 8, 3)
    assert sheet[1, 1, 0] == 0 and sheet[1, 5, 0] == 10 and sheet[5, 1, 0] == 20
    assert sheet[5, 5, 0] == 128 and sheet[0, 0, 0] == 128


def test_the_heaviest_fillings_come_first():
    pictures = data.Pictures(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), "binary", ("a",), {}, "")
    x = torch.stack([torch.full((1, 4, 4), k % 2) for k in range(3)])
    filling = Filling(x, torch.tensor([0.2, 0.7, 0.1]))
    known = torch.zeros(1, 4, 4, dtype=torch.bool)
    figure = views.gap_figure(pictures, x[0], known, filling, count=2)
    titles = [axis.get_title("center") for axis in figure.axes]
    assert titles == ["the picture", "what is told", "70 %", "20 %"]
    shown = figure.axes[2].images[0].get_array()
    assert shown is not None and shown[2, 2].tolist() == [255] * 3
    equal = Filling(x, torch.tensor([0.4, 0.3, 0.3]))  # two of one weight are two, all the same
    assert len(views.gap_figure(pictures, x[0], known, equal).axes) == 5


def test_a_run_is_drawn_from_its_metrics(tmp_path, copied):
    table, _ = copied
    bfn = BFN(table.flow(), TableNetwork(table.flow(), hidden=8, depth=1))
    few = training.own_settings(steps=4, batch=2, log_every=1, validate_every=2, sample_count=1,
                                sample_steps=1)
    training.train(few, tmp_path / "run", task=table.x, bfn=bfn)
    figure = views.run_figure(tmp_path / "run", 2, "bits per cell")
    losses, held_out = figure.axes[0].lines
    assert list(losses.get_xdata()) == [1, 2, 3, 4] and list(held_out.get_xdata()) == [2]
    metrics = training.Run(tmp_path / "run").read_metrics()
    nats = [line["loss"] for line in metrics if "loss" in line]
    assert losses.get_ydata()[0] == pytest.approx(nats[0] / 2 / 0.6931472)


def test_a_run_without_validation_is_drawn_without_it(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n', "utf-8")
    figure = views.run_figure(tmp_path, 2, "bits per cell")
    assert [line.get_label() for line in figure.axes[0].lines] == ["learnt from (messages alone)"]


def test_the_record_is_drawn_as_it_is():
    record = data.record("your_data")
    figure = views.heart_figure(record["iris"])
    for axis, dropout in zip(figure.axes, (0.0, 0.3), strict=True):
        runs = [run for run in record["iris"]["runs"] if run["dropout"] == dropout]
        assert axis.lines[1].get_ydata()[-1] == runs[0]["curve"][-1]["held out"]["bits"]
        assert axis.lines[0].get_ydata()[-1] == runs[0]["curve"][-1]["seen"]["bits"]
    figure = views.enough_figure(record["cats"])
    line = figure.axes[0].lines[0]
    best = [min(row["held out"]["bits"] for row in run["curve"]) for run in record["cats"]["runs"]]
    assert [*map(float, line.get_ydata())] == best
    assert json.dumps(record).count("nan") == 0
