# Ganger: every command a newcomer needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
GANGER_CACHE ?= $(HOME)/.cache/ganger
TORCH ?= 2.15.0
LOCKS := requirements/dev.lock requirements/torch-2.15.0.lock
# The environment lives outside the tree, one for each set of locks, and is rebuilt when it is missing.
VENV := $(GANGER_CACHE)/venv/$(shell cat $(LOCKS) | sha256sum | cut -c1-12)
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
FAST := tests/unit tests/property tests/golden tests/chaos tests/fuzz
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/jobs:$(CURDIR)/dev
export GANGER_CACHE
export PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# --- the two commands ---

.PHONY: demo
demo: setup ## train the main job: on the cluster of KUBECONFIG if it answers, else on an embedded one
	@$(PY) -m ganger_dev demo

.PHONY: test
test: setup ## every test: unit, property, golden, integration (real API server), e2e (real pods)
	@$(PY) -m ganger_dev prepare
	@$(MAKE) check
	@failed=0; $(MAKE) unit || failed=1; $(PYTEST) tests/integration tests/e2e || failed=1; exit $$failed

# --- while you work ---

.PHONY: setup
setup: $(VENV)/.complete ## create the Python environment (once for each set of locks)

# The locks are in the folder's name; their times say nothing, least of all in a fresh clone.
$(VENV)/.complete: | $(LOCKS)
	@echo "setup: installing the locked Python environment (about 6 GB with torch, usually 3 min)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(foreach lock,$(LOCKS),-r $(lock))
	@touch $@ && echo "setup: done"

.PHONY: unit
unit: setup ## unit, property, golden and crash tests in memory: no cluster
	@$(PYTEST) $(FAST) -q -n 3 --dist worksteal  # three on two cores: half of the time is waiting for clocks

.PHONY: chaos
chaos: setup ## every crash plan of the operator, and attacks on checkpoints by the thousand; prints the counts
	@$(PY) -m ganger_dev.torture
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests $(PY) -m chaos
	@GANGER_CHAOS_SEQUENCES=1000 GANGER_CHAOS_PLANS=600 GANGER_CHAOS_KILLS=120 $(PYTEST) tests/integration/chaos -q

.PHONY: fuzz
fuzz: setup ## 10,000 manifests and transitions made from the schema, 500 of them on a real API server; prints the counts
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR)/tests $(PY) -m fuzz
	@GANGER_FUZZ_CASES=500 $(PYTEST) tests/integration/api/test_fuzz.py -q

.PHONY: itest
itest: setup ## integration tests on a real API server
	@$(PYTEST) tests/integration

.PHONY: faults
faults: setup ## operators behind a proxy that makes every fault of the API server; docs/faults.md
	@$(PYTEST) tests/integration/faults -q

.PHONY: security
security: setup ## every security check S1 to S36: one line for each, and how many passed
	@$(PY) -m ganger_dev security

.PHONY: e2e
e2e: setup ## end-to-end tests: real kubelet, real pods of the real image
	@$(PYTEST) tests/e2e

.PHONY: check
check: setup ## format, lint, types, import contracts, generated files
	@ruff format --check --quiet . || { echo "check: run 'make format'"; exit 1; }
	@ruff check --quiet .
	@mypy
	@lint-imports > /tmp/ganger-lint-imports.$$$$ 2>&1 || { cat /tmp/ganger-lint-imports.$$$$; exit 1; }; rm -f /tmp/ganger-lint-imports.$$$$
	@$(PY) -m ganger_dev generate --check

.PHONY: format
format: setup ## format the code
	@ruff format . && ruff check --fix .

.PHONY: generate
generate: setup ## write the CRD, the reference and the golden files anew
	@$(PY) -m ganger_dev generate

.PHONY: golden
golden: setup ## rewrite the golden files; the diff is the change of behaviour
	@GANGER_GOLDEN=write $(PYTEST) tests/golden -q

.PHONY: lock
lock: ## resolve the locks anew from pyproject.toml (needs uv)
	@bash requirements/lock.sh

.PHONY: dashboards
dashboards: setup ## lint the boards, run a fleet, ask a real Prometheus every query, test the alerts, draw each board
	@$(PYTEST) tests/unit/dashboards tests/unit/alerts -q
	@$(PY) -m ganger_dev dashboards $(if $(PROMETHEUS),--prometheus $(PROMETHEUS)) $(ARGS)

.PHONY: chart
chart: setup ## test the Helm chart: schema, all pairs of values on a real API server, a release's whole life, helm test
	@$(PY) -m ganger_dev chart $(ARGS)

.PHONY: record
record: setup ## record `kubectl get tj -w` over a whole job, into docs/sessions
	@$(PY) -m ganger_dev record

# --- cluster and images ---

.PHONY: cluster
cluster: setup ## start the embedded single-node Kubernetes and print its kubeconfig
	@$(PY) -m ganger_dev cluster up

.PHONY: cluster-down
cluster-down: setup ## stop it; nothing stays running or mounted
	@$(PY) -m ganger_dev cluster down

.PHONY: images
images: setup ## build the images (TORCH=2.6.0 for the older torch); images/README.md tells how to load them elsewhere
	@$(PY) -m ganger_dev images --torch $(TORCH)

.PHONY: run
run: setup ## run the operator here against the current kubeconfig
	@$(PY) -m ganger.app

.PHONY: bench
bench: setup ## measure (ONLY=fleet for one); writes build/bench.json
	@$(PY) -m ganger_dev prepare --no-images
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR) $(PY) -m bench $(ONLY)

.PHONY: gangs
gangs: setup ## 200 gangs of 16 in two queues of a real Kueue on 1,000 simulated nodes; prints a table, fails on a violation
	@$(PY) -m ganger_dev prepare --no-images
	@PYTHONPATH=$(PYTHONPATH):$(CURDIR) $(PY) -m bench gangs
