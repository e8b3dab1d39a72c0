# One word per chore; CI says the same words. Every target sets up what it needs first.
#
# PYTHON=python3.12 make venv   chooses the interpreter the environment is made with
# ARGS='-k resume' make test    hands arguments on to the tool behind run, test, bench and soak

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

VENV_PYTHON := .venv/bin/python
ARGS ?=

.PHONY: help venv system run test test-interpreters test-compiled check check-deploy format docs docs-pages bench bench-quick soak dist lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

venv: ## the Python environment in .venv, with everything
	@scripts/venv

system: ## the system packages that `make test` needs
	@scripts/system-packages test

run: ## the service on this machine, with a demo application (greenroom serve --dev)
	@scripts/system-packages run
	@scripts/venv run
	@exec .venv/bin/greenroom serve --dev $(ARGS)

test: ## every test; the first run while system packages are still being installed
	@scripts/system-packages --only-ask test
	@scripts/system-packages run
	@scripts/venv
	@$(VENV_PYTHON) scripts/run_tests.py $(ARGS)

test-interpreters: ## the tests of SDK and core on every CPython 3.11 to 3.14 of this machine
	@scripts/venv
	@$(VENV_PYTHON) -m scripts.test_interpreters $(ARGS)

test-compiled: ## the tests on the compiled wheel; `ARGS=--short` a third of them
	@scripts/system-packages run
	@scripts/venv
	@$(VENV_PYTHON) -m scripts.test_compiled $(ARGS)

check: ## lint, format, types, direction of imports, generated pages
	@scripts/venv
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	.venv/bin/lint-imports
	$(VENV_PYTHON) scripts/docs_generate.py --check
	$(VENV_PYTHON) scripts/generate_browser_tables.py --check

check-deploy: ## the Helm chart and the GitHub workflows, by helm and actionlint (Go builds them where they are missing)
	@scripts/venv
	@$(VENV_PYTHON) scripts/check_deploy.py

format: ## let ruff mend what it can
	@scripts/venv
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

docs-pages: ## write the generated reference pages
	@scripts/venv
	$(VENV_PYTHON) scripts/docs_generate.py

docs: docs-pages ## the documentation as HTML in build/docs
	$(VENV_PYTHON) -m zensical build --clean --strict --config-file mkdocs.yml

bench: ## the figures and plots of the benchmark page (up to 40 minutes)
	@scripts/system-packages bench
	@scripts/venv
	@$(VENV_PYTHON) -m benchmarks $(ARGS)

bench-quick: ## the short form of it (up to 3 minutes)
	@scripts/system-packages run
	@scripts/venv
	@$(VENV_PYTHON) -m benchmarks --quick $(ARGS)

soak: ## the long tests of endurance, an hour and more
	@scripts/system-packages test
	@scripts/venv
	@$(VENV_PYTHON) -m benchmarks --soak $(ARGS)

dist: ## wheel, compiled wheel, sdist, npm packages, image context and bill of materials in dist/, checked
	@scripts/venv
	@$(VENV_PYTHON) -m scripts.dist

lock: ## write requirements/*.txt anew from pyproject.toml
	@scripts/lock

clean: ## remove the environment and everything that was built
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache browser/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
