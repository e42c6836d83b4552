# `make demo` is the place to start. Every target makes .venv first when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo index test test-slow lint docs-check

help:
	@echo "make demo        train, publish, load back and export two models on embedded data"
	@echo "make index       write the index of architectures, after a change to a builder"
	@echo "make test        the default tests"
	@echo "make test-slow   the tests that take minutes"
	@echo "make lint        check style and format"
	@echo "make docs-check  run the tutorials and the code of the README"

venv: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "error: Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name another one: make PYTHON=python3.11" \
	    % sys.version_info[:2])'
	@echo "Installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
	    -c constraints.txt -e '.[tests,lint]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/keras-arch demo

index: $(INSTALLED)
	$(BIN)/python -c 'from keras_arch.cli import _index; print(_index.write())'

# A process a core. Each begins with half of the files, whose tests share what they have trained.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs-check: $(INSTALLED)
	$(BIN)/python tutorials/check.py
