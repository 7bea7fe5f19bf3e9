# Everything runs in a virtual environment of this checkout, .venv, made on first use.
#
#   make demo    every step on synthetic data, from extraction to serving and the study
#   make test    all tests, in two processes (make test WORKERS=0: in one)
#   make lint    style and types
#   make clean   remove what the other targets made, the virtual environment too
#
# Another torch build: make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# (PyTorch's own CPU wheels, without the gigabytes of CUDA that PyPI's wheel brings on Linux).

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
TORCH_INDEX_URL ?=
WORKERS ?= 2

.PHONY: help demo test lint clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/installed: requirements.txt
	@echo "Installing requirements.txt into $(VENV) (some minutes the first time) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	@$(PYTHON) -m venv $(VENV)
	@if [ -n "$(TORCH_INDEX_URL)" ]; then \
		$(PIP) "$$(grep '^torch==' requirements.txt)" --index-url "$(TORCH_INDEX_URL)"; fi
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt requirements-export.txt requirements-faces.txt
	@echo "Installing requirements-dev.txt into $(VENV) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

demo: $(VENV)/installed
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bash demo.sh

test: $(VENV)/installed-dev
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

lint: $(VENV)/installed-dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy .

clean:
	rm -rf $(VENV) data/sample saved/demo models/sample .pytest_cache .mypy_cache .ruff_cache .hypothesis
