# Every target calls the command line (dskd-bench) or a checker; `make help` lists them.
# PYTHON=/path/to/python uses an environment that exists (a cluster's module); otherwise .venv is
# made here and kept up to date with pyproject.toml and constraints.txt.

# On a CPU: tensors in huge pages, and memory kept for the next step instead of given back to the
# system and asked for anew (Linux, glibc 2.35 or newer; ignored elsewhere)
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592

EXP ?= dskd_digits
SET ?=
ARGS ?=

ifdef PYTHON
  RUN := $(PYTHON)
  READY :=
else
  RUN := .venv/bin/python
  READY := .venv/ready
endif
BENCH := $(RUN) -m suite.cli
SETTINGS := $(if $(strip $(SET)),--set '$(SET)')
BOOTSTRAP ?= python3

.DEFAULT_GOAL := sweep
.PHONY: sweep search report status cancel sync bench test test-slurm test-modes simulations chaos check docs format clean help setup

sweep: $(READY)  ## train every run of EXP that is missing, then print its table (default: EXP=dskd_digits)
	$(BENCH) sweep '$(EXP)' $(SETTINGS) $(ARGS)

search: $(READY)  ## search hyper-parameters on validation accuracy (default: EXP=dskd_digits_search)
	$(BENCH) search '$(if $(filter file,$(origin EXP)),dskd_digits_search,$(EXP))' $(SETTINGS) $(ARGS)

report: $(READY)  ## tables and figures of EXP (one or several) from the runs that exist
	$(BENCH) report $(foreach name,$(EXP),'$(name)') $(SETTINGS) $(ARGS)

status: $(READY)  ## how far the runs of EXP are
	$(BENCH) status '$(EXP)' $(SETTINGS) $(ARGS)

cancel: $(READY)  ## take the SLURM jobs of EXP back; those that run save first
	$(BENCH) cancel '$(EXP)' $(SETTINGS) $(ARGS)

sync: $(READY)  ## send what W&B lacks of EXP
	$(BENCH) sync '$(EXP)' $(ARGS)

bench: $(READY)  ## measure the suite's own speed: a table, and JSON under runs/bench
	$(BENCH) bench $(ARGS)

test: $(READY)  ## run the tests (9 to 20 minutes on 2 cores, by the kind of CPU)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/slurm $(ARGS)

test-slurm: $(READY)  ## the tests that need a real SLURM (.ci/slurm.sh starts one on a test machine)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -rs -n 2 --dist load --maxschedchunk 1 tests/slurm $(ARGS)

test-modes: $(READY)  ## every method in every precision through the engine, on CNN, ViT and MLP pairs, and on two ranks
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile -m modes tests/modes tests/test_every_method.py tests/test_every_mode.py $(ARGS)

simulations: $(READY)  ## whether the intervals of the tables hold: thousands of made-up experiments
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto -m simulation tests/analysis $(ARGS)

chaos: $(READY)  ## kill random processes of a sweep until it is finished all the same
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m chaos tests/sweeps/test_launch.py tests/sweeps/test_chaos.py $(ARGS)

check: $(READY)  ## lint, format check and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: $(READY)  ## build the documentation site into build/docs; a warning is an error
	$(RUN) -m mkdocs build --quiet --strict
	@echo 'build/docs/index.html'

format: $(READY)  ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

setup: $(READY)  ## make the environment in .venv without running anything

clean:  ## remove the environment and caches (runs/ and data/ stay)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml constraints.txt
	@$(BOOTSTRAP) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make BOOTSTRAP=python3.11' >&2; exit 2; }
	$(BOOTSTRAP) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/python -m uv pip install --quiet --compile-bytecode --python .venv/bin/python \
	  --constraint constraints.txt --editable '.[dev]'
	@touch $@
