# `make` lists the targets. All of them work in .venv, which is made when first needed.

PYTHONS := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python
BIN := .venv/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

MAKEFLAGS += --no-print-directory
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports tests docs wheel bench stress clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: .venv/demo ## serve the example application, with its own mail server
	@exec $(PY) -m examples.flasky_mail $(ARGS)

test: lint types imports tests docs wheel ## everything that has to hold before a change lands

lint: .venv/dev ## style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev ## static types, strict
	$(BIN)/mypy

imports: .venv/dev ## which module may import which
	$(BIN)/lint-imports

tests: .venv/dev ## the tests alone; pass options in ARGS="-k mail"
	$(PY) -m pytest $(ARGS)

docs: .venv/dev ## the documentation, into docs/_build/html
	$(PY) -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs: see docs/_build/html/index.html"

wheel: .venv/dev ## build the wheel, and import it where nothing else is installed
	rm -rf dist build
	$(PY) -m build --outdir dist . > build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log
	$(PY) -m venv build/clean
	build/clean/bin/python -m pip --disable-pip-version-check --quiet install dist/*.whl
	cd build/clean && bin/python -W error -c "import flask_bgtask as f; print('wheel: imported', f.__file__)"

bench: .venv/bench ## measure beside a plain thread pool and other libraries
	@for file in benchmarks/[a-z]*.py; do \
	  $(PY) -m benchmarks.$$(basename $$file .py) $(ARGS) || exit 1; done

stress: .venv/dev ## the long tests: real servers, killed again and again
	$(PY) -m pytest -m stress $(ARGS)

clean: ## remove what the other targets made
	rm -rf .venv build build.log dist docs/_build examples/flasky_mail/instance
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the virtual environment: each file below says that a set of packages is installed

.venv/made:
	@found= ; for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { found=$$python; break; }; \
	done; \
	test -n "$$found" || { echo "Python 3.11 or newer is needed, and none is on the PATH." \
	  "Say where it is: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; }; \
	echo "Making .venv with $$found ..."; \
	$$found -m venv --clear .venv 2>/dev/null || { \
	  $$found -m venv --clear --without-pip .venv && $$found -m pip --python $(PY) install -q pip; \
	} || { echo "$$found can make no virtual environment: install its venv module" \
	  "(Debian, Ubuntu: apt install python3-venv)."; exit 1; }
	@touch $@

.venv/demo: .venv/made pyproject.toml
	@echo "Installing what the demo needs into .venv ..."
	@$(PIP) install -e '.[demo]'
	@touch $@

.venv/dev: .venv/made pyproject.toml
	@echo "Installing what the tests need into .venv ..."
	@$(PIP) install -e '.[demo,docs,schedule,test]'
	@touch $@ .venv/demo

.venv/bench: .venv/dev pyproject.toml
	@echo "Installing what the benchmark needs into .venv ..."
	@$(PIP) install -e '.[bench]'
	@touch $@
