# Every target installs what it needs into .venv first; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONUTF8 := 1
ui: PORT ?= 5000
serve: PORT ?= 3000
BENTO := $(if $(NAME),--name $(NAME)) $(if $(VERSION),--version $(VERSION)) $(if $(ALIAS),--alias $(ALIAS))
# A progress bar on a terminal, none in a log.
QUIET_IN_A_LOG = $$(test -t 2 || echo --quiet)
# `set -f`: [8,16,32] is a value and not a glob pattern.
EXPERIMENT = @set -f; python -m pipeline.experiments.run $(if $(NAME),--name '$(NAME)')
export BENTOML_DO_NOT_TRACK := true
export ORT_DISABLE_TELEMETRY := 1

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: expected Python 3.11 or newer, got " + sys.version)'
	@! git rev-parse --quiet --verify HEAD:$< > /dev/null 2>&1 || test "$$(git hash-object $<)" = "$$(git rev-parse HEAD:$<)" \
		|| echo "note: $< is not that of the last commit"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing $$(grep -c '^[a-z]' requirements.lock) packages into .venv: 6 GB on disk, from half a minute to several minutes"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	@.venv/bin/uv pip install $(QUIET_IN_A_LOG) --compile-bytecode --require-hashes --requirements requirements.lock --python .venv/bin/python
	@touch $@

install: .venv/locked ## create .venv with the locked dependencies

# Few images of few people: more of them are drawn, and they are turned and distorted more.
DEMO := download.dataset=digits train.batch=64 train.epochs=40 train.drawn_digits=0.5 train.outliers=0.25 \
	train.label_smoothing=0.05 train.averaging=0.98 train.augmentation.rotation=12.0 train.augmentation.scale=0.15

demo: .venv/locked ## run the pipeline on 1,797 embedded digits, build and call a Bento: no network, a few minutes
	@set -f; python -m pipeline.experiments.run --name demo $(DEMO) $(SET)
	@python -m pipeline.promotion.promote --name digits --alias demo --exit-zero
	@python -m pipeline.packaging.bento --name digits --alias demo
	@python -m serving.smoke_test "$$(cat .cache/bento)" $(firstword $(wildcard data/7/* data/*/*))
	@echo
	@echo "Result: a trained, evaluated and exported model of handwritten digits, tracked in MLflow, and its service."
	@echo "  run 'demo' and model 'digits'   in MLflow (mlflow.db, mlartifacts/)     view: make ui"
	@echo "  experiment 'demo'               in DVC (your files are unchanged)       commands: see above"
	@echo "  a Bento                         in BentoML's store                      serve: make serve NAME=digits ALIAS=demo"
	@echo "Next: make repro (MNIST, 60,000 images), make test, make help"

# DVC deletes a stage's outputs before the stage reads its parameters.
.cache/params.checked: .venv/locked params.yaml $(wildcard pipeline/*.py pipeline/*/*.py)
	@python -m pipeline.experiments.preflight
	@mkdir -p $(@D)
	@touch $@

# A model that does not become champion is no failure: its results are there.
repro: .cache/params.checked ## run the pipeline on the data set in params.yaml: dvc repro, then promote its model
	@python -m pipeline.core.git
	@dvc repro
	@python -m pipeline.promotion.promote --exported --exit-zero

CORES = $$(getconf _NPROCESSORS_ONLN)

check: lint test-unit ## format, lint, types and unit tests: what to run before a commit

lint: .venv/locked ## check format and style with ruff, types with mypy
	@ruff format --check
	@ruff check
	@mypy

test-unit: .venv/locked ## the tests that need no clone, DVC or MLflow
	@pytest --numprocesses $(CORES) --dist worksteal --ignore tests/integration

test: .venv/locked ## all tests but end-to-end: no network, no GPU, no browser, several minutes
	@pytest --numprocesses $$(( $(CORES) + 1 )) --dist worksteal # integration tests often wait for another process

test-e2e: .venv/locked ## the end-to-end tests: MNIST, browser, container, PostgreSQL, Prometheus (see .ci/packages; twenty minutes)
	@pytest --numprocesses 2 --dist loadgroup tests/e2e

ui: .venv/locked ## start MLflow on http://127.0.0.1:5000 (PORT=…)
	@python -m serving.port "$(PORT)"
	@python -m pipeline.tracking.ui "$(PORT)"

track: .venv/locked ## sync MLflow with dvc.lock, even if DVC has nothing to run (REV=v1..main: with commits of git)
	@python -m $(if $(REV),pipeline.tracking --rev '$(REV)',pipeline.track)

# Variables of the command line are in the recipe's environment: a reason may have any characters.
promote: .venv/locked ## make the candidate the champion if it is better, and say why (NAME=… VERSION=… ALIAS=… FORCE=…)
	@python -m pipeline.promotion.promote $(if $(NAME),--name "$$NAME") $(if $(VERSION),--version "$$VERSION") \
		$(if $(ALIAS),--alias "$$ALIAS") $(if $(FORCE),--force "$$FORCE")

rollback: .venv/locked ## make the former champion the champion again (NAME=…)
	@python -m pipeline.promotion.rollback $(if $(NAME),--name "$$NAME")

BUILD = @python -m pipeline.packaging.bento $(BENTO)
# Where a wrong value of a variable is refused before anything is built or computed.
NUMBER = @case "$($(1))" in *[!0-9]*) echo "error: $(1): got '$($(1))', expected a whole number"; exit 1;; esac

bento: .venv/locked ## build a Bento of the registered champion (NAME=… VERSION=… ALIAS=…)
	$(BUILD)

serve: WORKERS ?= 1
# BentoML's worker runs in another folder.
serve: export PREDICTION_LOG := $(if $(LOG),$(if $(filter -,$(LOG)),-,$(abspath $(LOG))),$(PREDICTION_LOG))
serve: .venv/locked ## serve the Bento on http://127.0.0.1:3000 (PORT=… WORKERS=1 LOG=predictions.jsonl SHADOW=challenger CORRECTIONS=folder, and the variables of make bento)
	@python -m serving.port "$(PORT)"
	$(BUILD)
	@echo "page     http://127.0.0.1:$(PORT)/           the API   http://127.0.0.1:$(PORT)/docs"
	@echo "metrics  http://127.0.0.1:$(PORT)/metrics    (Ctrl-C stops it)"
	@$(if $(SHADOW),python -m pipeline.packaging.shadow $(if $(NAME),--name "$$NAME") --alias "$$SHADOW")
	@$(if $(CORRECTIONS),mkdir -p "$$CORRECTIONS" && export CORRECTIONS="$$(cd "$$CORRECTIONS" && pwd)" &&) \
		$(if $(SHADOW),SHADOW_MODEL="$$(cat .cache/shadow/path)") DIGITS_WORKERS="$(WORKERS)" bentoml serve "$$(cat .cache/bento)" --host 127.0.0.1 --port $(PORT) --timeout-graceful-shutdown 8

review: PORT ?= 3001
review: .venv/locked ## keep, relabel or reject corrections by users, on a page of this machine: CORRECTIONS=folder (PORT=…)
	@test -n "$(CORRECTIONS)" || { echo "error: expected CORRECTIONS=folder, where make serve stored corrections"; exit 1; }
	@python -m serving.port "$(PORT)"
	@python -m pipeline.review "$$CORRECTIONS" --port "$(PORT)"

container: bento ## build an OCI image of the Bento with docker, podman or buildah
	@python -m pipeline.packaging.container

experiment: .venv/locked ## run the pipeline with other values: make experiment SET="train.epochs=4 train.batch=256" NAME=short
	$(EXPERIMENT) $(SET)

fast: ## MNIST to 99.2 % in seconds: an experiment with the profile pipeline/profiles/fast.yaml (SET=… NAME=…)
fastest: ## MNIST to 99 % in one epoch: the profile fastest
best: ## MNIST as accurately as these networks get, on a GPU or in a quarter of an hour: the profile best
fashion: ## Fashion-MNIST: the profile fashion
textbook: ## the textbook's network, by parameters alone: the profile textbook
best fast fastest fashion textbook: .venv/locked
	$(EXPERIMENT) --profile $@ $(SET)

sweep: WORKERS ?= 1
sweep: .venv/locked ## run a named grid of settings, pipeline/sweeps/<NAME>.yaml, by DVC's queue: NAME=layers (WORKERS=2)
	@python -m pipeline.experiments.sweep "$(NAME)" --workers "$(WORKERS)"

questions: .venv/locked ## write docs/questions.md: a textbook's ten questions, answered from the results of sweeps
	@python -m pipeline.experiments.questions

search: NAME ?= cnn
search-apply: NAME ?= cnn
SEARCH = @python -m pipeline.experiments.search "$(NAME)" $(if $(TRIALS),--trials "$(TRIALS)") \
	$(if $(SECONDS),--seconds "$(SECONDS)") $(if $(WORKERS),--workers "$(WORKERS)") $(if $(SEEDS),--seeds "$(SEEDS)")
# The stages before `train` write what a search trains on.
search: .cache/params.checked ## tune hyperparameters: pipeline/searches/<name>.yaml (NAME=cnn TRIALS=… SECONDS=… WORKERS=… SEEDS=5)
	$(SEARCH) --check
	@dvc repro normalise
	$(SEARCH)

search-apply: .venv/locked ## write the best trial of a search to params.yaml (NAME=cnn)
	@python -m pipeline.experiments.search "$(NAME)" --apply

fuzz: .venv/locked ## send over 20,000 bad requests to the running service, in minutes (REQUESTS=1000000)
	$(call NUMBER,REQUESTS)
	$(BUILD)
	@python -m tests.support.fuzz $(REQUESTS)

kills: KILLS ?= 20
kills: SEED ?= 7
kills: .venv/locked ## kill a training at random moments, each time resumed, and compare its bytes (KILLS=500 SEED=7)
	@python -m tests.support.killed_training $(KILLS) $(SEED)

attack: .venv/locked ## attack the running service by sockets and by hostile pictures, in minutes (SECONDS=4 for each)
	$(call NUMBER,SECONDS)
	$(BUILD)
	@python -m tests.support.attack $(SECONDS)

flips: FLIPS ?= 1000
flips: .venv/locked ## flip single bits of model, manifests, weights, lock files and cache: none is silent (FLIPS=10000)
	@python -m tests.support.flips $(FLIPS)

# Packages of the baselines only.
.venv/benchmarks: .venv/locked benchmarks/requirements.lock
	@.venv/bin/uv pip install --quiet --require-hashes --requirements benchmarks/requirements.lock --python .venv/bin/python
	@touch $@

bench-serving: bento .venv/benchmarks ## compare the service with others: processor time, requests per second, latency
	@python -m benchmarks.serving

soak: SECONDS ?= 3600
soak: bento ## send mixed traffic at 70 % of capacity and watch memory, handles and latency: an hour (SECONDS=600)
	@python -m benchmarks.soak "$(SECONDS)"

bench-reading: .venv/locked ## measure how many rows of digits are read without an error
	@python -m benchmarks.row_accuracy

drift: .venv/locked ## compare a prediction log with the test set: LOG=predictions.jsonl (LAST=1000 REFERENCE=model.onnx)
	@test -n "$(LOG)" || { echo "error: expected LOG=file, a prediction log: make serve LOG=predictions.jsonl writes one"; exit 1; }
	@python -m pipeline.monitoring "$(LOG)" $(if $(LAST),--last "$(LAST)") $(if $(REFERENCE),--reference "$(REFERENCE)")

shadow-report: URL ?= http://127.0.0.1:3000
shadow-report: .venv/locked ## test how the answers of the shadow model differ from the served one's (URL=…)
	@python -m pipeline.monitoring.shadow "$(URL)"

judge: .venv/locked ## judge the model, or a service (URL=…), on labelled pictures: PICTURES=folder (MODEL=… OUT=… NO_MLFLOW=1)
	@test -n "$(PICTURES)" || { echo "error: expected PICTURES=folder, a folder of labelled pictures"; exit 1; }
	@python -m benchmarks.judge "$(PICTURES)" $(if $(URL),--url "$(URL)") $(if $(MODEL),--model "$(MODEL)") \
		$(if $(OUT),--out "$(OUT)") $(if $(NO_MLFLOW),--no-mlflow)

bench-training: .venv/locked ## compare the profiles with pytorch/examples: accuracy, seconds (half an hour; SEEDS=5)
	@python -m benchmarks.training --whole 3 $(if $(SEEDS),--seeds $(SEEDS))

bench-pipeline: .venv/locked ## measure what DVC and the stages cost besides training: the README's figures
	@python -m benchmarks.pipeline

screenshots: bento ## take the pictures in docs/images/ again (needs Chromium)
	@python -m docs.screenshots
	@python -m docs.page_screenshots

notebook: .venv/locked ## execute docs/ten_steps.ipynb and store its outputs: no network, a minute
	@python -m docs.notebook

handwriting: .venv/locked ## draw the pictures in data/ again
	@python -m tests.support.draw_handwriting data --seed 0

lock: .venv/locked ## update requirements.lock from pyproject.toml, and pipeline/environment.yaml from it
	@uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--upgrade --quiet --output-file requirements.lock
	@uv pip compile --group benchmarks --constraint requirements.lock --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --upgrade --quiet --output-file benchmarks/requirements.lock
	@uv pip compile --group serving --constraint requirements.lock --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --upgrade --quiet --output-file serving/requirements.lock
	@echo uv | uv pip compile - --constraint requirements.lock --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --quiet --output-file serving/uv.lock
	@python -m pipeline.core.environment

.PHONY: help install demo repro check lint test-unit test test-e2e ui track promote rollback bento serve review container experiment \
	best fast fastest fashion textbook sweep questions notebook search search-apply fuzz kills attack flips bench-training bench-serving \
	bench-reading bench-pipeline soak judge drift shadow-report screenshots handwriting lock
