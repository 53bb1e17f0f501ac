"""The book as a website, built anew and read in a real browser, on a phone and on paper too."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest

from bfn_core.data.files import NoNetwork
from bfn_core.views.kit import in_browser
from tests.browser.lab import ROOT
from tests.browser.turning import PATIENCE, STOPPED, Turning
from tests.chromium import only_fonts, unavailable
from tests.files import served
from tools import drawing, website

bs4 = pytest.importorskip("bs4")  # comes with nbconvert, and so with JupyterLab

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["index.html", *(f"notebooks/{path.stem}.html" for path in NOTEBOOKS)]
READ = [*PAGES, "draw.html", "write.html"]  # all pages that are looked at one by one
PHONE = {"width": 375, "height": 800}
PAPERS = {  # without their margins, in CSS pixels
    "A4": {"width": 680, "height": 1009},
    "A5": {"width": 446, "height": 680},
}
DESK = {"width": 1280, "height": 900}
# A page is as wide as what it is set in; its formulas too, since they go with the words' size.
BARE = "DejaVu Sans"  # wide, and all that a bare Debian has
FONTS = (BARE, "DejaVu Sans Mono", "STIXGeneral")  # wider still; narrow and small, like Times
# The notebooks whose explorers are filmed: all of them take minutes.
FILMED = os.environ.get("BFN_FILMS", "00_start_here 03_loss_in_bits").split()
IN_THE_BROWSER = {"01_gaussian_mixture": (0.2, 0.5), "04_simplex": (0.75, 0.8)}  # where to drag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The site, built in a folder of its own."""
    for name in ("sphinx", "myst_nb", "furo"):
        if not importlib.util.find_spec(name):
            unavailable(f'No {name}, so the website was not tested (pip install -e ".[site]").')
    target = tmp_path_factory.mktemp("site")
    films = tmp_path_factory.mktemp("films")
    command = [sys.executable, "-m", "tools.website", str(target), "--cache", str(films),
               "--films", *FILMED]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace")
    assert run.returncode == 0, run.stderr
    return target


@pytest.fixture(scope="module")
def address(folder):
    """Where a plain file server offers the site."""
    with served(folder) as address:
        yield address


def open_page(browser, address, name):
    """A page whose formulas are set, and a list of all that went wrong in it."""
    page = browser.new_page(viewport=DESK)
    page.set_default_timeout(120_000)  # hundreds of formulas, perhaps on a busy machine
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda request: page.problems.append(request.url))
    page.on("request", lambda request: None if request.url.startswith((address, "data:", "blob:"))
            else page.problems.append(request.url))
    page.goto(address + name)
    page.evaluate("async () => { await window.MathJax?.startup.promise }")
    return page


@pytest.fixture(scope="module")
def in_fonts(launch, tmp_path_factory):
    """A function that gives a browser which sees one family of fonts and no other."""
    with ExitStack() as browsers:

        @functools.cache
        def in_fonts(family):
            fonts = only_fonts(tmp_path_factory.mktemp("fonts"), family)
            return browsers.enter_context(launch(env=fonts))

        yield in_fonts


in_every_font = pytest.mark.parametrize(
    "page", [(family, name) for family in FONTS for name in READ], ids="-".join, indirect=True
)


@pytest.fixture(scope="module", params=[(BARE, name) for name in READ], ids="-".join)
def page(request, in_fonts, address):
    """Each page in turn, opened once for all the tests that only look at it."""
    family, name = request.param
    page = open_page(in_fonts(family), address, name)
    page.family, page.name = family, name
    yield page
    page.close()


@pytest.fixture
def fresh(in_fonts, address):
    """A function that opens a page for one test that moves things."""
    opened = []

    def fresh(name):
        opened.append(open_page(in_fonts(BARE), address, name))
        return opened[-1]

    yield fresh
    problems = [page.problems for page in opened]
    for page in opened:
        page.close()
    assert problems == [[]] * len(opened)


@contextmanager
def laid_out(page, size, media="screen"):
    """Lay the page out for a phone, or on paper; whatever happens, it is back on the desk after."""
    page.set_viewport_size(size)
    page.emulate_media(media=media)
    try:
        if media == "print":
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
        yield
    finally:
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen")
        page.set_viewport_size(DESK)


@contextmanager
def unfolded(part):
    """Open what is folded away by a click, and fold it again, whatever happens."""
    part.locator("summary").click()
    try:
        yield
    finally:
        part.evaluate("part => { part.open = false; }")


def test_a_page_is_left_as_it_was_found_by_a_test_that_fails(fresh):
    page = fresh("notebooks/07_mnist.html")
    state = """[innerWidth, innerHeight, matchMedia("print").matches,
        ...[...document.querySelectorAll("details")].map(part => part.open)]"""
    before = page.evaluate(state)
    with pytest.raises(ZeroDivisionError), laid_out(page, PAPERS["A5"], "print"):
        assert page.evaluate(state)[2:] == [True] * (len(before) - 2)
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), unfolded(page.locator("article details").last):
        assert page.evaluate(state) != before
        1 / 0  # noqa: B018
    assert page.evaluate(state) == before


@in_every_font
def test_a_page_is_set_in_the_fonts_that_a_test_asks_for(page):
    """Otherwise all tests of what fits would be of this machine's fonts alone."""
    asked = page.context.new_cdp_session(page)
    asked.send("DOM.enable")
    asked.send("CSS.enable")
    root = asked.send("DOM.getDocument")["root"]["nodeId"]
    node = asked.send("DOM.querySelector", {"nodeId": root, "selector": "article h1"})
    found = asked.send("CSS.getPlatformFontsForNode", node)["fonts"]
    asked.detach()
    if found[0]["familyName"] != page.family:
        unavailable(f"This Chromium uses {found[0]['familyName']} and not {page.family}.")


# What every page must be.


def test_a_page_opens_without_an_error_and_asks_nobody_else(page):
    for frame in page.locator("iframe").all():
        frame.scroll_into_view_if_needed()
        frame.content_frame.locator("canvas[data-redraws]").wait_for()
    assert page.problems == []


def test_every_picture_is_there_and_told_in_words(page):
    pictures = page.evaluate(
        "[...document.querySelectorAll('article img')].map(i => [i.src, i.naturalWidth, i.alt])"
    )
    assert pictures
    assert [src for src, width, _ in pictures if not width] == []
    assert [src for src, _, alt in pictures if not alt.strip()] == []


def test_every_formula_is_set(page):
    left = page.evaluate(
        """() => {
            const text = document.querySelector("article").cloneNode(true);
            text.querySelectorAll("pre, code, iframe, mjx-container").forEach(e => e.remove());
            return text.textContent.match(/\\$[^$]+\\$|\\\\[([].{0,80}/g) || [];
        }"""
    )
    assert left == []
    missing = "[...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-math'))"
    assert page.evaluate(missing + ".map(e => e.textContent)") == []
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0


# What sticks out to the right of the window, or is wider than a box that cannot be scrolled.
STICKS_OUT = """(paper) => {
  const wide = document.documentElement.clientWidth;
  // What MathJax builds a formula of lies about its size; the formula as a whole does not.
  // White space in code, which Pygments marks with .w, hangs over where a line is broken.
  const shown = (e) => e.checkVisibility()
    && !e.closest("mjx-container *, .visually-hidden, .highlight .w");
  const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const inBox = (e) => {
    for (let up = e.parentElement; up && up !== document.body; up = up.parentElement) {
      if (scrolls(up)) return true;
    }
  };
  const found = document.documentElement.scrollWidth > wide ? ["the page itself"] : [];
  for (const e of document.querySelectorAll(".content *")) {
    if (!shown(e)) continue;
    const cut = paper && e.clientWidth && e.scrollWidth > e.clientWidth + 1
      && getComputedStyle(e).overflowX !== "visible";
    const out = e.getBoundingClientRect().right > wide + 1 && (paper || !inBox(e));
    if (cut || out) found.push(`${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 60)}`);
  }
  return found;
}"""


@in_every_font
def test_a_page_fits_a_phone(page):
    with laid_out(page, PHONE):
        assert page.evaluate(STICKS_OUT, False) == []
        for frame in page.locator("iframe").all():
            frame.scroll_into_view_if_needed()
            # The frame's page says how high it is, and gets that much room: nothing in it scrolls.
            tall = frame.content_frame.locator("body")
            for _ in range(50):
                height, room = tall.evaluate("b => b.offsetHeight"), frame.bounding_box()["height"]
                if height == room:
                    break
                page.wait_for_timeout(100)
            assert height == room > DESK["height"] / 2
            assert tall.evaluate("b => b.scrollWidth <= b.clientWidth")


@in_every_font
@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_cut_off_on_paper(page, paper):
    folded = page.locator("details:not([open])").count()
    with laid_out(page, PAPERS[paper], "print"):
        assert page.locator("details:not([open])").count() == 0
        assert page.evaluate(STICKS_OUT, True) == []
        assert page.locator("iframe:visible, .sidebar-drawer:visible").count() == 0
        for frame in page.locator(".cell_output:has(iframe)").all():
            assert frame.locator("img").is_visible()
    assert page.locator("details:not([open])").count() == folded


# Of each formula: its width, that of the line it stands in, and its size, as a share of MathJax's.
FORMULAS = """() => [...document.querySelectorAll("mjx-container")].map((formula) => {
  const whole = parseFloat(getComputedStyle(formula.parentElement).fontSize);
  const size = parseFloat(getComputedStyle(formula).fontSize);
  const line = formula.closest("p, li, td, .math-wrapper").getBoundingClientRect().width;
  const part = formula.hasAttribute("width") ? formula : formula.querySelector("mjx-math");
  return {
    width: part.getBoundingClientRect().width, line, displayed: formula.hasAttribute("display"),
    share: size / (whole * parseFloat(formula.style.fontSize) / 100),
  };
})"""


@in_every_font
@pytest.mark.parametrize("paper", PAPERS)
def test_a_formula_is_as_large_on_paper_as_it_may_be(page, paper):
    with laid_out(page, PAPERS[paper], "print"):
        formulas = page.evaluate(FORMULAS)
    for formula in formulas:
        assert formula["width"] <= formula["line"] + 1
        assert 0.5 < formula["share"] < 1.001  # to be read without a glass
        if formula["displayed"] and formula["share"] < 0.999:
            assert formula["width"] > formula["line"] - 2
    assert page.name == "index.html" or formulas


def test_a_folded_part_opens(page):
    folded = page.locator("article details")
    assert folded.count() or "notebooks" not in page.name
    for part in folded.all()[-1:]:
        inside = part.locator(":scope > :not(summary)").first
        assert not inside.is_visible()
        with unfolded(part):
            assert inside.is_visible()


# The site as files.


def parsed(path):
    """The tree of an HTML file."""
    return bs4.BeautifulSoup(path.read_text("utf-8"), "html.parser")


def test_no_link_is_broken_and_nothing_comes_from_elsewhere(folder):
    pages = {path: parsed(path) for path in folder.rglob("*.html")}
    anchors = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in pages.items()}
    seen = 0
    for path, soup in pages.items():
        here = f"site:///{path.relative_to(folder).as_posix()}"
        for tag in soup.find_all(["a", "link", "script", "img", "iframe", "source"]):
            target = tag.get("href") or tag.get("src")
            if not target or target.startswith(("data:", "mailto:")):
                continue
            if urlsplit(target).scheme:
                assert tag.name == "a", f"{path.name} takes {target} from another host"
                continue
            goal, anchor = urldefrag(urljoin(here.replace("site:", "http:"), target))
            goal = folder / unquote(urlsplit(goal).path).lstrip("/")
            assert goal.is_file(), f"{path.name} links to {target}"
            assert goal.suffix != ".ipynb", f"{path.name} links to {target}, not to its page"
            if anchor and goal in anchors:
                assert unquote(anchor) in anchors[goal], f"{path.name} links to {target}"
            seen += 1
    assert seen > 20 * len(NOTEBOOKS)


def test_every_page_leads_to_all_others_and_to_its_neighbours(folder):
    titles = [re.sub(r"^# ", "", nbformat.read(path, 4).cells[0].source.split("\n")[0])
              for path in NOTEBOOKS]
    for number, name in enumerate(PAGES):
        soup = parsed(folder / name)
        assert [a.text for a in soup.select(".sidebar-tree li a")][: len(titles)] == titles
        for side, other in ((".prev-page", number - 1), (".next-page", number + 1)):
            if 0 <= other < len(PAGES):
                target = soup.select_one(side)["href"]
                assert urljoin(f"/{name}", target) == f"/{PAGES[other]}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_explorer_runs_or_says_where_it_does(folder, path):
    soup = parsed(folder / f"notebooks/{path.stem}.html")
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    explorers = [source for source in cells if "_explorer(" in source]
    assert explorers
    frames = soup.select("iframe")
    assert len(frames) == (path.stem in IN_THE_BROWSER)
    filmed = soup.select(".film")
    runs = soup.select(".draw")
    assert len(runs) == ("mnist.browser_explorer(" in "".join(cells))
    assert len(soup.select(".still")) == len(explorers) - len(frames) - len(filmed) - len(runs)
    assert bool(filmed) == (path.stem in FILMED)
    for words in soup.select(".still"):
        assert words.find_previous_sibling().select_one(".cell_output img")


# What a reader does.


def test_the_search_finds_a_word_and_leads_to_it(fresh):
    page = fresh("index.html")
    page.locator(".sidebar-search").fill("spectral")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a").first
    found.wait_for()
    assert "01_gaussian_mixture.html" in found.get_attribute("href")
    found.click()
    page.wait_for_url("**/01_gaussian_mixture.html*")
    assert "spectral norm" in page.locator("article").inner_text()


def test_the_keyboard_skips_to_the_text_and_shows_where_it_is(fresh):
    page = fresh(PAGES[1])
    page.keyboard.press("Tab")
    skip = page.locator(".skip-to-content")
    assert skip.evaluate("e => e === document.activeElement")
    page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.url.endswith("#furo-main-content")
    page.keyboard.press("Tab")
    inside, outline = page.evaluate(
        """[document.activeElement.closest("article") !== null,
            getComputedStyle(document.activeElement).outlineStyle]"""
    )
    assert inside and outline == "solid"


@pytest.mark.parametrize("name", IN_THE_BROWSER)
def test_an_explorer_moves_under_the_mouse_and_the_keys(fresh, name):
    page = fresh(f"notebooks/{name}.html")
    outer = page.locator("iframe")
    outer.scroll_into_view_if_needed()
    frame = outer.content_frame
    canvas = frame.locator("canvas[data-redraws]")
    canvas.wait_for()

    def picture():
        return canvas.evaluate("c => c.toDataURL()")

    across, down = IN_THE_BROWSER[name]
    area = canvas.bounding_box()
    x, y = area["x"] + across * area["width"], area["y"] + down * area["height"]
    before, redraws = picture(), int(canvas.get_attribute("data-redraws"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=6)
    page.mouse.up()
    page.wait_for_timeout(100)
    assert picture() != before
    assert int(canvas.get_attribute("data-redraws")) >= redraws + 2

    # By keyboard alone: from the page into the frame, to the first slider, and one step on.
    outer.evaluate("f => { f.tabIndex = -1; f.focus(); f.removeAttribute('tabindex'); }")
    slider = frame.locator("input[type=range]").first
    for _ in range(4):
        page.keyboard.press("Tab")
        if slider.evaluate("s => s === document.activeElement"):
            break
    before, value = picture(), slider.input_value()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    assert slider.input_value() != value
    assert picture() != before


class Film:
    """An explorer's film on a page, with hands."""

    def __init__(self, page, place):
        self.page, self.place = page, place
        place.scroll_into_view_if_needed()
        place.locator("form").wait_for()
        self.page.wait_for_function(
            "place => place.querySelector('img').complete", arg=place.element_handle()
        )

    def seen(self):
        """What stands on the canvas; at first it is hidden, and the picture is seen."""
        return self.place.locator("canvas").evaluate("c => c.hidden ? null : c.toDataURL()")

    def moves(self, act):
        """Whether the picture comes to differ after `act`."""
        from playwright.sync_api import TimeoutError

        before = self.seen()
        act()
        try:
            self.page.wait_for_function(
                "([place, before]) => { const c = place.querySelector('canvas');"
                " return !c.hidden && c.toDataURL() !== before; }",
                arg=[self.place.element_handle(), before], timeout=60_000,
            )
        except TimeoutError:
            return False
        return True


def films(page):
    """All films of a page."""
    return [Film(page, place) for place in page.locator(".film").all()]


@pytest.mark.parametrize("name", FILMED)
def test_every_explorer_that_was_filmed_moves_by_key_mouse_and_button(fresh, name):
    page = fresh(f"notebooks/{name}.html")
    found = films(page)
    source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    made = [c for c in source.cells if c.cell_type == "code" and website.EXPLORER.search(c.source)]
    assert len(found) == len(made) > 0
    for film in found:
        film.place.scroll_into_view_if_needed()
        for slider in film.place.locator("input[type=range]").all():
            slider.focus()
            last = slider.input_value() == slider.get_attribute("max")
            key = "ArrowLeft" if last else "ArrowRight"
            assert film.moves(lambda key=key: page.keyboard.press(key))
            read = film.place.locator("output").first.inner_text()
            assert read and slider.get_attribute("aria-valuetext")
            right = int(slider.input_value()) > int(slider.get_attribute("max")) / 2
            share = 0.1 if right else 0.9  # to the side where it does not stand

            def drag(slider=slider, share=share):
                slider.hover()  # which waits until the page has come to rest
                area = slider.bounding_box()
                x, y = area["x"] + share * area["width"], area["y"] + area["height"] / 2
                page.mouse.down()
                page.mouse.move(x, y, steps=5)
                page.mouse.up()

            assert film.moves(drag), (share, slider.input_value())
        for button in film.place.locator(".film-press button").all():
            assert film.moves(button.click)
        for choice in film.place.locator("select").all():
            other = choice.locator("option:not(:checked)").last.get_attribute("value")
            assert film.moves(lambda choice=choice, other=other: choice.select_option(other))


def test_a_film_plays_and_stops(fresh):
    page = fresh("notebooks/00_start_here.html")
    film = films(page)[0]
    play, slider = film.place.get_by_text("▶ play"), film.place.locator("input").first
    slider.fill("0")
    play.click()
    page.wait_for_function("s => Number(s.value) >= 3", arg=slider.element_handle())
    film.place.get_by_text("■ stop").click()
    stands = slider.input_value()
    page.wait_for_timeout(1000)
    assert slider.input_value() == stands


def test_a_film_moves_under_a_finger_and_fits_a_phone(in_fonts, address):
    context = in_fonts(BARE).new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{address}notebooks/00_start_here.html")
    film = films(page)[0]
    slider = film.place.locator("input[type=range]").first
    area = slider.bounding_box()
    assert area["height"] >= 44
    assert film.moves(lambda: slider.tap(position={"x": 0.8 * area["width"], "y": 20}))
    whole = film.place.bounding_box()
    assert whole["x"] >= 0 and whole["x"] + whole["width"] <= PHONE["width"]
    context.close()


def test_without_scripts_a_film_is_its_first_picture_with_its_words(in_fonts, address):
    context = in_fonts(BARE).new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}notebooks/00_start_here.html")
    place = page.locator(".film").first
    picture = place.locator("img")
    picture.scroll_into_view_if_needed()
    assert picture.is_visible() and picture.get_attribute("alt")
    assert picture.bounding_box()["height"] > 100
    assert place.locator(".film-caption").inner_text()
    context.close()


def test_a_film_takes_little_room(folder):
    for name in FILMED:
        for film in (folder / "_static" / "films" / name).glob("*/"):
            assert sum(path.stat().st_size for path in film.glob("*.webp")) <= 300_000


def test_a_figure_of_plotly_turns_and_plays(fresh, artefacts):
    page = fresh("notebooks/04_simplex.html")
    place = page.locator(".plotly-figure")
    picture = page.locator(".cell_output:has(.plotly-figure) img")
    assert picture.get_attribute("alt") == place.get_attribute("aria-label")
    figure = Turning(page, place)
    figure.test(artefacts)
    page.wait_for_function("document.querySelector('.plotly-figure.drawn')")
    assert not picture.is_visible()
    page.problems[:] = [words for words in page.problems if words not in STOPPED]
    before = figure.state()  # now by keyboard
    place.focus()
    page.keyboard.press("ArrowLeft")
    figure.wait_for(f"place.layout.sliders[0].active === {before['active'] - 1}")
    with laid_out(page, PHONE):
        figure.wait_for(f"place._fullLayout.width < {PHONE['width']}")
        assert page.evaluate(STICKS_OUT, False) == []
        place.screenshot(path=artefacts / "on-a-phone.png")
    with laid_out(page, PAPERS["A4"], "print"):
        assert picture.is_visible() and not place.is_visible()


@pytest.mark.parametrize("name", ["01_gaussian_mixture", "04_simplex"])
def test_on_a_phone_a_figure_of_plotly_is_no_higher_than_wide(fresh, artefacts, name):
    page = fresh("index.html")
    with laid_out(page, PHONE):
        page.goto(page.url.replace("index", f"notebooks/{name}"))
        figure = Turning(page, page.locator(".plotly-figure"))
        figure.wait_until_drawn()
        wide, high = figure.place.evaluate("p => [p._fullLayout._size.w, p._fullLayout._size.h]")
        assert high <= wide < PHONE["width"]
        figure.place.screenshot(path=artefacts / "phone.png", timeout=PATIENCE)


def test_plotly_is_loaded_once_and_only_where_it_draws(folder, fresh, address):
    assert len(list(folder.rglob("plotly*.js"))) == 1
    asked = {}
    for name in ("notebooks/03_loss_in_bits.html", "notebooks/04_simplex.html"):
        page = fresh(name)
        loaded = "performance.getEntriesByType('resource').map(r => r.name)"
        if "simplex" in name:
            Turning(page, page.locator(".plotly-figure")).wait_until_drawn()
        asked[name] = [url for url in page.evaluate(loaded) if "plotly" in url]
    assert list(asked.values()) == [[], [f"{address}_static/plotly.min.js"]]


# Where the reader draws.


class Pad:
    """The place on a page where the reader draws, with hands."""

    def __init__(self, page, begin=True):
        self.page, self.place = page, page.locator(".draw")
        if begin:
            self.place.locator(".draw-invite button").click()
            self.rest()

    def rest(self):
        """Wait until the newest picture is whole."""
        self.page.wait_for_function(
            "() => { const at = document.querySelector('.draw').dataset; return at.done === 'yes'"
            " && at.state.split('/')[0] === at.state.split('/')[1]; }", timeout=PATIENCE)

    def pixels(self, which=".draw-pad canvas"):
        """Red and blue of the pixels of a canvas: the same where nobody has drawn."""
        return self.place.locator(which).first.evaluate(
            "c => { const { data } = c.getContext('2d').getImageData(0, 0, 28, 28);"
            " return [...Array(784).keys()].map(j => [data[4 * j], data[4 * j + 2]]); }")

    def drawn(self):
        """Places of the reader's ink."""
        return {j for j, (red, blue) in enumerate(self.pixels()) if red > 200 and blue < 100}

    def ink(self, which=".draw-panels figure:last-child canvas"):
        """Pixels that are guessed to be ink."""
        return {j for j, (red, _) in enumerate(self.pixels(which)) if red > 138}

    def stroke(self, *points):
        """Draw a line with the mouse, in shares of the pad."""
        area = self.place.locator(".draw-pad canvas").bounding_box()
        places = [(area["x"] + x * area["width"], area["y"] + y * area["height"])
                  for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def choose(self, name, value):
        """Press a radio button by its words."""
        self.place.locator(f"input[name={name}][value='{value}']").check(force=True)
        self.rest()

    @property
    def at(self):
        """How many messages are heard."""
        return int(self.place.get_attribute("data-state").split("/")[0])


HOOK = ((0.35, 0.3), (0.5, 0.2), (0.62, 0.3), (0.5, 0.48))


@pytest.fixture
def pad(fresh):
    """The page of its own, with the network at work."""
    return Pad(fresh("draw.html"))


def test_the_first_page_draws_a_digit_when_it_is_asked_and_loads_nothing_before(fresh, folder):
    page = fresh("index.html")
    loaded = "performance.getEntriesByType('resource').map(r => r.name.split('/').at(-1))"
    page.locator(".draw-invite button").wait_for()
    assert not {"worker.js", *drawing.LOADED} & set(page.evaluate(loaded))
    assert page.locator(".draw-still").is_visible()
    size = sum((folder / "_static" / "draw" / name).stat().st_size for name in drawing.LOADED)
    assert f"loads {size / 1e6:.1f} MB" in page.locator(".draw-invite").inner_text()
    assert size < 15e6
    pad = Pad(page)
    assert 25 < len(pad.ink()) < 300
    assert not page.locator(".draw-still").is_visible()
    assert "nats for the picture" in pad.place.inner_text()


def test_what_is_drawn_stays_and_is_completed_rubbed_out_and_brought_back(pad):
    alone = pad.ink()
    pad.stroke(*HOOK)
    pad.rest()
    drawn = pad.drawn()
    assert 25 < len(drawn) < 120
    assert drawn <= pad.ink() != alone and len(pad.ink() - drawn) > 10
    assert "for your pixels" in pad.place.inner_text()
    pad.choose("pen", "rub")
    pad.stroke(HOOK[0], HOOK[1])
    pad.rest()
    less = pad.drawn()
    assert less < drawn
    pad.choose("pen", "paper")
    pad.stroke((0.2, 0.8), (0.8, 0.8))
    pad.rest()
    assert pad.drawn() == less
    line = {22 * 28 + column for column in range(7, 21)}
    assert not line & pad.ink()
    for _ in range(2):
        pad.place.get_by_role("button", name="undo").click()
        pad.rest()
    assert pad.drawn() == drawn


def test_a_digit_is_kept_and_a_part_of_it_rubbed_out(pad):
    before = pad.ink()
    pad.place.get_by_role("button", name="keep this digit").click()
    pad.rest()
    assert pad.drawn() == before == pad.ink()
    pad.stroke((0.3, 0.5), (0.7, 0.5))
    pad.rest()
    assert pad.drawn() < before and pad.drawn() <= pad.ink()
    pad.place.get_by_role("button", name="clear").click()
    pad.rest()
    assert not pad.drawn()


def test_a_line_is_completed_while_it_is_drawn_where_the_machine_can(pad):
    pad.page.evaluate("document.querySelector('.draw').board.rate = 100")
    area = pad.place.locator(".draw-pad canvas").bounding_box()
    before = pad.place.get_attribute("data-state").split("/")[1]
    pad.page.mouse.move(area["x"] + 120, area["y"] + 90)
    pad.page.mouse.down()
    pad.page.mouse.move(area["x"] + 160, area["y"] + 150, steps=4)
    pad.page.wait_for_function(
        "n => document.querySelector('.draw').dataset.state.split('/')[1] !== n", arg=before)
    pad.page.mouse.up()
    pad.rest()
    assert pad.place.get_attribute("data-state").split("/")[1] == before


def test_it_is_moved_by_keys_alone(pad):
    page = pad.page
    pad.place.locator("input[name=pen]").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "application"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    pad.rest()
    assert pad.drawn()
    slider = pad.place.locator("input[name=at]")
    slider.focus()
    page.keyboard.press("Home")
    assert pad.at == 0 and slider.get_attribute("aria-valuetext") == "0 of 30"
    assert len({red for red, _ in pad.pixels(".draw-panels canvas")}) == 1  # nothing is known yet
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert pad.at == 1
    pad.place.locator("input[name=label]").first.focus()
    page.keyboard.press("ArrowRight")
    pad.rest()
    assert pad.place.locator("input[name=label]:checked").get_attribute("value") == "0"


def test_it_plays_stops_and_goes_back(pad):
    play = pad.place.locator("[data-do=play]")
    play.click()
    pad.page.wait_for_function(
        "() => { const i = parseInt(document.querySelector('.draw').dataset.state);"
        " return i > 2 && i < 25; }")
    play.click()
    stands = pad.at
    pad.page.wait_for_timeout(500)
    assert pad.at == stands and "play" in play.inner_text()
    pad.place.get_by_role("button", name="one message back").click()
    assert pad.at == stands - 1
    caption = pad.place.locator(".draw-caption").inner_text()
    assert f"After {stands - 1} of 30 messages" in caption


def test_the_digit_that_is_asked_for_comes(pad):
    ink = {}
    for digit in (1, 0):
        pad.choose("label", digit)
        ink[digit] = [len(pad.ink())]
        for _ in range(2):
            pad.place.get_by_role("button", name="another draw").click()
            pad.rest()
            ink[digit].append(len(pad.ink()))
    assert max(ink[1]) < min(ink[0])


def test_of_several_candidates_each_can_be_looked_at(pad):
    pad.stroke(*HOOK)
    pad.place.locator("select[name=count]").select_option("4")
    pad.rest()
    candidates = pad.place.locator(".draw-candidates button")
    assert candidates.count() == 4
    weights = [float(re.search(r"weight (\d+)", one.get_attribute("aria-label"))[1])
               for one in candidates.all()]
    assert sum(weights) == pytest.approx(100, abs=2)
    assert weights[candidates.evaluate_all(
        "all => all.findIndex(b => b.ariaPressed === 'true')")] == max(weights)
    seen = set()
    for one in candidates.all():
        one.click()
        assert one.get_attribute("aria-pressed") == "true"
        seen.add(frozenset(pad.ink()))
    assert len(seen) > 1


def test_one_draws_with_a_finger_on_a_phone(in_fonts, address, artefacts):
    context = in_fonts(BARE).new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{address}draw.html")
    pad = Pad(page)
    assert page.evaluate(STICKS_OUT, False) == []
    low = page.evaluate(
        """[...document.querySelectorAll(".draw-live :is(button, select, fieldset span, [name=at])"
        )].filter((e) => e.checkVisibility()).map((e) => [e.outerHTML.slice(0, 80),
          e.getBoundingClientRect()]).filter(([, r]) => r.height < 44 || r.width < 44)"""
    )
    assert low == []
    canvas = pad.place.locator(".draw-pad canvas")
    canvas.scroll_into_view_if_needed()
    area, scrolled = canvas.bounding_box(), page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    for k in range(8):
        at = {"x": area["x"] + 120, "y": area["y"] + 60 + 15 * k}
        kind = "touchMove" if k else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    pad.rest()
    assert len(pad.drawn()) > 15
    assert page.evaluate("scrollY") == scrolled  # the finger drew, and moved nothing else
    page.screenshot(path=artefacts / "phone.png", full_page=True)
    context.close()


def test_one_draws_on_the_page_of_07_too(fresh):
    pad = Pad(fresh("notebooks/07_mnist.html"))
    assert 25 < len(pad.ink()) < 300


def test_the_solver_draws_a_digit_in_few_steps(pad):
    pad.place.locator("select[name=quick]").select_option("1")
    pad.rest()
    assert pad.at == 10 and 25 < len(pad.ink()) < 300
    assert "After 10 of 10 steps of the solver" in pad.place.inner_text()
    assert not pad.place.locator(".draw-bill").is_visible()
    pad.stroke(*HOOK)
    pad.rest()
    assert pad.drawn() <= pad.ink()
    pad.place.locator("select[name=quick]").select_option("0")
    pad.rest()
    assert pad.at == 30 and pad.place.locator(".draw-bill").is_visible()


def written(page, count="1", n="10"):
    """The page on which one writes, at work, with so many candidates and messages."""
    pad = Pad(page, begin=False)
    page.locator(".draw-invite button").click()
    page.locator("select[name=count]").select_option(count)
    page.locator("select[name=n]").select_option(n)
    pad.rest()
    return pad


def test_a_lines_gaps_fill_themselves_letter_by_letter(fresh, folder):
    page = fresh("write.html")
    size = sum((folder / "_static" / "draw" / name).stat().st_size for name in drawing.WRITES)
    assert f"loads {size / 1e6:.1f} MB" in page.locator(".draw-invite").inner_text() and size < 8e6
    pad = written(page, count="2")
    sheet = pad.place.locator(".write-sheet")
    line = pad.place.locator("input[name=line]")
    line.fill("the president of the united ______ of america")
    pad.rest()
    assert sheet.locator(".gap").count() == 6 and sheet.locator("span").count() == 128
    given = sheet.locator(".given").all_inner_texts()
    assert "".join(given).replace("\u00a0", " ") == "the president of the united  of america"
    reads = [button.inner_text() for button in pad.place.locator(".draw-candidates button").all()]
    assert len(reads) == 2 and all(
        re.fullmatch("the president of the united .{6} of america", words) for words in reads)
    told = pad.place.inner_text()
    assert re.search(r"bits for your 39 letters, -?[\d.]+ bits for the rest", told)
    # One letter is looked at, by click and by key.
    letter = pad.place.locator(".write-letter canvas")
    before = letter.get_attribute("aria-label")
    sheet.locator(".given").first.click()
    assert letter.get_attribute("aria-label") != before
    assert "Guess: t " in letter.get_attribute("aria-label")
    sheet.focus()
    page.keyboard.press("ArrowRight")
    assert "Guess: h " in letter.get_attribute("aria-label")
    pad.place.locator("input[name=at]").focus()
    page.keyboard.press("Home")
    assert "Belief: a space 4 per cent" in letter.get_attribute("aria-label")
    assert "every letter is as likely as any other" in pad.place.inner_text()


def test_it_writes_from_nothing_and_by_the_solver(fresh):
    pad = written(fresh("write.html"))
    pad.place.get_by_role("button", name="write from nothing").click()
    pad.rest()
    sheet = pad.place.locator(".write-sheet")
    text = sheet.inner_text()
    assert sheet.locator(".given, .gap").count() == 0
    assert len(set(sheet.locator("span").all_inner_texts())) > 8
    assert "bits for the text" in pad.place.inner_text()
    pad.place.locator("select[name=quick]").select_option("1")
    pad.rest()
    assert sheet.inner_text() != text and "no price" in pad.place.inner_text()
    pad.place.get_by_role("button", name="another line").click()
    pad.rest()
    assert sheet.locator(".gap").count() > 3


def test_one_writes_on_a_phone(in_fonts, address, artefacts):
    context = in_fonts(BARE).new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{address}write.html")
    pad = written(page)
    assert page.evaluate(STICKS_OUT, False) == []
    low = page.evaluate(
        """[...document.querySelectorAll(".draw-live :is(button, select, input)")].filter((e) =>
          e.checkVisibility()).map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()]
          ).filter(([, r]) => r.height < 44 || r.width < 44)"""
    )
    assert low == []
    pad.place.locator(".write-sheet span").nth(3).tap()
    assert "Letter 4 of 128" in pad.place.inner_text()
    page.screenshot(path=artefacts / "phone.png", full_page=True)
    context.close()


# In the place of what drives a graphics card: the processor's own runtime, which remembers what it
# was asked before, and so is quick when it is compared; or is a little wrong.
FAKE_CARD = """
import * as ort from "ADDRESS_static/draw/ort.mjs";
export const { env, Tensor } = ort;
export const InferenceSession = { create: async (model) => {
  env.wasm.wasmPaths = { mjs: "ADDRESS_static/draw/ort-wasm-simd-threaded.mjs" };
  const packed = await (await fetch("ADDRESS_static/draw/ort.wasm.gz")).blob();
  const open = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  env.wasm.wasmBinary = await new Response(open).arrayBuffer();
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const known = new Map();
  const run = async (inputs) => {
    const asked = inputs.theta.data.join() + inputs.t.data.join();
    if (!known.has(asked)) {
      const data = (await session.run(inputs)).raw.data.map((value) => value * SCALE);
      known.set(asked, { raw: { data } });
    }
    return known.get(asked);
  };
  return { inputNames: session.inputNames, run };
} };
"""


@pytest.mark.parametrize(("scale", "engine", "words"), [
    ("1", "webgpu", "network calls a second on your graphics card"),
    ("1.01", "wasm", "network calls a second here"),
])
def test_a_graphics_card_is_gone_over_to_if_it_says_the_same(in_fonts, address, scale, engine,
                                                             words):
    context = in_fonts(BARE).new_context()
    asked = []

    def fake(route):
        asked.append(route.request.url.rsplit("/", 1)[1])
        fake = FAKE_CARD.replace("ADDRESS", address).replace("SCALE", scale)
        body = fake if asked[-1] == "card.mjs" else ""
        route.fulfill(body=body, content_type="text/javascript")

    context.route("**/card*", fake)
    page = context.new_page()
    page.goto(f"{address}draw.html?card=always")
    pad = Pad(page)
    page.wait_for_function("() => document.querySelector('.draw').dataset.engine", timeout=PATIENCE)
    assert sorted(asked) == sorted(in_browser.CARD.values())
    assert pad.place.get_attribute("data-engine") == engine
    assert pad.place.get_attribute("data-why") == (
        "" if engine == "webgpu" else "the graphics card computes something else")
    pad.stroke(*HOOK)
    pad.rest()
    assert pad.ink() and words in pad.place.inner_text()
    context.close()


def test_no_card_is_tried_where_there_is_none_or_none_is_wished(in_fonts, address):
    page = in_fonts(BARE).new_page()
    for wish in ("", "?card=never"):
        page.goto(f"{address}draw.html{wish}")
        pad = Pad(page)
        pad.stroke(*HOOK)
        pad.rest()
        loaded = page.evaluate(
            "performance.getEntriesByType('resource').map(r => r.name.split('/').at(-1))")
        assert not set(in_browser.CARD.values()) & set(loaded)
        assert pad.place.get_attribute("data-engine") is None
    page.close()


@pytest.mark.parametrize("name", ["draw.html", "write.html"])
def test_without_scripts_and_on_paper_the_picture_stands_there(in_fonts, address, fresh, name):
    context = in_fonts(BARE).new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}{name}")
    assert page.locator(".draw-still").is_visible() and page.locator(".draw-words").is_visible()
    assert page.locator(".draw button").count() == 0
    context.close()
    pad = Pad(fresh(name))
    with laid_out(pad.page, PAPERS["A4"], "print"):
        assert pad.place.locator(".draw-still").is_visible()
        assert pad.place.locator(".draw-words").is_visible()
        assert not pad.place.locator(".draw-live").is_visible()


@pytest.mark.parametrize("name", ["draw.html", "write.html"])
@pytest.mark.parametrize("lacks", ["WebAssembly", "DecompressionStream", "Worker"])
def test_an_old_browser_is_told_why_and_keeps_the_picture(in_fonts, address, lacks, name):
    page = in_fonts(BARE).new_page()
    page.add_init_script(f"delete window.{lacks}")
    page.goto(f"{address}{name}")
    page.locator(".draw-invite button").click()
    alert = page.locator(".draw [role=alert]")
    alert.wait_for()
    assert lacks in alert.inner_text()
    assert page.locator(".draw-still").is_visible()
    page.close()


@pytest.mark.parametrize(("name", "model"), [
    ("draw.html", "mnist_conditional.onnx.gz"), ("write.html", "text8.onnx.gz")])
def test_a_file_that_does_not_arrive_is_named_and_asked_for_again(in_fonts, address, name, model):
    page = in_fonts(BARE).new_page()
    page.route(f"**/{model}", lambda route: route.fulfill(status=404, body="no"))
    page.goto(f"{address}{name}")
    page.locator(".draw-invite button").click()
    alert = page.locator(".draw [role=alert]")
    alert.wait_for(timeout=PATIENCE)
    assert f"{model}: the server answered 404" in alert.inner_text()
    assert page.locator(".draw-still").is_visible()
    page.unroute(f"**/{model}")
    assert Pad(page).at > 0 and not page.locator(".draw-still").is_visible()
    page.close()


def test_without_a_network_the_site_is_built_without_it_and_says_so(tmp_path, monkeypatch, capsys):
    def missing():
        raise NoNetwork("onnxruntime-web could not be fetched")

    monkeypatch.setattr(in_browser, "runtime", missing)
    website.prepare(tmp_path / "source")
    said = capsys.readouterr().err
    assert "built without the pages on which the reader draws and writes: onnx" in said
    assert not (tmp_path / "source" / "draw.md").exists()
    first = (tmp_path / "source" / "index.md").read_text("utf-8")
    assert "draw-still" not in first and "(draw.md)" not in first and "\ndraw\n" not in first
    assert (tmp_path / "source" / "static" / "draw" / "draw.css").exists()  # every page asks for it


# The tool itself.


def test_a_new_site_stands_there_before_the_films_are_made(tmp_path, monkeypatch, capsys):
    done = []

    def build(folder, films=None):
        done.append("built with films" if films else "built at rest")
        folder.mkdir(exist_ok=True)
        (folder / ".buildinfo").touch()
        return 0

    monkeypatch.setattr(website, "build", build)
    monkeypatch.setattr(website, "gather", lambda cache, names: done.append("filmed") or cache)
    command = [str(tmp_path / "site"), "--cache", str(tmp_path / "films")]
    assert website.main(command) == 0
    assert done == ["built at rest", "filmed", "built with films"]
    assert f"those of {len(NOTEBOOKS)} notebooks are filmed" in capsys.readouterr().out
    done.clear()
    assert website.main(command) == 0  # an earlier site is not put back to rest
    assert done == ["filmed", "built with films"]
    done.clear()

    def stopped(cache, names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(website, "gather", stopped)
        assert website.main(command) == 130
    assert done == [] and "What is filmed is kept" in capsys.readouterr().err
    monkeypatch.setattr(website, "missing", lambda cache, names: {})
    assert website.main([str(tmp_path / "another"), *command[1:]]) == 0  # all are filmed already
    assert done == ["filmed", "built with films"]


def test_no_notebook_is_changed_or_left_out(folder, tmp_path):
    before = [path.read_bytes() for path in NOTEBOOKS]
    website.prepare(tmp_path / "source")  # all that Sphinx will see
    assert [path.read_bytes() for path in NOTEBOOKS] == before
    copies = sorted((tmp_path / "source" / "notebooks").glob("*.ipynb"))
    assert [path.name for path in copies] == [path.name for path in NOTEBOOKS]


def test_a_folder_that_is_no_site_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(ValueError, match="neither empty nor an earlier site"):
        website.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_prose_is_fitted_to_its_page(tmp_path):
    def page(text):
        return website._as_page(text, "notebooks/00_start_here.ipynb", tmp_path)

    assert page("[![how it is](https://a.example/b.svg)](https://a.example)") == (
        "[how it is](https://a.example)"
    )
    assert page('a <img src="https://a.example/b.svg" width="3" alt="badge"> b') == "a badge b"
    assert page("[x](../README.md#Ten-lines,-no-more)") == "[x](../index.md#ten-lines-no-more)"
    assert page(r"$$a \\ b \tag{3}$$") == r"\begin{equation*}a \\ b \tag{3}\end{equation*}"
    assert page(r"$$a \\ b$$ and $$c \tag{3}$$") == r"$$a \\ b$$ and $$c \tag{3}$$"
    assert page("[x](#A-heading)") == "[x](#a-heading)"
    for name in website.MORE:
        assert page(f"[x](../{name})") == f"[x](../{name})"
    assert page("[x](../LICENSE)") == "[x](path:../LICENSE)"
    assert (tmp_path / "LICENSE").exists()
    assert page("[x](https://a.example/#That)") == "[x](https://a.example/#That)"
