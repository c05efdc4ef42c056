# Two commands do everything: `make demo` and `make test`. Each sets up what it needs first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# A story starts hundreds of processes; none of them should have to compile what the one before it compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports bench example pictures crash clean

help:            ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Farthing needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about a minute, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from farthing.events.scanning.loading import load_scanning; load_scanning()'
	@touch $(READY)

demo: $(READY)   ## a month of LLM traffic: metered, billed, explained, in a minute
	@$(BIN)/farthing demo

test: $(READY)   ## every test
	@$(BIN)/pytest --numprocesses auto --dist worksteal

lint: $(READY)   ## style and formatting
	@$(BIN)/ruff check src tests benchmarks examples docs
	@$(BIN)/ruff format --check src tests benchmarks examples docs

types: $(READY)  ## mypy, strict
	@$(BIN)/mypy

imports: $(READY) ## the order of the rooms and the purity of kernel and rating
	@$(BIN)/lint-imports

check: lint types imports test ## what CI runs

bench: $(READY)  ## measure, and print one table
	@$(BIN)/python -m benchmarks

SEED   ?= 7
POINTS ?= 10000
crash: $(READY)  ## crash it 10,000 times (an hour or two; Ctrl-C ends it tidily, again goes on); report in docs/proof/
	@nice $(BIN)/python -m tests.crash --seed $(SEED) --points $(POINTS) --beside 2 \
	  --results .crash/seed-$(SEED).ndjson --report docs/proof/crash-seed-$(SEED).md

example: $(READY) ## the real traces of ../shared/data, billed to the last digit
	@$(BIN)/python examples/azure_llm_trace.py

pictures: $(READY) ## draw the pictures of docs/concepts/pricing.md again
	@$(BIN)/python docs/concepts/pricing_plots.py

clean:           ## remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
