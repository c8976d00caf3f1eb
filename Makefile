# Everything that one does in this repository. Works with GNU make 3.81 (macOS) and later.
#   PYTHON=python3.12  the interpreter for a new .venv     PORT=9000  the demo's port
#   EXIT=1             the demo ends after the main job    JOBS=4     processes for the tests
#   CHECKED=1          `make check` has just passed: `make test` leaves out the tests that it has run
#   ROUNDS= SEED= FIRST= STACK=1 RECOVERY=1 AT_ONCE=          the crash campaign: docs/reliability.md
#   RUNS=1 STORE=s3 EVERYWHERE=1 FAULTS=6                     its campaign of runs: likewise
#   SECONDS= FILES= SEED=  the fuzz campaign: docs/reliability.md
#   BARS="peers"       what to measure, all by default: docs/benchmarks.md
#   STACK=1            the demo on the production shape, as `make stack` starts it

PYTHON ?=
PORT ?=
EXIT ?=
STACK ?=
JOBS ?= 2
CHECKED :=
export PYTHON
# Bytecode is kept, whatever the environment says: or each process compiles all that it imports, and the tests start
# thousands of them.
export PYTHONDONTWRITEBYTECODE :=

IN := .venv/bin
ROOMS := core state storage k8s workers api serving cli portside
PRESENT := $(wildcard $(ROOMS))
COMPILED := $(wildcard serving/native/source/*)
LOCKS := $(patsubst %,requirements/%.txt,bootstrap build product serving)

.DEFAULT_GOAL := help
.PHONY: help setup demo stack test check formatted linted typed layered designed documented format lock upgrade docs wheel crash ticks limits fuzz bench clean

help: ## List what one can do here
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready-to-run ## Make .venv with what the product needs

demo: $(if $(filter-out 0,$(STACK)),.venv/.ready-to-test,setup) ## From a model file to a live prediction, in one minute (EXIT=1 ends after it)
	@exec $(IN)/python -m $(if $(filter-out 0,$(STACK)),deploy.stack --demo,portside demo --data .demo) $(if $(PORT),--port $(PORT)) $(if $(filter-out 0,$(EXIT)),--exit)

stack: .venv/.ready-to-test ## Start the production shape without containers: PostgreSQL, Redis, MinIO, 2 APIs, 2 workers, node
	@exec $(IN)/python -m deploy.stack $(if $(PORT),--port $(PORT)) $(if $(filter-out 0,$(EXIT)),--exit)

test: .venv/.ready-to-test ## Run the tests (JOBS=0: in one process)
	$(IN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 \
	  $(if $(filter-out 0,$(CHECKED)),--ignore tests/architecture)

check: formatted linted typed layered designed documented ## All checks; `make -k check` goes on after a failure

formatted: .venv/.ready-to-test
	$(IN)/ruff format --check --quiet .

linted: .venv/.ready-to-test
	$(IN)/ruff check --quiet .

typed: .venv/.ready-to-test
	$(IN)/mypy --no-error-summary

layered: .venv/.ready-to-test
	$(IN)/lint-imports --no-logo

designed: .venv/.ready-to-test
	$(IN)/python -m pytest -q tests/architecture

documented: .venv/.ready-to-test
	$(IN)/python -m portside reference --check

format: .venv/.ready-to-test ## Format the code and mend what lint can mend
	$(IN)/ruff format .
	$(IN)/ruff check --fix .

lock: .venv/.ready-to-test ## Rebuild requirements/*.txt from pyproject.toml
	$(IN)/python requirements/lock.py $(IN)/uv

upgrade: .venv/.ready-to-test ## Likewise, with the newest versions that pyproject.toml allows
	$(IN)/python requirements/lock.py $(IN)/uv --upgrade

docs: .venv/.ready-to-test ## Regenerate docs/reference, and the newest schema in one step, from the code
	$(IN)/python -m state.migrations
	$(IN)/python -m portside reference --write

wheel: .venv/.ready-to-test ## Build dist/portside-*.whl
	$(IN)/python -m hatchling build -t wheel

crash: .venv/.ready-to-test ## The long crash campaign: ROUNDS=1000 SEED=7 STACK=1 RUNS=1 (a sample is in `make test`)
	$(IN)/python -m tests.crash --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST)) \
	  $(if $(filter-out 0,$(STACK)),--stack) $(if $(filter-out 0,$(RECOVERY)),--recovery) $(if $(filter-out 0,$(RUNS)),--runs) \
	  $(if $(FAULTS),--faults $(FAULTS)) $(if $(STORE),--store $(STORE)) $(if $(filter-out 0,$(EVERYWHERE)),--everywhere) $(if $(AT_ONCE),--at-once $(AT_ONCE))

ticks: .venv/.ready-to-test ## A year of schedules in twelve zones, its two schedulers killed at random: SEED=7
	$(IN)/python -m tests.crash.ticks $(if $(SEED),--seed $(SEED))

limits: .venv/.ready-to-test ## Try what a cgroup limits; needs one: systemd-run --scope -p Delegate=yes make limits
	$(IN)/python -m pytest -q tests/workers/node/on_cgroups.py

fuzz: .venv/.ready-to-test ## Fuzz the compiled way, data files, then the API: SECONDS=300 FILES=600 SEED=7 (samples are in `make test`)
	$(IN)/python -m tests.serving.native.campaign --sanitized --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))
	$(IN)/python -m tests.fuzz --seconds $(or $(SECONDS),300) --files $(or $(FILES),600) $(if $(SEED),--seed $(SEED))

bench: .venv/.ready-to-test ## Measure the bars: BARS="start latency", BARS="peers --only json" (docs/benchmarks.md)
	$(IN)/python -m benchmarks $(BARS)

clean: ## Remove what can be made again: .venv, caches, data of the demo and the stack
	rm -rf .venv .demo .stack build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready-to-run: $(LOCKS) pyproject.toml requirements/environment.sh $(COMPILED)
	@echo "Setting up .venv (once; a few seconds from a warm package cache)"
	@sh requirements/environment.sh build product serving
	@$(IN)/python requirements/warm.py $(PRESENT)
	@$(IN)/python -m serving.native || true
	@touch $@

.venv/.ready-to-test: requirements/tests.txt .venv/.ready-to-run
	@sh requirements/environment.sh tests
	@touch $@
