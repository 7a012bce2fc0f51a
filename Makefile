# `make demo` tunes a real model on this machine; `make test` runs every check.
# Both set up what they need: Python >= 3.11 is all that has to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench-storage bench-faults clean

help:  ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.demo  ## Make the environment, into .venv

demo: setup  ## Tune jobs/people-vs-animals with two workers: under 4 minutes on 2 cores
	$(BIN)/hpo-job run jobs/people-vs-animals --workers 2

test: $(VENV)/.test lint  ## Set up what the tests need, and run them all
	$(BIN)/python -m pytest

lint: $(VENV)/.test  ## Formatting, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-storage: $(VENV)/.test  ## The MySQL storage beside Optuna's own, on a private server
	$(BIN)/python benchmarks/storage.py

bench-faults: $(VENV)/.test  ## 200 workers killed, stopped or frozen in 10 minutes, 3 server restarts
	$(BIN)/python benchmarks/faults.py

clean:  ## Remove the environment and the local studies
	rm -rf $(VENV) .hpo

# Each stamp says which extras are in the environment, as of these two files.
$(VENV)/.demo: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): torch alone is several GB, so this takes minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fastai,demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fastai,demo,test]'
	@touch $@
