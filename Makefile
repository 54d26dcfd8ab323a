# Each target makes .venv and installs what it needs; no step needs more than a package index.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-t5x stress lint bench

demo: $(INSTALLED)
	$(BIN)/python -m mpt_jax.demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10

# T5X_PATH: folders with T5X and what it needs, joined by colons (docs/t5x.md).
test-t5x: $(INSTALLED)
	PYTHONPATH="$(T5X_PATH)" $(BIN)/python -m pytest tests_t5x --durations=10

# Every kind of data resumed at every step, then kills and damages at random (docs/running.md).
stress: $(INSTALLED)
	$(BIN)/python tests/support/data_kinds.py
	PYTHONPATH=tests:tests/support:benchmarks $(BIN)/python -m stress.damages --damages=2000
	PYTHONPATH=tests:tests/support:benchmarks $(BIN)/python -m stress.kills --kills=500

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(INSTALLED)
	$(BIN)/python benchmarks/step.py --size=mini
	$(BIN)/python benchmarks/bank.py

# An interpreter that is too old would fail late, with a message about some dependency.
$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed: make PYTHON=...')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
