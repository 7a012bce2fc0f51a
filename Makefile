# `make demo` tunes a real model on this machine; `make test` runs every check.
# Both set up what they need: Python >= 3.11 is all that has to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench-storage bench-faults clean \
	image cluster database submit scale status results test-cluster

# Of the cluster's targets: make submit JOB=digits WORKERS=4
JOB ?= people-vs-animals
SUBMIT_ARGS ?=
# Of the image: docker, podman or buildah; VARIANT=cpu leaves CUDA out
BUILDER ?= docker
VARIANT ?= cuda
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' hpo_job/__init__.py)
IMAGE ?= hpo-job:$(VERSION)
IMAGE_ARGS ?=
BASE_IMAGE ?= $(if $(filter cpu,$(VARIANT)),docker.io/library/debian:13-slim)

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

image:  ## Build the workers' image: BUILDER= BASE_IMAGE= IMAGE= VARIANT=cuda|cpu WEIGHTS="resnet18"
	$(BUILDER) build --file images/Dockerfile --tag $(IMAGE) --build-arg VARIANT=$(VARIANT) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --build-arg WEIGHTS="$(WEIGHTS)" \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_ARGS) .

cluster: $(VENV)/.kubernetes  ## The namespace and what it has once: kubectl apply -k k8s/cluster
	$(BIN)/kubectl apply -k k8s/cluster

database: $(VENV)/.kubernetes  ## A MySQL server on the cluster, for those who have none
	$(BIN)/hpo-job database

submit: $(VENV)/.kubernetes  ## Run JOB= on the cluster, with WORKERS=
	$(BIN)/hpo-job submit $(JOB) $(if $(WORKERS),--workers $(WORKERS)) $(SUBMIT_ARGS)

scale: $(VENV)/.kubernetes  ## Give JOB= N= workers while it runs
	$(BIN)/hpo-job scale $(JOB) $(N)

status: $(VENV)/.kubernetes  ## How JOB= goes on the cluster
	$(BIN)/hpo-job status $(JOB) --cluster

results: $(VENV)/.kubernetes  ## All trials of JOB= from the cluster's database
	$(BIN)/hpo-job results $(JOB) --cluster

test-cluster: $(VENV)/.test  ## Test against the cluster that KUBECONFIG names, else a new kind one
	$(BIN)/python -m tests.live_cluster

clean:  ## Remove the environment and the local studies
	rm -rf $(VENV) .hpo

# Each stamp says which extras are in the environment, as of these two files.
$(VENV)/.demo: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): torch alone is several GB, so this takes minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fastai,demo]'
	@touch $@

# A laptop that only talks to a cluster needs neither torch nor a compiler.
$(VENV)/.kubernetes: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[kubernetes]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fastai,demo,test]'
	@touch $@
