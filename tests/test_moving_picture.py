"""The README's moving picture: what it shows is what the shipped weights do."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bfn_core.views.kit.style import COLOURS
from tools import moving_picture

SVG = "{http://www.w3.org/2000/svg}"
RENEW = "python -m tools.moving_picture renews it (and python -m tools.record the digests)"


@pytest.fixture(scope="module")
def root():
    return ElementTree.parse(moving_picture.TARGET).getroot()


def frames(image, colour):
    """The frames of a strip as shares of the colour, (n + 1, 28, 28)."""
    kind, _, content = image.get("href").partition(",")
    assert kind == "data:image/png;base64"
    rgb = np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    channel = min(range(3), key=lambda k: int(colour[1 + 2 * k : 3 + 2 * k], 16))
    darkest = int(colour[1 + 2 * channel : 3 + 2 * channel], 16)
    strip = (255 - rgb[..., channel].astype(float)) / (255 - darkest)
    assert strip.shape[1] == int(image.get("width")) and strip.shape[0] == 30
    return strip.reshape(30, -1, 30).transpose(1, 0, 2)[:, 1:-1, 1:-1]


def lines(root):
    return [node.text for node in root.iter(f"{SVG}text")]


def test_it_draws_itself_the_same_twice(one_thread):
    assert moving_picture.picture(n=3) == moving_picture.picture(n=3)


def test_it_is_one_small_file_without_scripts_and_says_what_it_shows(root):
    text = moving_picture.TARGET.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert root.find(f"{SVG}title").text == moving_picture.TITLE
    assert root.find(f"{SVG}desc").text == moving_picture.ALT
    tags = {node.tag.removeprefix(SVG) for node in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "g", "rect", "path", "text", "image"}
    for node in root.iter():
        for name, value in node.attrib.items():
            assert not name.startswith("on") and "://" not in value, (name, value[:60])
    style = root.find(f"{SVG}style").text
    assert "url(" not in style and "@import" not in style
    before, moving = style.split("@media(prefers-reduced-motion:no-preference)")
    assert "animation" not in before and "animation" in moving  # who wants no motion has none
    assert "@media(prefers-color-scheme:dark)" in before


def test_act_one_is_what_the_shipped_weights_say_of_that_digit(root, one_thread):
    digit = moving_picture.drawn_digits()[moving_picture.DIGIT]
    n, seed = moving_picture.MESSAGES, moving_picture.SEEDS[0]
    act = moving_picture.telling(moving_picture.shipped("mnist"), digit, n, seed)
    images = list(root.iter(f"{SVG}image"))[:4]
    assert (frames(images[0], COLOURS.data)[0].round() == digit[0].numpy()).all()
    shade = 1 / (moving_picture.LEVELS - 1)
    for image, strip, kind in zip(
        images[1:], act.strips, ("sender", "input", "output"), strict=True
    ):
        drawn = frames(image, getattr(COLOURS, kind))
        assert len(drawn) == n + 1
        assert np.abs(drawn - strip.numpy()).max() < 0.6 * shade, RENEW
    told = [float(line.split()[0]) for line in lines(root) if re.match(r"\d+ bits", line)]
    paid = [*act.bits[:n], act.bits[-1]]
    assert len(told) == n + 1 and np.abs(np.subtract(told, paid)).max() < 0.51, RENEW
    assert told[0] == 0 and 60 < told[-1] < 400


def test_act_two_goes_from_nothing_to_a_digit_that_the_belief_agrees_with(root):
    said, belief, guess = (
        frames(image, getattr(COLOURS, kind))
        for image, kind in zip(
            list(root.iter(f"{SVG}image"))[4:], ("sender", "input", "output"), strict=True
        )
    )
    half = pytest.approx(0.5, abs=0.05)
    assert said[0].mean() == half and belief[0].mean() == half and belief[0].std() < 0.01
    assert len(said) == len(belief) == len(guess) == moving_picture.MESSAGES + 1
    decided = (guess[-1] < 0.05) | (guess[-1] > 0.95)
    assert decided.mean() > 0.97
    assert ((belief[-1] > 0.5) == (guess[-1] > 0.5)).mean() > 0.98
    assert 0.05 < (guess[-1] > 0.5).mean() < 0.35


def test_every_act_counts_its_messages(root):
    n = moving_picture.MESSAGES
    counts = [f"message {i} of {n}" for i in range(n + 1)]
    assert [line for line in lines(root) if line.startswith("message ")] == 2 * counts
