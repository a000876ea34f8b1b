# make demo: the main job, on a lab of real servers. make test: everything that must hold.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
UV_VERSION := 0.13.9
PYTHON ?= python3

.PHONY: demo test on-the-lab beside-it quick soak bench lint lab down venv clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   set everything up and make three releases under traffic (leaves the lab running)"
	@echo "make test   lint, contracts, and all tests"
	@echo "make quick  the tests that need no lab"
	@echo "make soak   the long matrix of kills"
	@echo "make bench  ratios, side by side in one run"
	@echo "make lab    start the lab; make down stops it"

venv: $(VENV)/.locked

$(VENV)/.locked: pyproject.toml uv.lock
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version)"; exit 2; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv is missing: apt-get install python3-venv"; exit 2; }
	@test -x $(VENV)/bin/uv || { echo "installing uv $(UV_VERSION)"; $(PY) -m pip install -q --disable-pip-version-check uv==$(UV_VERSION); }
	@echo "installing the locked packages"
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(VENV)/bin/uv sync --locked --quiet --compile-bytecode
	@touch $@

demo: venv
	@$(PY) deployments/demo.py

lab: venv
	@$(PY) deployments/lab up

down: venv
	@$(PY) deployments/lab down

lint: venv
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

quick: venv
	@$(PY) -m pytest -m "not lab and not soak"

test: lint
	@$(PY) deployments/lab build
	@cd deployments/lab/go && GOTOOLCHAIN=local GOFLAGS=-mod=readonly go test ./...
	@$(MAKE) --no-print-directory --keep-going --jobs 2 on-the-lab beside-it

# Their own targets, for they run side by side: one mostly waits, the other mostly computes.
on-the-lab:
	@$(PY) -m pytest -m "lab and not soak"

beside-it:
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	$(PY) -m pytest -m "not lab and not soak" >$$log 2>&1; code=$$?; \
	echo; cat $$log; exit $$code

soak: venv
	@$(PY) -m pytest -m soak --timeout 7200

bench: venv
	@$(PY) -m tests.bench
	@$(PY) -m tests.bench judge
	@$(PY) -m tests.bench rollback
	@$(PY) -m tests.bench flagger

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
