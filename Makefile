# Two commands set everything up: `make demo` and `make test`. The rest is for developers.

PYTHON  ?= python3
VENV    ?= .venv
TORCH   ?= torch==2.13.0
WORKERS ?= 2

# The plugin of napari has an environment of its own on top of that one.
NAPARI  ?= .venv-napari
# Tests of the plugin to run, relative to plugins/napari; empty: all.
NAPARI_TESTS ?=

BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS   := $(VENV)/.installed-docs

# The pins hold for build environments too; older versions of pip read the first name only.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-napari check format bench docs package container install clean help

help:
	@echo "make demo    pretrain, train, predict and evaluate on phantoms; report in demo/"
	@echo "make test    the whole test suite"
	@echo "make test-napari  the tests of plugins/napari in real windows; needs Xvfb"
	@echo "make check   format, lint, types, layers: the gates before a commit"
	@echo "make format  bring the code into its form"
	@echo "make bench   run benchmarks/ and rebuild docs/results/"
	@echo "make docs    build the documentation into site/"
	@echo "make package      wheel and sdist in dist/, each used in a clean environment"
	@echo "make container    an image from containers/Dockerfile, used without a network"
	@echo "make clean   remove what the commands above made, $(VENV) included"
	@echo "PYTHON=/path/to/python3.11 chooses the interpreter, VENV=dir the environment."

demo: $(STAMP)
	$(BIN)/unmask demo --out demo

# One thread for each worker: several threads on shared cores wait for each other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Real windows on a screen in memory, and label images of ours read by napari's OME-Zarr plugin.
test-napari: $(NAPARI)/.installed
	cd plugins/napari && OMP_NUM_THREADS=1 QT_API=pyside6 QT_QPA_PLATFORM=xcb \
	  LIBGL_ALWAYS_SOFTWARE=1 xvfb-run -a -s "-screen 0 1280x1024x24" \
	  $(abspath $(NAPARI))/bin/python -m pytest -q $(NAPARI_TESTS)
	OMP_NUM_THREADS=1 $(NAPARI)/bin/python -m pytest -q -W default -p no:napari -p no:pytest-qt \
	  tests/io/test_label_store.py -k napari

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

docs: $(DOCS)
	$(BIN)/zensical build --clean --strict

package:
	PYTHON=$(PYTHON) TORCH=$(TORCH) packaging/smoke.sh

container:
	containers/build.sh

install: $(STAMP)

# torch first and alone, so that nothing else decides which build comes.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "unmask needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian or Ubuntu: apt-get install python3-venv" >&2; \
	  exit 2; }
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e '.[dev]'
	@touch $@

# The file makes the packages of the first environment importable, so that torch is there once.
SITE := 'import sysconfig; print(sysconfig.get_path("purelib"))'
$(NAPARI)/.installed: $(STAMP) plugins/napari/requirements.txt plugins/napari/pyproject.toml
	@test -x $(NAPARI)/bin/python || $(BIN)/python -m venv $(NAPARI)
	@echo "import site; site.addsitedir('$$($(BIN)/python -c $(SITE))')" \
	  > "$$($(NAPARI)/bin/python -c $(SITE))/unmask-environment.pth"
	$(NAPARI)/bin/python -m pip install --no-deps -r plugins/napari/requirements.txt
	$(NAPARI)/bin/python -m pip install --no-deps -e plugins/napari
	@touch $@

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(NAPARI) site demo build dist .pytest_cache .ruff_cache .import_linter_cache
