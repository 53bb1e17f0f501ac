"""One JupyterLab and one Chromium for all the browser tests, and the table of latencies."""

import json
import shutil
import statistics

import pytest

from tests.browser.lab import ROOT, LabServer, OpenNotebook
from tests.chromium import headless

ARTEFACTS = ROOT / "artefacts" / "browser"
latencies: dict[str, list[float]] = {}  # of each explorer, in milliseconds


# Scope: a running Playwright owns the thread's event loop, so it should end with this folder.
@pytest.fixture(scope="package")
def browser():
    """A headless Chromium, driven by Playwright."""
    with headless("the notebooks were not opened in a browser") as browser:
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

    yield open_notebook
    for notebook in opened:
        notebook.close()
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
def record_latencies():
    """A function that puts an explorer's latencies into the table at the end of the run."""
    return lambda name, values: latencies.setdefault(name, []).extend(values)


def pytest_terminal_summary(terminalreporter):
    """Print how long the explorers took; nothing depends on it, a busy machine is slower."""
    if not latencies:
        return
    terminalreporter.section("from key press to changed picture, in milliseconds")
    width = max(map(len, latencies))
    terminalreporter.line(f"{'explorer':{width}}  presses  median  95th percentile")
    rows = {}
    for name, values in latencies.items():
        values = sorted(values)
        high = values[min(len(values) - 1, round(0.95 * (len(values) - 1)))]
        rows[name] = {"presses": len(values), "median": statistics.median(values), "p95": high}
        terminalreporter.line(
            f"{name:{width}}  {len(values):7d}  {rows[name]['median']:6.0f}  {high:15.0f}"
        )
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    (ARTEFACTS / "latency.json").write_text(json.dumps(rows, indent=1) + "\n")
