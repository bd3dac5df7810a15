# Every target makes .venv itself; set PYTHON to choose another interpreter, 3.11 to 3.13.
PYTHON ?= python3
# a file of tests stays in one process, for what its tests share
SPLIT := --numprocesses auto --maxprocesses 4 --dist loadfile
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: run test check quick newest oldest soak bench lab build publish site release clean

run: .venv/labs      ## lab 02, headless: a results table and the executed notebook as HTML
	$(BIN)/xferlab labs run 02

lint: .venv/dev      ## style, types, the course in step
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy xferlab
	$(BIN)/python labs/build.py --check

test: lint           ## everything that CI runs, a process a core
	$(BIN)/python -m pytest $(SPLIT)
	XFERLAB_PROFILE=quick OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPLIT) --nbval-lax labs/solutions

check: lint          ## in seconds: style, types, the course in step, the tests of what changed since BASE (HEAD)
	$(BIN)/python -m pytest $$($(BIN)/python tests/changed.py --base $(or $(BASE),HEAD))

quick: .venv/dev     ## on any system: it installs, imports, answers, and its smallest tests pass
	$(BIN)/xferlab doctor --quick
	$(BIN)/xferlab labs list
	$(BIN)/python -m pytest tests/test_house.py tests/test_recipe.py tests/test_estimation.py tests/test_probes.py tests/encoders/test_reading.py

newest: $(BIN)/python ## the tests and every lab, at the size that a learner runs, on the newest versions of all they build on
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	$(BIN)/python -m pip list
	$(BIN)/python -m pytest -rs
	XFERLAB_PROFILE=quick $(BIN)/python -m pytest --nbval-lax labs/solutions
	for lab in $$($(BIN)/xferlab labs list | grep -v planned | cut -d' ' -f1); do $(BIN)/xferlab labs run $$lab || exit 1; done

oldest: $(BIN)/python ## the tests on the oldest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --constraint tests/oldest.txt --editable '.[dev]'
	$(BIN)/python -m pytest -rs

soak: .venv/dev      ## hours: the long reliability runs, of which make test holds a share
	for harness in crashes network files layouts fuzz mutate poison determinism; do $(BIN)/python tests/reliability/$$harness.py || exit 1; done

bench: .venv/bench   ## how fast, beside what people would otherwise write: bench/results.json, bench/scale.json
	$(BIN)/python bench/run.py
	$(BIN)/python bench/scale.py

lab: .venv/labs      ## JupyterLab on the first lab
	$(BIN)/jupyter lab labs/00_start_here.ipynb

build: .venv/dev     ## labs/source -> student notebooks, executed solutions, teacher pages, README table
	$(BIN)/python labs/build.py --execute

publish: .venv/labs  ## REPOSITORY=owner/name on GitHub: badges, links, citation and install cells follow
	$(BIN)/python labs/build.py --publish $(REPOSITORY)

site: .venv/site     ## the website in runs/site: labs, results, methods, API; nothing is run and nothing fetched
	$(BIN)/python docs/assemble.py runs/site-source
	$(BIN)/python -m sphinx -q -c docs runs/site-source runs/site
	@echo open runs/site/index.html

release: .venv/dev   ## dist/: built from what is committed, checked, installed away from here, two labs run there
	git diff --quiet HEAD
	rm -rf dist runs/release
	git clone --quiet . runs/release
	$(BIN)/python -m pip install --quiet build twine
	$(BIN)/python -m build --outdir dist runs/release
	$(BIN)/python -m twine check --strict dist/*
	XFERLAB_WHEEL=dist $(BIN)/python -m pytest tests/course/test_wheel.py

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/labs: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[labs]'
	touch $@

.venv/dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv/site: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[site]'
	touch $@

.venv/bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv runs
