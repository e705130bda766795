# Everything below works on a fresh clone with Python 3.11+, git and make; the first target that needs
# the virtual environment builds it from the hash-locked requirements.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Tests wait for one another's processes more than they compute, so a worker for each core pays.
PYTEST_ARGS ?= --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## play an evening in a Discord guild through the whole path, on this machine alone
	@$(BIN)/voice-relay demo

test: $(STAMP) ## run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## run the linters and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cfn-lint infra/*.yaml
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run
	$(BIN)/python -m tests.locks

bench: $(STAMP) ## measure throughput, latency, CPU and memory beside the plain approach
	@$(BIN)/python -m tests.bench

soak: $(STAMP) ## kill the relay for a quarter of an hour and drain a million events, with an exact account
	@$(BIN)/python -m tests.soak

lock: $(STAMP) ## write the requirements files anew from pyproject.toml, newest versions that fit
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra local -o requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml

# Hashes pin what is installed, whichever index serves it; no file names an index.
LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-header \
              --no-emit-index-url --no-emit-find-links

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "voice-relay needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
