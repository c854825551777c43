# `make` alone lists the targets. Everything runs in ./.venv, which is made on demand from the hashes
# in requirements.lock: with uv where it is installed, else with python3 -m venv and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUPPLY := build/supply
READY := $(VENV)/.ready
# Tests wait more than they compute, so three at once suit even two cores; each process has a Postgres of its own.
PYTEST := $(BIN)/pytest -q -n 4 --dist worksteal
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(READY): pyproject.toml requirements.lock
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r requirements.lock && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps -e . ; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e . ; \
	fi
	@touch $@

setup: $(READY) ## make .venv with everything the other targets need

demo: $(READY) ## watch real files become real outcomes on a private Postgres
	@$(BIN)/actiond demo

dev: $(READY) ## run a daemon on a durable private Postgres, reloading processors when their files change
	@$(BIN)/actiond dev

quick: $(READY) ## the tests that take under a minute; house rules, security and simulation are in test
	@$(PYTEST) -m "not slow" --ignore tests/house --ignore tests/security --ignore tests/simulation

test: $(READY) ## all tests, on one Postgres
	@$(PYTEST)

test-all: $(READY) ## all tests, on the oldest and on the newest Postgres found here
	@$(BIN)/python tests/matrix.py

tutorial: $(READY) ## follow docs/tutorial.md to the letter, in an empty directory
	@PYTHONPATH=tests $(BIN)/python tests/tutorial.py

lint: $(READY) ## format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

check: lint ## and house rules
	@$(PYTEST) tests/house

bench: $(READY) ## the benchmark: under four minutes, each figure with its target
	@$(BIN)/python -m tests.bench

bench-views: $(READY) ## what operators ask, with 5,200,000 rows: under ten minutes, each figure with its target
	@$(BIN)/python -m tests.bench.seeing

bench-plans: $(READY) ## a plan over a million rows: rate, memory, and a daemon killed in the middle
	@$(BIN)/python -m tests.bench.plans

bench-kills: $(READY) ## a step over a million rows and a parent of 100,000 children, under kills: all must be exact
	@$(BIN)/python -m tests.bench.killed

bench-chaos: $(READY) ## the scenarios that job queues are compared by, and more: under eight minutes, a score
	@$(BIN)/python -m tests.bench.chaos

bench-patience: $(READY) ## a million dead rows that an old snapshot keeps, and Postgres away for ten minutes: a quarter of an hour
	@$(BIN)/python -m tests.bench.patience

MINUTES ?= 120
soak: $(READY) ## does anything grow? two hours with a report (MINUTES=10 is a look)
	@$(BIN)/python -m tests.bench.soak --minutes $(MINUTES)

pages: $(READY) ## write the pages that are made from code: settings, log lines
	@$(BIN)/python -m actiond.host.pages

schema: $(READY) ## write sql/schema.sql anew: what a migrated database looks like, for `actiond doctor`
	@$(BIN)/python tests/schema.py

$(SUPPLY)/.ready: supply.lock
	@$(PYTHON) -m venv $(SUPPLY) && \
	  $(SUPPLY)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r supply.lock
	@touch $@

audit: $(READY) $(SUPPLY)/.ready ## is anything known against a package in requirements.lock? Needs the network
	@$(BIN)/python tests/supply.py audit $(SUPPLY)/bin/pip-audit

sbom: $(READY) $(SUPPLY)/.ready ## build/actiond.cdx.json: what users get, as a CycloneDX bill of materials
	@$(BIN)/python tests/supply.py sbom $(SUPPLY)/bin/cyclonedx-py

lock: $(READY) ## write requirements.lock and supply.lock anew (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --all-extras --group dev pyproject.toml -o requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --group supply -o supply.lock

clean: ## remove .venv and what was built
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup demo dev quick test test-all tutorial lint check bench bench-views bench-plans bench-kills bench-chaos bench-patience soak pages schema audit sbom lock clean
