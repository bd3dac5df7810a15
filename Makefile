# Every target makes .venv itself; set PYTHON to choose another interpreter, 3.11 to 3.13.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test bench lab build site clean

run: .venv/labs      ## lab 02, headless: a results table and the executed notebook as HTML
	$(BIN)/xferlab labs run 02

test: .venv/dev      ## everything that CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python labs/build.py --check
	$(BIN)/python -m pytest
	XFERLAB_PROFILE=quick $(BIN)/python -m pytest --nbval-lax labs/solutions

bench: .venv/bench   ## how fast, beside what people would otherwise write: bench/results.json, bench/scale.json
	$(BIN)/python bench/run.py
	$(BIN)/python bench/scale.py

lab: .venv/labs      ## JupyterLab on the first lab
	$(BIN)/jupyter lab labs/00_start_here.ipynb

build: .venv/dev     ## labs/source -> student notebooks, executed solutions, teacher pages, README table
	$(BIN)/python labs/build.py --execute

site: .venv/labs     ## a page for each lab in runs/site; SOLUTIONS=1 shows the answers
	$(BIN)/python labs/pages.py runs/site $(if $(SOLUTIONS),--solutions)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/labs: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[labs]'
	touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv/bench: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv runs
