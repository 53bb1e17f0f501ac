"""One JupyterLab and one Chromium for all the browser tests, and a table of their times."""

import json
import shutil
import statistics

import pytest

from tests.browser.lab import ROOT, LabServer, OpenNotebook
from tests.chromium import playing

ARTEFACTS = ROOT / "artefacts" / "browser"
table = {}  # of all explorers that were moved, by name


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
def record():
    """A function that puts an explorer's times into the table at the end of the run."""
    return lambda name, explorer: table.__setitem__(name, explorer)


def pytest_terminal_summary(terminalreporter):
    """Print how quick the explorers were; nothing depends on it, a busy machine is slower."""
    rows = {name: summary(explorer) for name, explorer in sorted(table.items())}
    if not rows:
        return
    width = max(map(len, rows))
    terminalreporter.section("how quick the explorers are")
    terminalreporter.line(
        f"{'':{width}}  key press to changed picture, ms   redraws per second, while dragged"
    )
    terminalreporter.line(
        f"{'explorer':{width}}  presses  median  95th percentile  sliders  median  lowest"
    )
    for name, row in rows.items():
        words = [f"{name:{width}}"]
        for key, room in ROOM.items():
            value = row.get(key)
            words.append(f"{'' if value is None else f'{value:.0f}':>{room}}")
        terminalreporter.line("  ".join(words))
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    (ARTEFACTS / "latency.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


# The table's columns after the name, and how wide they are.
ROOM = {"presses": 7, "ms": 6, "ms_95": 15, "sliders": 7, "redraws": 6, "redraws_lowest": 6}


def summary(explorer):
    """A row of the table: medians and extremes; without what was not measured."""
    row = {}
    if times := sorted(explorer.latencies):
        late = times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]
        row |= {"presses": len(times), "ms": statistics.median(times), "ms_95": late}
    if rates := explorer.redraws:
        row |= {"sliders": len(rates), "redraws": statistics.median(rates),
                "redraws_lowest": min(rates)}
    return row
