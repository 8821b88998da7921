# Needs python3 (3.11 or newer, with venv) and make. Everything else comes from requirements.lock.

VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/ready
PYTHON  ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
             $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
CHECKED := $(wildcard src tests benchmarks migrations)
ARGS    ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint format types lock bench clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12
	@echo 'ARGS="…" is handed on to the command: make test ARGS="tests/domain -x"'

setup: $(READY) ## create the environment in .venv, with exactly what requirements.lock names

# Made anew when the lock or the project's settings change. The package itself is installed in place.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed: none of python3 … python3.11 is.' >&2; exit 1; }
	@test -x $(BIN)/python || { echo 'Creating $(VENV) …'; $(PYTHON) -m venv $(VENV); } || \
	  { rm -rf $(VENV); echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Installing what requirements.lock names …'
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## start PostgreSQL, Valkey and the service on this machine; Ctrl-C stops them
	@$(BIN)/rewards local $(ARGS)

# A process for each core, at most four, and a file of tests in one of them: each has servers of its own.
SPREAD  := --numprocesses logical --maxprocesses 4 --dist loadfile

# Tests start many processes, and each would compile all modules again where the environment forbids keeping them.
unexport PYTHONDONTWRITEBYTECODE

test: $(READY) ## the fast tests
	@$(BIN)/python -m tests.left_out
	@$(BIN)/python -m pytest -m "not slow" $(SPREAD) $(ARGS)

test-slow: $(READY) ## the slow tests: crashes, large data, other clients
	@$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(READY) ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy $(CHECKED)

lock: $(READY) ## pin the dependencies anew; ARGS=--upgrade for newer ones
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install uv
	@$(BIN)/uv pip compile pyproject.toml --group dev $(LOCK_FLAGS) --output-file requirements.lock $(ARGS)
	@$(BIN)/uv pip compile pyproject.toml --group build $(LOCK_FLAGS) --constraints requirements.lock \
	  --output-file requirements-runtime.lock $(ARGS)

# The lock holds for every system and Python, and names no host.
LOCK_FLAGS := --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
              --no-annotate

bench: $(READY) ## measure, against PostgreSQL's own limit in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the environment and the caches; the data in .rewards stays
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
