# Ganger: every command a newcomer needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
GANGER_CACHE ?= $(HOME)/.cache/ganger
TORCH ?= 2.15.0
LOCKS := requirements/dev.lock requirements/torch-$(TORCH).lock
# The environment lives outside the tree, one for each set of locks, and is rebuilt when it is missing.
VENV := $(GANGER_CACHE)/venv/$(shell cat $(LOCKS) | sha256sum | cut -c1-12)
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/jobs:$(CURDIR)/dev
export GANGER_CACHE PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: setup
setup: $(VENV)/.complete ## create the Python environment (once for each set of locks)

$(VENV)/.complete: $(LOCKS)
	@echo "setup: installing the locked Python environment (about 6 GB with torch, usually 3 min)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(foreach l,$(LOCKS),-r $(l))
	@touch $@ && echo "setup: done"

.PHONY: lock
lock: ## resolve the locks anew from pyproject.toml
	@bash requirements/lock.sh
