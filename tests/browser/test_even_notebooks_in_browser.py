"""Notebooks of even numbers in a real browser, see touring.py."""

import pytest

from tests.browser.touring import EVEN, tour

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", EVEN, ids=lambda path: path.stem)
def test_notebook_runs_and_its_explorers_move(path, open_notebook, artefacts, record):
    tour(path, open_notebook, artefacts, record)
