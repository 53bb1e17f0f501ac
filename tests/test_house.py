"""The house: its set-up, its requirements, its floors, and the report on a reader's machine."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
MATHEMATICS = (
    "schedules", "distributions", "flows", "model", "exact", "likelihood", "official", "__init__",
)


def read_requirements(name):
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def pyproject():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


# Requirements.


def test_every_requirement_gives_its_reason():
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or re.search(r"\S+ +# \w+", line), line


def test_the_package_and_the_readers_list_ask_for_the_same_versions():
    asked = {r.name: str(r.specifier) for r in read_requirements("requirements.txt")}
    for line in pyproject()["project"]["dependencies"]:
        requirement = Requirement(line)
        assert asked[requirement.name] == str(requirement.specifier)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_requirement_is_pinned_once_for_every_python(python):
    environment = {**default_environment(), "python_version": python,
                   "python_full_version": f"{python}.9"}
    pins = {}
    for pin in read_requirements("constraints.txt"):
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in pins, f"{pin.name} is pinned twice"
            pins[pin.name] = str(pin.specifier).removeprefix("==")
    extras = pyproject()["project"]["optional-dependencies"].values()
    more = [Requirement(line) for extra in extras for line in extra]
    more = [r for r in more if r.name != "bfn_core"]  # one extra may hold another
    for requirement in [*read_requirements("requirements.txt"), *more]:
        assert requirement.specifier.contains(pins[requirement.name]), requirement


@pytest.mark.parametrize("python", ["3.10.0", "3.11.0", "3.11.2", "3.12.0", "3.13.0"])
def test_no_pin_is_for_a_newer_python_of_the_same_name(python):
    """Debian 12 has Python 3.11.2. Only of what is installed here is it known what it needs."""
    environment = {**default_environment(), "python_full_version": python,
                   "python_version": python.rpartition(".")[0]}
    installed = {d.name.lower().replace("_", "-"): d for d in importlib.metadata.distributions()}
    seen = 0
    for pin in read_requirements("constraints.txt"):
        found = installed.get(pin.name.lower().replace("_", "-"))
        applies = pin.marker is None or pin.marker.evaluate(environment)
        if found and applies and str(pin.specifier) == f"=={found.version}":
            needs = SpecifierSet(found.metadata["Requires-Python"] or "")
            assert needs.contains(python), f"{pin} needs Python {needs}"
            seen += 1
    assert seen


def test_colabs_own_versions_are_admitted():
    """A reader there should have to install nothing that Colab already has."""
    asked = {r.name: r.specifier for r in read_requirements("requirements.txt")}
    pins = read_requirements("tests/colab/constraints.txt")
    colab = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    assert {"ipython", "ipywidgets", "anywidget", "numpy", "matplotlib"} <= colab.keys()
    for name, version in {**colab, "torch": "2.11.0"}.items():
        assert name not in asked or asked[name].contains(version), f"{name} {version}"


def test_every_import_of_the_package_is_declared():
    distributions = importlib.metadata.packages_distributions()
    declared = {Requirement(r).name for r in pyproject()["project"]["dependencies"]}
    optional = {"tensorboard", "huggingface-hub", "huggingface_hub", "constriction",
                "ase"}  # where there
    for path in (ROOT / "bfn_core").rglob("*.py"):
        for module in imported_modules(path):
            if module in sys.stdlib_module_names or module == "bfn_core":
                continue
            names = {n.lower() for n in distributions.get(module, [module])}
            assert names & (declared | optional), f"{path.relative_to(ROOT)} imports {module}"


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


# Floors.


def test_the_mathematics_imports_only_torch():
    for name in MATHEMATICS:
        outside = set(imported_modules(ROOT / "bfn_core" / f"{name}.py")) - {"torch", "bfn_core"}
        assert outside <= sys.stdlib_module_names, f"{name}.py imports {outside}"


def test_import_bfn_core_draws_in_neither_pictures_nor_widgets():
    code = (
        "import sys, bfn_core; print(*sorted({'matplotlib', 'ipywidgets', 'IPython', 'plotly',"
        "'sklearn', 'accelerate', 'pooch', 'bfn_core.views', 'bfn_core.training'}"
        "& set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert run.stdout.strip() == ""


def test_nothing_below_imports_the_views():
    for path in (ROOT / "bfn_core").rglob("*.py"):
        if "views" not in path.parts:
            assert "bfn_core.views" not in path.read_text("utf-8"), path.name


# Commands.


def test_the_readme_shows_both_commands_on_its_first_screen():
    first = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:30])
    assert re.search(r"^make lab\b", first, re.M) and re.search(r"^make test\b", first, re.M)
    assert "pip install -r requirements.txt -c constraints.txt -e ." in (
        ROOT / "README.md"
    ).read_text("utf-8")


def test_the_readme_asks_for_the_torch_that_is_pinned():
    """Another one would be replaced at once, and the gigabytes fetched all the same."""
    (pin,) = (pin for pin in read_requirements("constraints.txt") if pin.name == "torch")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"`pip install {pin} --index-url https://download.pytorch.org/whl/cpu`" in readme


def test_the_readme_lists_every_notebook():
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        number = path.stem[:2]
        row = re.search(rf"^\| {number} \|.*$", readme, re.M)
        assert row and f"(notebooks/{path.name})" in row[0], f"no link to {path.name}"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_readmes_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make .*\btest\b", script.read_text("utf-8"), re.M)
    if sys.platform != "win32":  # whose bash is another system's
        subprocess.run(["bash", "-n", script], check=True)


needs_make = pytest.mark.skipif(
    not shutil.which("make") or sys.platform == "win32", reason="make and its shell are not here"
)


def make(*arguments, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, **options,
    )


@needs_make
def test_make_passes_options_on(tmp_path):
    lab = make("-n", "lab", f"VENV={tmp_path}", "ARGS=--no-browser --port 8899").stdout
    assert "--no-browser --port 8899" in lab and "notebooks/00_start_here.ipynb" in lab
    assert "-r requirements.txt -e ." in lab
    test = make("-n", "test", f"VENV={tmp_path}", "ARGS=-k flows").stdout
    assert "OMP_NUM_THREADS=1" in test and "pytest -n 2 --dist loadfile" in test
    assert "--nbval -k flows notebooks/ tests/" in test
    alone = make("-n", "test", f"VENV={tmp_path}", "WORKERS=0").stdout
    assert "OMP_NUM_THREADS=2" in alone and "pytest -n 0" in alone


@needs_make
def test_make_refuses_an_old_python_in_one_sentence(tmp_path):
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    old.chmod(0o755)
    run = make("lab", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert run.returncode != 0
    assert f"Python 3.10 or newer is needed, and {old} is not." in run.stderr
    assert not (tmp_path / "venv").exists()


# The report on a reader's machine.


@pytest.fixture
def environment():
    from bfn_core import environment

    return environment


def finding(report, topic):
    (line,) = [line for line in report.findings if line.topic == topic]
    return line


def test_the_report_says_the_same_in_every_form(environment):
    report = environment.report()
    forms = (repr(report), report._repr_markdown_(), report._repr_html_())
    torch_version = importlib.metadata.version("torch")
    for form in forms:
        assert "smoke, as BFN_SCALE says" in form
        assert f"torch {torch_version}" in form
        assert report.verdict in form
        # (A service's home may be the root of all paths.)
        assert Path.home() == Path(Path.home().anchor) or str(Path.home()) not in form


def test_the_report_names_what_is_missing_or_too_old_and_the_cure(environment):
    requirements = [Requirement("no-such-package>=2"), Requirement("numpy<1"), Requirement("torch")]
    missing, old = environment._unmet(requirements)
    assert missing.found == "is not installed"
    assert missing.advice == 'pip install "no-such-package>=2", then restart the kernel'
    assert f"{Version(importlib.metadata.version('numpy'))} is installed, and <1" in old.found
    report = environment.Report((missing, old))
    assert not report.ready
    assert "Something needs your attention: no-such-package, numpy." in repr(report)


def test_the_report_refuses_an_unknown_scale_gently(environment, monkeypatch):
    monkeypatch.setenv("BFN_SCALE", "huge")
    line = finding(environment.report(), "scale")
    assert "'huge'" in line.found and "BFN_SCALE" in line.advice


def test_the_report_sees_data_by_their_files(environment, monkeypatch, tmp_path):
    from bfn_core.data import images, text

    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path))
    before = environment.report()
    for name in ("MNIST", "CIFAR-10", "text8"):
        assert finding(before, name).found.startswith("not here yet")
    for file in images.MNIST_FILES[:-1]:
        (tmp_path / file.name).touch()
    (tmp_path / text.TEXT8_PREFIX.name).touch()
    partly = environment.report()
    assert finding(partly, "MNIST").found.startswith("not here yet")
    assert finding(partly, "text8").found == "only its beginning is at hand, in BFN_DATA_DIR"
    (tmp_path / images.MNIST_FILES[-1].name).touch()
    assert finding(environment.report(), "MNIST").found == "at hand, in BFN_DATA_DIR"


def test_the_readmes_results_are_those_of_the_records():
    from tools import results

    readme = results.README.read_text(encoding="utf-8")
    assert results.written(readme) == readme, "python -m tools.results renews them"
