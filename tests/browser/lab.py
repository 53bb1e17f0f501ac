"""A real JupyterLab in a real, headless Chromium, and hands that move what they find there."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.browser.turning import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe.js").read_text("utf-8")
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
}
# What JupyterLab itself writes to the console as an error, with no fault of a notebook.
LAB_NOISE = re.compile(r"favicon|ResizeObserver loop")

# What stands in the page where a widget should be.
BROKEN_WIDGET = (
    "Error displaying widget",
    "Failed to load model class",
    "Click to show javascript error",
)


# Whether a button stands behind the first one, play, in a row of play buttons.
BEHIND_PLAY = """button => {
  const row = button.closest(".widget-play");
  return row !== null && row.querySelector("button") !== button;
}"""


# Whether every chart of Plotly's in the notebook is on the page, and drawn.
DRAWN = """() => {
    const cells = [...jupyterapp.shell.currentWidget.content.model.cells];
    const outputs = cells.flatMap(cell => cell.sharedModel.toJSON().outputs || []);
    const due = outputs.filter(output => output.data?.["application/vnd.plotly.v1+json"]).length;
    return document.querySelectorAll('.jp-RenderedPlotly:has(.main-svg)').length >= due;
}"""


class LabServer:
    """A JupyterLab on a free port, with its folders in `scratch`, serving `scratch`/book.

    It is stopped by `stop`, at the interpreter's exit, and when this process is told to end.
    """

    def __init__(self, scratch: Path):
        self.book = scratch / "book"
        self.book.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = scratch / "settings"
        for name, values in SETTINGS.items():
            file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values), "utf-8")
        folders = {
            name: str(scratch / name.lower())
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
                         "IPYTHONDIR")
        }
        self.log = scratch / "lab.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1",
                    f"--port={self.port}", "--ServerApp.port_retries=0", "--allow-root",
                    "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True",
                    f"--ServerApp.root_dir={self.book}",
                    f"--LabApp.user_settings_dir={settings}",
                    f"--LabApp.workspaces_dir={scratch / 'workspaces'}",
                    "--LabApp.expose_app_in_browser=True",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.book,
                env={**os.environ, **folders},
                start_new_session=True,  # its own process group, so that all of it can be ended
            )
        atexit.register(self.stop)
        self._before = signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number, frame):
        self.stop()
        os.kill(os.getpid(), number)  # `stop` has put the former handler back

    def wait_until_up(self, patience: float = 60) -> None:
        """Return when the server answers; raise RuntimeError with its log if it does not."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        said = self.log.read_text("utf-8", "replace")[-3000:]
        raise RuntimeError(f"JupyterLab did not start:\n{said}")

    def stop(self) -> None:
        """End the server and its kernels; do nothing the second time."""
        if self._process is None:
            return
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        signal.signal(signal.SIGTERM, self._before)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(15)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


@dataclass
class OpenNotebook:
    """A notebook in a page of the browser, and what was noticed while it was open."""

    page: object
    console: list[str] = field(default_factory=list)  # errors
    foreign: list[str] = field(default_factory=list)  # requests to another host

    @classmethod
    def open(cls, context, server: LabServer, path: str) -> OpenNotebook:
        """Open `path`, relative to the server's book, and wait until its kernel answers."""
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        notebook = cls(page)
        page.add_init_script(PROBE)
        page.on("console", notebook._heard)
        page.on("pageerror", lambda error: notebook.console.append(f"uncaught: {error}"))
        page.on("request", notebook._requested)
        page.goto(f"http://127.0.0.1:{server.port}/lab/tree/{path}?reset")
        page.wait_for_function(
            "name => window.jupyterapp?.shell.currentWidget?.context?.path === name", arg=path
        )
        page.evaluate(
            """async () => {
                // The "idle" in the status bar comes too early: these are what it should mean.
                const { context, sessionContext } = jupyterapp.shell.currentWidget;
                await context.ready;
                await sessionContext.ready;
                await sessionContext.session.kernel.info;
                jupyterapp.shell.collapseLeft();
            }"""
        )
        return notebook

    def _heard(self, message):
        if message.type == "error" and not LAB_NOISE.search(message.text):
            self.console.append(message.text)

    def _requested(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.foreign.append(request.url)

    def run_all(self, patience: float = 300) -> None:
        """Run all cells; return when the last has ended and its widgets are drawn."""
        self.page.set_default_timeout(patience * 1000)
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.set_default_timeout(PATIENCE)
        self.page.wait_for_timeout(300)  # the views of the last cell are still being made
        for explorer in self.page.locator(".bfn-explorer").all():
            explorer.scroll_into_view_if_needed()

    def errors(self) -> list[str]:
        """Return what any cell wrote as an error or to stderr, and widgets that did not come."""
        found = self.page.evaluate(
            """() => [...document.querySelectorAll(
                '.jp-OutputArea-output[data-mime-type*="error"],' +
                '.jp-OutputArea-output[data-mime-type*="stderr"]')].map((e) => e.innerText)"""
        )
        outputs = self.page.locator(".jp-OutputArea-output")  # prose may speak of such a thing
        for sign in BROKEN_WIDGET:
            found += [sign] * outputs.get_by_text(sign).count()
        return found

    def explorers(self) -> list[Explorer]:
        """Return every explorer, from top to bottom."""
        boxes = self.page.locator(".bfn-explorer")
        return [Explorer(self.page, boxes.nth(i), i + 1) for i in range(boxes.count())]

    def save_pictures(self, folder: Path, tall: int = 6_000) -> None:
        """Save the whole notebook, from top to bottom, as pictures of at most `tall` pixels.

        Charts of Plotly's must be drawn by then, else it is an error.
        """
        size = self.page.viewport_size
        outer = self.page.locator(".jp-WindowedPanel-outer")
        self.page.set_viewport_size({"width": size["width"], "height": tall})
        self.page.wait_for_function(DRAWN)
        height, shown = outer.evaluate("o => [o.scrollHeight, o.clientHeight]")
        for number in range(-(-height // shown)):
            outer.evaluate("(o, top) => { o.scrollTop = top; }", number * shown)
            self.page.wait_for_timeout(200)  # pictures that come into view are decoded
            self.page.screenshot(path=folder / f"notebook-{number + 1}.png")
        self.page.set_viewport_size(size)

    def close(self) -> None:
        """Shut the kernel down and close the page."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()


class StillPicture(AssertionError):
    """Something was moved in an explorer, and its picture stayed as it was."""


class Explorer:
    """One `.bfn-explorer` of a page, and hands to move what is in it."""

    patience = 30.0  # seconds for which a picture is awaited before it counts as still

    def __init__(self, page, box, number: int):
        self.page, self.box, self.number = page, box, number
        self.latencies: list[float] = []  # from key press to changed picture, in milliseconds
        self.redraws: list[float] = []  # per second, while each slider was dragged

    def wait_for_picture(self) -> None:
        """Return when the first picture is there; raise StillPicture if it never comes."""
        end = time.monotonic() + 2 * self.patience
        while not self.box.evaluate("box => bfnProbe.ready(box)"):
            if time.monotonic() > end:
                raise StillPicture(f"explorer {self.number} shows no picture at all")
            time.sleep(0.1)

    def sliders(self) -> list:
        """Return the handles of all sliders that one can see."""
        handles = self.box.locator(".noUi-handle, input[type=range]")
        return [h for h in handles.all() if h.is_visible() and h.is_enabled()]

    def name_of(self, handle) -> str:
        """Return what the reader sees written at a slider or a button."""
        return handle.evaluate(
            """h => (h.closest('.widget-inline-hbox, label')?.innerText || h.innerText || h.title
                    || h.getAttribute('aria-label') || h.id || 'without a name'
                    ).trim().split('\\n')[0]"""
        )

    def _changes(self, act, patience: float | None = None) -> float | None:
        """Act; return the milliseconds until the picture changed, or None if it did not."""
        patience = self.patience if patience is None else patience
        self.box.evaluate("(box, ms) => bfnProbe.watch(box, ms)", patience * 1000)
        act()
        return self.page.evaluate("() => bfnProbe.change")

    def _settle(self, patience: float = 5) -> bool:
        """Wait until the picture rests, and is no draft; return False if it keeps moving (something
        plays).
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            still = self._changes(lambda: None, 0.25) is None
            if still and not self.box.locator(".bfn-draft").count():
                return True
        return False

    def move_by_keyboard(self, handle, presses: int = 4) -> None:
        """Press an arrow key a few times on a slider; raise StillPicture if nothing changes."""
        self._settle()
        handle.focus()
        moved = 0
        for _ in range(presses):
            at = handle.evaluate("h => bfnProbe.slider(h)")
            key = "ArrowLeft" if at["value"] >= at["max"] else "ArrowRight"
            took = self._changes(lambda key=key: self.page.keyboard.press(key), self.patience / 3)
            if took is None:
                break
            moved += 1
            self.latencies.append(took)
            self.page.wait_for_timeout(30)
        if not moved:  # a step may be too small to be seen: try the longest way there is
            middle = (at["min"] + at["max"]) / 2
            key = "End" if at["value"] < middle else "Home"
            if self._changes(lambda: self.page.keyboard.press(key)) is None:
                self._still(f"the slider “{self.name_of(handle)}” was moved by keyboard")

    def place(self, handle, share: float) -> None:
        """Click into a slider's track, at `share` of its length."""
        handle.scroll_into_view_if_needed()
        at = handle.evaluate("h => bfnProbe.slider(h)")
        x = at["x"] + at["width"] * min(max(share, 0.002), 0.998)
        self.page.mouse.click(x, at["y"] + at["height"] / 2)
        self._settle()

    def drag_by_mouse(self, handle, seconds: float = 0.8) -> None:
        """Drag a slider's handle to and fro over a quarter of its track, as long as told, and note
        the redraws per second; raise StillPicture if nothing changes.
        """
        self._settle()
        handle.scroll_into_view_if_needed()
        at = handle.evaluate("h => bfnProbe.slider(h)")
        share = min(max((at["value"] - at["min"]) / (at["max"] - at["min"]), 0.01), 0.99)
        x, y = at["x"] + share * at["width"], at["y"] + at["height"] / 2
        way = (0.25 if share < 0.5 else -0.25) * at["width"]

        def drag():
            mouse = self.page.mouse
            mouse.move(x, y)
            mouse.down()
            self.box.evaluate("box => bfnProbe.count(box)")
            began = time.monotonic()
            while (passed := (time.monotonic() - began) / seconds) < 1:
                mouse.move(x + way * (1 - abs(2 * passed - 1)), y)  # returns with the next frame
            self.redraws.append(self.page.evaluate("() => bfnProbe.counted()"))
            mouse.move(x + way, y)  # elsewhere, so that a picture drawn at the end differs too
            mouse.up()

        if self._changes(drag) is None:
            self._still(f"the slider “{self.name_of(handle)}” was dragged")

    def nameless(self) -> list[str]:
        """Return the pictures for which a screen reader has no words."""
        return self.box.evaluate("""box => [...box.querySelectorAll("img, canvas")].filter((e) =>
            !(e.alt || e.title || e.getAttribute("aria-label"))).map((e) => e.outerHTML)""")

    def walk_by_tab(self, steps: int = 40) -> None:
        """Go from the first slider on by the Tab key alone; raise StillPicture if it never comes
        to one of the others.
        """
        handles = self.sliders()
        if not handles:
            return
        for handle in handles:
            handle.evaluate("(h) => { h.dataset.reached = ''; }")
        handles[0].focus()
        for _ in range(steps):
            left = self.box.evaluate("""box => {
                if (box.contains(document.activeElement)) {
                  document.activeElement.dataset.reached = "yes";
                }
                return box.querySelectorAll("[data-reached='']").length;
            }""")
            if not left:
                return
            self.page.keyboard.press("Tab")
        missed = [self.name_of(h) for h in handles if not h.get_attribute("data-reached")]
        raise StillPicture(f"explorer {self.number}: Tab never comes to {missed}")

    def press_buttons(self) -> None:
        """Press every button, tick every box, choose from every list; see each picture change."""
        # All buttons are counted: a selector that leaves out the active ones would be evaluated
        # anew at each use, and a press changes which ones are active.
        buttons = self.box.locator("button").all()
        idle = [b for b in buttons if "mod-active" not in (b.get_attribute("class") or "")]
        for button in idle:
            if not (button.is_visible() and button.is_enabled()):
                continue
            if button.evaluate(BEHIND_PLAY):
                continue  # stop and repeat change nothing by themselves
            if button.get_attribute("data-fetches") is not None:
                continue  # it may need a network; test_in_browser.py presses it
            self._expect_change(button.click, f"“{self.name_of(button)}” was pressed")
            if not self._settle(1.5):
                button.click()  # it plays: the same button makes it pause
        for box in self.box.locator("input[type=checkbox]").all():
            self._expect_change(box.click, f"the box “{self.name_of(box)}” was ticked")
        for choice in self.box.locator("select").all():
            other = choice.evaluate("s => (s.selectedIndex + 1) % s.options.length")
            self._expect_change(
                lambda choice=choice, other=other: choice.select_option(index=other),
                f"the list “{self.name_of(choice)}” was used",
            )

    def _expect_change(self, act, what: str) -> None:
        self._settle(1.5)
        if self._changes(act, self.patience / 2) is not None:
            return
        # A "back to the start" has nothing to do where nothing was moved: move something first.
        for handle in self.sliders()[:1]:
            self.move_by_keyboard(handle, 2)
            if self._changes(act) is not None:
                return
        self._still(what)

    def _still(self, what: str):
        raise StillPicture(f"explorer {self.number}: {what}, and the picture did not change")

    def tour(self, folder: Path, presses: int = 4, pictures: bool = True) -> None:
        """Move all there is; with `pictures`, save each slider's ends and middle to `folder`."""
        self.wait_for_picture()
        self.box.scroll_into_view_if_needed()
        stem = f"explorer-{self.number}"
        self.box.screenshot(path=folder / f"{stem}.png")
        self.walk_by_tab()
        for number, handle in enumerate(self.sliders(), 1):
            start = handle.evaluate("h => bfnProbe.slider(h)")
            self.move_by_keyboard(handle, presses)
            places = ((0.0, "min"), (0.5, "middle"), (1.0, "max")) if pictures else ()
            for share, name in places:
                self.place(handle, share)
                self.box.screenshot(path=folder / f"{stem}-slider-{number}-{name}.png")
            self.drag_by_mouse(handle)
            self.place(handle, (start["value"] - start["min"]) / (start["max"] - start["min"]))
        self.press_buttons()
        self._settle()
        self.box.screenshot(path=folder / f"{stem}-after.png")
