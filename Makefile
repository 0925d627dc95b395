# Every recipe starts from a bare clone: Python 3.11 or newer and make are all it needs.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
FOLDERS := agent engine eventstore projections tools tests

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without this, pyright asks the package index on every run whether there is a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test coverage check lint types layers planted bench fuzz torture docs clean

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.runtime ## Run the demonstration; it needs no key and no network
	$(BIN)/agent demo $(ARGS)

test: .venv/.dev ## Run the tests, e.g. make test ARGS="-k fork"
	$(BIN)/python -m pytest -n auto $(ARGS)

coverage: .venv/.dev ## Run the tests, and say which lines and branches of the shipped code they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: lint types layers planted ## Check style, formatting, types and layers

bench: .venv/.dev ## Measure; tests/benchmarks says what the figures mean
	$(BIN)/python -m tests.benchmarks $(ARGS)

fuzz: .venv/.dev ## Try mutated input, e.g. make fuzz ARGS="--seed 7 --target sse"
	$(BIN)/python -m tests.fuzz $(ARGS)

torture: .venv/.dev ## Cut the power, kill and race, e.g. make torture ARGS="power --seed 7"
	$(BIN)/python -m tests.torture $(ARGS)

docs: .venv/.dev ## Execute every code block of the documentation
	$(BIN)/python -m pytest tests/docs $(ARGS)

clean: ## Remove what the recipes made, the environment included
	rm -rf .venv .fuzz .torture build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find $(FOLDERS) -type d -name __pycache__ -prune -exec rm -rf {} +

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

layers: .venv/.dev
	$(BIN)/lint-imports --no-logo

planted: .venv/.dev
	$(BIN)/python tests/packaging/plant_type_errors.py

# pip is the last thing that venv installs: while it is missing, the environment is not whole.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
endef

.venv/.runtime: pyproject.toml
	$(environment)
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.dev: pyproject.toml
	$(environment)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch .venv/.runtime $@
