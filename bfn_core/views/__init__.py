"""Figures (Matplotlib) and explorers (ipywidgets) of the book; nothing in bfn_core imports them.

One module for each notebook, of its name; what several of them use lies in kit/.
"""
