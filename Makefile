# make lab    set everything up, then open the first notebook in JupyterLab
# make test   set everything up, then run the notebooks and the tests
#
# Each target does its own set-up, once: again only when a file that it depends on has changed.
# PYTHON=python3.12 chooses the Python, VENV=dir the environment's folder, ARGS="..." is passed on.

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Environments of other versions, beside the reader's own.
COLAB := $(VENV)-colab
OLDEST := $(VENV)-oldest
# For the oldest versions: torch from 2.4.0 on would do, but where PyPI is all there is, an older
# torch for Linux brings CUDA, some gigabytes. .github/workflows/tests.yml takes 2.4.0 for CPUs.
TORCH ?= 2.13.0
# Two threads are enough for small networks, and more would only wait for each other.
TEST_THREADS ?= 2
# `make test WORKERS=4`: in so many processes, one of which opens JupyterLab; 0 is this one alone.
WORKERS ?= 2
# Jupyter refuses to run as root unless told; in a container there is often nobody else.
AS_ROOT := $(if $(filter 0,$(shell id -u 2>/dev/null)),--allow-root)
# From this folder, not from notebooks/, so that a notebook may show what lies in assets/.
FIRST_PAGE := --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb
SETUP_FILES := requirements.txt constraints.txt pyproject.toml
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help lab test test-colab test-oldest teeth bench notebooks site links train lint setup clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' \
	  | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

lab: $(VENV)/.ready  ## open the book in JupyterLab  (ARGS="--no-browser --port 8899")
	$(BIN)/python -m jupyterlab $(AS_ROOT) $(FIRST_PAGE) $(ARGS)

test: $(VENV)/.ready-to-test  ## run every notebook and every test  (ARGS="-k flows" WORKERS=4)
	OMP_NUM_THREADS=$(if $(filter 0,$(WORKERS)),$(TEST_THREADS),1) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder --nbval $(ARGS) notebooks/ tests/

test-colab: $(COLAB)/.ready  ## run every notebook on the versions that Google Colab ships
	PYDEVD_DISABLE_FILE_VALIDATION=1 OMP_NUM_THREADS=$(TEST_THREADS) \
	  $(COLAB)/bin/python -m pytest $(ARGS) tests/colab/check_colab.py

test-oldest: $(OLDEST)/.ready  ## run the tests on the lowest versions allowed  (TORCH=2.4.0)
	OMP_NUM_THREADS=$(TEST_THREADS) $(OLDEST)/bin/python -m pytest --nbval $(ARGS) \
	  -W ignore::DeprecationWarning -W ignore::FutureWarning --ignore tests/browser \
	  notebooks/01_*.ipynb notebooks/04_*.ipynb tests/

teeth: $(VENV)/.ready-to-test  ## break each formula on purpose, and see a test fail  (ARGS="gamma")
	$(BIN)/python -m tools.teeth $(ARGS)

bench: $(VENV)/.ready-to-test  ## measure the cost of a training step, and more
	$(BIN)/python -m tools.bench $(ARGS)

notebooks: $(VENV)/.ready  ## run the notebooks and write their outputs  (ARGS="notebooks/01_*.ipynb")
	$(BIN)/python tools/notebooks.py $(ARGS)

site: $(VENV)/.ready-for-site  ## build the book as a website, into build/site  (ARGS="FOLDER")
	$(BIN)/python -m tools.website $(ARGS)

links: $(VENV)/.ready  ## point the Colab links at your fork  (REPO=owner/name)
	$(BIN)/python tools/links.py $(REPO)

train: $(VENV)/.ready  ## train on MNIST  (ARGS="cifar10 --scale gpu --run runs/cifar10")
	$(BIN)/python -m bfn_core.training $(or $(ARGS),mnist --run runs/mnist)

lint: $(VENV)/.ready-to-test  ## check the style, of the notebooks too
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python tools/notebooks.py --check
	$(BIN)/python tools/links.py --check
	$(BIN)/zizmor --offline --no-progress --quiet .github

setup: $(VENV)/.ready-to-test  ## only the set-up

clean:  ## remove the environments and the linter's and pytest's caches
	rm -rf $(VENV) $(COLAB) $(OLDEST) build bfn_core.egg-info .pytest_cache .ruff_cache

$(VENV)/.ready: $(SETUP_FILES) | $(BIN)/python
	@echo "Installing what requirements.txt lists into $(VENV) (a few minutes, once) ..."
	@$(PIP_INSTALL) -r requirements.txt -e .
	@touch $@

$(VENV)/.ready-to-test: $(VENV)/.ready
	@echo "Installing what the tests need beside it ..."
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

$(COLAB)/.ready: tests/colab/constraints.txt requirements.txt | $(COLAB)/bin/python
	@echo "Installing what Google Colab ships into $(COLAB) (a few minutes, once) ..."
	@$(COLAB)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/colab/constraints.txt -r requirements.txt
	@touch $@

# uv can look for the lowest versions, of those that need no compiler. torch comes by pip first,
# which may know where a build for CPUs lies.
$(OLDEST)/.ready: requirements.txt pyproject.toml | $(OLDEST)/bin/python
	@echo "Installing the lowest versions allowed into $(OLDEST) (a few minutes, once) ..."
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv torch==$(TORCH)
	@echo torch==$(TORCH) > $(OLDEST)/torch.txt
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --only-binary :all: \
	  --resolution lowest-direct --override $(OLDEST)/torch.txt \
	  -r requirements.txt -r pyproject.toml --extra test
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.ready-for-site: $(VENV)/.ready
	@echo "Installing what builds the website beside it ..."
	@$(PIP_INSTALL) -e '.[site]'
	@touch $@

# The first of these that is Python 3.10 or newer makes the environment.
PYTHONS := python3 python3.13 python3.12 python3.11 python3.10 python
$(COLAB)/bin/python: PYTHONS := python3.13 $(PYTHONS)
$(OLDEST)/bin/python: PYTHONS := python3.10 $(PYTHONS)
$(BIN)/python $(COLAB)/bin/python $(OLDEST)/bin/python:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	    echo "Making $(@:/bin/python=) with $$("$$python" --version) ..."; \
	    "$$python" -m venv $(@:/bin/python=) && exit 0; \
	    echo "That Python cannot make environments (on Debian: apt install python3-venv)." >&2; \
	    rm -rf $(@:/bin/python=); exit 1; \
	  fi; \
	done; \
	echo "Python 3.10 or newer is needed, and $(or $(PYTHON),python3) is not." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.12 lab" >&2; \
	exit 1
