"""The canvas on which the reader draws, in JupyterLab: by mouse, by finger and by keys."""

import pytest

from tests.browser.lab import Explorer
from tools.notebooks import as_text, from_percent

pytestmark = pytest.mark.browser

NOTEBOOK = """
# %%
import torch
from bfn_core.views.kit.canvas import Canvas, Completed

def complete(x, known, label, seed):
    shades = torch.where(known, x.float(), 0.1 + 0.05 * (label + 1) + 0.02 * seed)
    return Completed(shades.expand(2, 8, 8), torch.tensor([0.75, 0.25]),
                     f"{int(known.sum())} given, {int(x.sum())} ink, label {label}, seed {seed}")

digits = torch.zeros(3, 8, 8, dtype=torch.int64)
digits[1, 2], digits[2, :, 2] = 1, 1
canvas = Canvas(complete, digits, [("any", -1), ("a 7", 7)], description="A canvas.")
canvas
"""


@pytest.fixture
def notebook(server, open_notebook):
    (server.book / "canvas.ipynb").write_text(as_text(from_percent(NOTEBOOK)), "utf-8")
    notebook = open_notebook("canvas.ipynb")
    notebook.run_all()
    yield notebook
    assert notebook.errors() == [] and notebook.console == [] and notebook.foreign == []


def says(notebook, words):
    """Wait until the kernel's answer is on the page."""
    notebook.page.get_by_role("status").filter(has_text=words).wait_for(timeout=20_000)


def place(pad, column, row):
    """The middle of a pixel of 8 × 8, in the page."""
    box = pad.bounding_box()
    return box["x"] + box["width"] * (column + 0.5) / 8, box["y"] + box["height"] * (row + 0.5) / 8


def test_what_is_drawn_with_the_mouse_is_completed_by_the_kernel(notebook, artefacts):
    page = notebook.page
    says(notebook, "32 given, 0 ink, label -1, seed 0")
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    page.mouse.move(*place(pad, 1, 1))
    page.mouse.down()
    page.mouse.move(*place(pad, 6, 1), steps=5)
    page.mouse.up()
    # Five steps along row 1 with a pen as wide as a pixel and its neighbours above and below.
    says(notebook, "32 given, 20 ink")
    page.get_by_role("button", name="rub out").click()
    page.mouse.click(*place(pad, 3, 1))
    says(notebook, "23 given")
    page.get_by_role("button", name="clear").click()
    says(notebook, "0 given, 0 ink, label -1, seed 0")
    page.get_by_role("combobox", name="what it is told to be").select_option("a 7")
    says(notebook, "0 given, 0 ink, label 7, seed 0")
    page.get_by_role("button", name="complete").click()
    says(notebook, "0 given, 0 ink, label 7, seed 1")
    page.get_by_role("button", name="another digit").click()
    says(notebook, "32 given, 8 ink, label 7, seed 1")
    page.locator(".bfn-canvas").screenshot(path=artefacts / "canvas.png")


def test_keys_draw_too_and_a_screen_reader_is_told_where(notebook):
    page = notebook.page
    page.get_by_role("button", name="clear").click()
    says(notebook, "0 given, 0 ink, label -1, seed 0")
    pad = page.get_by_role("application")
    pad.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Space"):
        page.keyboard.press(key)
    says(notebook, "5 given, 5 ink, label -1, seed 0")  # a pixel and its four neighbours
    assert "5 given; the pen (ink) is in row 4, column 3" in pad.get_attribute("aria-label")
    page.keyboard.press("Shift+ArrowRight")
    says(notebook, "8 given, 8 ink, label -1, seed 0")
    names = page.locator(".bfn-canvas figure canvas").evaluate_all(
        "all => all.map((c) => c.getAttribute('aria-label'))")
    assert names == ["candidate 1, weight 0.75", "candidate 2, weight 0.25"]


def test_every_button_and_list_changes_the_picture(notebook, artefacts):
    (explorer,) = notebook.explorers()
    assert isinstance(explorer, Explorer)
    explorer.tour(artefacts)
    assert explorer.nameless() == []


def test_the_kernel_may_draw_and_strokes_in_haste_are_not_lost(notebook):
    page = notebook.page
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    page.get_by_role("button", name="clear").click()
    for column in (1, 4, 7):  # faster than the kernel answers
        page.mouse.click(*place(pad, column, 4))
    says(notebook, "14 given, 14 ink, label -1, seed 0")
