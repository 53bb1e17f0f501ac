"""A headless Chromium for every test that needs a real browser, and fonts that are everywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>{where}</dir>
<cachedir>{cache}</cachedir>
<selectfont>
<rejectfont><pattern><patelt name="scalable"><bool>true</bool></patelt></pattern></rejectfont>
<acceptfont><pattern><patelt name="family"><string>{family}</string></patelt></pattern></acceptfont>
</selectfont>
</fontconfig>
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that asks for another host gets no answer, so that nothing can depend on one.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome on this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def unavailable(reason: str) -> NoReturn:
    """Skip on a reader's machine; fail where a browser was promised."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def playing(missed: str) -> Iterator:
    """A function that starts a headless Chromium; `missed` says what is not tested without it.

    A running Playwright owns the thread's event loop, so there may be one at a time.
    """
    chromium = find_chromium()
    if chromium is None:
        unavailable(f"No Chromium was found, so {missed} (on Debian: apt install chromium).")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable(f'Playwright is missing, so {missed} (pip install -e ".[test]").')
    with sync_playwright() as playwright:
        yield partial(playwright.chromium.launch, executable_path=chromium, args=FLAGS)


@contextmanager
def headless(missed: str) -> Iterator:
    """A headless Chromium, driven by Playwright; `missed` says what is not tested without it."""
    with playing(missed) as launch, launch() as browser:
        yield browser


def only_fonts(folder: Path, family: str) -> dict[str, str]:
    """The variables with which a program sees one family of fonts, whatever the machine has.

    Matplotlib brings the family along, DejaVu Sans or STIXGeneral. A program that does not ask
    fontconfig for its fonts (on Windows, on macOS) sees what it always sees.
    """
    import matplotlib

    where = Path(matplotlib.get_data_path(), "fonts", "ttf")
    config = folder / "fonts.conf"
    config.write_text(FONTS.format(where=where, family=family, cache=folder / "cache"), "utf-8")
    return {**os.environ, "FONTCONFIG_FILE": str(config)}


@contextmanager
def functions(chromium, script: str) -> Iterator:
    """A function that calls, by name, a function of a module once for every tuple of arguments."""
    page = chromium.new_page()
    page.evaluate(
        """async (script) => {
            const file = new Blob([script], { type: "text/javascript" });
            window.ours = await import(URL.createObjectURL(file));
        }""",
        script,
    )
    try:
        yield lambda function, calls: page.evaluate(
            "([name, calls]) => calls.map((call) => window.ours[name](...call))",
            [function, [list(arguments) for arguments in calls]],
        )
    finally:
        page.close()


@contextmanager
def static_page(chromium, folder: Path, explorer) -> Iterator:
    """A page that holds what a notebook shows under the cell, and the frame inside it.

    At the end nothing may have gone wrong in it, and it may have asked nobody for anything.
    """
    shown = explorer.bundle()[0]["text/html"]
    (folder / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{shown}", "utf-8")
    page = chromium.new_page(viewport={"width": 960, "height": 720})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url)
            if request.url.startswith("http") else None)
    page.goto((folder / "page.html").as_uri())
    frame = page.frame_locator("iframe")
    try:
        frame.locator("canvas[data-redraws]").wait_for()
        yield page, frame
        assert problems == []
    finally:
        page.close()


def dragged(frame, moves=60):
    """Move a picture's first slider once a frame of the screen; how often it moved, and was drawn.

    How quick that is depends on the machine, and is printed.
    """
    redraws, rate = frame.locator("canvas").evaluate(
        """async (canvas, moves) => {
            const slider = document.querySelector("input");
            const before = Number(canvas.dataset.redraws);
            const start = performance.now();
            for (let i = 0; i < moves; i++) {
                slider.value = (i % 30) / 30;
                slider.dispatchEvent(new Event("input"));
                await new Promise(requestAnimationFrame);
            }
            await new Promise(requestAnimationFrame);
            const redraws = Number(canvas.dataset.redraws) - before;
            return [redraws, redraws / (performance.now() - start) * 1000];
        }""",
        moves,
    )
    print(f"{rate:.0f} redraws a second")
    return moves, redraws
