"""What differs from machine to machine: encodings, locks, names of folders, homes that are not."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Encodings ---------------------------------------------------------------------------------------

SUBPROCESS = {"run", "Popen", "check_output", "check_call", "call"}
BINARY = {"Image", "tarfile", "zipfile", "webbrowser", "OpenNotebook"}  # their `open` is another


def sources():
    """Every Python of the repository: its name and its text, a notebook's cells joined."""
    for folder in ("bfn_core", "tools", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), path.read_text("utf-8")
    yield Path("conftest.py"), (ROOT / "conftest.py").read_text("utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        plain = [line for line in "\n".join(code).split("\n") if not line.lstrip().startswith("%")]
        yield path.relative_to(ROOT), "\n".join(plain)


def unnamed(text):
    """The lines of a program at which text meets bytes in an encoding that it does not name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and needs_encoding(node):
            yield node.lineno


def needs_encoding(call):
    function, words = call.func, {word.arg: word.value for word in call.keywords}
    if "encoding" in words:
        return False
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if name in SUBPROCESS and (owner == "subprocess" or not owner):
        return bool({"text", "universal_newlines"} & words.keys())
    if name in ("read_text", "write_text"):
        return len(call.args) <= (name == "write_text")
    if name == "TextIOWrapper":
        return len(call.args) < 2
    if name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"):
        return "b" not in constant(words.get("mode", call.args[0] if call.args else None), "w+b")
    if name in ("open", "fdopen") and owner not in BINARY:
        place = 0 if owner and owner not in ("io", "os", "gzip", "bz2", "lzma", "codecs") else 1
        default = "rb" if owner in ("gzip", "bz2", "lzma") else "r"
        mode = words.get("mode", call.args[place] if len(call.args) > place else None)
        return "b" not in constant(mode, default) and (owner, name) != ("os", "open")
    return False


def constant(node, default):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else default


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("open(name)", True),
        ("open(name, 'rb')", False),
        ("open(name, encoding='utf-8')", False),
        ("path.open('a')", True),
        ("path.open('wb')", False),
        ("gzip.open(path, 'rt')", True),
        ("gzip.open(path)", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("Image.open(path)", False),
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text)", True),
        ("path.write_text(text, 'utf-8')", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
        ("subprocess.run(command, capture_output=True)", False),
        ("tempfile.NamedTemporaryFile('w')", True),
        ("tempfile.NamedTemporaryFile()", False),
        ("io.TextIOWrapper(stream)", True),
    ],
)
def test_the_search_for_unnamed_encodings_can_tell(code, wrong):
    assert list(unnamed(code)) == [1] * wrong


def test_every_text_file_and_stream_names_its_encoding():
    """The locale's own, where none is named, is cp1252 on most readers' Windows."""
    found = [f"{name}:{line}" for name, text in sources() for line in unnamed(text)]
    assert found == []
