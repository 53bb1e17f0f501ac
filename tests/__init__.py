"""A package, so that `tests` means this folder: IPython 7 has another on the path."""
