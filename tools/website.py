"""Build the book as static HTML: pages to read, to search, to print, and explorers to drag.

    python -m tools.website               into build/site
    python -m tools.website FOLDER        into FOLDER, which must be new, empty or an earlier site
    python -m tools.website --still       without the films of the explorers: much sooner
    python -m tools.website --films 00_start_here     with those of these notebooks alone

A page shows the outputs that are committed, which takes half a minute. The notebooks are run for
one thing alone: the explorers are filmed, see films.py, the first time and whenever something in
the repository has changed; that takes ten minutes on two cores. A new site stands there before,
without films; whoever stops the filming (Ctrl-C) keeps what is filmed. The README is the first
page, because it is the book's cover already: what a BFN is, a picture, the map.

The work is done by Sphinx with MyST-NB, in the theme Furo. Tried as well: Jupyter Book 2 (MyST),
which fetches its theme from api.mystmd.org at build time, so that nobody can build it offline or
twice the same; Sphinx Book Theme, twice as many files to load, and no longer for Python 3.10;
nbconvert, which would have left navigation, links and search to code of our own.
Formulas are MathJax's, out of a package from PyPI: no page asks another host for anything. On two,
draw.md and write.md, and at one place of the first page the reader draws or writes with a network
of the book, see drawing.py; the first build fetches the runtime for that, and without a network
goes on without it.

What stands here only fits the sources to a page (`website_static/` has its style sheet and script).
A link that leads nowhere is an error.
"""

from __future__ import annotations

import argparse
import html
import importlib.metadata
import json
import posixpath
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import plotly

from bfn_core.data.files import DataError
from bfn_core.views import mnist
from bfn_core.views.kit.explorer import JAVASCRIPT
from bfn_core.views.kit.plotly_figure import MIME
from tools import drawing
from tools.films import EXPLORER, gather, missing

ROOT = Path(__file__).resolve().parent.parent
STATIC = Path(__file__).resolve().parent / "website_static"
TITLE = "Bayesian Flow Networks"
CONFIGURATION = {
    "project": TITLE,
    "html_title": TITLE,
    "language": "en",
    "extensions": ["myst_nb"],
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},  # the stored pictures do without the scripts of a live widget
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 4,  # headings down to #### can be linked to
    "mathjax_path": "mathjax/tex-chtml.js",
    # The menu would make each formula a stop on the way of the tab key.
    "mathjax3_config": {"options": {"enableMenu": False}},
    "html_theme": "furo",
    "html_theme_options": {"top_of_page_buttons": []},
    "html_static_path": ["static"],
    "html_css_files": ["website.css", "draw/draw.css"],
    "html_js_files": [("website.js", {"defer": "defer"})],
    "html_favicon": "static/favicon.svg",
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_use_index": False,
}
# The parts of MathJax that a page uses; the package has 24 MB, these are 2.
MATHJAX = re.compile(r"/static/mathjax/(tex-chtml\.js|output/chtml/fonts/woff-v2/.*\.woff)$")

LINK = re.compile(r"\]\(([^)\s]+)\)")
REMOTE_PICTURES = (  # a badge: its words will do
    re.compile(r"!\[([^\]]*)\]\(https?:[^)]*\)"),
    re.compile(r"""<img\b(?=[^>]*\bsrc=["']https?:)[^>]*?\balt=["']([^"']*)["'][^>]*>"""),
)
# Sphinx puts a formula of several lines into `split`, where it may have no number.
NUMBERED_LINES = re.compile(r"\$\$((?=[^$]*\\\\)[^$]*\\tag\{[^$]*)\$\$")
PICTURES = (".png", ".svg", ".gif", ".jpg")
MORE = ("READING.md", "CONTRIBUTING.md", "tools/GPU_DAY.md")  # pages beside the README and the book
DRAW = "<!-- draw -->"  # where the README, tools/draw.md and tools/write.md let the reader at it
TABLE = "<!-- table -->"  # where the latter two say what that costs
NOT_DRAWN = ("The site is built without the pages on which the reader draws and writes: {}. With a "
             "network, `make site` builds them.")
FIRST = """The book is in {folder}, its explorers at rest.
Now those of {count} notebooks are filmed, once, half a minute each. Ctrl-C keeps what is filmed,
and the next build goes on."""
STILL = '<p class="still">The first state of an explorer, which moves in JupyterLab and Colab.</p>'
# The script puts the controls in, and draws on the canvas, which covers the picture.
FILM = """<div class="film" role="group" aria-label="{words}" data-folder="{folder}">
<div class="film-picture"><img src="{folder}/first.webp" width="{width}" height="{height}"
 alt="{words}"><canvas aria-hidden="true" hidden></canvas></div>
<p class="film-caption" aria-live="polite">{caption}</p>{rest}
<script type="application/json">{told}</script></div>"""
# A frame cannot be measured from outside: it tells its page how high its content is, whenever that
# changes and whenever it is asked.
MEASURE = """<script>
const tell = () => parent.postMessage({ bfnHeight: document.body.offsetHeight }, "*");
new ResizeObserver(tell).observe(document.body);
addEventListener("message", tell);
</script></html>"""
# The picture stands in its place until the script has drawn it.
PLOTLY = """<div class="plotly-figure" role="group" aria-label="{words}" tabindex="0" hidden>
<script type="application/json">{figure}</script></div>"""
CONTENTS = """

```{{toctree}}
:hidden:
:caption: The book

{book}
```

```{{toctree}}
:hidden:

{rest}
```
"""


def _as_page(text: str, place: str, folder: Path) -> str:
    """Fit the Markdown of the file `place` (relative to ROOT) to the site.

    Links to pages stay, those to other files of the repository become downloads; whatever is
    linked to is copied to `folder`. Pictures from other hosts become their words.
    """

    def link(found):
        target = found[1]
        path, mark, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            return found[0]
        # Jupyter and GitHub spell the anchor of one heading differently; this is GitHub's way.
        anchor = mark + re.sub(r"[^\w-]", "", anchor.lower())
        if not path:
            return f"]({anchor})"
        goal = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        if goal == "README.md":
            goal, path = "index.md", path.replace("README", "index")
        elif goal.endswith(".ipynb") or goal in MORE:
            pass  # each is a page already, or Sphinx will say that it is none
        elif (ROOT / goal).is_file():
            (folder / goal).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / goal, folder / goal)
            if not goal.endswith(PICTURES):
                path = f"path:{path}"
        return f"]({path}{anchor})"

    for picture in REMOTE_PICTURES:
        text = picture.sub(r"\1", text)
    text = NUMBERED_LINES.sub(r"\\begin{equation*}\1\\end{equation*}", text)
    return LINK.sub(link, text)


def _films(folder: Path | None, name: str) -> dict[str, str]:
    """The films of a notebook's explorers as HTML, by the explorer's description."""
    found = {}
    for path in sorted(folder.glob(f"{name}/*/film.json")) if folder else ():
        told = json.loads(path.read_text("utf-8"))
        rest = ", ".join(f"“{label}”" for label in told["still"])
        found[told["description"]] = FILM.format(
            words=html.escape(told["description"]),
            folder=f"../_static/films/{name}/{path.parent.name}",
            width=told["width"], height=told["height"],
            caption=told["captions"][told["first"] if len(told["captions"]) > 1 else 0],
            rest=f'<p class="film-rest">In JupyterLab and Colab also: {rest}.</p>' if rest else "",
            told=json.dumps(told, separators=(",", ":")).replace("</", "<\\/"),
        )
    return found


def _for_reading(
    book: nbformat.NotebookNode, place: str, folder: Path, films: dict[str, str]
) -> nbformat.NotebookNode:
    """Return a notebook's cells as a reader of a page needs them."""
    cells = []
    for cell in book.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = _as_page(cell.source, place, folder)
            continue
        if "google.colab" in cell.source:  # the set-up: of no use to whoever only reads
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        cell.source = re.sub(r"^# NBVAL_\w+\n", "", cell.source, flags=re.MULTILINE)
        outputs, cell.outputs = cell.outputs, []
        for output in outputs:
            cell.outputs += _fit_output(output, cell, films)
        kinds = set().union(*(output.get("data", {}) for output in cell.outputs))
        if EXPLORER.search(cell.source) and "image/png" in kinds and "text/html" not in kinds:
            cells.append(nbformat.v4.new_markdown_cell(STILL))
    book.cells = cells
    return book


def _fit_output(
    output: nbformat.NotebookNode, cell: nbformat.NotebookNode, films: dict[str, str]
) -> list:
    """Give a picture its alt text, and an explorer in a frame as much room as it needs.

    Such an explorer becomes two outputs, the frame and its picture: the style sheet puts the one
    on the screen and the other on paper. So does a figure of Plotly's, which the script draws. In
    the place of an explorer that was filmed stands its film.
    """
    data = output.get("data", {})
    if "image/png" in data and data.get("text/plain") in films:
        return [nbformat.v4.new_output("display_data", {"text/html": films[data["text/plain"]]})]
    kept = output.get("metadata", {})
    picture = kept.get("image/png") or kept.get("image/jpeg")
    if picture and "alt" in picture:  # MyST-NB looks for it in the cell
        if "mystnb" in cell.metadata:
            raise ValueError(f"two pictures, and MyST-NB knows one alt text a cell:\n{cell.source}")
        cell.metadata["mystnb"] = {"image": {"alt": picture["alt"]}}
    if MIME in data:
        figure = json.dumps(data[MIME], separators=(",", ":")).replace("</", "<\\/")
        drawn = PLOTLY.format(words=html.escape(data["text/plain"]), figure=figure)
        still = {"image/jpeg": data["image/jpeg"]}
        return [
            nbformat.v4.new_output("display_data", {"text/html": drawn}),
            nbformat.v4.new_output("display_data", still, metadata=output.metadata),
        ]
    if "<iframe" not in data.get("text/html", ""):
        return [output]
    page = data["text/html"].replace(html.escape("</html>"), html.escape(MEASURE))
    # The words below the frame are about pages where nothing moves.
    page = re.sub(r"\s*<p><small>.*?</small></p>", "", page, flags=re.DOTALL)
    still = {"image/png": data["image/png"]}
    return [
        nbformat.v4.new_output("display_data", {"text/html": page}),
        nbformat.v4.new_output("display_data", still, metadata=output.metadata),
    ]


def _drawing(folder: Path, prose: dict[str, str]) -> dict[str, str]:
    """The pages on which the reader draws and writes, and a place put into the first page.

    Where the runtime cannot be had there are none, and a message says so.
    """
    draws, first = folder / "static" / "draw", prose["index.md"]
    draws.mkdir(exist_ok=True)
    shutil.copy(JAVASCRIPT / "draw.css", draws)  # every page asks for it
    try:
        drawing.write(draws)
    except DataError as error:
        print(NOT_DRAWN.format(error), file=sys.stderr)
        prose["index.md"] = first.replace(DRAW, "")
        return {}
    pages = {}
    for name, letters in (("draw.md", False), ("write.md", True)):
        text = (ROOT / "tools" / name).read_text("utf-8").replace(TABLE, drawing.table(letters))
        block = drawing.block(draws, "_static/draw", letters)
        pages[name] = _as_page(text, name, folder).replace(DRAW, block)
    block = drawing.block(draws, "_static/draw")
    more = ("*The same by your own hand; [what happens here](draw.md) in words, and "
            "[a line of text whose gaps fill themselves](write.md).*")
    prose["index.md"] = first.replace(DRAW, f"{block}\n\n{more}")
    return pages


def prepare(folder: Path, films: Path | None = None) -> None:
    """Write all that Sphinx is to read into `folder`: pages, pictures, style sheet, scripts.

    Args:
        films: the folder of the explorers' films, if they were made.
    """
    (folder / "notebooks").mkdir(parents=True)
    shutil.copytree(STATIC, folder / "static")
    prose = {
        name: _as_page((ROOT / name).read_text("utf-8"), name, folder)
        for name in ("README.md", *MORE) if (ROOT / name).exists()
    }
    prose["index.md"] = prose.pop("README.md")
    drawn = _drawing(folder, prose)
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        place = f"notebooks/{path.name}"
        moving = _films(films, path.stem)
        if drawn:  # one of 07's explorers runs on its page as it does in a notebook
            draws = drawing.block(folder / "static" / "draw", "../_static/draw")
            moving[mnist.COMPLETING_ALT] = draws
        book = _for_reading(nbformat.read(path, as_version=4), place, folder, moving)
        nbformat.write(book, folder / place)
    prose = {**drawn, **prose}
    prose["index.md"] += CONTENTS.format(
        book="\n".join(f"notebooks/{path.stem}" for path in notebooks),
        rest="\n".join(name.removesuffix(".md") for name in prose if name != "index.md"),
    )
    for name, text in prose.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8", newline="\n")
    if films:
        shutil.copytree(films, folder / "static" / "films")
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copy(script, folder / "static")  # loaded only where a figure asks for it
    for file in importlib.metadata.files("sphinx-mathjax-offline"):
        found = MATHJAX.search(f"/{file.as_posix()}")
        if found:
            target = folder / "static" / "mathjax" / found[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)


def build(target: Path, films: Path | None = None) -> int:
    """Build the site into `target`; return the exit code, not 0 if there was any warning.

    Args:
        films: the folder of the explorers' films; None leaves the explorers still.
    """
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    ours = (target / ".buildinfo").exists()  # Sphinx leaves it in every site
    if target.exists() and any(target.iterdir()) and not ours:
        raise ValueError(f"{target} is neither empty nor an earlier site, so it is left alone")
    with tempfile.TemporaryDirectory() as scratch:
        source, made, trees = (Path(scratch, name) for name in ("source", "html", "trees"))
        prepare(source, films)
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                source, None, made, trees, "html", confoverrides=CONFIGURATION,
                status=None, warning=sys.stderr, warningiserror=True,
            )
            app.build()
        if app.statuscode == 0:
            put(made, target)
        return app.statuscode


def put(made: Path, target: Path) -> None:
    """Put a site in the place of what is in `target`.

    That folder itself stays: it may be a link to one, or the one in which the command was given,
    and neither can be removed.
    """
    for old in target.iterdir() if target.exists() else ():
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    shutil.copytree(made, target, dirs_exist_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    sys.stdout.reconfigure(errors="backslashreplace")  # a name holds any letter, a pipe may not
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--still", action="store_true", help="leave the explorers' films out")
    which.add_argument("--films", nargs="+", metavar="NOTEBOOK", help="film these alone")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "films",
                        help="where films are kept")
    chosen = parser.parse_args(arguments)
    folder, films = chosen.folder, None
    if not chosen.still:
        names = chosen.films and [ROOT / "notebooks" / f"{name}.ipynb" for name in chosen.films]
        waiting = missing(chosen.cache, names)
        if waiting and names is None and not (folder / ".buildinfo").exists():
            if code := build(folder):
                return code
            print(FIRST.format(folder=folder, count=len(waiting)), flush=True)
        try:
            films = gather(chosen.cache, names)
        except KeyboardInterrupt:
            print(f"Stopped. What is filmed is kept in {chosen.cache}.", file=sys.stderr)
            return 130
    code = build(folder, films)
    if code == 0:
        print(f"The book is in {folder}; to read it here: python -m http.server -d {folder}")
    return code


if __name__ == "__main__":
    sys.exit(main())
