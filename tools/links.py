"""Bring every address of this repository in line with the one place that holds it.

    python tools/links.py               as pyproject.toml's [project.urls] says
    python tools/links.py owner/name    first write it there: what a fork needs once
    python tools/links.py --check       change nothing; list the files that disagree

Each notebook gets a link under its title that opens it in Google Colab, and the same first code
cell, which fetches bfn_core there. Links in prose, and in the files of PROSE, follow it too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat

try:
    from tools.notebooks import as_text, normalise
except ModuleNotFoundError:  # run as a script: this folder, and not its parent, is searched
    from notebooks import as_text, normalise

ROOT = Path(__file__).resolve().parent.parent
PROSE = ("README.md", "READING.md", "CONTRIBUTING.md", "CITATION.cff")
COLAB = "https://colab.research.google.com/github/{}/blob/main/notebooks/{}"
NAME = r"[\w.-]+/[\w.-]+"  # owner/name
HOME = re.compile(rf'^(Repository = "https://github\.com/)({NAME})(")$', re.MULTILINE)
IN_COLAB = re.compile(rf"colab\.research\.google\.com/github/({NAME})/blob/main/notebooks/")

SETUP = '''\
# NBVAL_IGNORE_OUTPUT
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules and not find_spec("bfn_core"):  # in Colab, fetch the book's code
    %pip install -q git+https://github.com/{}
    assert find_spec("bfn_core"), "bfn_core did not arrive; see above why, then run this cell again"

from bfn_core import environment

environment.versions()'''


def repository(root: Path = ROOT) -> str:
    """The repository as owner/name, from pyproject.toml."""
    (found,) = HOME.findall((root / "pyproject.toml").read_text("utf-8"))
    return found[1]


def moved(text: str, old: str, new: str) -> str:
    """`text` with the addresses of the repository `old`, and of its pages, turned to `new`."""
    hosts = r"(github\.com/|githubusercontent\.com/|google\.com/github/)"
    text = re.sub(rf"{hosts}{re.escape(old)}(?![\w-])", rf"\g<1>{new}", text)
    pages, here = ("{}.github.io/{}".format(*name.split("/")) for name in (old, new))
    return re.sub(rf"(?<=//){re.escape(pages)}(?![\w-])", here, text)


def in_line(text: str, new: str, known: str) -> str:
    """`text` with all addresses of ours turned to `new`: those of `known`, and of Colab links."""
    for old in sorted({known, *IN_COLAB.findall(text)} - {new}):
        text = moved(text, old, new)
    return text


def linked(book: nbformat.NotebookNode, file: str, new: str, known: str) -> nbformat.NotebookNode:
    """A notebook with its link to Colab, the set-up cell and all addresses as they should be.

    Raises ValueError if it does not begin with a title, or its first code cell does something else.
    """
    prose = [cell for cell in book.cells if cell.cell_type == "markdown"]
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell in prose:
        cell.source = in_line(cell.source, new, known)
    title, _, rest = book.cells[0].source.partition("\n")
    if not title.startswith("# ") or not code or "environment.versions()" not in code[0].source:
        raise ValueError(f"{file} must begin with a title and the cell that prints the versions")
    link = f"[Open in Colab]({COLAB.format(new, file)})"
    rest = re.sub(r"^\s*\[Open in Colab\]\([^)]*\)", "", rest)
    book.cells[0].source = f"{title}\n\n{link}\n\n{rest.lstrip()}"
    code[0].source = SETUP.format(new)
    return normalise(book)


def rewritten(new: str, root: Path = ROOT) -> dict[Path, str]:
    """The new text of every file under `root` that must change for the repository to be `new`."""
    known = repository(root)
    texts = {root / "pyproject.toml": None}
    texts |= {root / name: None for name in PROSE if (root / name).exists()}
    for path in texts:
        text = path.read_text("utf-8")
        home = path.name == "pyproject.toml"
        texts[path] = HOME.sub(rf"\g<1>{new}\g<3>", text) if home else in_line(text, new, known)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        texts[path] = as_text(linked(nbformat.read(path, 4), path.name, new, known))
    return {path: text for path, text in texts.items() if text != path.read_text("utf-8")}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; list what disagrees")
    parser.add_argument("repository", nargs="?", help="owner/name, or its address on GitHub")
    options = parser.parse_args(arguments)
    new = options.repository or repository()
    new = re.sub(r"^https://github\.com/|(\.git)?/?$", "", new)
    if not re.fullmatch(NAME, new):
        parser.error(f"a repository is owner/name, not {options.repository!r}")
    changes = rewritten(new)
    for path, text in changes.items():
        print(f"{path.relative_to(ROOT)}: {'does not agree' if options.check else 'rewritten'}")
        if not options.check:
            path.write_text(text, "utf-8", newline="\n")
    if not changes:
        print(f"every address is that of {new}")
    return 1 if changes and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
