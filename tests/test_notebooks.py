"""The notebooks as files, and their writer; tests/test_book.py has what they must hold."""

from pathlib import Path

import nbformat
import pytest

from bfn_core.training import runs, runs_dir
from tools.notebooks import METADATA, as_text, from_percent, normalise, to_percent

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_valid_notebook_in_normal_form(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert book.metadata.kernelspec == METADATA["kernelspec"]
    assert "widgets" not in book.metadata
    rerun = f"run: python tools/notebooks.py notebooks/{path.name}"
    assert as_text(normalise(book)) == path.read_text("utf-8"), rerun


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


def test_runs_lie_in_one_place_wherever_jupyter_was_started(monkeypatch, tmp_path):
    monkeypatch.delenv("BFN_RUNS_DIR", raising=False)
    here = runs_dir()
    monkeypatch.chdir(tmp_path)
    assert runs_dir() == here == ROOT / "runs"
    monkeypatch.setenv("BFN_RUNS_DIR", str(tmp_path / "mine"))
    assert runs_dir() == tmp_path / "mine"
    monkeypatch.delenv("BFN_RUNS_DIR")
    monkeypatch.setattr(runs, "CHECKOUT", tmp_path / "nowhere" / "assets")  # installed, as in Colab
    assert runs_dir() == Path.home() / "bfn_core_runs"
