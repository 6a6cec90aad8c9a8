# `make book` and `make test` do everything on a fresh machine with Python >= 3.11. README.md has the same as plain commands.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: book test notebooks lint clean

book: .venv/installed
	rm -rf _build book/api
	$(BIN)/python book/tools/pages.py
	$(BIN)/jupyter-book build . -n -W --keep-going

test: .venv/installed lint book
	$(BIN)/python book/tools/browser.py || $(BIN)/playwright install chromium || true
	$(PYTEST) tests
	$(PYTEST) --dist loadscope --nbval --nbval-current-env --nbval-cell-timeout 300 book

notebooks: .venv/installed
	$(BIN)/python book/tools/notebooks.py --workers $(WORKERS)
	$(BIN)/python book/tools/pages.py

lint: .venv/installed
	$(BIN)/ruff check .

clean:
	rm -rf _build book/api .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[book,test]"
	touch $@
