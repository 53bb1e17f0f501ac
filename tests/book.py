"""What every notebook of the book is held to, as functions that return complaints.

Each takes a `Page` and returns a list of sentences, empty where all is well. tests/test_book.py
puts the book to them, and shows that each finds what it is meant to find in a doctored page.
"""

import ast
import base64
import builtins
import functools
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import torch
from PIL import Image

import bfn_core
from bfn_core import flows
from bfn_core.views.kit.plotly_figure import MIME
from tools import links as repository_links

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(root|home|tmp|work|Users|var|mnt)/|[A-Z]:\\Users")
LAST_SECTIONS = ("exercises", "five lines", "next")
FENCE = re.compile(r"^(```+).*?^\1", re.M | re.S)
COMPLAINT = re.compile(r"\b\w*Warning:|Traceback \(most recent|(?i:\bnan (bits|nats|±)|± nan\b)")
LEAST_WORDS = 4  # that a picture is told in
LEAST_INK = 0.022  # share of a picture's pixels that are not nearly white; empty axes have less


@dataclass(frozen=True)
class Page:
    """A notebook, or a page in Markdown (which has no code cells)."""

    path: Path
    book: nbformat.NotebookNode

    @classmethod
    def read(cls, path: Path) -> "Page":
        if path.suffix == ".ipynb":
            return cls(path, nbformat.read(path, as_version=4))
        cell = nbformat.v4.new_markdown_cell(path.read_text("utf-8"))
        return cls(path, nbformat.v4.new_notebook(cells=[cell]))

    @property
    def code_cells(self):
        return [cell for cell in self.book.cells if cell.cell_type == "code"]

    @property
    def code(self) -> str:
        return "\n\n".join(cell.source for cell in self.code_cells)

    @property
    def prose(self) -> str:
        cells = self.book.cells
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")

    @property
    def plain(self) -> str:
        """The prose without its blocks of code."""
        return FENCE.sub("", self.prose)

    @property
    def outputs(self):
        return [output for cell in self.code_cells for output in cell.outputs]

    @property
    def headings(self) -> list[str]:
        lines = self.plain.split("\n")
        return [line.lstrip("# ").strip() for line in lines if re.match(r"#{1,4} ", line)]


def text_of(output) -> str:
    """All that an output says, as one string; pictures left out."""
    data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
    trace = "\n".join(output.get("traceback", []))
    return output.get("text", "") + trace + "\n".join(str(value) for value in data.values())


# The order of things.


def out_of_order(page: Page) -> list[str]:
    """Every code cell was run, once, from top to bottom."""
    counts = [cell.execution_count for cell in page.code_cells]
    if counts == list(range(1, len(counts) + 1)):
        return []
    return [f"the cells ran in the order {counts}"]


def too_long(page: Page) -> list[str]:
    """No cell is longer than a screen, and the file is under a megabyte."""
    found = [
        f"a cell of {len(cell.source.splitlines())} lines: {cell.source[:60]!r}"
        for cell in page.code_cells
        if len(cell.source.splitlines()) > 40
    ]
    size = len(nbformat.writes(page.book).encode())
    return found + ([f"{size:,} bytes are over a megabyte"] if size > 1_000_000 else [])


def missing_parts(page: Page) -> list[str]:
    """The fixed structure: a title, what it takes, something to drag, and how it ends."""
    found = []
    first = page.book.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \d\d · ", first.source):
        found.append("it does not open with its number and title")
    elif not first.source.startswith(f"# {page.path.stem[:2]} · "):
        found.append("its title has another number than its file")
    if sum(line.startswith("# ") for line in page.plain.split("\n")) != 1:
        found.append("it has not one title")
    opening = " ".join(cell.source for cell in page.book.cells[:3]).lower()
    if not re.search(r"\b(seconds?|minutes?)\b", opening):
        found.append("it does not say how long it takes")
    if not re.search(r"\bneeds?\b", opening):
        found.append("it does not say what it needs")
    if "environment.versions()" not in page.code_cells[0].source:
        found.append("its first cell does not print the versions")
    if not re.search(r"\w+_explorer\(", page.code):
        found.append("it has no explorer")
    if not any("image/png" in output.get("data", {}) for output in page.outputs):
        found.append("it has no picture at rest")
    titles = [heading.lower() for heading in page.headings][-3:]
    if not all(words in title for words, title in zip(LAST_SECTIONS, titles, strict=False)):
        return [*found, f"its last sections are {titles}, not {LAST_SECTIONS}"]
    exercises, lines, further = re.split(r"^## .*$", page.plain, flags=re.M)[-3:]
    asked = len(re.findall(r"^\*\*\d+\.", exercises, re.M))
    solved = len(re.findall(r"<details><summary>Solution", exercises))
    if not asked or solved < asked or exercises.count("</details>") < solved:
        found.append(f"{asked} exercises have {solved} folded solutions")
    if len(re.findall(r"^(?:[*-]|\d\.) ", lines, re.M)) != 5:
        found.append("its summary has not five lines")
    if ".ipynb)" not in further and "README.md" not in further:
        found.append("it does not say where to go next")
    return found


# What the outputs hold.


def complaints_in_outputs(page: Page) -> list[str]:
    """No error, no warning, nothing on stderr."""
    found = []
    for output in page.outputs:
        text = text_of(output)
        trouble = output.output_type == "error" or output.get("name") == "stderr"
        if trouble or re.search(COMPLAINT, text):
            found.append(f"an output complains: {text[:200]!r}")
    return found


def bound_to_a_machine(page: Page) -> list[str]:
    """No absolute path, and no address in memory, in a source or an output."""
    found = []
    for text in [cell.source for cell in page.book.cells] + [text_of(o) for o in page.outputs]:
        for pattern in (MACHINE_PATH, re.compile(r"<[\w.]+ (object )?at 0x[0-9a-f]+>")):
            if match := pattern.search(text):
                found.append(f"…{text[max(0, match.start() - 30) : match.end() + 30]!r}…")
    if match := re.search(r"""["']\.\.?/[^"']*""", page.code):
        found.append(f"{match[0]!r} depends on where Jupyter was started")
    return found


def untold_pictures(page: Page) -> list[str]:
    """Every picture, in prose or as an output, has a few words that say what it shows."""
    told = []
    for output in page.outputs:
        data = output.get("data", {})
        for kind in ("image/png", "image/jpeg"):
            if kind in data:
                told.append(output.metadata.get(kind, {}).get("alt", ""))
        if "image/svg+xml" in data:
            told += re.findall(r"<title[^>]*>(.*?)</title>", data["image/svg+xml"], re.S) or [""]
    told += re.findall(r"(?<!\[)!\[([^\]]*)\]\(", page.plain)
    visible = [page.plain, *(str(o.data["text/html"]) for o in page.outputs
                             if "text/html" in o.get("data", {}))]
    for tag in re.findall(r"<img\b[^>]*>", "\n".join(visible)):
        alt = re.search(r'\balt="([^"]*)"', tag)
        told.append(alt[1] if alt else "")
    return [f"too few words for a picture: {t!r}" for t in told if len(t.split()) < LEAST_WORDS]


def empty_pictures(page: Page) -> list[str]:
    """No picture consists of empty axes, such as those of an exercise that waits to be solved."""
    found = []
    for count, cell in enumerate(page.code_cells, 1):
        for output in cell.outputs:
            data = output.get("data", {})
            if content := data.get("image/png") or data.get("image/jpeg"):
                grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))
                if (share := float((grey < 225).mean())) < LEAST_INK:
                    found.append(f"{share:.1%} of the picture of code cell {count} is drawn upon")
    return found


def unseen(page: Page) -> list[str]:
    """Whatever a cell shows has left a picture, for pages on which nothing runs; and a cell leaves
    one at most, since on the website it has one text for whoever cannot see it.
    """
    found = []
    for cell in page.code_cells:
        told = [m.get("alt") for o in cell.outputs for m in o.get("metadata", {}).values()
                if isinstance(m, dict)]
        if len(told) > 1:
            found.append(f"{len(told)} pictures in one cell: {told}")
        shows = re.findall(r"^(?:\w+\.\w+_explorer|style\.show)\(", cell.source, re.M)
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if pictures < len(shows):
            found.append(f"{len(shows)} pictures should stand here, not {pictures}: {shows}")
        for output in cell.outputs:
            if MIME in output.get("data", {}) and "image/jpeg" not in output.data:
                found.append(f"a figure of Plotly's has no picture: {cell.source!r}")
    return found


# Where the links lead.


def anchor(heading: str) -> str:
    """The anchor of a heading, as JupyterLab (and, in lower case, GitHub) makes it."""
    return re.sub(r"\s+", "-", heading).lower()


def github_anchor(heading: str) -> str:
    """The anchor of a heading on GitHub, which drops punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(page: Page) -> list[str]:
    """Links to files and headings of this repository lead there; Colab's, to this notebook."""
    found = []
    here = repository_links.repository()
    targets = re.findall(r"\]\(([^)\s]+)\)", page.plain)
    targets += re.findall(r'\b(?:src|href)="([^"]+)"', page.plain)
    for target in targets:
        colab = re.match(r"https://colab\.research\.google\.com/github/(.*)", target)
        if colab and page.path.suffix == ".ipynb":
            if target != repository_links.COLAB.format(here, page.path.name):
                found.append(f"its link to Colab opens {target}")
            continue
        ours = re.match(rf"https://github\.com/{re.escape(here)}/(?:blob|tree)/main/(.+)", target)
        workflow = re.match(rf"https://github\.com/{re.escape(here)}/actions/(workflows/\w+\.yml)",
                            target)
        if workflow:
            goal, part = ROOT / ".github" / workflow[1], ""
        elif colab:
            goal, part = ROOT / colab[1].partition("/blob/main/")[2], ""
        elif ours:
            goal, part = ROOT / ours[1].partition("#")[0], ours[1].partition("#")[2]
        elif re.match(r"(https?|mailto|data):", target):
            continue
        else:
            file, _, part = target.partition("#")
            goal = (page.path.parent / file).resolve() if file else page.path
        if not goal.exists() or ROOT not in goal.parents:
            found.append(f"{target} does not exist in this repository")
        elif part and goal.suffix in (".ipynb", ".md"):
            headings = (page if goal == page.path else Page.read(goal)).headings
            if part.lower() not in {make(h) for h in headings for make in (anchor, github_anchor)}:
                found.append(f"{target}: no such heading")
    return found


# The names in the prose.


@functools.cache
def modules():
    """Every module of bfn_core, by its name."""
    names = [name for _, name, _ in pkgutil.walk_packages(bfn_core.__path__, "bfn_core.")]
    names = ["bfn_core", *(name for name in names if "__main__" not in name)]
    return {name: importlib.import_module(name) for name in names}


@functools.cache
def public() -> dict[str, list]:
    """What bfn_core's modules define, by its bare name."""
    found: dict[str, list] = {}
    for name, module in modules().items():
        for key, value in vars(module).items():
            if getattr(value, "__module__", None) == name and value not in found.get(key, []):
                found.setdefault(key, []).append(value)
    return found


@functools.cache
def vocabulary() -> frozenset[str]:
    """Every word that is a name, or a string of one word, in bfn_core, tools, torch or Python."""
    words = {*dir(builtins), *dir(torch), *dir(torch.nn), *dir(torch.nn.functional)}
    words |= {*dir(torch.Tensor), *dir(torch.special), *sys.stdlib_module_names, "torch"}
    for folder in ("bfn_core", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            words |= identifiers(ast.parse(path.read_text("utf-8")))
    return frozenset(words)


def identifiers(tree: ast.AST) -> set[str]:
    """The words of a syntax tree: names, attributes, arguments, keywords, one-word strings."""
    words = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(word := getattr(node, field, None), str):
                words.update(word.split("."))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(re.findall(r"^[A-Za-z_]\w*$", node.value))
    return words


def parsed(source: str) -> ast.AST | None:
    """A syntax tree, with IPython's magics left out; None if it is no Python."""
    source = re.sub(r"^( *)[%!].*$", r"\1pass", source, flags=re.M).replace("…", "...")
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def scope(tree: ast.AST) -> dict[str, list | None]:
    """What the names of a page stand for: its imports from bfn_core; None for what it binds itself.

    `flow` and `bfn` are what they are called after, whatever is bound to them.
    """
    names: dict[str, list | None] = dict.fromkeys(assigned(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = imported(node.module, alias.name)
    return {
        **names,
        "flow": [flows.ContinuousFlow, flows.DiscretisedFlow, flows.DiscreteFlow],
        "bfn": [bfn_core.BFN, bfn_core.ExactBFN],
        "bfn_core": [bfn_core],
    }


def imported(module: str, name: str) -> list | None:
    """What `from module import name` gives, if it is ours."""
    if not module.startswith("bfn_core"):
        return None
    if (whole := f"{module}.{name}") in modules():
        return [modules()[whole]]
    return [getattr(modules()[module], name)] if hasattr(modules().get(module), name) else None


def holders(node: ast.expr, names: dict) -> list | None:
    """The objects that an expression may stand for; None if we cannot tell."""
    if isinstance(node, ast.Name):
        return names[node.id] if node.id in names else public().get(node.id)
    if isinstance(node, ast.Attribute) and (owners := holders(node.value, names)):
        return [getattr(o, node.attr) for o in owners if hasattr(o, node.attr)] or None
    return None


def misnamed(tree: ast.AST, names: dict) -> list[str]:
    """Attributes that bfn_core's objects lack, and calls that their signatures refuse."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (owners := holders(node.value, names)):
            made = set().union(*(made_by(owner) for owner in owners if inspect.isclass(owner)))
            if node.attr not in made and not any(hasattr(owner, node.attr) for owner in owners):
                found.append(f"{ast.unparse(node)}: there is no {node.attr}")
        called = holders(node.func, names) if isinstance(node, ast.Call) else None
        if called and not any(accepts(function, node) for function in called):
            found.append(f"{ast.unparse(node)}: this is not how it is called")
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bfn_core"):
            absent = [alias.name for alias in node.names if not imported(node.module, alias.name)]
            found += [f"{node.module} has no {name}" for name in absent]
    return found


@functools.cache
def made_by(kind: type) -> set[str]:
    """The attributes that a class gives its objects: its fields, and those set in its code."""
    found = set(getattr(kind, "__dataclass_fields__", ()))
    for base in inspect.getmro(kind):
        if base.__module__.startswith("bfn_core"):
            text = inspect.getsource(base)
            found.update(re.findall(r"self\.(\w+)\b", text))
            found.update(re.findall(r'register_buffer\("(\w+)"', text))
    return found


def accepts(function, call: ast.Call) -> bool:
    """Whether the signature takes these arguments; after an ellipsis, whether it may."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self":
        signature = signature.replace(parameters=parameters[1:])
    if any(isinstance(a, ast.Starred) for a in call.args) or any(not k.arg for k in call.keywords):
        return True
    given = [a for a in call.args if not (isinstance(a, ast.Constant) and a.value is ...)]
    bind = signature.bind if len(given) == len(call.args) else signature.bind_partial
    try:
        bind(*given, **{keyword.arg: keyword.value for keyword in call.keywords})
    except TypeError:
        return False
    return True


def unknown_names(page: Page) -> list[str]:
    """What stands in backticks or in a block of code in the prose, and exists nowhere."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.prose, re.M | re.S)
    trees = [parsed(block) for block in (page.code, *blocks)]
    if None in trees:
        return ["a block of code is no Python"]
    found = []
    names, known = {}, set(vocabulary())
    for tree in trees:
        names |= scope(tree)
        known |= identifiers(tree)
    for tree in trees[1:]:  # the first has been run
        found += misnamed(tree, names)
    shell = re.findall(r"^```sh\n(.*?)^```", page.prose, re.M | re.S)
    lines = [line.partition("  #")[0] for block in shell for line in block.splitlines()]
    for line in lines:
        found += unknown_command(line)
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.plain):
        found += unknown_command(span)
        tree = parsed(span)
        if tree is None or known_file(span) or span in page.code:
            continue
        found += misnamed(tree, names)
        strange = {word for word in identifiers(tree) - known if len(word) > 1}
        found += [f"`{span}`: nothing here is called {word}" for word in sorted(strange)]
    return found


def assigned(tree: ast.AST) -> set[str]:
    """The names that a piece of code binds."""
    nodes = list(ast.walk(tree))
    words = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    words |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return words | {n.arg for n in nodes if isinstance(n, ast.arg)}


def known_file(span: str) -> bool:
    return any((folder / span).exists() for folder in (ROOT, ROOT / "notebooks", ROOT / "assets"))


@functools.cache
def options() -> frozenset[str]:
    """The options that our own commands take."""
    texts = [p.read_text("utf-8") for f in ("bfn_core", "tools") for p in (ROOT / f).rglob("*.py")]
    return frozenset(re.findall(r'"(--[a-z][\w-]*)"', "\n".join(texts)))


LAUNCHERS = ("accelerate ", "torchrun ")  # which have options of their own


def unknown_command(span: str) -> list[str]:
    """A target of make, a module, a script, a file or an option that is not there."""
    found = []
    make = re.match(r"make ([a-z][\w-]*)", span)
    if make and not re.search(rf"^{make[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.M):
        found.append(f"`{span}`: make has no target {make[1]}")
    module = re.search(r"\bpython -m ((?:bfn_core|tools)[\w.]*)|-m (bfn_core[\w.]*)", span)
    if module:
        path = ROOT / (module[1] or module[2]).replace(".", "/")
        if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists():
            found.append(f"`{span}`: there is no such module")
    folders = r"(?<![\w/.])(?:bfn_core|tools|assets|tests|notebooks|\.github|\.ci)/[\w./-]*\w"
    for file in re.findall(folders, span):
        if not (ROOT / file).exists():
            found.append(f"`{span}`: there is no {file}")
    if (module or span.startswith("--")) and not span.startswith(LAUNCHERS):
        strange = set(re.findall(r"(?<!\S)--[a-z][\w-]*", span)) - options()
        found += [f"`{span}`: no command of ours takes {option}" for option in sorted(strange)]
    return found


# Spelling.


def misspelt(page: Page) -> list[str]:
    """Words that codespell knows to be wrong, in the prose and the comments of the code."""
    text = f"{page.prose}\n\n{page.code}\n"
    return codespell("-", text=text)


def codespell(*arguments: str, text: str | None = None) -> list[str]:
    """What codespell, with pyproject.toml's settings, has to say."""
    run = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml"), *arguments],
        cwd=ROOT, input=text, capture_output=True, encoding="utf-8",
    )
    assert run.returncode in (0, 65), run.stderr  # 65: misspelt words were found
    return run.stdout.splitlines()


ON_NOTEBOOKS = (
    out_of_order,
    too_long,
    missing_parts,
    complaints_in_outputs,
    bound_to_a_machine,
    untold_pictures,
    empty_pictures,
    unseen,
    broken_links,
    unknown_names,
    misspelt,
)
ON_PAGES = (untold_pictures, broken_links, unknown_names, misspelt)
