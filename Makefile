# The words used in CONTRIBUTING and .ci/run. PYTHON=python3.13 chooses another interpreter for .venv.
PYTHON ?= python3
PY = .venv/bin/python

.PHONY: help setup demo test unit contract end-to-end lint format contracts slither bench lock clean

help:
	@echo "make setup       install everything into .venv (about five minutes the first time)"
	@echo "make demo        simulate five hospitals on generated images, ends with a table"
	@echo "make test        all tests"
	@echo "make unit | contract | end-to-end   a part of them"
	@echo "make lint        formatting, style and types"
	@echo "make contracts   compile the contract (needs Node.js)"
	@echo "make slither     look for known mistakes in the contract (needs Node.js; an environment of its own)"
	@echo "make bench       measure what docs/gas.md and the README say (ten minutes; images from FEDWARD_DATA)"
	@echo "make lock        resolve requirements.in again (needs uv)"

setup:
	@sh setup/make_venv.sh $(PYTHON)

demo: setup
	$(PY) main.py simulate

test: setup
	$(PY) -m pytest

unit: setup
	$(PY) -m pytest tests/unit tests/property tests/architecture

contract: setup
	$(PY) -m pytest tests/contract tests/integration

end-to-end: setup
	$(PY) -m pytest tests/end_to_end

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

# TenSEAL, which benchmarks/encryption.py compares with.
.venv-bench/stamp: setup/requirements-bench.lock
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench: setup .venv-bench/stamp
	$(PY) benchmarks/gas.py
	$(PY) benchmarks/encryption.py
	$(PY) benchmarks/round_overhead.py

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  requirements.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-build.in -o setup/requirements-build.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-slither.in -o setup/requirements-slither.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  setup/requirements-bench.in -o setup/requirements-bench.lock

clean:
	rm -rf .venv .venv-slither .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis contracts/node_modules
