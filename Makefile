# `make help` lists the targets. A fresh machine needs python3 (3.11 to 3.13) and make; the rest is installed here.
# Variables: PYTHON=python3.12 · VENV=folder · INPUT=folder (demo, annotate) · ARGS="-k crop" (test) · JOBS=4 (test)

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
UV := $(PYTHON) tools/uv.py $(VENV)
PIN := --constraint constraints.txt --build-constraint constraints.txt
SOURCE := --editable .
SETUP := pyproject.toml constraints.txt tools/uv.py src/tumorscope/_version.py

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint format bench web annotate browser docs figures constraints light dist clean distclean
.NOTPARALLEL:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An install only ever adds: `make demo` after `make test` finds the light package there and changes nothing.
$(VENV)/.light: $(SETUP)
	$(UV) pip install $(PIN) $(SOURCE)
	@touch $@

$(VENV)/.dev: $(SETUP)
	$(UV) pip install $(PIN) --editable '.[dev]'
	@touch $(VENV)/.light $@

$(VENV)/.serve: $(SETUP)
	$(UV) pip install $(PIN) --editable '.[serve]'
	@touch $(VENV)/.light $@

$(VENV)/.docs: $(SETUP)
	$(UV) pip install $(PIN) --editable '.[docs]'
	@touch $(VENV)/.light $@

demo: $(VENV)/.light  ## light install (no torch), then the whole path on embedded scans, or on INPUT=folder
	$(BIN)/tumorscope demo $(if $(INPUT),--input '$(INPUT)')

test: $(VENV)/.dev  ## tests and doctests; ARGS goes to pytest
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

slow: $(VENV)/.dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# npm and Node 20 are needed here only: without the viewer, everything else works and `/` says how to build it.
web/node_modules: web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

web: web/node_modules  ## build the viewer into src/tumorscope/server/viewer
	cd web && npm run --silent build

annotate: web $(VENV)/.serve  ## the viewer on INPUT=folder, or on an empty workspace that scans are dropped into
	$(BIN)/tumorscope $(if $(INPUT),annotate '$(INPUT)',serve)

browser: web $(VENV)/.dev  ## test the viewer: its own unit tests, then Chromium (apt install chromium) on a real server
	cd web && npm run --silent test
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

bench: $(VENV)/.dev  ## speed and memory of predict; the other scripts in benchmarks/ need data and tell how to call them
	$(BIN)/python benchmarks/predict_speed.py $(ARGS)

figures: $(VENV)/.light  ## the pictures in docs/images, made by docs/figures/*.py
	@set -e; for script in docs/figures/[!_]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(VENV)/.docs figures  ## figures, then static HTML in site/
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site
	@echo site/index.html

constraints:  ## pin every package again, newest versions, one file for Python 3.11 to 3.13 on every platform
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	  --all-extras --group tools --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make constraints' \
	  --output-file constraints.txt pyproject.toml

light:  ## demo from a built wheel in a fresh environment that has no torch: proof of the light install
	rm -rf .venv-light
	$(MAKE) demo VENV=.venv-light SOURCE=.
	@! .venv-light/bin/python -c 'import torch' 2>/dev/null || { echo 'torch is in the light install'; exit 1; }

dist: $(VENV)/.light  ## wheel and source distribution in dist/
	$(UV) build --quiet --build-constraint constraints.txt
	@ls dist

clean:  ## remove what the targets made, except the environments
	rm -rf build dist site tumorscope-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/reference/api
	find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean  ## also remove the environments and the viewer
	rm -rf .venv .venv-light web/node_modules src/tumorscope/server/viewer
