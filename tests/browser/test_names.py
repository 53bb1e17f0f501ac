"""What a screen reader is told of the controls, in JupyterLab."""

import pytest

from tools.notebooks import as_text, from_percent

pytestmark = pytest.mark.browser

CONTROLS = """
# %%
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import Explorer, choice, count_slider, log_slider, slider

figure, axes = style.subplots(size=(4, 2))
controls = {
    "a": slider("height of it", 0.0, 1.0, 0.5), "b": log_slider("its accuracy", 0.1, 10, 1.0),
    "c": count_slider("messages sent", 1, 20, 4), "d": slider("whole number", 0, 9, 3),
    "e": choice("one of many", [1, 2, 3, 4, 5, 6]),
}
Explorer(figure, lambda **values: None, controls, description="Nothing.", play="d")
"""


def test_sliders_have_names(server, open_notebook):
    (server.book / "names.ipynb").write_text(as_text(from_percent(CONTROLS)), "utf-8")
    notebook = open_notebook("names.ipynb")
    notebook.run_all()
    for name in ("height of it", "its accuracy", "messages sent", "whole number"):
        slider = notebook.page.get_by_role("slider", name=name, exact=True)
        assert slider.count() == 1, name
    assert notebook.page.get_by_role("combobox", name="one of many").count() == 1
