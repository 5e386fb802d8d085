# make run: set everything up and do the main job, locally. make test: set up, real servers, all tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := .venv/bin
OUT ?= run-output
EVENTS ?= 20000
PYTEST ?= -q

.PHONY: help setup run test faults fuzz check format docs bench clean
help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 — /p' $(MAKEFILE_LIST)

setup: .venv/.installed ## Make .venv with everything in it

.venv/.installed: requirements-dev.lock pyproject.toml
	@if ! $(or $(PYTHON),false) -c 'import venv, ensurepip' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv; \
	  else echo "enricher needs Python 3.11 or newer with venv: sudo apt-get install python3 python3-venv"; exit 1; fi; fi
	@$(or $(PYTHON),python3) -m venv .venv
	@echo "installing packages into .venv (about a minute)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## Enrich generated events into a local store, and show a summary
	@mkdir -p $(OUT) && rm -f $(OUT)/enricher.db* $(OUT)/dead-letters.ndjson
	@$(BIN)/enricher generate -n $(EVENTS) > $(OUT)/events.ndjson
	@$(BIN)/enricher generate --users > $(OUT)/users.ndjson
	$(BIN)/enricher run pipelines/payments.yaml $(OUT)/events.ndjson --local --store $(OUT)/enricher.db \
	  --lookups $(OUT)/users.ndjson --dead-letters $(OUT)/dead-letters.ndjson

test: setup ## All tests, on real servers
	@$(BIN)/python -m tests.servers install
	$(BIN)/python -m pytest $(PYTEST)

faults: export ENRICHER_FAULTS = long
faults: setup ## Break everything for twenty minutes, and show the figures as a table
	@$(BIN)/python -m tests.servers install
	@rm -f run-output/faults-long.jsonl
	$(BIN)/python -m pytest -q tests/faults
	@$(BIN)/python -m tests.faults.results

fuzz: setup ## Try inputs of every kind on every parser, for FUZZ_SECONDS (60) each
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --only-binary atheris --no-build-isolation -e '.[fuzz]' || true
	@$(BIN)/python -m tests.fuzz $(TARGETS)

check: setup ## Lint, types, import contracts, drift of docs, the shipped pipelines
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m enricher.reference --check
	$(BIN)/enricher check pipelines/*.yaml
	$(BIN)/enricher test pipelines/*.yaml

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Write docs/ and the schema from the code
	$(BIN)/python -m enricher.reference

bench: setup ## Benchmarks, as a table
	@$(BIN)/python -m tests.servers install
	@$(BIN)/python -m bench

clean: ## Remove what was made
	rm -rf .venv $(OUT) .mypy_cache .ruff_cache .pytest_cache
