# make demo, make test: everything a fresh Debian or Ubuntu with Python 3.10 or newer needs goes into .venv/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet install
GPUS   := $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU ')
TORCH  := $(if $(filter 0,$(GPUS)),torch==2.13.0,torch)
DEEPSPEED := $(shell sed -n 's/.*"\(deepspeed==[^"]*\)".*/\1/p' pyproject.toml)
ON_GPU := $(if $(filter-out 0 1,$(GPUS)),--set gpus=2)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-engines engine serving lint soak bench clean

demo: $(VENV)/.demo
	mgpu run examples/digits/digits.mgpu.yaml $(ON_GPU)
	mgpu run examples/chat/chat.mgpu.yaml

test: lint engine
	tests/parts
	python -m tests.bench

# Real vLLM and SGLang on the CPU: some minutes and 4 GB the first time, so no part of `make test`.
test-engines: $(VENV)/.test serving
	MGPU_SERVING=$(or $(MGPU_SERVING),.build/serving) MGPU_REQUIRE=serving,vllm,sglang python -m pytest tests/real tests/parsers

lint: $(VENV)/.test
	ruff check
	ruff format --check
	mypy
	lint-imports

engine:
	@tests/fakes/docker/install

serving:
	@PYTHON=$(PYTHON) tests/real/install

soak: $(VENV)/.test engine
	MGPU_SOAK=1 python -m pytest

bench: $(VENV)/.test
	python -m tests.bench

clean:
	rm -rf $(VENV) .build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mgpu needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "this Python cannot make an environment: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first: what is installed after it takes the build that is there, and DeepSpeed's setup imports it.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) '$(TORCH)'
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.demo
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation '$(DEEPSPEED)'
	$(PIP) --editable '.[demo,test,trainers]'
	touch $@
