# `make demo` tunes a real model on this machine; `make test` runs every check.
# Both install what they need; only Python >= 3.11 has to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# Compiled modules are kept, or each process of the tests would compile all of them once more
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo test test-quick coverage test-mutants test-gpu test-optuna-newest lint docs \
	bench bench-gpu bench-storage bench-faults bench-preemption bench-checkpoints \
	lock upgrade sbom dist test-wheel clean \
	image cluster database submit scale status results test-cluster

# Two processes of tests; those of a file stay together, and share what its fixtures make
PARALLEL ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
# For test-optuna-newest: what pip installs
OPTUNA ?= --upgrade --pre optuna

# For the cluster's targets: make submit JOB=digits WORKERS=4
JOB ?= people-vs-animals
SUBMIT_ARGS ?=
# For the image: BUILDER=docker, podman or buildah; VARIANT=cpu leaves CUDA out, none torch as well;
# WEIGHTS="resnet18 wt103-fwd" are downloaded into it
BUILDER ?= docker
VARIANT ?= cuda
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' hpo_job/__init__.py)
IMAGE ?= hpo-job:$(VERSION)
IMAGE_ARGS ?=
IMAGE_EXTRAS := fastai demo mysql remote s3 gcs dashboard
BASE_IMAGE ?= $(if $(filter cpu none,$(VARIANT)),docker.io/library/debian:13-slim)

# The lock: constraints.txt has the versions of all extras, requirements/ those of one use each, with
# the hashes of their files. Every Python from 3.11.2 (Debian 12) on, Linux and macOS
UV_COMPILE = $(VENV)-release/bin/uv pip compile --quiet --universal --python-version 3.11.2 \
	--fork-strategy fewest --no-annotate --custom-compile-command 'make lock'
UV_HASHED = $(UV_COMPILE) --constraint constraints.txt --generate-hashes
UV_LOCK = $(UV_HASHED) pyproject.toml
PIP_LOCKED = $(BIN)/pip install --quiet --require-hashes --requirement
PIP_EDITABLE = $(BIN)/pip install --quiet --no-deps --editable .

help:  ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.demo  ## Create the environment in .venv

demo: setup  ## Tune jobs/people-vs-animals: under 4 minutes on 2 cores
	$(BIN)/hpo-job run jobs/people-vs-animals --workers 2

test: $(VENV)/.test lint  ## Install what the tests need, and run them all
	$(BIN)/python -m pytest $(PARALLEL)

test-quick: $(VENV)/.test  ## Run those without servers, processes and torch
	$(BIN)/python -m pytest $(PARALLEL) --quick

test-optuna-newest: $(VENV)-optuna  ## Test with the newest Optuna
	$(VENV)-optuna/bin/python -m pip install --quiet $(OPTUNA)
	$(VENV)-optuna/bin/python -m pip install --quiet --force-reinstall --no-deps \
		optuna-dashboard --editable .
	$(VENV)-optuna/bin/python -m pytest $(PARALLEL) -m "optuna and not slow"

lint: $(VENV)/.test  ## Check formatting, lint, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test  ## Write docs/reference, and the site in build/site
	$(BIN)/python docs/generate.py
	rm -rf build/pages && mkdir -p build/pages
	cp -r *.md docs build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

coverage: $(VENV)/.test  ## Show what the tests run of each package: TESTS=FOLDER
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report= $(TESTS)
	$(BIN)/python -m tests.covered

test-mutants: $(VENV)/.test  ## Break each guarantee, and see that a test notices
	$(BIN)/python -m tests.mutants

test-gpu: $(VENV)/.test  ## What has to work on CUDA, on the GPUs of this machine
	$(BIN)/python -m pytest tests/gpu

bench: $(VENV)-bench/.installed  ## Compare with others: TABLES=sleeping BENCH_ARGS=--quick
	$(BIN)/python benchmarks/bench.py $(TABLES) $(BENCH_ARGS)

bench-gpu: $(VENV)/.test  ## Compare the speed of training with the GPU's limit
	$(BIN)/python benchmarks/gpu.py

bench-storage: $(VENV)/.test  ## Compare the MySQL storage with Optuna's
	$(BIN)/python benchmarks/storage.py

bench-faults: $(VENV)/.test  ## Kill, stop or freeze 200 workers, and restart the server
	$(BIN)/python benchmarks/faults.py

lock: $(VENV)-release/.stamp  ## Renew the lock after a change of pyproject.toml
	$(UV_COMPILE) pyproject.toml --all-extras --group release $(LOCK_ARGS) \
		--output-file constraints.txt
	@# two names as their packages write them, by which scripts look for the versions
	sed -i.uv -e 's/^pydantic-core==/pydantic_core==/' -e 's/^tomli-w==/tomli_w==/' constraints.txt
	rm constraints.txt.uv
	$(UV_LOCK) --extra fastai --extra demo --output-file requirements/demo.txt
	$(UV_LOCK) --extra kubernetes --output-file requirements/kubernetes.txt
	$(UV_LOCK) --extra fastai --extra demo --extra test --output-file requirements/test.txt
	$(UV_LOCK) $(IMAGE_EXTRAS:%=--extra %) --output-file requirements/image.txt
	$(UV_HASHED) --group release --output-file requirements/release.txt

upgrade:  ## Renew the lock with the newest versions
	$(MAKE) lock LOCK_ARGS=--upgrade

sbom: $(VENV)-release/.stamp  ## Write what the image contains (CycloneDX) to build/
	mkdir -p build
	sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > build/pyproject.toml
	$(VENV)-release/bin/cyclonedx-py requirements --pyproject build/pyproject.toml \
		--output-reproducible --output-file build/hpo-job-$(VERSION).cdx.json \
		requirements/image.txt

dist: $(VENV)-release/.stamp  ## Build the wheel and the sdist in dist/
	rm -rf dist
	$(VENV)-release/bin/python -m build --outdir dist

test-wheel: dist $(VENV)/.test  ## Try dist/'s wheel with each extra, in new environments
	$(BIN)/python -m tests.release $(EXTRAS)

bench-preemption: $(VENV)/.test  ## Kill workers, compare with an undisturbed study
	$(BIN)/python benchmarks/preemption.py

bench-checkpoints: $(VENV)/.test  ## What saving a training costs
	$(BIN)/python benchmarks/checkpoints.py

image:  ## Build the workers' image as IMAGE=: docs/kubernetes.md
	$(BUILDER) build --file images/Dockerfile --tag $(IMAGE) --build-arg VARIANT=$(VARIANT) \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) --build-arg WEIGHTS="$(WEIGHTS)" \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_ARGS) .

cluster: $(VENV)/.kubernetes  ## Create the namespace: kubectl apply -k k8s/cluster
	$(BIN)/kubectl apply -k k8s/cluster

database: $(VENV)/.kubernetes  ## Run a MySQL server on the cluster, if you have none
	$(BIN)/hpo-job database

submit: $(VENV)/.kubernetes  ## Run JOB= on the cluster with WORKERS= pods
	$(BIN)/hpo-job submit $(JOB) $(if $(WORKERS),--workers $(WORKERS)) $(SUBMIT_ARGS)

scale: $(VENV)/.kubernetes  ## Change the number of workers of JOB= to N=
	$(BIN)/hpo-job scale $(JOB) $(N)

status: $(VENV)/.kubernetes  ## Show the progress of JOB= on the cluster
	$(BIN)/hpo-job status $(JOB) --cluster

results: $(VENV)/.kubernetes  ## Print all trials of JOB= from the cluster's database
	$(BIN)/hpo-job results $(JOB) --cluster

test-cluster: $(VENV)/.test  ## Test on the cluster of KUBECONFIG, or on a new one
	$(BIN)/python -m tests.live_cluster

clean:  ## Remove environments, builds and the local studies
	rm -rf $(VENV) $(VENV)-bench $(VENV)-optuna $(VENV)-release build dist .hpo

# Each stamp file says what is installed, as of these files.
$(VENV)/.demo: pyproject.toml requirements/demo.txt
	@echo "Installing into $(VENV): torch alone is several GB, so this takes minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(PIP_LOCKED) requirements/demo.txt
	$(PIP_EDITABLE)
	@touch $@

# A laptop that only talks to a cluster needs neither torch nor a compiler.
$(VENV)/.kubernetes: pyproject.toml requirements/kubernetes.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_LOCKED) requirements/kubernetes.txt
	$(PIP_EDITABLE)
	@touch $@

$(VENV)/.test: $(VENV)/.demo requirements/test.txt
	$(PIP_LOCKED) requirements/test.txt
	$(PIP_EDITABLE)
	@touch $@

$(VENV)-release/.stamp: requirements/release.txt
	$(PYTHON) -m venv $(VENV)-release
	$(VENV)-release/bin/pip install --quiet --require-hashes --requirement requirements/release.txt
	@touch $@

# Ray Tune and Syne Tune, with what they need besides, where they cannot change what is tested
$(VENV)-bench/.installed: $(VENV)/.test
	$(PYTHON) -m venv $(VENV)-bench
	echo 'import site; site.addsitedir("'$$($(BIN)/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')'")' \
		> $$($(VENV)-bench/bin/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth
	-$(VENV)-bench/bin/pip install --quiet --constraint constraints.txt 'ray[tune]'
	-$(VENV)-bench/bin/pip install --quiet --constraint constraints.txt syne-tune
	@touch $@

# Links to the files of $(VENV), so that only what is installed anew takes time and space
$(VENV)-optuna: $(VENV)/.test
	rm -rf $@
	cp -al $(VENV) $@
	@touch $@
