#!/bin/sh
# Makes .venv at the root from the hashed locks: make_venv.sh PYTHON. Called by `make setup`.
set -eu
cd "$(dirname "$0")/.."
python=$1
stamp=.venv/.fedward-setup

stop() { echo "make setup: $1" >&2; exit 2; }

"$python" -c '' 2>/dev/null || stop "'$python' does not run; install Python 3.11, 3.12 or 3.13, or name one: make setup PYTHON=/path/to/python3.13"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
  stop "$("$python" --version) is too old or too new; name a Python 3.11, 3.12 or 3.13: make setup PYTHON=/path/to/python3.13"
want=$(cat requirements.lock setup/requirements-build.lock setup/make_venv.sh setup/pyfhel_toolchain.cmake | cksum; "$python" --version)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

"$python" -c 'import ensurepip, venv' 2>/dev/null || stop "this Python has no venv module; install it (on Debian and Ubuntu: apt-get install python3-venv)"
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
  stop "this Python's headers are missing and Pyfhel is built from source; install them (on Debian and Ubuntu: apt-get install python3-dev)"
command -v "${CXX:-c++}" >/dev/null 2>&1 || stop "no C++ compiler found and Pyfhel is built from source; install one (on Debian and Ubuntu: apt-get install build-essential) or name it in CXX"

echo "make setup: installing into .venv (two minutes or more the first time: Pyfhel is compiled)" >&2
rm -rf .venv
"$python" -m venv .venv
install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes "$@"; }

# Compiling Pyfhel takes most of the time, and installing the rest takes most of what is left: they run side by side. So
# Pyfhel is built by an environment of its own, in whose packages the other installation changes nothing.
build=.venv/pyfhel-build
awk '/^pyfhel==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements.lock > .venv/pyfhel.lock
awk '/^pyfhel==/ { on = 1 } !on { print } on && !/\\$/ { on = 0 }' requirements.lock > .venv/others.lock
compile_pyfhel() {
  "$python" -m venv "$build"
  # Pyfhel's build calls cmake and cython by name.
  PATH="$PWD/$build/bin:$PATH"
  export CMAKE_TOOLCHAIN_FILE="$PWD/setup/pyfhel_toolchain.cmake"
  export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}"
  "$build/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r setup/requirements-build.lock
  # Pyfhel's build links its libraries in the order of a Python set, which differs from process to process. In one order
  # each of its modules gets a copy of SEAL of its own, and what `encryption` does against SEAL's memory pool being let go
  # twice does not reach the other copies. This hash seed gives the other order, on Python 3.11 to 3.13; a wheel that pip
  # kept from an earlier build may have either, so none is taken.
  export PYTHONHASHSEED=7
  exec "$build/bin/python" -m pip wheel --quiet --disable-pip-version-check --require-hashes --no-deps \
    --no-cache-dir --no-build-isolation --wheel-dir "$build/wheel" -r .venv/pyfhel.lock
}
compile_pyfhel &
compiling=$!
trap 'kill "$compiling" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
install --no-deps -r .venv/others.lock
wait "$compiling"
trap - EXIT INT TERM
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index "$build"/wheel/*.whl
.venv/bin/python setup/one_seal.py
.venv/bin/python -m pip check --disable-pip-version-check >&2
rm -rf "$build"
ln -s ../../setup/fedward .venv/bin/fedward
printf '%s\n' "$want" > "$stamp"
