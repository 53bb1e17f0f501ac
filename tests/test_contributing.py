"""The recipes of CONTRIBUTING.md, and the README's ten lines, run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
RECIPES = {
    re.findall(r"^## (.+)$", PAGE[: found.start()], re.M)[-1]: found[1]
    for found in re.finditer(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
}


def test_there_is_a_recipe_for_each_thing_to_add():
    assert list(RECIPES) == [
        "A schedule", "A condition, and mixed data", "A network", "An explorer"
    ]
    assert all("assert " in recipe for recipe in RECIPES.values())


def test_the_readmes_ten_lines_run_as_they_stand(capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    exec(compile(lines, "README.md", "exec"), {"__name__": "readme"})
    assert len(lines.splitlines()) <= 10 and "torch.Size([8, 5])" in capsys.readouterr().out


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_as_it_stands(name):
    exec(compile(RECIPES[name], f"CONTRIBUTING.md, {name}", "exec"), {"__name__": "recipe"})


def test_the_recipes_are_in_the_style_of_the_rest():
    for name, recipe in RECIPES.items():
        check = [sys.executable, "-m", "ruff", "check", "--ignore", "D,I001,E402", "-"]
        run = subprocess.run(check, cwd=ROOT, input=recipe, capture_output=True, encoding="utf-8")
        assert run.returncode == 0, f"{name}:\n{run.stdout}{run.stderr}"


def test_the_page_keeps_to_its_width():
    assert [line for line in PAGE.splitlines() if len(line) > 100] == []
