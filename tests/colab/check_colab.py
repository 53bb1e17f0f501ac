"""Every notebook as Colab would run it: `make test-colab`, in an environment of its own.

Each runs by nbval in a folder that holds the notebooks and nothing else, in kernels that find a
stand-in for google.colab. bfn_core is not there until a set-up cell has pip install it, from a git
repository at the address that the cell names (git is told that it lies in a folder nearby).
The name of this file keeps it out of `make test`.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.files import served
from tests.hearing import press_while_busy
from tools import links

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPOSITORY = links.repository()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
IN_BROWSER = {"01_gaussian_mixture", "04_simplex", "13_conditional"}  # an anywidget there
WEIGHTS = {"07_mnist": "mnist", "08_cifar10": "cifar10", "09_text8": "text8",
           "11_fast_samplers": "mnist", "12_compression": "mnist",
           "13_conditional": "mnist_conditional", "15_graphs_and_molecules": "trees",
           "16_tables_and_sound": "strings"}


def python(*arguments, cwd, **options):
    """Run this environment's Python in a folder that is not the checkout, which it would see."""
    command = (sys.executable, *arguments)
    return subprocess.run(
        command, cwd=cwd, capture_output=True, encoding="utf-8", errors="replace", **options
    )


class Colab:
    """A folder of notebooks, the environment variables of its kernels, and what was recorded."""

    def __init__(self, folder, assets):
        self.folder = folder / "content"
        self.folder.mkdir(parents=True)
        shutil.copytree(ROOT / "notebooks", self.folder / "notebooks")
        startup = folder / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        shutil.copy(HERE / "startup.py", startup)
        self.record = folder / "record.jsonl"
        self.repository = folder / "repository"
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BFN_DATA_DIR")}
        self.environment = {
            **kept,
            "BFN_SCALE": "smoke",
            "BFN_DATA_DIR": str(folder / "data"),
            "COLAB_ASSETS": assets,
            "COLAB_RAW": f"https://raw.githubusercontent.com/{REPOSITORY}/main/assets/",
            "COLAB_RECORD": str(self.record),
            "COLAB_STAND_IN": str(HERE),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.repository.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}",
            "IPYTHONDIR": str(folder / "ipython"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }

    def publish(self):
        """Make a git repository of what a fork would have on GitHub."""
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            (self.repository / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.repository)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "bfn_core", self.repository / "bfn_core", ignore=ignore)
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
            subprocess.run(["git", *command], cwd=self.repository, check=True)

    def frozen(self):
        """The packages of this environment with their versions, bfn_core left out."""
        lines = python("-m", "pip", "freeze", cwd=self.folder).stdout.splitlines()
        return [line for line in lines if not line.lower().startswith("bfn_core")]

    def run_set_up_cell(self):
        """Run the set-up cell in an IPython of its own, as the first thing that a reader does."""
        cell = self.folder / "set_up.ipy"
        cell.write_text(links.SETUP.format(REPOSITORY), "utf-8")
        command = ("-m", "IPython", "--colors=NoColor", str(cell))
        return python(*command, cwd=self.folder, env=self.environment)

    def run_notebook(self, path):
        """Run one notebook by nbval; return the process and what was recorded meanwhile."""
        self.record.unlink(missing_ok=True)
        options = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=300", "-q")
        process = python(
            "-m", "pytest", *options, "-p", "no:cacheprovider", f"--rootdir={self.folder}",
            f"notebooks/{path.name}", cwd=self.folder, env=self.environment,
        )
        lines = self.record.read_text("utf-8").splitlines() if self.record.exists() else []
        return process, [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def assets():
    """A server of the repository's assets on this machine."""
    with served(ROOT / "assets") as address:
        yield address


@pytest.fixture(scope="session")
def installed(tmp_path_factory, assets):
    """Colab with bfn_core as the set-up cell installed it, and how that went."""
    colab = Colab(tmp_path_factory.mktemp("colab"), assets)
    python("-m", "pip", "uninstall", "-q", "-y", "bfn_core", cwd=colab.folder)
    colab.before = colab.frozen()
    colab.failure = colab.run_set_up_cell()  # there is no repository yet
    colab.publish()
    colab.success = colab.run_set_up_cell()
    colab.again = colab.run_set_up_cell()
    return colab


def test_this_is_colabs_world():
    for line in (HERE / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            assert pin.specifier.contains(importlib.metadata.version(pin.name)), line


def test_where_nothing_can_be_fetched_the_set_up_cell_says_what_to_do(installed):
    said = installed.failure.stdout + installed.failure.stderr
    assert installed.failure.returncode != 0
    assert "did not arrive; see above why, then run this cell again" in said
    assert "git clone" in said, "pip's own complaint stands above it"


def test_the_set_up_cell_installs_bfn_core_and_touches_nothing_else(installed):
    assert installed.success.returncode == 0, installed.success.stdout + installed.success.stderr
    assert "scale smoke" in installed.success.stdout
    assert installed.frozen() == installed.before
    assert {"torch", "numpy", "matplotlib"} <= {line.split("==")[0] for line in installed.before}
    here = [sysconfig.get_path("purelib")]
    (found,) = importlib.metadata.distributions(name="bfn_core", path=here)
    where = json.loads(found.read_text("direct_url.json"))
    assert where["url"] == f"https://github.com/{REPOSITORY}" and "dir_info" not in where
    assert "Cloning" not in installed.again.stdout and installed.again.returncode == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_in_colab(installed, path):
    process, record = installed.run_notebook(path)
    assert process.returncode == 0, process.stdout + process.stderr
    asked = [line for line in record if line.get("called") == "enable_custom_widget_manager"]
    assert bool(asked) == (path.stem in IN_BROWSER)
    shown = [line["manager"] for line in record if "shown" in line]
    assert path.stem not in IN_BROWSER or any(shown), "Colab is not told of its widget manager"
    fetched = [line["fetched"] for line in record if "fetched" in line]
    raw = installed.environment["COLAB_RAW"]
    assert [url for url in fetched if not url.startswith(raw)] == []
    assert len(set(fetched)) == len(fetched), "an asset is fetched once and kept"
    if path.stem in WEIGHTS:
        kept = Path(installed.environment["BFN_DATA_DIR"], "assets")
        assert (kept / f"{WEIGHTS[path.stem]}.safetensors").exists(), "whence came its weights?"


def test_a_button_is_heard_while_its_cell_runs_and_all_else_in_its_turn():
    assert press_while_busy() == ["[1] []", "second", "third [7] [1]"]
