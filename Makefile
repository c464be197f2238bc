# What people type. Everything happens in .venv, made on the first call.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
LIBRARIES := build/libraries/fetched

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-fast matrix release-check lint bench docs docs-links clean

# How many tests run at a time, unless told otherwise: one more than there are cores,
# because tests that use servers often wait.
JOBS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# Without bytecode on disk, each process of the tests would compile all modules again.
test test-all test-fast matrix: export PYTHONDONTWRITEBYTECODE =
# How much make matrix tests with each combination of versions: see tests/tiers.py.
TIER ?= default
PYTEST = $(BIN)/python -m pytest -n $(JOBS)

help:
	@echo "make run        serve the example site on http://127.0.0.1:$(PORT)/ (PORT= changes it)"
	@echo "make test       check style, types and imports, and test every claim once"
	@echo "make test-all   the same with every server, store and fault"
	@echo "make test-fast  test what needs no process and no browser, in a minute"
	@echo "make matrix     test with every Python and Django, old and new (TIER=fast is shorter)"
	@echo "make bench      measure speed and memory beside other servers (BENCH= adds options)"
	@echo "make docs       build the documentation in docs/_build"
	@echo "make docs-links check the addresses in it, with a network"
	@echo "make release-check  build and check what would be released, and say what remains"
	@echo "make clean      remove what these made"

run: $(VENV)/installed
	@echo
	@echo "  The example site: http://127.0.0.1:$(PORT)/    (Ctrl-C stops it)"
	@echo
	@echo "  Open it in two windows: what one posts appears in the other."
	@echo "  Rooms for members, with a login by one click: http://127.0.0.1:$(PORT)/rooms"
	@echo "  A dashboard of all channels, for the staff: http://127.0.0.1:$(PORT)/push/"
	@echo "  Pages with htmx, Turbo, Datastar and fetch: http://127.0.0.1:$(PORT)/recipes"
	@echo "  In a second terminal, wait for news:   curl -i http://127.0.0.1:$(PORT)/updates/news"
	@echo "  In a third one, publish some:          curl -i http://127.0.0.1:$(PORT)/send-update/news -d hello"
	@echo
	PORT=$(PORT) $(BIN)/daphne -b 127.0.0.1 -p $(PORT) example_project.asgi:application

test: $(VENV)/installed-tests lint
	$(PYTEST)

test-all: $(VENV)/installed-tests $(VENV)/installed-docs $(LIBRARIES) lint
	$(PYTEST) --tier all

test-fast: $(VENV)/installed-tests
	$(PYTEST) --tier fast

matrix: $(VENV)/installed-release
	$(BIN)/python -m nox --session tests -- -n $(JOBS) --tier $(TIER)

release-check: $(VENV)/installed-release
	$(BIN)/python -m release

lint: $(VENV)/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy pushserver pushserver_channels tests/typed_site
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/installed-tests
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

docs-links: $(VENV)/installed-docs
	$(BIN)/sphinx-build -q -W -b linkcheck docs docs/_build/links

clean:
	rm -rf $(VENV) .nox build dist docs/_build *.egg-info

# An environment of its own, because a newcomer has none; made again when what it holds
# has changed.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed; make PYTHON=... names one.") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-tests: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[tests]'
	touch $@ $(VENV)/installed

# The client libraries of others, for make test-all. Without a network its tests of them
# are skipped; if CI is set, they fail.
$(LIBRARIES): tests/browser/libraries.py | $(VENV)/installed-tests
	-$(BIN)/python -m tests.browser.libraries

$(VENV)/installed-docs: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/installed

$(VENV)/installed-release: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs,release]'
	touch $@ $(VENV)/installed
