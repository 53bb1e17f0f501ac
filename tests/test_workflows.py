"""The workflows of GitHub Actions, which cannot run here: that what they call exists."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path):
    return yaml.safe_load(path.read_text("utf-8"))


def jobs():
    return [(path, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def commands(job):
    """The shell commands of a job, with every value of its matrix put in."""
    matrix = job.get("strategy", {}).get("matrix", {})
    for step in job["steps"]:
        for row in matrix.get("include", [{}]) if "run" in step else []:
            text = step["run"]
            for name, value in row.items():
                text = text.replace(f"${{{{ matrix.{name} }}}}", value)
            yield text


@each_workflow
def test_a_workflow_may_do_little_and_not_for_ever(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1")), name


def test_they_call_what_is_there():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.M)
    called = set()
    for _, _, job in jobs():
        for line in commands(job):
            for target in re.findall(r"\bmake ([a-z-]+)", line):
                assert target in targets, f"make {target} is no command"
                called.add(target)
            for script in re.findall(r"(?<!\S)\.?[\w-]+/[\w./-]*\w(?!\S)", line):
                assert (ROOT / script).exists(), f"{script} does not exist"
    assert {"test-colab", "test-oldest", "teeth"} <= called


def test_linux_does_what_is_done_before_a_commit_and_the_others_what_the_readme_says():
    of = {name: list(commands(job)) for _, name, job in jobs()}
    assert ".ci/run" in of["linux"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert of["plain"] and all(line in readme for line in of["plain"])


def test_no_variable_hides_what_windows_does():
    """The tests there are to meet the encodings that a reader's Windows has."""
    for path in WORKFLOWS:
        assert not re.search("PYTHONUTF8|PYTHONIOENCODING", path.read_text("utf-8")), path


def test_every_python_that_is_claimed_is_tried():
    of = {name: job["strategy"]["matrix"] for _, name, job in jobs() if "strategy" in job}
    tried = of["linux"]["python"]
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    claimed = SpecifierSet(re.search(r'^requires-python = "(.*)"', text, re.M)[1])
    assert all(claimed.contains(python) for python in tried)
    assert not claimed.contains(f"3.{int(tried[0].split('.')[1]) - 1}"), "the oldest is not tried"
    assert {tried[0], tried[-1]} == set(of["plain"]["python"]) == set(of["newest"]["python"])
    house = (ROOT / "tests" / "test_house.py").read_text("utf-8")
    assert str(tried).replace("'", '"') in house, "constraints.txt is checked for other Pythons"
