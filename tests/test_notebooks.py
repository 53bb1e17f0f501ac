"""The notebooks as files: what a reader meets on GitHub, before anything runs."""

import re
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import METADATA, as_text, from_percent, normalise, to_percent

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(root|home|tmp|work|Users|var|mnt)/|[A-Z]:\\Users")
LAST_SECTIONS = ("exercises", "five lines", "next")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Rows of the README's map without a link: a notebook may already send its reader there.
PLANNED = {
    f"{number}_{name}.ipynb"
    for number, name in re.findall(
        r"^\| (\d\d) \| (\w+) \|", (ROOT / "README.md").read_text(), re.M
    )
}


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def outputs(book):
    return [output for cell in code_cells(book) for output in cell.outputs]


def prose(book):
    return "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def headings(book):
    lines = re.sub(r"```.*?```", "", prose(book), flags=re.S).split("\n")
    return [line.lstrip("# ").strip() for line in lines if re.match(r"#{1,4} ", line)]


def text_of(output):
    """All that an output says, as one string; pictures left out."""
    data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
    return output.get("text", "") + "\n".join(str(value) for value in data.values())


@each_notebook
def test_it_is_a_valid_notebook_in_normal_form(path):
    book = read(path)
    nbformat.validate(book)
    assert book.metadata.kernelspec == METADATA["kernelspec"]
    assert "widgets" not in book.metadata
    rerun = f"run: python tools/notebooks.py notebooks/{path.name}"
    assert as_text(normalise(book)) == path.read_text("utf-8"), rerun
    assert path.stat().st_size < 1_000_000


@each_notebook
def test_it_was_run_from_top_to_bottom_without_a_complaint(path):
    book = read(path)
    counts = [cell.execution_count for cell in code_cells(book)]
    assert counts == list(range(1, len(counts) + 1))
    assert [o for o in outputs(book) if o.output_type == "error"] == []
    assert [text_of(o) for o in outputs(book) if o.get("name") == "stderr"] == []
    assert [text_of(o) for o in outputs(book) if re.search(r"\bWarning:", text_of(o))] == []


@each_notebook
def test_nothing_in_it_belongs_to_one_machine(path):
    book = read(path)
    for text in [cell.source for cell in book.cells] + [text_of(o) for o in outputs(book)]:
        assert not MACHINE_PATH.search(text), text
        assert not re.search(r"<[\w.]+ (object )?at 0x[0-9a-f]+>", text), text


@each_notebook
def test_no_cell_is_longer_than_a_screen(path):
    long = [cell.source for cell in code_cells(read(path)) if len(cell.source.split("\n")) > 40]
    assert long == []


@each_notebook
def test_every_picture_is_also_told_in_words(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    alt = output.metadata.get(kind, {}).get("alt", "")
                    assert len(alt.split()) >= 4, f"no alt text for the picture of\n{cell.source}"
            if "image/svg+xml" in output.get("data", {}):
                assert "<title" in str(output.data["image/svg+xml"])
    for words in re.findall(r"!\[([^\]]*)\]\(", prose(read(path))):
        assert len(words.split()) >= 4, f"too few words for a picture: {words!r}"


@each_notebook
def test_it_says_what_comes_and_what_came(path):
    book = read(path)
    number, name = path.stem.split("_", 1)
    assert re.fullmatch(r"\d\d", number) and re.fullmatch(r"[a-z0-9_]+", name)
    first = book.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert sum(line.startswith("# ") for line in prose(book).split("\n")) == 1, "one title"
    opening = " ".join(cell.source for cell in book.cells[:2]).lower()
    assert re.search(r"\b(seconds?|minutes?)\b", opening), "how long does it take?"
    assert re.search(r"\bneeds?\b", opening), "what does it need?"
    titles = [heading.lower() for heading in headings(book)][-3:]
    for title, section in zip(titles, LAST_SECTIONS, strict=True):
        assert section in title, f"the last sections are {titles}, not {LAST_SECTIONS}"


@each_notebook
def test_its_links_lead_somewhere(path):
    for target in LINK.findall(prose(read(path))):
        if re.match(r"(https?|mailto):", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (path.parent / file).resolve() if file else path
        if goal.parent == ROOT / "notebooks" and goal.name in PLANNED:
            continue
        assert goal.exists(), f"{target} does not exist"
        assert ROOT in goal.parents, f"{target} leaves the repository"
        if anchor and goal.suffix == ".ipynb":
            anchors = {re.sub(r"\s+", "-", h).lower() for h in headings(read(goal))}
            assert anchor.lower() in anchors, f"{target}: no such heading"


def test_numbers_run_on_and_are_used_once():
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)


# The writer of notebooks itself.

DRAFT = '''# %% [markdown]
# # A title
#
# Prose with a formula, $x^2$.

# %% tags=["hide-input"]
print("one")

# %%
print("one")
print("two")
'''


def test_a_draft_becomes_a_notebook_and_comes_back():
    book = from_percent(DRAFT)
    nbformat.validate(book)
    assert [cell.cell_type for cell in book.cells] == ["markdown", "code", "code"]
    assert book.cells[0].source == "# A title\n\nProse with a formula, $x^2$."
    assert book.cells[1].metadata.jupyter.source_hidden
    assert to_percent(book) == DRAFT


@pytest.mark.parametrize("draft", ["x = 1\n# %%\n", "# %% [raw]\nx\n", "# %% a title\nx\n"])
def test_a_draft_with_a_mistake_is_refused(draft):
    with pytest.raises(ValueError, match=r"cell marker|before the first"):
        from_percent(draft)


def test_normal_form_drops_what_differs_from_run_to_run():
    book = from_percent(DRAFT)
    book.metadata["widgets"] = {"state": {}}
    book.metadata.language_info["version"] = "3.12.1"
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "image/png": "iVBO"}
    cell = book.cells[1]
    cell.metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="on"),
        nbformat.v4.new_output("stream", name="stdout", text="e\n"),
        nbformat.v4.new_output("display_data", view, metadata={"image/png": {"alt": "Words."}}),
    ]
    normal = normalise(book)
    assert normalise(normal) == normal
    assert normal.metadata == nbformat.from_dict(METADATA)
    assert "execution" not in normal.cells[1].metadata
    joined, picture = normal.cells[1].outputs
    assert joined.text == "one\n"
    assert dict(picture.data) == {"image/png": "iVBO"}
    assert picture.metadata["image/png"].alt == "Words."


def test_cell_ids_survive_an_edit_elsewhere():
    before = [cell.id for cell in from_percent(DRAFT).cells]
    after = [cell.id for cell in from_percent(DRAFT.replace("formula", "square")).cells]
    assert before[0] != after[0] and before[1:] == after[1:]
    twins = from_percent("# %%\nx\n\n# %%\nx\n").cells
    assert twins[0].id != twins[1].id
