# Two commands set everything up: `make demo` and `make test`. The rest is for developers.

PYTHON  ?= python3
VENV    ?= .venv
TORCH   ?= torch==2.13.0
WORKERS ?= 2

BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS   := $(VENV)/.installed-docs

# The pins hold for build environments too; older versions of pip read the first name only.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check format bench docs package container install clean help

help:
	@echo "make demo    pretrain, train, predict and evaluate on phantoms; report in demo/"
	@echo "make test    the whole test suite"
	@echo "make check   format, lint, types, layers: the gates before a commit"
	@echo "make format  bring the code into its form"
	@echo "make bench   run benchmarks/ and rebuild docs/results/"
	@echo "make docs    build the documentation into site/"
	@echo "make package    build wheel and sdist in dist/, install and use each in a clean environment"
	@echo "make container  build containers/Dockerfile with buildah and run the demo inside"
	@echo "make clean   remove what the commands above made, $(VENV) included"
	@echo "PYTHON=/path/to/python3.11 chooses the interpreter, VENV=dir the environment."

demo: $(STAMP)
	$(BIN)/unmask demo --out demo

# One thread for each worker: several threads on shared cores wait for each other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

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

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) site demo build dist .pytest_cache .ruff_cache .import_linter_cache
