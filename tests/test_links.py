"""Where the repository lives: one place knows it, and links and set-up cells agree with it."""

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tests.chromium import unavailable
from tools import links

ROOT = Path(__file__).resolve().parents[1]
HERE = links.repository()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def first(path, kind):
    return next(cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind)


@pytest.fixture
def copy(tmp_path):
    """A copy of what `make links` may change."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("pyproject.toml", *links.PROSE):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def texts(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rewrite(folder, new):
    for path, text in links.rewritten(new, folder).items():
        path.write_text(text, "utf-8")


def test_all_addresses_agree():
    assert list(links.rewritten(HERE)) == [], "run `make links`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_itself_in_colab(path):
    link = f"[Open in Colab]({links.COLAB.format(HERE, path.name)})"
    assert first(path, "markdown").source.split("\n")[2] == link
    assert first(path, "code").source == links.SETUP.format(HERE)


def test_every_colab_link_leads_to_a_notebook_of_ours():
    link = re.compile(r"colab\.research\.google\.com/[^)\s]*/([^/)\s]+\.ipynb)")
    for path in [ROOT / "README.md", *NOTEBOOKS]:
        for name in link.findall(path.read_text("utf-8")):
            assert (ROOT / "notebooks" / name).exists(), f"{path.name} sends readers to {name}"


def test_another_owner_and_back_gives_the_same_bytes(copy):
    before = texts(copy)
    rewrite(copy, "someone-else/their.book")
    ours = re.compile(rf"(github(usercontent)?\.com|/github)/{re.escape(HERE)}".encode())
    for path, text in texts(copy).items():
        assert not ours.search(text), path
        assert path.suffix != ".ipynb" or text.count(b"someone-else/their.book") >= 2
    assert links.repository(copy) == "someone-else/their.book"
    assert links.rewritten("someone-else/their.book", copy) == {}
    rewrite(copy, HERE)
    assert texts(copy) == before


def test_an_address_changed_by_hand_in_pyproject_is_carried_everywhere(copy):
    home = copy / "pyproject.toml"
    changed = home.read_text("utf-8").replace(f"github.com/{HERE}", "github.com/by/hand")
    home.write_text(changed, "utf-8")
    rewrite(copy, links.repository(copy))
    for path in (copy / "notebooks").glob("*.ipynb"):
        assert HERE not in first(path, "markdown").source + first(path, "code").source


def test_only_our_own_addresses_move():
    ours = "https://github.com/a/b/issues git+https://github.com/a/b https://a.github.io/b/x.html"
    others = "https://github.com/a/b-two https://github.com/aa/b https://a.github.io/bb"
    new = links.moved(f"{ours} {others}", "a/b", "c/d")
    assert new == f"{ours.replace('a/b', 'c/d').replace('a.github.io/b', 'c.github.io/d')} {others}"


def test_the_address_stands_nowhere_else():
    git = shutil.which("git")
    ask = [git or "", "ls-files"]
    listed = git and subprocess.run(ask, cwd=ROOT, capture_output=True, encoding="utf-8")
    if not listed or listed.returncode:
        unavailable("There is no git, or this is no checkout, so there is no list of its files.")
    rewritten = {"pyproject.toml", *links.PROSE}
    for name in listed.stdout.split("\n")[:-1]:
        if name in rewritten or name.startswith("notebooks/"):
            continue
        if (path := ROOT / name).suffix not in (".safetensors", ".png", ".xz", ".gif"):
            assert f"github.com/{HERE}" not in path.read_text("utf-8"), name


@pytest.mark.parametrize("address", ["fork", "a/b/c", "https://example.org/a/b"])
def test_what_is_not_a_repository_is_refused(address, capsys):
    with pytest.raises(SystemExit):
        links.main([address])
    assert "a repository is owner/name" in capsys.readouterr().err


# The set-up cell, without Colab; tests/colab/ runs it in a stand-in with a real pip.


class Shell:
    """What IPython is to the cell: it runs `%pip`, and may bring bfn_core."""

    def __init__(self, arrives):
        self.arrives, self.called, self.here = arrives, [], False

    def run_line_magic(self, name, line):
        self.called.append(f"%{name} {line}")
        self.here = self.arrives


def run_setup_cell(monkeypatch, shell, colab):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: shell.here or None)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    code = TransformerManager().transform_cell(links.SETUP.format(HERE))
    exec(compile(code, "set-up cell", "exec"), {"get_ipython": lambda: shell})


def test_the_set_up_cell_installs_in_colab_and_nowhere_else(monkeypatch, capsys):
    run_setup_cell(monkeypatch, somewhere := Shell(arrives=True), colab=False)
    assert somewhere.called == []
    run_setup_cell(monkeypatch, colab := Shell(arrives=True), colab=True)
    run_setup_cell(monkeypatch, colab, colab=True)  # a second time there is nothing to fetch
    assert colab.called == [f"%pip install -q git+https://github.com/{HERE}"]
    assert capsys.readouterr().out.count("Python 3.") == 3


def test_the_set_up_cell_says_what_to_do_when_nothing_arrives(monkeypatch):
    with pytest.raises(AssertionError, match="did not arrive; see above why, then run this cell"):
        run_setup_cell(monkeypatch, Shell(arrives=False), colab=True)
