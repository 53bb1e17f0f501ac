"""Data of a reader's own: folders of pictures, tables with gaps, texts; what may be wrong there."""

import math
import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    MixedFlow,
    data,
    elbo,
    training,
)
from bfn_core.baselines import images as image_codes
from bfn_core.baselines.tables import column_by_column
from bfn_core.beliefs import CategoricalParameters, cut
from bfn_core.data import DataError
from bfn_core.data.examples import write_documentation, write_iris, write_shapes
from bfn_core.infilling import fill
from bfn_core.missing import MissingFlow
from bfn_core.model import stratified
from bfn_core.networks.tables import TableNetwork
from bfn_core.networks.unet import UNet
from bfn_core.training.brief import fit
from bfn_core.training.losses import check_objective, objective

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Pictures ----------------------------------------------------------------------------------------


def write(folder, name, mode="RGB", size=(40, 30), colour=7, **options):
    folder.mkdir(exist_ok=True)
    Image.new(mode, size, colour).save(folder / name, **options)


@pytest.fixture
def place(tmp_path):
    """A folder with a space, and letters beyond ASCII, in its name."""
    folder = tmp_path / "meine Bilder ü"
    folder.mkdir()
    return folder


def test_pictures_of_any_kind_come_to_one_size(place):
    write(place, "b.jpg", colour=(200, 200, 200), size=(64, 48))
    write(place, "a.PNG", mode="L", colour=100, size=(9, 30))
    write(place, "c.gif", mode="P", colour=0)
    write(place, "d.bmp", mode="1", colour=1)
    (place / "notes.txt").write_text("none", "utf-8")
    (place / ".hidden").write_text("none", "utf-8")
    (place / "deeper").mkdir()
    found = data.pictures(place, size=16)
    assert found.pixels.shape == (4, 3, 16, 16) and found.pixels.dtype == torch.uint8
    assert found.files == ("a.PNG", "b.jpg", "c.gif", "d.bmp") and len(found) == 4
    assert found.pixels[:, 0, 8, 8].tolist() == [100, 200, 0, 255]
    assert set(found.skipped) == {"notes.txt", "deeper"}
    for words in ("4 images", "16 × 16", "4 were scaled", "notes.txt (.txt", "deeper (a folder)"):
        assert words in found.notice
    grey = data.pictures(str(place), size=(16, 8), mode="grey")
    assert grey.pixels.shape == (4, 1, 16, 8)
    DiscretisedFlow(256, 1e-3).check(grey.x)
    assert torch.equal(grey.bytes_of(grey.x), grey.pixels)
    binary = data.pictures(place, size=8, mode="binary")
    assert binary.x[:, 0, 0, 0].tolist() == [0, 1, 0, 1] and binary.x.dtype == torch.int64
    assert torch.equal(binary.bytes_of(binary.x), binary.pixels)


def test_what_is_cut_off_is_cut_off_evenly_and_what_is_padded_is_black(place):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(place / "wide.png")
    assert data.pictures(place, 8, "grey").pixels.min() == 255  # the middle alone
    padded = data.pictures(place, 24, "grey", fit="pad")
    assert padded.pixels[0, 0, :7].max() == 0 and padded.pixels[0, 0, 12, 12] == 255
    assert "padded with black" in padded.notice
    turned = Image.fromarray(wide)
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held upright
    turned.save(place / "wide.png", exif=exif)
    assert data.pictures(place, None, "grey").pixels.shape == (1, 1, 24, 8)


def test_a_threshold_makes_pictures_binary(place):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(place / "a.png")
    assert data.pictures(place, None, "binary").x.flatten().tolist() == [0, 0, 1, 1]


def test_each_thing_wrong_with_a_folder_is_told_in_a_sentence(place):
    def said(words, *arguments, error=DataError, **options):
        with pytest.raises(error) as raised:
            data.pictures(*(arguments or (place,)), **options)
        message = str(raised.value)
        assert words in message and "\n" not in message, message

    said("is empty; is it the right folder?")
    said("cannot be read as a folder", place / "none")
    (place / "one.heic").write_bytes(b"x")
    said("holds no image that Pillow can read, but 1 of .heic; phones save .heic: export them")
    (place / "one.heic").unlink()
    (place / "deeper").mkdir()
    said("but 1 folder; images in folders within it are not looked for")
    write(place, "a.png")
    said("is a file, and the folder that it lies in is expected", place / "a.png")
    write(place, "b.png", size=(5, 5))
    said("b.png is 5 × 5 pixels high and wide, but a.png is 30 × 40: give size=32", size=None)
    assert len(data.pictures(place)) == 2
    write(place, "c.png", mode="RGBA", colour=(0, 0, 0, 0))
    said('c.png has transparent parts: say what lies behind them, with background="white"')
    assert data.pictures(place, background="white").pixels[2].min() == 255
    said("background must be a colour", error=ValueError, background="whitish")
    write(place, "c.png", mode="RGBA", colour=(9, 9, 9, 255))  # solid all over
    assert data.pictures(place).pixels[2].unique().tolist() == [9]
    palette = Image.new("P", (9, 9), 0)
    palette.putpalette([9, 8, 7])
    palette.save(place / "c.png", transparency=0)
    said("c.png has transparent parts")
    write(place, "c.png", mode="I;16", colour=40000)
    said("c.png has more than 8 bits to a pixel (Pillow's mode I;16)")
    for content in (b"", b"no picture", (place / "a.png").read_bytes()[:60]):
        (place / "c.png").write_bytes(content)
        said("c.png cannot be read as an image")
    said("skip_broken=True")
    assert data.pictures(place, skip_broken=True).skipped["c.png"] == "damaged"
    said("mode must be one of colour, grey, binary, got 'gray'", place, error=ValueError,
         mode="gray")
    said("fit must be one of crop, pad", error=ValueError, fit="stretch")
    said("size must be a whole number of at least 4, got 2", error=ValueError, size=2)
    said("size must be a number of pixels or (height, width)", error=ValueError, size=(1, 2, 3))


def test_what_pillow_knows_by_name_only_is_passed_over(place):
    write(place, "a.png")
    for name in ("data.h5", "film.mpg", "page.eps", "clip.emf"):
        (place / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    found = data.pictures(place)
    assert found.files == ("a.png",) and set(found.skipped) == {
        "data.h5", "film.mpg", "page.eps", "clip.emf"}


def test_whatever_pillow_raises_of_a_damaged_file_names_the_file(place, monkeypatch):
    def unpack(path):
        raise struct.error("unpack requires a buffer of 4 bytes")

    write(place, "a.png")
    monkeypatch.setattr(Image, "open", unpack)
    with pytest.raises(DataError, match=r"a.png cannot be read as an image \(unpack requires"):
        data.pictures(place)


def test_black_and_white_costs_a_bit_a_pixel_at_most_in_a_file():
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(255 * rng.integers(0, 2, (16, 1, 32, 32), np.uint8))
    one = image_codes.sheet(noise, "PNG", binary=True)
    assert 1.0 < one < 1.1 < image_codes.sheet(noise, "PNG")


@pytest.mark.parametrize("mode", ["colour", "grey", "binary"])
def test_a_folder_is_trained_on(place, tmp_path, mode):
    found = data.pictures(write_shapes(place, 12), size=8, mode=mode)
    network = UNet(**found.unet, channels=8, multipliers=(1,), blocks=1, attention=())
    bfn = BFN(found.flow(), network)
    settings = training.own_settings(steps=2, batch=4, sample_count=2, sample_steps=2,
                                     **found.settings)
    result = training.train(settings, tmp_path / "a run", task=found.x, bfn=bfn)
    assert math.isfinite(result.evaluation["elbo"]["infinity"]["bits per dimension"])


# Tables ------------------------------------------------------------------------------------------

SMALL = "age,city,weight\n30,Rome,61.5\n41,Bonn,\n35,Rome,80.25\n,Oslo,70\n"
ROWS = [
    {"age": 30, "city": "Rome", "weight": 61.5}, {"age": 41, "city": "Bonn", "weight": None},
    {"age": 35, "city": "Rome", "weight": 80.25}, {"age": None, "city": "Oslo", "weight": 70},
]


def table_of(place, text, encoding="utf-8", **options):
    path = place / "my table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return data.read_table(path, **options)


def test_a_table_goes_there_and_back(place):
    table = table_of(place, SMALL)
    assert [(c.name, c.kind, c.levels) for c in table.columns] == [
        ("age", "number", 12), ("city", "classes", 3), ("weight", "number", 64)]
    assert table["city"].classes == ("Bonn", "Oslo", "Rome") and len(table) == 4
    assert "4 rows of 3 columns, 2 of 12 cells missing" in table.notice
    assert table.x["age"].shape == (4, 1) and table.x["age"].isnan().flatten().tolist() == [
        False, False, False, True]
    assert table.x["city"].flatten().tolist() == [2, 0, 2, 1]
    back = table.rows(table.x)
    for row, true in zip(back, ROWS, strict=True):
        assert row["age"] == true["age"] and row["city"] == true["city"]  # exactly
        if true["weight"] is None:
            assert row["weight"] is None
        else:  # to half a bin
            assert abs(row["weight"] - true["weight"]) <= (80.25 - 61.5) / 64 / 2 + 0.01
    table.flow().check(table.x)
    assert {k: v.sum().item() for k, v in table.known(table.x).items()} == {
        "age": 3, "city": 4, "weight": 3}
    table.write(place / "again.csv", table.x)
    again = table.read(place / "again.csv")
    assert all(torch.equal(again[k].nan_to_num(9), v.nan_to_num(9)) for k, v in table.x.items())


def test_every_level_of_a_column_is_the_level_of_its_value():
    for column in (data.Column("a", "number", 37, 4.25, 7.95, 1),
                   data.Column("b", "number", 64, -3.7, 1234.5, 2),
                   data.Column("c", "classes", 2, classes=("no", "yes"))):
        levels = torch.arange(column.levels)
        assert [column.level(column.value(k)) for k in levels.tolist()] == levels.tolist()
        assert torch.equal(column.index(column.x(levels))[:, 0], levels)
        column.flow().check(column.x(levels))
    assert column.x(torch.tensor([-1])).item() == -1


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_quotes_and_marks_are_understood(place, separator, encoding):
    text = SMALL.replace("Rome", '"Rome, ""old""; here"').replace(",", separator)
    text = text.replace("Rome" + separator, "Rome,").replace("\n", "\r\n") + "\r\n"
    table = table_of(place, text, encoding)
    assert table["city"].classes[2] == 'Rome, "old"; here' and len(table) == 4
    assert [c.name for c in table.columns] == ["age", "city", "weight"]


def test_readers_say_what_numbers_are_names_and_what_to_leave_out(place):
    text = "id,sex,y\n17,0,0.5\n18,1,0.25\n19,1,NA\n20,,?\n"
    table = table_of(place, text, classes=["sex"], leave_out=["id"])
    assert table["sex"].classes == ("0", "1") and [c.name for c in table.columns] == ["sex", "y"]
    assert "left out: id" in table.notice
    assert table.x["sex"].flatten().tolist() == [0, 1, 1, -1]
    bare = table_of(place, text.partition("\n")[2], names=["id", "sex", "y"], bins=4)
    assert bare["id"].levels == 4 and bare["y"].levels == 4 and len(bare) == 4


@pytest.mark.parametrize("text, options, said", [
    ("", {}, "is empty: it should begin with a line of the columns' names"),
    ("\n \n", {}, "is empty"),
    ("a,b\n", {}, "has a line of names and no row under it"),
    ("1,2\n3,4\n", {}, "begins with numbers ('1', '2') in place of the columns' names"),
    ("a,a\n1,2\n", {}, "has two columns named 'a'"),
    ("a,\n1,2\n", {}, "column 2 has no name in the first line"),
    ("a,b\n1,2\n\n3\n", {}, "line 4, has 1 cells where the first line names 2 columns"),
    ("a,b\n1,2,3\n", {}, "line 2, has 3 cells"),
    ('a,b\n1,"2\n3,4\n', {}, "is a quotation mark left open?"),
    ("a,b\n1,x\n2,y\nten,x\n", {}, "line 4: 'ten' stands among the numbers of column 'a'"),
    ("a;b\n1,5;x\n2;y\n", {}, "line 2: '1,5' of column 'a' has a comma in a number, and decimals "
                              "are read after a point only (1.5)"),
    ("a;b\n1,5;x\n2,5;y\n", {}, "has a comma in a number"),
    ("a;b\n1,101;x\n2,300;y\n", {}, "'1,101' of column 'a' has a comma in a number: without it, "
                                    "if it parts thousands (1101), or with a point before decimals "
                                    "(1.101)"),
    ("a;b\n1,101,201;x\n5;y\n", {}, "'1,101,201' of column 'a' has commas in a number: write it "
                                    "without them (1101201), or say classes=['a'] if its numbers "
                                    "are names"),
    ("a;b\n-1,101.5;x\n1,200.5;y\n", {}, "write it without them (-1101.5)"),
    ("a,b\n,1\n,2\n", {}, "column 'a' is empty from top to bottom; leave it out with "
                          "leave_out=['a']"),
    ("a,b\nx,1\nx,2\n", {}, "column 'a' holds nothing but 'x'"),
    ("a,b\n5,1\n5,2\n", {}, "column 'a' is 5 in every row"),
    ("a,b\n1,1\n2,2\n", {"classes": ["c"]}, "has no column 'c', which classes names; it has 'a'"),
    ("a,b\n1,1\n2,2\n", {"leave_out": ["c"]}, "has no column 'c', which leave_out names"),
    ("a,b\n1,1\n2,2\n", {"leave_out": ["a", "b"]}, "has no column left"),
    ("a,b\n1e308,1\n-1e308,2\n", {}, "has numbers too large to count with"),
    ("a,b\n1,1\n1e999,2\n", {}, "line 3: '1e999' of column 'a' is too large to count with"),
    ("a,b\n" + "".join(f"{i},n{i}\n" for i in range(60)), {},
     "column 'b' has 60 different entries (such as 'n0', 'n1' and 58 more), and at most 50"),
    (b"PK\3\4rest", {}, "is an Excel or OpenOffice workbook and no CSV file"),
    ("a,b\n1,é\n2,è\n".encode("cp1252"), {}, "is not UTF-8 text"),
])
def test_each_thing_wrong_with_a_table_is_told_in_a_sentence(place, text, options, said):
    with pytest.raises(DataError) as raised:
        table_of(place, text, **options)
    message = str(raised.value)
    assert said in message and "my table.csv" in message and "\n" not in message, message


def test_arguments_of_a_table_are_asked_for(place):
    for options, said in [({"bins": 1}, "bins must be a whole number of at least 2, got 1"),
                          ({"bins": 257}, "bins must be between 2 and 256, got 257"),
                          ({"classes": "city"}, r"classes must be a list of columns, got 'city'")]:
        with pytest.raises(ValueError, match=said):
            table_of(place, SMALL, **options)
    table = table_of(place, SMALL)
    for make, said in [
        (lambda: table["sex"], "has no column 'sex', only 'age', 'city', 'weight'"),
        (lambda: table.row(sex=1), "has no column 'sex'"),
        (lambda: table.row(city="Paris"), "'city' has no class 'Paris', only 'Bonn'"),
        (lambda: table.row(age="old"), "a number is expected, got 'old'"),
        (lambda: table.row(age=math.inf), "a finite number is expected, got inf"),
        (lambda: table.row(age=math.nan), "a finite number is expected, got nan"),
        (lambda: table.row(age=10**400), "a finite number is expected, got 1000"),
        (lambda: table.rows({"age": table.x["age"]}), "x must be a dict with the columns"),
    ]:
        with pytest.raises(ValueError, match=said):
            make()
    with pytest.raises(DataError, match="is a folder, and a CSV file is expected"):
        data.read_table(place)
    with pytest.raises(DataError, match="none.csv cannot be read"):
        data.read_table(place / "none.csv")


def test_numbers_far_apart_are_put_into_bins(place):
    """Where their range times ten for each decimal is more than floats hold."""
    table = table_of(place, f"a,b\n{'9' * 301},1\n0.12345678901,2\n", bins=8)
    assert table["a"].index(table.x["a"]).flatten().tolist() == [7, 0]
    assert table["b"].level(1e308) == 1 and table["b"].level(-1e308) == 0


def test_another_file_is_read_on_the_same_bins(place):
    table, other = table_of(place, SMALL), place / "test.csv"
    other.write_text("weight,extra,city,age\n70,1,Rome,35\n999,2,Oslo,1\n", "utf-8")
    x = table.read(other)
    assert table.rows(x)[0]["age"] == 35
    assert table.rows(x)[1]["age"] == 30  # the lowest that was seen
    for text, said in [
        ("age,city\n30,Rome\n", "has no column 'weight', which was learnt; it has 'age', 'city'"),
        ("age,city,weight\n30,Rome,1\n30,Paris,1\n", "line 3: 'Paris' of column 'city' was never "
                                                     "seen in my table.csv"),
        ("age,city,weight\n1,Rome,1\n1e999,Rome,1\n",
         "line 3: '1e999' of column 'age' is too large to count with"),
        ("age,city,weight\nx,Rome,1\n", "line 2: 'x' stands among the numbers of column 'age'"),
    ]:
        other.write_text(text, "utf-8")
        with pytest.raises(DataError) as raised:
            table.read(other)
        assert said in str(raised.value)


def test_a_column_may_be_called_self(place):
    table = table_of(place, "self,flows\n1,x\n2,y\n")
    flow = table.flow()
    assert table.row(**{"self": 2, "flows": "y"}).keys() == {"self", "flows"}
    assert isinstance(flow, MixedFlow) and list(flow.flows) == ["self", "flows"]


def test_too_few_rows_cannot_be_split(place):
    table = table_of(place, "a,b\n1,x\n2,y\n")
    with pytest.raises(ValueError, match="x must hold more than 2 examples"):
        training.task_of(table.x)


# Gaps --------------------------------------------------------------------------------------------

FLOWS = {
    "continuous": (ContinuousFlow(0.1), torch.tensor([[0.5, math.nan], [math.nan, -0.25]])),
    "discretised": (DiscretisedFlow(8, 0.1), torch.tensor([[0.125, math.nan], [math.nan, -0.375]])),
    "discrete": (DiscreteFlow(3, 4.0), torch.tensor([[2, -1], [-1, 0]])),
}


@pytest.mark.parametrize("kind", FLOWS)
def test_what_is_absent_says_nothing_and_costs_nothing(kind):
    inner, x = FLOWS[kind]
    flow = MissingFlow(inner)
    flow.check(x)
    there = flow.there(x)
    assert there.tolist() == [[True, False], [False, True]]
    whole = torch.where(there, x, x[there].flatten()[0])
    prior = flow.network_input(flow.prior(x.shape))
    for theta in (flow.sample_flow(x, 0.7, seeded()), *(
            theta for _, theta in flow.messages(x, 4, generator=seeded()))):
        read = flow.network_input(theta)
        assert torch.equal(read[~there], prior[~there]) and not read.isnan().any()
        assert (read[there] != prior[there]).any()
    same = inner.network_input(inner.sample_flow(whole, 0.7, seeded()))
    assert torch.equal(flow.network_input(flow.sample_flow(x, 0.7, seeded()))[there], same[there])
    raw = torch.randn(2, 2, *{"continuous": (), "discretised": (2,), "discrete": (3,)}[kind],
                      generator=seeded())
    output = flow.output(raw, flow.sample_flow(x, 0.7, seeded()), 0.7)
    for name, arguments in [("rate_cost", (0.7,)), ("final_cost", ()),
                            ("step_cost", (1.5, seeded()))]:
        costs = getattr(flow, name)(x, output, *arguments)
        arguments = (1.5, seeded()) if name == "step_cost" else arguments
        assert (costs[~there] == 0).all() and not costs.isnan().any()
        assert torch.equal(costs[there], getattr(inner, name)(whole, output, *arguments)[there])
    sender = flow.sender(x, 1.5)
    y = sender.sample(generator=seeded())
    assert y[~there].isnan().all() and not y[there].isnan().any()
    known = inner.sample_flow(whole, 0.5, seeded())  # of all variables: no message, no change
    before, after = (flow.network_input(theta) for theta in (known, flow.update(known, y, 1.5)))
    assert torch.equal(after[~there], before[~there]) and (after[there] != before[there]).any()
    assert (sender.log_prob(y)[~there] == 0).all() and (sender.log_prob(y)[there] != 0).all()


@pytest.mark.parametrize("kind", FLOWS)
def test_what_is_absent_is_no_evidence(kind):
    """Of a row whose second value is absent a perfect network knows what the first one says."""
    inner = FLOWS[kind][0]
    points = torch.tensor([[2, 0], [2, 1], [0, 2]] if kind == "discrete" else
                          [[0.875, 0.125], [0.875, -0.875], [-0.875, 0.875]])
    x = points.clone()
    x[:, 1] = -1 if kind == "discrete" else math.nan
    both, alone = ExactBFN(MissingFlow(inner), points), ExactBFN(inner, points[:, :1])
    for t in (0.0, 0.1, 1.0):
        theta = both.flow.sample_flow(x, t, seeded())
        first = (CategoricalParameters(theta.logits[:, :1]) if kind == "discrete"
                 else replace(theta, mean=theta.mean[:, :1]))
        assert torch.allclose(both.posterior(theta), alone.posterior(first), atol=1e-12)
    assert both.posterior(theta)[0].tolist() == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)


@pytest.mark.parametrize("kind", FLOWS)
def test_the_points_of_a_perfect_network_have_no_gaps(kind):
    inner, x = FLOWS[kind]
    for flow, points in [(MissingFlow(inner), x), (MixedFlow(a=MissingFlow(inner)), {"a": x})]:
        with pytest.raises(ValueError, match="x must lie in .*, got values from"):
            ExactBFN(flow, points)


@pytest.mark.parametrize("kind", FLOWS)
def test_what_is_absent_teaches_nothing(kind):
    inner, x = FLOWS[kind]
    flow = MissingFlow(inner)
    settings = training.own_settings(width_weight=1.0, cross_entropy=1.0)
    raw = torch.randn(2, 2, *{"continuous": (), "discretised": (2,), "discrete": (3,)}[kind],
                      generator=seeded())
    t = torch.tensor([0.3, 0.8])
    output = flow.output(raw, flow.sample_flow(x, t, seeded()), t)
    whole, there = flow.parts(x)
    for found, true in zip(objective(flow, x, output, t, settings),
                           objective(inner, whole, output, t, settings), strict=True):
        assert torch.equal(found, torch.where(there, true, 0.0)) and (true[~there] != 0).all()
    mixed = MixedFlow(a=flow)
    if kind != "continuous":
        check_objective(training.own_settings(**{"width_weight" if kind == "discretised"
                                                 else "cross_entropy": 1.0}), mixed)


def test_a_flow_with_gaps_asks_for_the_rest_as_ever():
    with pytest.raises(ValueError, match="inner must be a continuous, discretised or discrete"):
        MissingFlow(MixedFlow(a=DiscreteFlow(2, 1.0)))
    for flow, x in [(DiscreteFlow(3, 4.0), torch.tensor([[3]])),
                    (DiscreteFlow(3, 4.0), torch.tensor([[-2]])),
                    (DiscreteFlow(3, 4.0), torch.tensor([[0.5]])),
                    (ContinuousFlow(0.1), torch.tensor([[1.5]])), (ContinuousFlow(0.1), [1.0])]:
        with pytest.raises(ValueError, match="x must"):
            MissingFlow(flow).check(x)


def test_the_network_for_rows_is_told_of_what_it_has_heard_nothing():
    flow = MixedFlow(a=MissingFlow(DiscretisedFlow(8, 0.1)), b=MissingFlow(DiscreteFlow(3, 4.0)),
                     c=ContinuousFlow(0.1))
    network, seen = TableNetwork(flow, {"c": (2,)}, hidden=8, depth=1), []
    network.body.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x = {"a": torch.tensor([[0.125], [math.nan]]), "b": torch.tensor([[-1], [1]]),
         "c": torch.zeros(2, 2) + 0.5}
    theta = flow.sample_flow(x, 0.5, seeded())
    raw = network(flow.network_input(theta), torch.tensor([0.5, 0.5]))
    assert {k: tuple(v.shape) for k, v in raw.items()} == {
        "a": (2, 1, 2), "b": (2, 1, 3), "c": (2, 2)}
    heard = seen[0][:, [1, 5, 8, 9]]  # a and its mark, three classes and theirs, two and theirs
    assert heard.tolist() == [[1, 0, 1, 1], [0, 1, 1, 1]]
    network(flow.network_input(flow.prior({"a": (1, 1), "b": (1, 1), "c": (1, 2)})), torch.zeros(1))
    assert seen[1][:, [1, 5, 8, 9]].tolist() == [[1, 1, 1, 1]]  # nothing was said yet to anyone
    with pytest.raises(ValueError, match="flow must have columns of numbers or classes"):
        TableNetwork(MixedFlow(a=MixedFlow(b=DiscreteFlow(2, 1.0))))


def copies(count=2000, absent=0.3, seed=0):
    """Two columns that say the same, of four classes and four numbers, with gaps."""
    rng = seeded(seed)
    kind = torch.randint(4, (count, 1), generator=rng)
    number = (2 * kind + 1) / 4 - 1.0
    gone = torch.rand(2, count, 1, generator=rng) < absent
    return {"kind": torch.where(gone[0], -1, kind),
            "number": torch.where(gone[1], math.nan, number)}


def test_a_model_learnt_from_rows_with_gaps_fills_them():
    flow = MixedFlow(kind=MissingFlow(DiscreteFlow(4, 4.0)),
                     number=MissingFlow(DiscretisedFlow(4, 0.125)))
    torch.manual_seed(0)
    bfn, x = BFN(flow, TableNetwork(flow, hidden=64, depth=1)), copies()
    settings = training.own_settings(width_weight=1.0, cross_entropy=1.0)

    def price(x, rng):
        t = stratified(128, like=torch.empty(0), generator=rng)
        return objective(flow, x, bfn.output(flow.sample_flow(x, t, rng), t), t, settings)[0].sum(1)

    fit(bfn, lambda rng: cut(x, torch.randint(2000, (128,), generator=rng)), 400, rate=5e-3,
        price=price)
    test = copies(400, absent=0.0, seed=1)
    bill = elbo(bfn, test, repeats=8, generator=seeded()).total
    assert 2.0 - 0.02 < bill.bits().mean < 2.3  # two bits for the one, none for the other
    for level in range(4):
        row = {"kind": torch.tensor([-1]), "number": torch.tensor([(2 * level + 1) / 4 - 1])}
        known = {"kind": torch.tensor([False]), "number": torch.tensor([True])}
        filling = fill(bfn, row, known, 20, 32, generator=seeded(level))
        right = (filling.x["kind"][:, 0] == level).double()
        assert float(right @ filling.weights) > 0.75  # a quarter by chance
    assert not bfn.sample({"kind": (9, 1), "number": (9, 1)}, 5)["number"].isnan().any()


def test_iris_is_trained_on_kept_loaded_and_gone_on_with(tmp_path):
    table = data.read_table(write_iris(tmp_path / "iris of mine.csv"))
    assert len(table) == 150 and 40 < int(table.notice.split(", ")[1].split()[0]) < 110
    make = lambda: BFN(table.flow(), TableNetwork(table.flow(), hidden=16, depth=1))  # noqa: E731
    few = {"batch": 16, "warmup": 1, "sample_count": 4, "sample_steps": 2, "test_draws": 1}
    result = training.train(training.own_settings(steps=3, **few), tmp_path / "run", task=table.x,
                            bfn=make())
    assert result.evaluation["elbo"]["infinity"]["nats"] > 0
    again = training.load(tmp_path / "run", bfn=make())
    assert all(torch.equal(w, again.state_dict()[k]) for k, w in result.bfn.state_dict().items())
    more = training.train(training.own_settings(steps=3, **few), tmp_path / "run", task=table.x,
                          bfn=make(), resume=True)
    assert more.step == 3


# What columns cost on their own ------------------------------------------------------------------


def test_a_column_costs_what_its_shares_say(place):
    table = table_of(place, "k,n\nx,1\nx,2\ny,3\n,4\n")
    total, each = column_by_column(table, table.x, table.x)
    shares = {"x": 2.5 / 4, "y": 1.5 / 4}  # half a row more for each of two
    assert each["k"] == pytest.approx(-(2 * math.log(shares["x"]) + math.log(shares["y"])) / 4)
    assert each["n"] == pytest.approx(math.log(4)) and total.count == 4
    assert total.mean == pytest.approx(sum(each.values()))
    _, each = column_by_column(table, table.x, table.x, "normal")
    law = torch.distributions.Normal(2.5, torch.arange(4.0).std())
    below = [0, *law.cdf(torch.tensor([1.5, 2.5, 3.5])).tolist(), 1]
    assert each["n"] == pytest.approx(-sum(math.log(b - a) for a, b in pairwise(below)) / 4, 1e-4)
    with pytest.raises(ValueError, match="kind must be one of histogram, normal"):
        column_by_column(table, table.x, table.x, "gamma")
    with pytest.raises(ValueError, match="train must hold at least 2 values of 'k', got 1"):
        column_by_column(table, cut(table.x, slice(1)), table.x)


# Texts -------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_text_is_told_in_a_sentence(place):
    path = place / "my novel.txt"
    settings = training.settings_for("text8", "smoke")
    for content, error, said in [
        (b"", DataError, "has 0 different symbols"),
        (b"too short. " * 5, DataError, "has only 55 characters; 1,000 is the least"),
        (b"a sentence. " * 100, training.TrainingError, "too short for sequences of 64 characters"),
        ("café ".encode("cp1252") * 300, DataError, "may be Windows's text"),
    ]:
        path.write_bytes(content)
        with pytest.raises(error) as raised:
            alphabet = data.alphabet_of(path)
            settings = training.settings_for("text8", "smoke", length=64)
            training.load_task(training.on_text(settings, path, alphabet))
        assert said in str(raised.value), raised.value


def test_a_text_stands_in(place):
    path = write_documentation(place / "text.txt", 30_000)
    text = data.text_file(path, data.alphabet_of(path))
    assert len(text.train) == 27_000 and len(text.alphabet) > 60


def test_level_beliefs_are_flat():
    theta = MissingFlow(DiscreteFlow(3, 1.0)).sample_flow(torch.tensor([[-1]]), 1.0, seeded())
    assert isinstance(theta, CategoricalParameters)
    assert torch.allclose(theta.probs, torch.full((1, 1, 3), 1 / 3))


def test_stand_ins_are_the_same_every_time_and_are_what_they_say(tmp_path):
    folder = write_shapes(tmp_path / "with a space", 6)
    shapes = data.pictures(folder, None, "binary")
    assert len(shapes) == 6 and 0.05 < shapes.x.float().mean() < 0.5
    again = data.pictures(write_shapes(tmp_path / "again", 6), None, "binary")
    assert torch.equal(shapes.x, again.x)
    from sklearn.datasets import load_iris

    table = data.read_table(write_iris(tmp_path / "iris.csv", blank=0.0))
    rows = table.rows(table.x)
    for row, true in zip(rows, load_iris().data, strict=True):  # type: ignore
        assert list(row.values())[:4] == pytest.approx(true.tolist())
