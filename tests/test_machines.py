"""What differs from machine to machine: encodings, locks, names of folders, homes that are not."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
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


def unfixed(text):
    """The lines of a program that write text with line ends which differ from system to system."""
    for node in ast.walk(ast.parse(text)):
        writes = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "write_text"
        if writes and "newline" not in {word.arg for word in node.keywords}:
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


def test_what_is_committed_has_the_same_line_ends_everywhere():
    """The digests of assets/ are those of bytes, and a notebook's normal form is compared."""
    assert list(unfixed("path.write_text(text, 'utf-8')")) == [1]
    written = [source for source in sources() if source[0].parts[0] in ("bfn_core", "tools")]
    assert [f"{name}:{line}" for name, text in written for line in unfixed(text)] == []


def test_what_an_encoding_lacks_is_written_out(monkeypatch):
    from bfn_core.training.progress import speak_plainly

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    speak_plainly()
    print("n = ∞: 82.85 ± 0.25, σ₁, größer", flush=True)
    assert written.getvalue().rstrip() == rb"n = infinity: 82.85 " + (
        "± 0.25, \\u03c3\\u2081, größer".encode("cp1252")
    )


# Locks -------------------------------------------------------------------------------------------


def test_a_folder_is_locked_where_there_is_no_fcntl(tmp_path):
    """As on Windows, where the lock is another."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from bfn_core.training.runs import Run, TrainingError\n"
        f"run = Run({str(tmp_path)!r})\n"
        "with run.held():\n"
        "    try:\n"
        "        run.held().__enter__()\n"
        "    except TrainingError as error:\n"
        "        print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert f"another process is training in {tmp_path}" in run.stdout, run.stderr
    assert os.listdir(tmp_path) == []


# Elsewhere ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A copy of the package in a folder whose name has spaces and letters beyond ASCII, and what a
    process needs to run it from another folder, with no home to write to and no UTF-8.
    """
    folder = tmp_path_factory.mktemp("machine")
    copy = folder / "größer und weiter"
    for name in ("bfn_core", "assets", "tools"):
        ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    (copy / "notebooks").mkdir()
    for name in ("conftest.py", "pyproject.toml", "notebooks/00_start_here.ipynb"):
        shutil.copy(ROOT / name, copy / name)
    named = re.compile("MPL|XDG_|JUPYTER|IPYTHON|LC_|LANG|PYTHON|BFN_DATA")
    kept = {k: v for k, v in os.environ.items() if not named.match(k)}
    nobody = str(folder / "file" / "home")  # below a file, so that not even root can make it
    (folder / "file").touch()
    environment = {
        **kept, **cp1252_locale(folder), "HOME": nobody, "USERPROFILE": nobody,
        "PYTHONPATH": str(copy), "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252",
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "BFN_SCALE": "smoke",
    }
    (folder / "Übung").mkdir()
    return copy, folder / "Übung", environment


def cp1252_locale(folder):
    """Variables for a locale in cp1252 where one can be made, else for C, in plain ASCII."""
    if sys.platform == "win32":
        return {}
    command = ["localedef", "-i", "de_DE", "-f", "CP1252", str(folder / "de_DE.CP1252")]
    if shutil.which("localedef"):
        subprocess.run(command, capture_output=True)
        if (folder / "de_DE.CP1252" / "LC_CTYPE").exists():
            return {"LC_ALL": "de_DE.CP1252", "LOCPATH": str(folder)}
    return {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


def run(elsewhere, *words, **options):
    """Run Python there; what it wrote into a file that is cp1252's."""
    _, folder, environment = elsewhere
    said = folder / "said.txt"
    with said.open("wb") as file:
        process = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, stdout=file,
            stderr=subprocess.STDOUT, **options,
        )
    text = said.read_bytes().decode("cp1252")
    assert process.returncode == 0, text
    return text


TRAIN = """
import runpy, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="bfn_core")
runpy.run_module("bfn_core.training", run_name="__main__")
"""


@pytest.mark.slow
def test_training_works_elsewhere(elsewhere):
    """Names, settings, metrics, samples and what is said; EncodingWarning sees what is unnamed."""
    _, folder, _ = elsewhere
    verse = "Ich weiß nicht,\nwas soll es bedeuten; 1823 ∞!\n"
    (folder / "verse für mich.txt").write_text(verse * 100, "utf-8")
    train = ("-X", "warn_default_encoding", "-c", TRAIN, "text8", "--run", "läufe/erster Versuch")
    more = ("--text", "verse für mich.txt", "--own-alphabet", "--set", "length=16")
    few = ("--set", "batch=8", "--set", "test_examples=4", "--set", "sample_steps=2")
    said = run(elsewhere, *train, "--steps", "2", *more, *few)
    assert "test ELBO, n = infinity" in said and "±" in said
    made = folder / "läufe" / "erster Versuch"
    record = json.loads((made / "settings.json").read_text("utf-8", "surrogateescape"))
    assert Path(record["settings"]["text"]).name.endswith("mich.txt")
    assert record["settings"]["alphabet"] == "".join(sorted(set(verse)))
    assert len((made / "samples.txt").read_text("utf-8").splitlines()) > 1
    assert "Resuming" in run(elsewhere, *train, "--resume", "--steps", "3")
    assert "n = 2: " in run(elsewhere, *train, "--evaluate", "--n", "2")
    assert "infinity" in run(elsewhere, *train, "--help")
    assert not list(made.glob(".*")), "a lock is left"


@pytest.mark.slow
def test_the_notebooks_and_their_tool_work_elsewhere(elsewhere):
    copy = elsewhere[0]
    tool, book = str(copy / "tools" / "notebooks.py"), copy / "notebooks" / "00_start_here.ipynb"
    before = book.read_bytes()
    run(elsewhere, tool, "--to-percent", str(book), "entwurf.py")
    run(elsewhere, tool, "--from-percent", "entwurf.py", str(book))
    cells = [json.loads(content)["cells"] for content in (before, book.read_bytes())]
    assert [c["source"] for c in cells[0]] == [c["source"] for c in cells[1]]
    book.write_bytes(before)
    said = run(elsewhere, tool, "--check", str(book))
    assert "all in normal form" in said
    # The first picture is drawn where Matplotlib finds no folder for its cache, and says so.
    said = run(elsewhere, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", str(book))
    count = sum(cell["cell_type"] == "code" for cell in cells[0])
    assert re.search(rf"\b{count} passed", said) and "failed" not in said


# Settings of one's own ---------------------------------------------------------------------------


def test_a_notebook_is_tested_without_settings_of_ones_own(tmp_path):
    """IPython's start-up files and a matplotlibrc would change what a cell writes."""
    startup = tmp_path / "home" / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("mine = 'mine'\n", "utf-8")
    (tmp_path / "home" / "matplotlibrc").write_text("font.size: 30\n", "utf-8")
    cell = "import matplotlib\nprint(globals().get('mine'), matplotlib.rcParams['font.size'])"
    output = nbformat.v4.new_output("stream", text="None 10.0\n")
    cell = nbformat.v4.new_code_cell(cell, outputs=[output], execution_count=1)
    book = nbformat.v4.new_notebook(cells=[cell])
    nbformat.write(book, tmp_path / "plain.ipynb")
    home = str(tmp_path / "home")
    kept = {k: v for k, v in os.environ.items() if k not in ("IPYTHONDIR", "MATPLOTLIBRC")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "-c",
         ROOT / "pyproject.toml", "--nbval", tmp_path / "plain.ipynb"],
        cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace",
        env={**kept, "HOME": home, "USERPROFILE": home, "MPLCONFIGDIR": home,
             "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert run.returncode == 0, run.stdout
