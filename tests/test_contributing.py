"""The recipes of CONTRIBUTING.md and the README's lines of Python run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bfn_core import training
from bfn_core.training import load

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


TEN, FOLDER, TABLE, TENSOR, SEVENS, COARSE, PUBLISHED = re.findall(
    r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
)


def run(lines):
    """Run lines of the README; what they define."""
    found = {"__name__": "readme"}
    exec(compile(lines, "README.md", "exec"), found)
    return found


def fewer_steps(lines):
    """The same lines with 3 steps, on a smaller network."""
    few = "own_settings(steps=3, batch=2, sample_steps=2"
    lines, changed = re.subn(r"own_settings\(steps=[0-9_]+", few, lines)
    assert changed == 1 and len(lines.split("\n\n")[1].splitlines()) <= 5
    return lines.replace("channels=64", "channels=8")


def test_the_readmes_ten_lines_run_as_they_stand(capsys):
    lines = TEN
    run(lines)
    assert len(lines.splitlines()) <= 10 and "torch.Size([8, 5])" in capsys.readouterr().out


def test_the_readmes_lines_draw_with_a_published_model(monkeypatch, capsys):
    """With a shipped one in its place, which needs no network."""
    asked = []
    monkeypatch.setattr(training, "published",
                        lambda name: asked.append(name) or training.shipped(name))
    run(PUBLISHED)
    assert asked == ["mnist"] and "torch.Size([4, 1, 28, 28])" in capsys.readouterr().out


def test_the_readmes_lines_train_on_a_folder_of_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.jpg")
    found = run(fewer_steps(FOLDER).replace("size=32", "size=8"))
    assert found["result"].evaluation["elbo"]["infinity"]["bits per dimension"] > 0
    with Image.open("runs/photos/samples.png") as samples:
        assert samples.size == (80, 80)  # 8 × 8 of 8 pixels, and 2 pixels between them


def test_the_readmes_lines_train_on_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"n{i},{i % 7},{'yes' if i % 2 else 'no'}\n" for i in range(30))
    (tmp_path / "table.csv").write_text("name,age,member\n" + rows + "x,,yes\n", "utf-8")
    found = run(fewer_steps(TABLE))
    assert len(found["table"]) == 31 and "'member': " in capsys.readouterr().out


def test_the_readmes_lines_train_on_a_tensor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = run(fewer_steps(TENSOR))
    assert (found["x"].square().sum(1) - 1).abs().max() < 0.01  # a circle
    assert "bits per dimension" in capsys.readouterr().out
    load("runs/circle", bfn=found["bfn"])
    kept = found["result"].bfn.state_dict()
    assert all((w == kept[name]).all() for name, w in found["bfn"].state_dict().items())


def test_the_readmes_lines_draw_sevens():
    from bfn_core.frechet import classifier

    torch.manual_seed(0)  # the lines ask for no generator
    found = run(SEVENS)
    assert found["sevens"].shape == (4, 1, 28, 28)
    assert (classifier("mnist")(found["sevens"]).argmax(1) == 7).sum() >= 3


def test_the_readmes_lines_draw_what_may_stand_behind_a_coarse_picture():
    torch.manual_seed(0)
    found = run(COARSE)
    assert found["four"].shape == (4, 1, 28, 28)
    means = found["coarse_hints"](found["four"], 4)
    assert (means - found["told"]).square().mean().sqrt() < 0.25 * found["told"].std()


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
