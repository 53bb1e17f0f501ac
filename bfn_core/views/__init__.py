"""Figures (Matplotlib) and explorers (ipywidgets) of the book; nothing in bfn_core imports them."""

import contextlib

# Here, since every notebook begins with this import in a cell whose output is not compared: where
# Matplotlib finds no folder for its cache, or first looks through thousands of fonts, it says so.
with contextlib.suppress(ImportError):  # the report on the environment names what is missing
    import matplotlib.font_manager  # noqa: F401
