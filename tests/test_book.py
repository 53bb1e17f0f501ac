"""The book as data: every notebook and page keeps the rules, and every rule has teeth.

The rules are the functions of tests/book.py. Each is put to every notebook, and to doctored copies
of a sound little one, in which it must find what is wrong.
"""

import base64
import copy
import io
import re
import sys

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

import bfn_core
from tests import book
from tests.book import NOTEBOOKS, PAGES, ROOT, Page
from tools import links as repository_links
from tools import website
from tools.notebooks import from_percent

HOME = repository_links.repository()
COLAB = repository_links.COLAB.format(HOME, "").rstrip("/")


@pytest.mark.parametrize("check", book.ON_NOTEBOOKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_book(path, check):
    assert check(Page.read(path)) == []


@pytest.mark.parametrize("check", book.ON_PAGES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_pages_beside_it(path, check):
    assert check(Page.read(path)) == []


def test_the_code_is_spelt_right():
    assert book.codespell("bfn_core", "tools", "tests", "Makefile", ".ci", "CITATION.cff") == []


# Teeth. A sound notebook, and what can be wrong with it.

SOUND = f"""# %% [markdown]
# # 04 · A title
#
# [Open in Colab]({COLAB}/04_simplex.ipynb)
#
# **Time** one minute · **Needs** a CPU

# %%
from bfn_core import environment

environment.versions()

# %%
from bfn_core.views import simplex, style

style.show(simplex.flow_figure(), "Beliefs go from the centre to a corner.")

# %%
simplex.flow_explorer(beta_1=3.0)

# %% [markdown]
# ## Words
#
# The next message has the accuracy `flow.alpha(i, n)`, for `DiscreteFlow(classes=3, beta_1=3.0)`.
# See [a part of this page](#Words), [the first notebook](00_start_here.ipynb), `tools/notebooks.py`
# and `make test`. Train with `python -m bfn_core.training mnist --resume`.
#
# ![Handwritten digits in white on black.](../assets/mnist.png)
#
# ## Exercises
#
# **1.** What is the prior?
#
# <details><summary>Solution</summary>
#
# ```python
# from bfn_core import DiscreteFlow
# flow = DiscreteFlow(3, beta_1=3.0)
# print(flow.prior((1, 2)).probs)
# ```
#
# </details>
#
# ## Summary in five lines
#
# * one
# * two
# * three
# * four
# * five
#
# ## Where to go next
#
# [05 · Discrete text](05_discrete_text.ipynb)
"""


def png(ink):
    """A picture of 100 × 100 pixels, of which so many are black, as a notebook holds it."""
    pixels = np.full(10_000, 255, np.uint8)
    pixels[:ink] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels.reshape(100, 100)).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def sound():
    page = Page(ROOT / "notebooks" / "04_simplex.ipynb", from_percent(SOUND))
    for count, cell in enumerate(page.code_cells, 1):
        cell.execution_count = count
    picture = {"image/png": png(ink=400), "text/plain": "Beliefs go from the centre to a corner."}
    metadata = {"image/png": {"alt": picture["text/plain"]}}
    page.code_cells[0].outputs = [nbformat.v4.new_output("stream", text="Python 3.12.1\n")]
    for cell in page.code_cells[1:]:
        cell.outputs = [nbformat.v4.new_output("display_data", picture, metadata=metadata)]
    return page


def rewrite(old, new):
    """A doctor who replaces words, in whichever cell they are."""

    def doctor(page):
        cells = [cell for cell in page.book.cells if old in cell.source]
        assert cells, f"{old!r} is not there to be replaced"
        for cell in cells:
            cell.source = cell.source.replace(old, new)

    return doctor


def say(text):
    """A doctor who adds a line to what the first cell printed."""

    def doctor(page):
        page.code_cells[0].outputs[0].text += text

    return doctor


def show(kind, content):
    """A doctor who adds an output without words."""

    def doctor(page):
        output = nbformat.v4.new_output("display_data", {kind: content})
        page.code_cells[1].outputs.append(output)

    return doctor


def stderr(page):
    page.code_cells[0].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="oh"))


def error(page):
    page.code_cells[1].outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=["no"])
    ]


def swap_counts(page):
    page.code_cells[0].execution_count, page.code_cells[1].execution_count = 2, 1


def no_picture(page):
    for cell in page.code_cells[1:]:
        cell.outputs = []


def no_alt(page):
    del page.code_cells[2].outputs[0].metadata["image/png"]


def empty_axes(page):
    page.code_cells[1].outputs[0].data["image/png"] = png(ink=200)


def not_run(page):
    page.code_cells[1].execution_count = None


def add(text):
    """A doctor who adds a paragraph to the prose before the exercises."""
    return rewrite("## Exercises", f"{text}\n\n## Exercises")


DISEASES = {
    book.out_of_order: {"two cells swapped": swap_counts, "a cell not run": not_run},
    book.too_long: {
        "a cell of 41 lines": rewrite("simplex.flow_ex", "1\n" * 41 + "simplex.flow_ex"),
        "a megabyte": say("x" * 1_000_000),
    },
    book.missing_parts: {
        "another number": rewrite("# 04 ·", "# 05 ·"),
        "no number": rewrite("# 04 · A title", "# A title"),
        "two titles": add("# Another title"),
        "no time": rewrite("one minute", "not long"),
        "no needs": rewrite("**Needs** a CPU", "a CPU"),
        "no versions": rewrite("environment.versions()", "environment.report()"),
        "no explorer": rewrite("simplex.flow_explorer(beta_1=3.0)", ""),
        "no picture": no_picture,
        "no exercises": rewrite("## Exercises", "## Questions"),
        "an exercise without a solution": rewrite("What is the prior?", "A.\n\n**2.** B."),
        "a solution not folded": rewrite("<details><summary>Solution</summary>", ""),
        "a fold left open": rewrite("</details>", ""),
        "no summary": rewrite("Summary in five lines", "Summary"),
        "four lines": rewrite("* five\n", ""),
        "six lines": rewrite("* five\n", "* five\n* six\n"),
        "no way on": rewrite("[05 · Discrete text](05_discrete_text.ipynb)", "On."),
        "the way on is not last": rewrite("[05 · Discrete", "On.\n\n## P.S.\n\n[05 · Discrete"),
    },
    book.complaints_in_outputs: {
        "an error": error,
        "something on stderr": stderr,
        "a warning": say("UserWarning: old\n"),
        "a traceback": say("Traceback (most recent call last):\n"),
        "not a number": say("nan bits per dimension\n"),
    },
    book.bound_to_a_machine: {
        "a path in an output": say("/home/ada/book/notebooks\n"),
        "a path on Windows": say("C:\\Users\\ada\n"),
        "a path in the prose": add("It lies in /tmp/book."),
        "a path in the code": rewrite("beta_1=3.0)", "beta_1=3.0)  # /root/x"),
        "an address": say("<Figure object at 0x7f00aa>\n"),
        "a folder beside it": rewrite("simplex.flow_ex", "open('../runs/x')\nsimplex.flow_ex"),
    },
    book.untold_pictures: {
        "an output without alt text": no_alt,
        "a JPEG without alt text": show("image/jpeg", "/9j/"),
        "an SVG without a title": show("image/svg+xml", "<svg></svg>"),
        "an SVG with a short title": show("image/svg+xml", "<svg><title>Plot</title></svg>"),
        "a picture without words": rewrite("![Handwritten digits in white on black.]", "![]"),
        "too few words": rewrite("Handwritten digits in white on black.", "Digits."),
        "a tag without alt": add('<img src="../assets/mnist.png">'),
        "a tag in an output": show("text/html", '<p><img src="data:image/png;base64,iV"></p>'),
    },
    book.empty_pictures: {"empty axes": empty_axes},
    book.unseen: {
        "an explorer without a picture": lambda page: page.code_cells[1].outputs.pop(),
        "a figure without a picture": rewrite("simplex.flow_ex", "style.show(x)\nsimplex.flow_ex"),
        "a figure of Plotly's alone": show("application/vnd.plotly.v1+json", {"data": []}),
        "two pictures in a cell": lambda page: page.code_cells[1].outputs.append(
            copy.deepcopy(page.code_cells[1].outputs[0])),
    },
    book.broken_links: {
        "no such notebook": rewrite("](00_start_here.ipynb)", "](00_begin.ipynb)"),
        "no such asset": rewrite("../assets/mnist.png", "../assets/no.png"),
        "no such heading here": rewrite("(#Words)", "(#Wrods)"),
        "no such heading there": rewrite("00_start_here.ipynb)", "00_start_here.ipynb#Nowhere)"),
        "outside the repository": rewrite("](00_start_here.ipynb)", "](../../../etc)"),
        "another notebook in Colab": rewrite(f"{COLAB}/04_simplex", f"{COLAB}/05_discrete_text"),
        "another repository in Colab": rewrite(f"github/{HOME}", "github/someone/else"),
        "no such page of ours": add(f"[x](https://github.com/{HOME}/blob/main/no.py)"),
        "no such workflow": add(
            f"[![t](https://github.com/{HOME}/actions/workflows/no.yml/badge.svg)](x.md)"
        ),
        "a tag with no source": add('<img alt="four words of text" src="no.png">'),
    },
    book.unknown_names: {
        "no such method": rewrite("`flow.alpha(i, n)`", "`flow.omega(i, n)`"),
        "too many arguments": rewrite("`flow.alpha(i, n)`", "`flow.alpha(i, n, t)`"),
        "too few arguments": rewrite("`flow.alpha(i, n)`", "`flow.alpha(i)`"),
        "no such option": rewrite("`DiscreteFlow(classes=3,", "`DiscreteFlow(sides=3,"),
        "no such class": add("`DiskreteFlow` it is."),
        "no such function": add("`bfn_core.elbow` it is."),
        "no such module": add("`bfn_core.networks.resnet` it is."),
        "no such view": add("`style.present` it is."),
        "a name in a solution": rewrite("print(flow.prior(", "print(flow.before("),
        "an argument in a solution": rewrite("DiscreteFlow(3, beta_1", "DiscreteFlow(3, sigma_1"),
        "an import in a solution": rewrite("import DiscreteFlow\n", "import DiscretFlow\n"),
        "a solution that is no code": rewrite("flow = DiscreteFlow", "flow == = DiscreteFlow"),
        "no such target": rewrite("`make test`", "`make tset`"),
        "no such script": rewrite("`tools/notebooks.py`", "`tools/notebook.py`"),
        "no such command": rewrite("bfn_core.training mnist", "bfn_core.train mnist"),
        "no such flag": rewrite("mnist --resume", "mnist --restart"),
    },
    book.misspelt: {
        "in the prose": add("This is teh end."),  # codespell:ignore teh
        "in a comment": rewrite("0)", "0)  # recieve"),  # codespell:ignore recieve
    },
}


def test_every_rule_is_put_to_the_test():
    assert set(DISEASES) == set(book.ON_NOTEBOOKS) >= set(book.ON_PAGES)


@pytest.mark.parametrize("check", book.ON_NOTEBOOKS, ids=lambda check: check.__name__)
def test_the_sound_notebook_passes(check):
    assert check(sound()) == []


@pytest.mark.parametrize(
    ("check", "doctor"),
    [
        pytest.param(check, doctor, id=f"{check.__name__}: {name}")
        for check, doctors in DISEASES.items()
        for name, doctor in doctors.items()
    ],
)
def test_a_doctored_notebook_is_found_out(check, doctor):
    page = sound()
    before = copy.deepcopy(page.book)
    doctor(page)
    assert page.book != before
    assert check(page) != []


def test_what_the_pages_link_to_is_looked_up_too(tmp_path):
    page = Page.read(ROOT / "README.md")
    rewrite("(CONTRIBUTING.md)", "(CONTRIBUTE.md)")(page)
    rewrite("notebooks/07_mnist.ipynb)", "notebooks/07_mnits.ipynb)")(page)
    assert len(book.broken_links(page)) == 3  # the second twice: in the map, and to Colab


# The badges.


def test_the_badges_are_true():
    """They are three files of a few lines, to be edited by hand where pyproject.toml changes."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (least,) = re.findall(r'^requires-python = ">=([\d.]+)"$', project, re.M)
    (licence,) = re.findall(r'^license = "([^"]+)"$', project, re.M)
    for name, left, right in (("python", "Python", f"{least} or newer"),
                              ("licence", "licence", licence), ("open", "open in", "Colab")):
        badge = (ROOT / "assets" / f"badge_{name}.svg").read_text("utf-8")
        assert f"<title>{left}: {right}</title>" in badge and f">{right}</text>" in badge, name


def test_the_badge_row_is_drawn_by_us_or_by_github():
    row = (ROOT / "README.md").read_text("utf-8").split("\n\n")[1]
    pictures = re.findall(r"\[!\[[^\]]+\]\(([^)]+)\)\]\(", row)
    assert len(pictures) == len(row.splitlines()) == 4
    for picture in pictures:
        ours = (ROOT / picture).is_file()
        assert ours or picture.startswith(f"https://github.com/{HOME}/actions/workflows/")


def test_the_citation_is_of_this_software_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == bfn_core.__version__
    assert citation["license"] == "MIT" and citation["type"] == "software"
    assert citation["repository-code"] == f"https://github.com/{HOME}"
    (paper,) = citation["references"]
    assert paper["url"] == "https://arxiv.org/abs/2308.07037" and paper["year"] == 2023
    readme = (ROOT / "README.md").read_text("utf-8")
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in readme


@pytest.mark.parametrize("where", [".", pytest.param("link", marks=pytest.mark.skipif(
    sys.platform == "win32", reason="not everyone may make links there"))])
def test_a_site_is_built_in_the_place_of_an_earlier_one(where, tmp_path, monkeypatch):
    made, site = tmp_path / "made", tmp_path / "site"
    for folder, name in ((made, "new.html"), (site, "old.html")):
        (folder / "static").mkdir(parents=True)
        (folder / "static" / name).touch()
        (folder / name).touch()
    (tmp_path / "link").symlink_to(site, target_is_directory=True)
    monkeypatch.chdir(site if where == "." else tmp_path)
    website.put(made, website.Path(where))
    assert sorted(p.name for p in site.rglob("*")) == ["new.html", "new.html", "static"]
