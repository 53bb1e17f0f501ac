"""Explorers that move in the reader's own browser, without a kernel.

The drawing is JavaScript: one file in javascript/, an ES module with pure mathematical functions,
which the tests hold against bfn_core, and a `render({model, el})`. A live notebook runs it as an
anywidget; a static page (nbviewer, exported HTML) runs the same file in an iframe. What drawings
share, stage.js, is put in the place of the line that imports it: neither has a server to ask.
"""

import html
import json
import re

import anywidget
import ipywidgets
import traitlets

from . import style
from .explorer import JAVASCRIPT, VIEW, view

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{margin: 0}}</style><div id="here"></div><script type="module">
{script}
{{ // a block of its own: its names are not the drawing's
  const traits = {traits};
  const model = {{get: (name) => traits[name], set() {{}}, on() {{}}, save_changes() {{}}}};
  render({{model, el: document.getElementById("here")}});
}}
</script></html>"""

FRAME = """<iframe title="{title}" sandbox="allow-scripts" loading="lazy" srcdoc="{page}"
 style="width:100%; max-width:940px; height:{height}px; border:0"></iframe>
<p><small>{title} Where a page may not run scripts, as on GitHub, there is nothing to drag here;
the next picture shows the same at rest.</small></p>"""


IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";$', re.MULTILINE)


def script(name):
    """The text of a file in javascript/, with the files it imports in the place of the imports.

    A file that several import stands there once, before the first of them that needs it.
    """
    seen = set()

    def text(name):
        if name in seen:
            return ""
        seen.add(name)
        whole = (JAVASCRIPT / f"{name}.js").read_text(encoding="utf-8")
        return IMPORT.sub(lambda found: text(found[1]), whole)

    return text(name)


class Live(ipywidgets.VBox):
    """What the browser draws itself, `drawing`, with a picture for where nothing runs."""

    description: str
    drawing: anywidget.AnyWidget
    _png: bytes
    _width: float

    def stored(self) -> bytes:
        """The picture that is stored, in few colours."""
        return style.shrink(self._png)

    def bundle(self):
        """What is put under the cell: the live view, the picture, a sentence."""
        data, metadata = style.bundle(self.stored(), self._width, self.description)
        live = self.drawing._repr_mimebundle_()
        if isinstance(live, tuple):  # Colab: where to find the code that shows an anywidget
            metadata = {**metadata, **live[1]}
        return {VIEW: view(self), **data}, metadata

    def _ipython_display_(self, **_):
        style.display(*self.bundle())


class BrowserExplorer(Live):
    """A drawing in JavaScript that runs in the browser.

    Args:
      name: the file in javascript/, without its ending.
      settings: what the drawing needs and never changes, as plain JSON data.
      state: what its controls change, by name. After a control is let go, `explorer.state` holds
        its new value; to set `explorer.state` moves the control.
      figure: a Matplotlib figure of the first state, for pages that show pictures only.
      description: one sentence on what there is to see, the same in every run.
      height: of the drawing on a static page, in CSS pixels.
    """

    def __init__(self, name, settings, state, *, figure, description, height):
        self._settings, self._first = settings, dict(state)
        self._script = script(name)
        self._width = figure.get_figwidth() * style.CSS_DPI
        self._png = style.to_png(figure)
        style.release(figure)
        self.description, self.height = description, height
        traits = {
            "_esm": self._script,
            "settings": traitlets.Dict().tag(sync=True),
            "state": traitlets.Dict().tag(sync=True),
        }
        kind = type(name.capitalize(), (anywidget.AnyWidget,), traits)
        self.drawing = kind(settings=settings, state=dict(state))
        super().__init__((self.drawing,))
        self.add_class("bfn-explorer")

    @property
    def state(self):
        """What the controls stand at, by name."""
        return self.drawing.state

    @state.setter
    def state(self, values):
        unknown = set(values) - set(self._first)
        if unknown:
            raise ValueError(f"state has {sorted(self._first)}, but no {sorted(unknown)}")
        self.drawing.state = {**self.drawing.state, **values}

    def page(self):
        """The drawing in its first state as a whole HTML page that needs nothing else."""
        traits = json.dumps({"settings": self._settings, "state": self._first})
        return PAGE.format(
            title=html.escape(self.description),
            script=self._script.replace("</", "<\\/"),
            traits=traits.replace("</", "<\\/"),
        )

    def bundle(self):
        """What is put under the cell: the live view, the page in a frame, a picture, a sentence."""
        frame = FRAME.format(
            title=html.escape(self.description), page=html.escape(self.page()), height=self.height
        )
        data, metadata = super().bundle()
        # Before the picture: a page that takes the first kind it can show shows what moves.
        return {VIEW: data.pop(VIEW), "text/html": frame, **data}, metadata

    def stored(self) -> bytes:
        """The picture as it was drawn."""
        return self._png
