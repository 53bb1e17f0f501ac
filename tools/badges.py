"""The README's badges that no server draws: `python -m tools.badges` writes assets/badge_*.svg.

What they say is read from pyproject.toml, so that they cannot promise what the package does not.
"""

import html
import re
from pathlib import Path

from bfn_core.data.assets import CHECKOUT

LETTER = 6.6  # width of a letter in pixels; `textLength` makes any font keep to it
COLOURS = {"left": "#444c56", "python": "#0072B2", "licence": "#00765A", "open": "#A63C00"}


def says() -> dict[str, tuple[str, str]]:
    """What each badge says, left and right."""
    project = (CHECKOUT.parent / "pyproject.toml").read_text(encoding="utf-8")
    (least,) = re.findall(r'^requires-python = ">=([\d.]+)"$', project, re.M)
    (licence,) = re.findall(r'^license = "([^"]+)"$', project, re.M)
    return {
        "python": ("Python", f"{least} or newer"),
        "licence": ("licence", licence),
        "open": ("open in", "Colab"),
    }


def badge(left: str, right: str, colour: str) -> str:
    """An SVG of 20 pixels in height, in the manner of GitHub's own."""
    widths = [round(LETTER * len(words)) for words in (left, right)]
    edges = (0, widths[0] + 12, widths[0] + widths[1] + 24)
    texts = "".join(
        f'<text x="{edge + 6}" y="14" textLength="{width}">{html.escape(words)}</text>'
        for edge, width, words in zip(edges, widths, (left, right), strict=False)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{edges[2]}" height="20" role="img">'
        f"<title>{html.escape(left)}: {html.escape(right)}</title>"
        f'<clipPath id="r"><rect width="{edges[2]}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{edges[1]}" height="20" fill="{COLOURS["left"]}"/>'
        f'<rect x="{edges[1]}" width="{edges[2] - edges[1]}" height="20" fill="{colour}"/></g>'
        '<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">'
        f"{texts}</g></svg>\n"
    )


def badges() -> dict[Path, str]:
    """The text of each file."""
    return {
        CHECKOUT / f"badge_{name}.svg": badge(left, right, COLOURS[name])
        for name, (left, right) in says().items()
    }


if __name__ == "__main__":
    for path, text in badges().items():
        path.write_text(text, encoding="utf-8", newline="\n")
