# Every target makes its own set-up: python3 (3.11 or newer) and make are enough.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
EXTRAS := cli,crypto,dev,firestore,otel
TOTALS := build/test-totals.json
DOCS   := build/docs-venv
PIP    := -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest --totals=$(TOTALS)
SAY    = @printf '\033[1m== %s\033[0m\n'

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test torture check lint types layers docs bench fix emulator clean \
	migrate firestore-init firestore-indexes firestore-emulator

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | awk -F '\t' '{printf "  make %-18s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "eventstate needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(SAY) "set-up: $(VENV) (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) install --constraint constraints.txt hatchling editables
	@$(BIN)/python $(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	@touch $@

setup: $(STAMP) ## make .venv with everything that development needs
	@:

demo: $(STAMP) ## see it work: writers killed again and again, then everything rebuilt and compared
	@$(BIN)/eventstate demo

# Exit code 5 of pytest: nothing was selected.
test: $(STAMP) ## all tests: those that need the machine to themselves, then the others side by side
	@rm -f $(TOTALS)
	@failed=0; \
	$(PYTEST) -m 'serial and not torture' || test $$? -eq 5 || failed=1; \
	$(PYTEST) -n 2 -m 'not serial and not torture' || failed=1; \
	exit $$failed

torture: $(STAMP) ## the long runs: crashes, interleavings and random histories by the thousand
	@$(BIN)/python -m pytest -m torture --hypothesis-profile=torture --timeout=3600

check: lint types layers docs ## style, types, layers, and the documentation's code run from a built wheel

lint: $(STAMP)
	$(SAY) "ruff"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --check; echo "make fix formats them"; exit 1; }

types: $(STAMP)
	$(SAY) "pyright"
	@$(BIN)/pyright

layers: $(STAMP)
	$(SAY) "import-linter"
	@$(BIN)/lint-imports --no-logo --no-cache

docs: $(STAMP)
	$(SAY) "documentation, run from a built wheel"
	@rm -rf build/wheel $(DOCS)
	@$(BIN)/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	@$(BIN)/python -m venv $(DOCS)
	@$(DOCS)/bin/python $(PIP) install --constraint constraints.txt "$$(echo build/wheel/*.whl)[cli,firestore]"
	@$(BIN)/python tests/docs/run_docs.py --python $(DOCS)/bin/python

bench: $(STAMP) ## benchmarks; more with ARGS='--help'
	@$(BIN)/python -m benchmarks $(ARGS)

fix: $(STAMP) ## let ruff correct and format, and show what is left to do by hand
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check

emulator: ## install the Firestore emulator (and java), where apt or gcloud can
	@sh tools/install-emulator

migrate: $(STAMP) ## bring jobs to the newest version; ARGS='--url URL --dry-run'
	@$(BIN)/eventstate migrate $(ARGS)

firestore-init: $(STAMP) ## make a Firestore database; ARGS='--project ID --location PLACE --dry-run'
	@$(BIN)/eventstate firestore init $(ARGS)

firestore-indexes: $(STAMP) ## set the indexes of a Firestore database; ARGS='--project ID --dry-run'
	@$(BIN)/eventstate firestore indexes $(ARGS)

firestore-emulator: $(STAMP) ## run Google's emulator until Ctrl-C; ARGS='--port 8080'
	@$(BIN)/eventstate firestore emulator $(ARGS)

clean: ## remove what the targets made
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
