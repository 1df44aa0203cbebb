# vaultctl: make alone lists what there is.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# Programs are started again and again here: where nothing may keep what was compiled, each would compile anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test interop lint bench completions clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(VENV)/.runtime ## install into .venv and play the guide against a vault in a temporary folder
	@$(BIN)/python tests/demo/play.py

test: $(VENV)/.dev ## run the whole test suite
	$(BIN)/pytest -q -n auto --dist worksteal $(ARGS)

interop: $(VENV)/.dev ## public MCP clients and suites (npm), and verifiers of logs (go), against the real servers
	@VAULTCTL_INTEROP=1 $(BIN)/pytest -q -rs tests/ledger/test_go.py
	@$(BIN)/python tests/interop/run.py

lint: $(VENV)/.dev ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## measure the budgets, as ratios within this run; ARGS="--entries 10000000" for the largest log
	@$(BIN)/python tests/bench/bench.py $(ARGS)

completions: $(VENV)/.runtime ## generate the shell completions and manual pages anew
	@$(BIN)/python -m vaultctl.cli.completions completions

clean: ## remove what make made
	rm -rf $(VENV) tests/interop/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vaultctl needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Making a virtual environment failed; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing vaultctl into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing vaultctl and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.runtime
