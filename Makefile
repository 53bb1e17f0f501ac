# make lab    set everything up, then open the first notebook in JupyterLab
# make test   set everything up, then run the notebooks and the tests
#
# Each target does its own set-up, once: again only when a file that it depends on has changed.
# PYTHON=python3.12 chooses the Python, VENV=dir the environment's folder, ARGS="..." is passed on.

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Two threads are enough for small networks, and more would only wait for each other.
TEST_THREADS ?= 2
# Jupyter refuses to run as root unless told; in a container there is often nobody else.
AS_ROOT := $(if $(filter 0,$(shell id -u 2>/dev/null)),--allow-root)
# From this folder, not from notebooks/, so that a notebook may show what lies in assets/.
FIRST_PAGE := --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb
SETUP_FILES := requirements.txt constraints.txt pyproject.toml
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help lab test bench notebooks links train lint setup clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' \
	  | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'

lab: $(VENV)/.ready  ## open the book in JupyterLab  (ARGS="--no-browser --port 8899")
	$(BIN)/python -m jupyterlab $(AS_ROOT) $(FIRST_PAGE) $(ARGS)

test: $(VENV)/.ready-to-test  ## run every notebook and every test  (ARGS="-k flows")
	OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/python -m pytest --nbval $(ARGS) notebooks/ tests/

bench: $(VENV)/.ready-to-test  ## measure the cost of a training step, and more
	$(BIN)/python -m tools.bench $(ARGS)

notebooks: $(VENV)/.ready  ## run the notebooks and write their outputs  (ARGS="notebooks/01_*.ipynb")
	$(BIN)/python tools/notebooks.py $(ARGS)

links: $(VENV)/.ready  ## point the Colab links at your fork  (REPO=owner/name)
	$(BIN)/python tools/links.py $(REPO)

train: $(VENV)/.ready  ## train on MNIST  (ARGS="cifar10 --scale gpu --run runs/cifar10")
	$(BIN)/python -m bfn_core.training $(or $(ARGS),mnist --run runs/mnist)

lint: $(VENV)/.ready-to-test  ## check the style, of the notebooks too
	$(BIN)/ruff check .
	$(BIN)/python tools/notebooks.py --check
	$(BIN)/python tools/links.py --check

setup: $(VENV)/.ready-to-test  ## only the set-up

clean:  ## remove the environment and the linter's and pytest's caches
	rm -rf $(VENV) build bfn_core.egg-info .pytest_cache .ruff_cache

$(VENV)/.ready: $(SETUP_FILES) | $(BIN)/python
	@echo "Installing what requirements.txt lists into $(VENV) (a few minutes, once) ..."
	@$(PIP_INSTALL) -r requirements.txt -e .
	@touch $@

$(VENV)/.ready-to-test: $(VENV)/.ready
	@echo "Installing what the tests need beside it ..."
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

# The first of these that is Python 3.10 or newer makes the environment.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version) ..."; \
	    "$$python" -m venv $(VENV) && exit 0; \
	    echo "That Python cannot make environments (on Debian: apt install python3-venv)." >&2; \
	    rm -rf $(VENV); exit 1; \
	  fi; \
	done; \
	echo "Python 3.10 or newer is needed, and $(or $(PYTHON),python3) is not." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.12 lab" >&2; \
	exit 1
