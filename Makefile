# `make demo` and `make test` do all the set-up themselves; a second call is quick.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# torch is named with its version in every install, so that a build that is already at hand is used.
TORCH := torch==2.13.0
# -qq: errors only. Of warnings pip has dozens where a machine's own configuration names indexes that lack a package.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install $(TORCH)

.PHONY: help build demo demo-imagenet test test-slow test-random test-portable test-sanitize soak bench lint wheel docs
.PHONY: clean

help:
	@echo "make demo           train, transform and answer privately, on scikit-learn's digits"
	@echo "make demo-imagenet  EfficientNet-Lite0 on photographs, in plaintext and privately"
	@echo "make test           all tests but the slow ones"
	@echo "make test-slow      the slow ones"
	@echo "make test-random    tests of random networks and numbers, drawn anew at every call"
	@echo "make test-portable  the kernel tests on the portable tier"
	@echo "make test-sanitize  kernels and parties under the address and undefined-behaviour sanitizers"
	@echo "make soak           private sessions until one fails (SOAK=\"--seconds 600\" to stop)"
	@echo "make bench          kernel microbenchmarks (BENCH=--benchmark-json=FILE to compare two commits)"
	@echo "make lint           ruff, mypy and clang-format"
	@echo "make docs           site/: README, docs/, the examples and a reference of every name, as pages"
	@echo "make wheel          dist/: a wheel that needs no compiler, and the source archive that it was built from"
	@echo "make build          only the set-up"
	@echo "make clean          remove everything that was built"

demo: build
	$(BIN)/python -m autorep_fx demo

demo-imagenet: $(VENV)/.imagenet
	$(BIN)/python -m autorep_fx demo-imagenet

$(VENV)/.imagenet: $(VENV)/.built
	AUTOREP_FX_NO_EXT=1 $(PIP) --no-build-isolation -e ".[imagenet]"
	@touch $@

# In a process for each core, four at most: each holds torch and what it compiled. The tests of a file stay in one process,
# which makes what they share once. WORKERS=0 runs all of them in this one.
WORKERS ?= logical
test: build
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile

test-slow: build
	$(BIN)/python -m pytest -m slow

test-random: build
	$(BIN)/python -m pytest -m "hypothesis and not slow" --hypothesis-profile=default

test-portable: build
	AUTOREP_FX_CPU=portable $(BIN)/python -m pytest tests/kernels

test-sanitize: build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/sanitize.py

soak: build
	$(BIN)/python tests/secure/soak.py $(SOAK)

bench: build
	$(BIN)/python -m pytest benchmarks/bench_*.py --benchmark-columns=median,iqr $(BENCH)

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $$(find csrc -type f)

# From the source archive, so that nothing of this folder that is not in it can be needed or slip in; auditwheel puts
# libgomp beside the kernels and names the oldest glibc that they run on.
wheel: build
	rm -rf build/wheel dist
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m build --no-isolation --outdir build/wheel > build/wheel.log 2>&1 || \
	    { cat build/wheel.log; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl
	cp build/wheel/*.tar.gz dist
	@ls dist

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html; its search works through a server alone: python3 -m http.server -d site"

$(VENV)/.docs: $(VENV)/.built
	AUTOREP_FX_NO_EXT=1 $(PIP) --no-build-isolation -e ".[docs]"
	@touch $@

build: $(VENV)/.built

$(VENV)/.dependencies: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	    { echo "no virtual environment could be made: apt-get install python3-venv"; exit 1; }
	@echo "installing the dependencies into $(VENV) (once)"
	$(PIP) "setuptools>=77" wheel "pybind11>=3.0,<4" "cmake>=3.26" ninja
	AUTOREP_FX_NO_EXT=1 $(PIP) --no-build-isolation -e ".[crypten,dev]"
	$(PIP) --no-deps crypten==0.4.1
	@touch $@

$(VENV)/.built: $(VENV)/.dependencies setup.py CMakeLists.txt $(shell find csrc -type f)
	@echo "building the compiled kernels"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) build dist out site autorep_fx/kernels/*.so *.egg-info
