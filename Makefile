# `make demo` and `make test` are all the set-up there is; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONUTF8 := 1
ui: PORT ?= 5000
serve: PORT ?= 3000
BENTO := $(if $(NAME),--name $(NAME)) $(if $(VERSION),--version $(VERSION)) $(if $(ALIAS),--alias $(ALIAS))
# Progress for a person who waits, no lines of it in a log.
ON_TERMINAL = $$(test -t 2 || echo --quiet)
# `set -f`: [8,16,32] is a value, no pattern of file names.
EXPERIMENT = @set -f; python -m pipeline.experiments.run $(if $(NAME),--name '$(NAME)')
export BENTOML_DO_NOT_TRACK := true
export ORT_DISABLE_TELEMETRY := 1
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: expected Python 3.11 or newer, got " + sys.version)'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing $$(grep -c '^[a-z]' requirements.lock) packages into .venv: 6 GB on disk, from half a minute to several minutes"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	@.venv/bin/uv pip install $(ON_TERMINAL) --compile-bytecode --require-hashes --requirements requirements.lock --python .venv/bin/python
	@touch $@

install: .venv/locked ## make .venv and install the locked dependencies

demo: .venv/locked ## the whole pipeline on 1,797 embedded digits, then its Bento: no network, no GPU, a few minutes
	@set -f; python -m pipeline.experiments.run --name demo download.dataset=digits train.batch=64 train.epochs=40 $(SET)
	@python -m pipeline.packaging.bento --name digits --alias demo
	@python -m serving.smoke_test "$$(cat .cache/bento)" $(firstword $(wildcard data/7/* data/*/*))
	@echo
	@echo "Made: a trained, scored and exported model of handwritten digits, the record of every step, and a service."
	@echo "  run 'demo' and model 'digits'   in MLflow (mlflow.db, mlartifacts/)     look: make ui"
	@echo "  experiment 'demo'               in DVC (your files are unchanged)       what to do with it: above"
	@echo "  a Bento                         in BentoML's store                      use it: make serve NAME=digits ALIAS=demo"
	@echo "Next: make repro (MNIST, 60,000 images), make test, make help"

# DVC deletes a stage's outputs before the stage reads its parameters.
.cache/params.checked: .venv/locked params.yaml $(wildcard pipeline/*.py pipeline/*/*.py)
	@python -m pipeline.experiments.preflight
	@mkdir -p $(@D)
	@touch $@

repro: .cache/params.checked ## the real thing: dvc repro on the data set that params.yaml names
	@python -m pipeline.core.git
	@dvc repro

# One process more than there are cores: the tests often wait, for a server or for a process that they started.
PYTEST = pytest --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --dist worksteal

test: .venv/locked ## the test suite: no network, no GPU, no browser
	@$(PYTEST)

test-unit: .venv/locked ## the part of it that needs no clone, DVC or MLflow: a minute at most
	@$(PYTEST) --ignore tests/integration

test-e2e: .venv/locked ## more: MNIST itself, a fresh clone, browser, container (needs Chromium, PostgreSQL, podman, nginx, minutes)
	@pytest -p no:randomly tests/e2e

lint: .venv/locked ## ruff and mypy
	@ruff check
	@ruff format --check
	@mypy

ui: .venv/locked ## the MLflow server on http://127.0.0.1:5000 (PORT=…)
	@python -m serving.port "$(PORT)"
	@python -m pipeline.tracking.ui "$(PORT)"

track: .venv/locked ## sync MLflow with dvc.lock, even where DVC sees nothing to do
	@python -m pipeline.track

bento: .venv/locked ## the registered champion as a Bento (NAME=… VERSION=… ALIAS=…)
	@python -m pipeline.packaging.bento $(BENTO)

serve: bento ## the service on http://127.0.0.1:3000 (PORT=…, and as for make bento)
	@python -m serving.port "$(PORT)"
	@echo "page     http://127.0.0.1:$(PORT)/           the API   http://127.0.0.1:$(PORT)/docs"
	@echo "metrics  http://127.0.0.1:$(PORT)/metrics    (Ctrl-C ends it)"
	@bentoml serve "$$(cat .cache/bento)" --host 127.0.0.1 --port $(PORT) --timeout-graceful-shutdown 8

container: bento ## the service as an OCI image, by docker, podman or buildah
	@python -m pipeline.packaging.container

experiment: .venv/locked ## try other values: make experiment SET="train.epochs=4 train.batch=256" NAME=short
	$(EXPERIMENT) $(SET)

fast: ## MNIST to 99.2 % in seconds: the profile pipeline/profiles/fast.yaml, as a DVC experiment (SET=… NAME=…)
fastest: ## MNIST to 99 % sooner still: one epoch
best: ## MNIST as accurately as these networks get, on a GPU or in a quarter of an hour: the profile best
fashion: ## Fashion-MNIST: the profile fashion
textbook: ## the textbook's network, by parameters alone: the profile textbook
best fast fastest fashion textbook: .venv/locked
	$(EXPERIMENT) --profile $@ $(SET)

fuzz: bento ## over 20,000 bad requests against the live service, in minutes
	@python -m tests.support.fuzz

bench-serving: bento ## the service beside two baselines, requests a second and percentiles
	@python -m benchmarks.serving

bench-reading: .venv/locked ## rows of digits read wholly right, on the test images and on drawn digits
	@python -m benchmarks.row_accuracy

bench-training: .venv/locked ## the profiles compared with pytorch/examples: accuracy, seconds (half an hour; SEEDS=5)
	@python -m benchmarks.training --whole 3 $(if $(SEEDS),--seeds $(SEEDS))

bench-pipeline: .venv/locked ## what DVC and the stages cost besides training: the README's figures
	@python -m benchmarks.pipeline

screenshots: bento ## make docs/images/ again (needs Chromium)
	@python -m docs.screenshots
	@python -m docs.page_screenshots

handwriting: .venv/locked ## draw the pictures in data/ again
	@python -m tests.support.synthetic_digits data --seed 0

lock: .venv/locked ## write requirements.lock again from pyproject.toml
	@uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--upgrade --quiet --output-file requirements.lock
	@uv pip compile --group serving --constraint requirements.lock --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --upgrade --quiet --output-file serving/requirements.lock

.PHONY: help install demo repro test test-unit test-e2e lint ui track bento serve container experiment \
	best fast fastest fashion textbook fuzz bench-training bench-serving bench-reading bench-pipeline screenshots handwriting lock
