"""A Chromium for the tests of the book's JavaScript, each file of them by its `SCRIPT`; and a table
of how quick the explorers were.
"""

import pytest
import torch

from bfn_core.views.kit import browser
from tests import latency
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


@pytest.fixture
def no_autocast(monkeypatch):
    """Called, it leaves torch without autocast on any device, as torch 2.4 is on a Mac's GPU."""

    def refuse(kind, *arguments, **options):
        raise RuntimeError(f"User specified an unsupported autocast device_type '{kind}'")

    def leave():
        monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
        for name in ("autocast", "is_autocast_enabled", "get_autocast_dtype"):
            monkeypatch.setattr(torch, name, refuse)

    return leave


def pytest_collection_modifyitems(items):
    """Names of tests are the same in every process, or the processes cannot share them out."""
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests are named by an address in memory: {changing}")


def pytest_terminal_summary(terminalreporter):
    """Print how quick the explorers were; nothing depends on it, a busy machine is slower."""
    if rows := latency.rows(terminalreporter.stats):
        terminalreporter.section("how quick the explorers are")
        for line in latency.table(rows):
            terminalreporter.line(line)
        latency.write(rows)
