# Two commands are all one needs: `make up` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: up demo test lint bench clean

$(BIN)/kubekka: setup.cfg pyproject.toml
	@test -x $(BIN)/python || { $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) needs its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }; }
	@echo "installing kubekka into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(BIN)/kubekka
	@echo "installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

up: $(BIN)/kubekka
	@exec $(BIN)/python cluster.py up $(ARGS)

demo: $(BIN)/kubekka
	@exec $(BIN)/python cluster.py demo $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

bench: $(BIN)/kubekka
	@exec $(BIN)/python -m bench messages $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
