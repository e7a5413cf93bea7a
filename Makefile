# make demo: the tour.  make test: the whole suite.  make check: style and structure.  make bench: speed tables.  make gpu-check: does it work on this GPU.  make docs: tables of figures.
# Each creates .venv on first use; stamp files newer than the requirements make later calls work without network.
# TORCH_INDEX=https://download.pytorch.org/whl/cpu make demo: a small install, PyTorch of that index and no CuPy.
# REQUIREMENTS=requirements-cuda12.txt make demo: for NVIDIA drivers older than 580.
.PHONY: demo test check bench gpu-check lock docs format fuzz

BIN := .venv/bin
# The first interpreter that really runs and is 3.11 or 3.12 (a shim may exist and fail).
FIND_PYTHON = for python in "$$PYTHON" python3.12 python3.11 python3; do \
	[ -n "$$python" ] && "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 \
	&& echo "$$python" && break; done

demo: .venv/run.stamp
	$(BIN)/python -m methods.tour

test: .venv/dev.stamp
	$(BIN)/python -m pytest

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -n 0 --durations=0 tests/test_structure.py

# Damaged files through every command and reader for ten minutes.
fuzz: .venv/dev.stamp
	$(BIN)/python -m tests.fuzz --minutes 10

format: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/run.stamp
	$(BIN)/python -m benchmarks.correlation
	$(BIN)/python -m benchmarks.cdvd_tsp_streaming
	$(BIN)/python -m benchmarks.shift_net
	$(BIN)/python -m benchmarks.synthesis
	$(BIN)/python -m benchmarks.window_mean
	$(BIN)/python -m benchmarks.image_models
	$(BIN)/python -m benchmarks.blur2vid
	$(BIN)/python -m benchmarks.loader

gpu-check: .venv/dev.stamp
	$(BIN)/python -m benchmarks.gpu_check

lock: .venv/dev.stamp
	$(BIN)/python -m benchmarks.lock

docs: .venv/run.stamp
	$(BIN)/python -m methods.tables

.venv/bin/python:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "error: Blurlab needs Python 3.11 or 3.12 with venv; install one or set PYTHON=/path/to/python" >&2; exit 2; fi; \
	echo "creating .venv with $$python" && "$$python" -m venv .venv

REQUIREMENTS ?= $(if $(TORCH_INDEX),requirements-common.txt,requirements.txt)
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q

.venv/run.stamp: $(REQUIREMENTS) requirements-torch.txt requirements-common.txt | .venv/bin/python
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) -r requirements-torch.txt)
	$(PIP) -r $(REQUIREMENTS)
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	$(PIP) -r requirements-dev.txt
	@touch $@
