"""Notebooks of odd numbers in a real browser, see touring.py."""

import pytest

from tests.browser.touring import ODD, tour

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.stem)
def test_notebook_runs_and_its_explorers_move(path, open_notebook, artefacts, record):
    tour(path, open_notebook, artefacts, record)
