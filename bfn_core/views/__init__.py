"""Figures (Matplotlib) and explorers (ipywidgets) of the book; nothing in bfn_core imports them."""
