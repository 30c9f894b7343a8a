# The words used in CONTRIBUTING and .ci/run. PYTHON=python3.13 chooses another interpreter for .venv.
PYTHON ?= python3
PY = .venv/bin/python
# Tests run in two processes, each file in one of them: shared runs are made once a file. Files keep their order, for
# tests/conftest.py has put those that take longest first: else one process would end alone with them. What takes longest
# is printed, so that whoever adds to it sees it. All of them run in three processes: of the longest, those on separate
# hosts, one or another waits.
PROCESSES = 2
PYTEST = $(PY) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=10

.PHONY: help setup mlflow demo hosts-demo quick test unit contract integration end-to-end browser-test lint format contracts slither soak bench quality modules pictures lock clean

help:
	@echo "make setup       install everything into .venv (two minutes or more the first time)"
	@echo "make mlflow      add MLflow to .venv, for simulate --tracking mlflow"
	@echo "make demo        simulate five hospitals on generated images, ends with a table"
	@echo "make hosts-demo  the same on separate hosts, all of them this machine: provision, enroll, run, audit"
	@echo "make quick       the tests that are not marked slow, in under a minute"
	@echo "make test        all tests"
	@echo "make unit | contract | integration | end-to-end   a part of them"
	@echo "make browser-test  walk all pages in Chromium (needs Debian's chromium and chromium-driver)"
	@echo "make lint        formatting, style and types"
	@echo "make contracts   compile the contract (needs Node.js)"
	@echo "make slither     look for known mistakes in the contract (needs Node.js; an environment of its own)"
	@echo "make soak        the tests of robustness at length: kills, many senders, lost answers, cheats, a million random calls"
	@echo "make bench       measure what docs/gas.md and the README say (ten minutes; images from FEDWARD_DATA)"
	@echo "make quality     train with and without privacy, three seeds each (an hour; images from FEDWARD_DATA)"
	@echo "make modules     write docs/MODULES.md, a line for each module"
	@echo "make pictures    write docs/pictures from a run (needs Debian's chromium and chromium-driver)"
	@echo "make lock        resolve requirements.in again (needs uv)"

setup:
	@sh setup/make_venv.sh $(PYTHON)

# The versions of what Fedward has too are those of requirements.lock.
mlflow: setup
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r setup/requirements-mlflow.lock

demo: setup
	$(PY) main.py simulate

# Four hospitals and a server as processes of their own, with TLS; DEMO="--data FOLDER" takes other images than phantoms.
hosts-demo: setup
	$(PY) main.py hosts-demo $(DEMO)

# What pytest makes of a test's file is kept beside it, and what Python makes of our modules, also where the environment
# forbids it: else each start takes ten seconds longer, and each of some hundred processes half a second.
quick test unit contract integration end-to-end browser-test: export PYTHONDONTWRITEBYTECODE =

# Only the folders that have such tests: the others' files take seconds to import.
quick: setup
	$(PYTEST) -m "not slow" tests/unit tests/property tests/architecture tests/contract

test: PROCESSES = 3
test: setup
	$(PYTEST)

unit: setup
	$(PYTEST) tests/unit tests/property tests/architecture

contract: setup
	$(PYTEST) tests/contract

integration: setup
	$(PYTEST) tests/integration

end-to-end: setup
	$(PYTEST) tests/end_to_end

# One process: it has one browser.
browser-test: setup
	$(PY) -m pytest tests/browser

# The same tests as ever; FEDWARD_SOAK scales their counts and takes a new seed (tests/soak.py).
SOAK = tests/integration/test_anvil_sending.py::test_a_lost_answer_does_not_record_twice \
  tests/integration/test_node.py::test_many_senders_at_once_all_land_in_few_blocks \
  tests/integration/test_node.py::test_kills_in_a_submit_loop_lose_nothing_acknowledged \
  tests/integration/test_fuzzed_node.py::test_random_requests_are_answered_while_a_federation_goes_on \
  tests/contract/test_contract_model.py::test_contract_and_model_agree_over_many_random_calls \
  tests/property/test_rounds_with_cheats.py tests/unit/test_judging.py \
  tests/integration/test_changed_runs.py \
  tests/end_to_end/test_separate_hosts.py tests/end_to_end/test_changing_roster.py tests/end_to_end/test_faults.py

soak: setup
	FEDWARD_SOAK=1 $(PY) -m pytest -o timeout=0 --durations=0 $(SOAK)

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

contracts/node_modules: contracts/package.json contracts/package-lock.json
	cd contracts && npm ci --no-audit --no-fund
	@touch contracts/node_modules

contracts: contracts/node_modules
	cd contracts && node compile.mjs

.venv-slither/stamp: setup/requirements-slither.lock
	rm -rf .venv-slither
	$(PYTHON) -m venv .venv-slither
	.venv-slither/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

slither: .venv-slither/stamp contracts/node_modules
	cd contracts && ../.venv-slither/bin/slither UpdateLedger.sol

# TenSEAL and the Adversarial Robustness Toolbox, which benchmarks compare with.
.venv-bench/stamp: setup/requirements-bench.lock
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Every program in benchmarks/; the others there are parts of these.
BENCHMARKS = $(wildcard $(addprefix benchmarks/,gas.py audit.py encryption_cost.py noise.py private_epoch.py memory.py round_overhead.py inference.py input_attacks.py predict.py unlike_images.py heat_maps.py view.py))

bench: setup .venv-bench/stamp
	set -e; for benchmark in $(BENCHMARKS); do $(PY) $$benchmark; done

# Interrupt it at will: what has finished is in runs/quality and is used again.
quality: setup
	$(PY) benchmarks/quality.py

# docs/MODULES.md, from the modules' own first lines.
modules: setup
	$(PY) setup/module_list.py

# RUN=FOLDER takes that run; else one on phantoms is made in runs/pictures.
pictures: setup
	$(PY) setup/pictures.py $(RUN)

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  requirements.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-build.in -o setup/requirements-build.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-slither.in -o setup/requirements-slither.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-bench.in -o setup/requirements-bench.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --constraints requirements.lock setup/requirements-mlflow.in -o setup/requirements-mlflow.lock

clean:
	rm -rf .venv .venv-slither .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis contracts/node_modules
