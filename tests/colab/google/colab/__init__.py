"""A stand-in for Colab's own package: it records what is asked of it, and does nothing else.

tests/colab/startup.py puts it into every kernel, as Colab does with the real one.
"""

import json
import os

from . import output  # noqa: F401 - Colab imports it too, and anywidget looks for it


def record(**what):
    """Add one line to the record, a file of JSON lines that COLAB_RECORD names."""
    with open(os.environ["COLAB_RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")
