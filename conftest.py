"""Settings that every test shares, those of the notebooks included.

They are made here, and not in a test's own code, because a notebook's kernel inherits them.
"""

import atexit
import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

# The tests' scale, unless somebody asks for another: seconds of work, no network, no data to fetch.
os.environ.setdefault("BFN_SCALE", "smoke")
# The CPU, whose digits they compare, whatever GPU is there, unless somebody asks for it.
if not os.environ.get("BFN_TEST_GPU"):
    os.environ["ACCELERATE_USE_CPU"] = "true"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Pictures as Matplotlib draws them by itself, whatever a matplotlibrc of one's own asks for.
if found := importlib.util.find_spec("matplotlib"):
    os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
# Nor do start-up files of one's own have a part in a kernel.
scratch = tempfile.TemporaryDirectory(prefix="bfn_core-tests-", ignore_cleanup_errors=True)
atexit.register(scratch.cleanup)
os.environ["IPYTHONDIR"] = scratch.name
# Otherwise every kernel that starts prints a warning about frozen modules.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
# Where paths of Jupyter will be looked up from its next version on: asked for, it does not warn.
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")


def _in_lab(nodeid):
    """Is it a test that opens JupyterLab? Those of the website do not."""
    return nodeid.startswith("tests/browser/") and "/test_site.py" not in nodeid


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which who runs the notebooks alone may lack
def pytest_xdist_make_scheduler(config, log):
    """With `-n 2 --dist loadfile`: one process opens JupyterLab, the others share the files.

    Two that draw in it would wait for each other's pictures.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneLab(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "JupyterLab" if _in_lab(nodeid) else super()._split_scope(nodeid)

    return OneLab(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config, items):
    """With several processes, what takes longest comes first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not _in_lab(item.nodeid))


@pytest.fixture
def one_thread():
    """For losses that must agree exactly: sums depend on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
