# Stillwater: `make help` lists the targets.
PY := .venv/bin/python
SETUP := .venv/.stamp
ROLES ?= all
REPLICAS ?= 1
SECONDS ?= 600
SEED ?= 0
ROLE ?= nurse

.PHONY: help setup up down run token fetch test test-unit test-faults bench lint lock docs migrate
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(SETUP): requirements-dev.txt
	@bash deploy/local/setup.sh
	@touch $(SETUP)

setup: $(SETUP) ## the virtual environment, hash-checked
up: $(SETUP) ## start the embedded stack; ROLES=split [REPLICAS=n] for api and worker apart
	@$(PY) -m deploy.local up --roles $(ROLES) --replicas $(REPLICAS)
down: $(SETUP) ## stop it all
	@$(PY) -m deploy.local down
run: up ## the stack, then a clinic day through the public APIs
	@$(PY) -m deploy.local.clinic_day
token: $(SETUP) ## a bearer token: ROLE=nurse CLINIC=... [PATIENT=...]
	@$(PY) -m deploy.local token --role $(ROLE) $(if $(CLINIC),--clinic $(CLINIC)) $(if $(PATIENT),--patient $(PATIENT))
lint: $(SETUP) ## ruff check, ruff format, mypy --strict, import-linter, compose-lint, hadolint, generated documents current
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
	@said=$$(.venv/bin/compose-lint docker-compose.yml 2>&1) || { echo "$$said"; exit 1; }
	@.venv/bin/hadolint Dockerfile
	@$(PY) -m docs.generate --check
test-unit: $(SETUP) ## seconds; no store, no broker
	@$(PY) -m pytest tests/unit tests/contract
fetch: $(SETUP) ## what the tests run beside packages: Java, Kafka, Chromium
	@$(PY) -m tests.support.needed
test: $(SETUP) ## every tier, on real MongoDB and Kafka: two files at a time, each half with a stack of its own; the faults alone
	@$(MAKE) --no-print-directory --output-sync=target -j2 lint fetch
	@$(PY) -m pytest -n 2 --no-loadscope-reorder --durations=12 --durations-min=10 tests/journey tests/integration tests/contract tests/unit
	@$(PY) -m pytest tests/faults
test-faults: $(SETUP) ## the tests that take minutes each, then faults at random: [SECONDS=] [SEED=]
	@$(PY) -m pytest -m long tests
	@$(PY) -m tests.faults --seconds $(SECONDS) --seed $(SEED)
bench: $(SETUP) ## figures beside bare yardsticks; writes bench/results.json
	@$(PY) -m bench
docs: $(SETUP) ## OpenAPI and the event catalogue, generated
	@$(PY) -m docs.generate
lock: $(SETUP) ## pin what requirements*.in ask for, with hashes; [UPGRADE=1] [PACKAGE=name]
	@for name in requirements requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 \
	    $(if $(UPGRADE),--upgrade) $(if $(PACKAGE),--upgrade-package $(PACKAGE)) $$name.in -o $$name.txt || exit 1; done
migrate: $(SETUP) ## indexes and recorded migrations of the running stack (part of `make up`)
	@$(PY) -m deploy.local migrate
