# `make` lists the targets. Everything is installed into .venv; nothing outside it is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where the test folders are: plain units first, then those that start Ray, then those for a GPU.
TESTS := $(wildcard tests/unit tests/fuzz tests/serve tests/gpu)
ARGS ?=

# A slow registry is waited for: the largest packages are some tens of megabytes.
export UV_HTTP_TIMEOUT ?= 180

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint fuzz bench reliability soak clean

help:
	@echo "make demo    start the graph on CPU, transcribe the bundled clip over HTTP, stop the graph"
	@echo "make serve   start the graph on 127.0.0.1:8000 and leave it up"
	@echo "make test    lint, then every test that needs no GPU   (ARGS='-k words' picks some)"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make fuzz    1,000 generated requests of each kind and 20,000 damaged files; counts in benchmarks/results"
	@echo "make bench   speed, on a CPU: 36 minutes on two cores; writes README's tables from benchmarks/results"
	@echo "make reliability  changing load, faults, memory, damaged files: about 115 minutes; writes README's tables too"
	@echo "make soak    30 minutes of load with a fault every minute           (ARGS='--minutes 480')"
	@echo "make clean   remove .venv, caches and build outputs"
	@echo "PYTHON=...   the Python to build .venv with (now: $(PYTHON); 3.11 to 3.13)"

demo: $(VENV)/.demo-installed
	@$(BIN)/serve-app demo

serve: $(VENV)/.demo-installed
	@$(BIN)/serve-app serve demo

test: lint
	$(BIN)/pytest $(TESTS) $(ARGS)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.test-installed
	FUZZ_CASES=1000 FUZZ_CONTAINERS=20000 FUZZ_RECORD=benchmarks/results $(BIN)/pytest tests/fuzz --timeout=1800
	$(BIN)/python -m benchmarks tables

bench: $(VENV)/.bench-installed
	$(BIN)/python -m benchmarks all
	$(BIN)/python -m benchmarks tables

reliability: $(VENV)/.test-installed
	$(BIN)/python -m benchmarks reliability
	$(BIN)/python -m benchmarks tables

soak: $(VENV)/.test-installed
	$(BIN)/python -m benchmarks soak $(ARGS)
	$(BIN)/python -m benchmarks tables

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find serve_app tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# One stamp per set of packages. The stamps depend on what names the packages, so that a changed
# pin is installed at the next call; .venv itself is built once.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "serve_app needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one of them." >&2; \
	  echo "Name another: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "[1/3] creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "[2/3] installing the installer (uv)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@touch $@

$(VENV)/.demo-installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "[3/3] installing serve_app[demo] and what it needs"
	@$(BIN)/uv pip install --quiet -p $(BIN)/python -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.test-installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "[3/3] installing serve_app[demo,bench,test,diarization,convert] and what it needs (5 GB with torch)"
	@$(BIN)/uv pip install --quiet -p $(BIN)/python -c constraints.txt \
	  -e '.[demo,bench,test,diarization,convert]'
	@touch $@ $(VENV)/.demo-installed

$(VENV)/.bench-installed: $(VENV)/.test-installed
	@echo "[4/4] installing serve_app[peers], which the benchmark of that name compares with"
	@$(BIN)/uv pip install --quiet -p $(BIN)/python -c constraints.txt -e '.[peers]'
	@touch $@
