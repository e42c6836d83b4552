# `make demo` is the place to start. Every target makes .venv first when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BACKENDS := $(VENV)/.backends
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
    -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo index publish test test-slow test-backends lint types docs-check docs-check-quick

help:
	@echo "make demo              train, publish, load back and export two models on embedded data"
	@echo "make test              the default tests"
	@echo "make test-slow         the tests that take minutes, and further cases of the others"
	@echo "make test-backends     the tests of JAX and PyTorch, which it installs"
	@echo "make lint              check style and format"
	@echo "make types             check types"
	@echo "make docs-check        run the tutorials and the code of the pages"
	@echo "make docs-check-quick  run the code of the pages and the first tutorial"
	@echo "make publish ORG=NAME  upload all trained models; the token is that of HF_TOKEN"
	@echo "make index             write the index of architectures, after a change to a builder"

venv: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "error: Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name another one: make PYTHON=python3.11" \
	    % sys.version_info[:2])'
	@echo "Installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[tests,lint,types]'
	@touch $@

$(BACKENDS): $(INSTALLED)
	@echo "Installing JAX and PyTorch into $(VENV)"
	$(INSTALL) -e '.[jax,torch]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/keras-arch demo

index: $(INSTALLED)
	$(BIN)/python -c 'from keras_arch.cli import _index; print(_index.write())'

# ARGS=--dry-run only shows what would be done.
publish: $(INSTALLED)
	@test -n "$(ORG)" || { echo "error: give the owner on the Hub: make publish ORG=NAME" >&2; exit 2; }
	$(BIN)/keras-arch publish --all --to "$(ORG)" --record $(ARGS)

# One process a core. Each begins with half of the files, whose tests share trained models.
# The processes that tests start share what the first of them has compiled.
test: $(INSTALLED)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal --durations=25

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-backends: $(BACKENDS)
	$(BIN)/python -m pytest tests/trainers/test_backends.py tests/distribute/test_jax.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

docs-check: $(INSTALLED)
	$(BIN)/python tutorials/check.py

docs-check-quick: $(INSTALLED)
	$(BIN)/python tutorials/check.py --quick
