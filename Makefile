# Every target does its own set-up in .venv; it is skipped while the locks have not changed.
# PYTHON=/path/to/python3.11 chooses the interpreter.

VENV := .venv
export VENV PYTHON
SETUP := requirements/setup.sh
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
BENCHMARK := $(VENV)/.installed-benchmark
PYTHON_IN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test lint format docs benchmark clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(RUNTIME) ## Install what mobula needs into .venv

quickstart: $(RUNTIME) ## See the whole story: data, training, evaluation, registry, endpoint
	$(VENV)/bin/mobula quickstart

test: $(DEV) ## Run every test
	$(PYTHON_IN) -m pytest

lint: $(DEV) ## Check format, style and types
	$(PYTHON_IN) -m ruff format --check .
	$(PYTHON_IN) -m ruff check .
	$(PYTHON_IN) -m mypy

format: $(DEV) ## Format the code
	$(PYTHON_IN) -m ruff format .
	$(PYTHON_IN) -m ruff check --fix .

docs: $(RUNTIME) ## Write the pages of docs/ that come from the code
	$(PYTHON_IN) -m cluster.docs
	$(PYTHON_IN) -m trainers.evaluation.metrics.page

benchmark: $(BENCHMARK) ## Measure the claims beside their peers
	$(PYTHON_IN) -m tests.benchmarks

clean: ## Remove .venv and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info build

$(RUNTIME): requirements/cpu.lock requirements/gpu.lock requirements/setup.sh pyproject.toml
	$(SETUP) runtime
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.lock
	$(SETUP) dev
	@touch $@

$(BENCHMARK): $(DEV) requirements/benchmark.lock
	$(SETUP) benchmark
	@touch $@
