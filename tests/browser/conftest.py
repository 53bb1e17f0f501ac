"""One JupyterLab and one Chromium for all the browser tests."""

import shutil

import pytest

from tests.browser.lab import ROOT, LabServer, OpenNotebook
from tests.chromium import playing
from tests.latency import ARTEFACTS, KEY, summary


# Scope: a running Playwright owns the thread's event loop, so it should end with this folder.
@pytest.fixture(scope="package")
def launch():
    """A function that starts a headless Chromium, driven by Playwright."""
    with playing("the notebooks were not opened in a browser") as launch:
        yield launch


@pytest.fixture(scope="package")
def browser(launch):
    """A headless Chromium, with the fonts of this machine."""
    with launch() as browser:
        yield browser


@pytest.fixture(scope="package")
def server(browser, tmp_path_factory):
    """A JupyterLab that serves a copy of the book: Lab saves what it opens."""
    server = LabServer(tmp_path_factory.mktemp("lab"))
    try:
        for name in ("notebooks", "assets"):
            if (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns(".ipynb_checkpoints")
                shutil.copytree(ROOT / name, server.book / name, ignore=ignore)
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture
def open_notebook(browser, server):
    """A function that opens a notebook of the book in a page of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = []

    def open_notebook(path):
        opened.append(OpenNotebook.open(context, server, path))
        return opened[-1]

    try:
        yield open_notebook
        for notebook in opened:
            notebook.close()
    finally:  # one that cannot be closed leaves the others' browser as it was
        context.close()


@pytest.fixture
def artefacts(request):
    """An empty folder for this test's pictures, kept and not committed."""
    folder = ARTEFACTS / request.node.callspec.id if hasattr(request.node, "callspec") else None
    folder = folder or ARTEFACTS / request.node.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def record(record_property):
    """A function that puts an explorer's times into the table at the end of the run."""

    def record(name, explorer):
        row = summary(explorer.latencies, explorer.redraws)
        record_property(KEY, (name, row))

    return record
