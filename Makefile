# Two commands set everything up: `make demo` runs the quick start, `make test` passes the tests.
# Both create the environment in .venv if it is not there.

PYTHON ?= python3
BIN := .venv/bin
# At the root of this tree the folder datasets/ would shadow the package of that name.
export PYTHONSAFEPATH := 1
# Bytecode is kept, whatever the shell says: MLflow and anomalib take three times as long to import without it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-fast lint types docs audit bench env clean

demo: env
	$(BIN)/adloc study run studies/quickstart.yaml

# Studies flush each file that they write: with the folders of tests in memory, where there is room, tests wait for no disk.
ROOM := $(shell df --output=avail -BG /dev/shm 2>/dev/null | tail -1 | tr -d ' G')
export PYTEST_DEBUG_TEMPROOT := $(shell [ "0$(ROOM)" -ge 8 ] && echo /dev/shm)

# Two processes of one thread each: files of tests are shared out, so that what a file prepares is prepared once.
# One that dies ends them all: xdist would start another, and wait for the first one's tests for ever.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

# These start clusters and servers of their own, and have the cores to themselves: Ray ends where its start takes long.
ALONE := tests/executors/test_ray_clusters.py tests/test_deploy.py

test: env
	$(PYTEST) $(ALONE:%=--ignore %)
	$(BIN)/python -m pytest $(ALONE)

test-fast: env
	$(PYTEST) -m "not slow"

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not see through the editable install, so it is shown a tree of links.
types: env
	@rm -rf .cache/types && mkdir -p .cache/types/adloc
	@ln -s $(CURDIR)/orchestrator/* .cache/types/adloc/
	@ln -s $(CURDIR)/methods .cache/types/adloc/methods
	@ln -s $(CURDIR)/datasets .cache/types/adloc/datasets
	cd .cache/types && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml -p adloc

# README and docs/ as a site; a link that leads nowhere is an error. It needs no network.
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Known holes in what is installed. It asks a server for them, so it is skipped, visibly, where it cannot.
audit: env
	@if ! $(BIN)/python -c 'import pip_audit' 2>/dev/null; then echo "audit skipped: pip-audit is not installed"; \
	elif ! $(BIN)/python -c 'import socket; socket.create_connection(("pypi.org", 443), 5).close()' 2>/dev/null; \
	then echo "audit skipped: pypi.org cannot be reached"; \
	else $(BIN)/python -m pip_audit --local --skip-editable; fi

env: .venv/.ready

# uv installs from its cache by hard links; pip alone takes minutes for the same.
.venv/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("adloc needs Python 3.11 to 3.13: make PYTHON=python3.12") if not (3, 11) <= sys.version_info < (3, 14) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --editable '.[dev,ray,engines,team,docs]'
	@touch $@

# Half an hour and more on two idle cores; `make bench ARGS=--quick` in two. JSON under .cache/benchmarks/.
bench: env
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv .cache
