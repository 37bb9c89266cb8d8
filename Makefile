# Everything one does with this repository. `make` alone prints the list.

PYTHON ?= $(or $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.14,\
	$(if $(shell $(p) -c 'import sys; print("ok" if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(p)))),python3)
VENV ?= .venv
VENV_PROTO ?= .venv-proto
BIN := $(VENV)/bin
READY := $(VENV)/.stamp
PROTO_READY := $(VENV_PROTO)/.stamp

# Images of containers often forbid to keep bytecode: each of hundreds of processes would compile it all anew.
unexport PYTHONDONTWRITEBYTECODE

# One more than two cores: there is always a test that waits.
JOBS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q
ARGS ?=

PROTOS := $(sort $(wildcard protos/ingot/v1/*.proto))
CODE := $(wildcard server clients/python clients/worker tests docs bench)
RELEASE := $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup proto proto-check fmt lint types layers docs check test-fast test test-all run demo bench bench-catalog coverage clean

help:
	@echo "usage: make TARGET    (PYTHON=python3.12 picks the interpreter, JOBS=N the test processes)"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# --- environments ---------------------------------------------------------------------------------------------------

setup: $(READY) ## virtual environment in .venv with everything: server, worker, tools (every target below does it by itself)

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: Ingot needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
		echo "       Install one and run: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || { rm -rf $(1); \
		echo "error: $(PYTHON) cannot make virtual environments."; \
		echo "       On Debian and Ubuntu install the package python3-venv, then run make again."; exit 1; }
endef

$(READY): pyproject.toml constraints.txt
	$(call make_venv,$(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,hub,otel,worker,dev]'
	@touch $@

$(PROTO_READY): protos/generator.txt
	$(call make_venv,$(VENV_PROTO))
	$(VENV_PROTO)/bin/python -m pip install --quiet --disable-pip-version-check -r protos/generator.txt
	@touch $@

# --- protos ---------------------------------------------------------------------------------------------------------

# generate FOLDER: write Python code, its types and the descriptor set below FOLDER.
define generate
	mkdir -p $(1)/python $(1)/descriptors
	$(VENV_PROTO)/bin/python -m grpc_tools.protoc -I protos \
		--plugin=protoc-gen-mypy=$(VENV_PROTO)/bin/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(VENV_PROTO)/bin/protoc-gen-mypy_grpc \
		--python_out=$(1)/python --grpc_python_out=$(1)/python \
		--mypy_out=quiet:$(1)/python --mypy_grpc_out=quiet:$(1)/python \
		--descriptor_set_out=$(1)/descriptors/ingot.binpb --include_imports --include_source_info \
		$(PROTOS)
	touch $(1)/python/ingot/v1/py.typed
endef

proto: $(PROTO_READY) ## protos to Python code, types and the descriptor set in generated/
	@rm -rf build/proto
	$(call generate,build/proto)
	@rm -rf generated/python generated/descriptors
	@mv build/proto/python build/proto/descriptors generated/

proto-check: $(READY) $(PROTO_READY) ## buf lint and format, breaking changes, and that generated/ is current
	$(BIN)/buf lint protos
	$(BIN)/buf format protos --diff --exit-code
ifeq ($(RELEASE),)
	@echo "no release tag yet: nothing to compare for breaking changes"
else
	$(BIN)/buf breaking protos --against '.git#tag=$(RELEASE),subdir=protos'
endif
	@rm -rf build/proto
	$(call generate,build/proto)
	@diff -r build/proto/python generated/python -x __pycache__ \
		&& cmp build/proto/descriptors/ingot.binpb generated/descriptors/ingot.binpb \
		|| { echo "error: generated/ is not what the protos say; run: make proto"; exit 1; }

# --- checks ---------------------------------------------------------------------------------------------------------

fmt: $(READY) ## format code and protos, fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/buf format protos --write

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(READY) ## mypy, strict
	$(BIN)/mypy $(CODE)

layers: $(READY) ## import-linter: who may import whom
	$(BIN)/lint-imports --no-logo

docs: $(READY) ## that the pages made from code (settings, coverage) are current
	$(BIN)/python docs/tools/pages.py --check

check: proto-check lint types layers docs ## everything but the tests

# --- tests ----------------------------------------------------------------------------------------------------------

# tests MARKS: run them beside each other. What fails is run once more, alone, since some of thousands of tests of real
# processes may depend on what else the machine does; what fails alone, too, is an error, and the others are named.
define tests
	@echo '$(PYTEST) -m $(1) $(ARGS)'
	@$(PYTEST) -m $(1) $(ARGS) || { test $$? = 1 || exit 2; \
		echo "=== what failed is run once more, alone"; \
		$(BIN)/python -m pytest -v --last-failed --last-failed-no-failures none --maxfail 1 -m $(1) $(ARGS) || exit 1; \
		echo "warning: the tests named above failed beside others and passed alone: mend them, too"; }
endef

test-fast: $(READY) ## tests for the edit loop, under a minute
	$(PYTEST) -m "not slow and not long" $(ARGS)

test: $(READY) ## what a newcomer runs: adds real processes and training, about six minutes on two cores
	$(call tests,"not long")

test-all: test ## test, then the long ones: gigabytes, kills, wide sweeps
	$(call tests,long)

async: $(READY) ## the async form of the Python SDK, which is made from it
	$(BIN)/python docs/tools/async_form.py

coverage: $(READY) ## write the pages made from code: docs/coverage.md and docs/settings.md
	$(BIN)/python docs/tools/pages.py

# --- use it ---------------------------------------------------------------------------------------------------------

run: $(READY) ## server and worker on the standard port, data in .run/
	$(BIN)/ingot-server serve --data .run --with-worker $(ARGS)

demo: $(READY) ## push a dataset, train on it with DeepSpeed, pause, resume, pull, write a sentence
	$(BIN)/python docs/demo/demo.py $(ARGS)

bench: $(READY) ## measure beside cp, raw gRPC, rsync and other peers, and plain PyTorch; tables in bench/results/
	$(BIN)/python bench/run.py $(ARGS)

bench-catalog: $(READY) ## ask a catalog of a million versions for pages, facets and statistics; table in bench/results/
	$(BIN)/python bench/catalog.py $(ARGS)

clean: ## remove what can be made again (environments and .run/ stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
