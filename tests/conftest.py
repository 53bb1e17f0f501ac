"""A Chromium for the tests of the book's JavaScript, each file of them by its `SCRIPT`."""

import pytest

from bfn_core.views.kit import browser
from tests.chromium import functions, headless


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; without one the tests are skipped, or fail in CI."""
    with headless("the JavaScript was not run") as chromium:
        yield chromium


@pytest.fixture(scope="module")
def call(request, chromium):
    """Calls a function of the module's SCRIPT, by its name, with a list of arguments."""
    with functions(chromium, browser.script(request.module.SCRIPT)) as call:
        yield call
