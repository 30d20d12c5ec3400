# Two commands do all set-up on a fresh machine: `make serve` and `make test`.
PYTHON ?= python3
PORT ?= 8080
VENV ?= .venv
BIN = $(VENV)/bin
TORCH ?= torch==2.13.0
BENCH_DATA ?= ../shared/data

.PHONY: serve test lint bench clean

# The light install: no torch.
$(BIN)/loadstar: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable .
	touch $@

# Everything the checks and tests need. A plain `torch` on Linux pulls gigabytes of CUDA.
$(VENV)/.dev: pyproject.toml $(BIN)/loadstar
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev,eval,models,postgres,train]'
	touch $@

serve: $(BIN)/loadstar
	$(BIN)/loadstar index examples/skills --catalogue loadstar/examples --prune
	$(BIN)/loadstar serve --port $(PORT)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.performance $(BENCH_DATA)

clean:
	rm -rf $(VENV) .loadstar
