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
want=$(cat requirements.lock setup/requirements-build.lock | cksum; "$python" --version)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

"$python" -c 'import ensurepip, venv' 2>/dev/null || stop "this Python has no venv module; install it (on Debian and Ubuntu: apt-get install python3-venv)"
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
  stop "this Python's headers are missing and Pyfhel is built from source; install them (on Debian and Ubuntu: apt-get install python3-dev)"
command -v "${CXX:-c++}" >/dev/null 2>&1 || stop "no C++ compiler found and Pyfhel is built from source; install one (on Debian and Ubuntu: apt-get install build-essential) or name it in CXX"

echo "make setup: installing into .venv (about five minutes the first time: Pyfhel is compiled)" >&2
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r setup/requirements-build.lock
# Pyfhel's build calls cmake and cython by name: the venv's must be found first.
PATH="$PWD/.venv/bin:$PATH" CMAKE_TOOLCHAIN_FILE="$PWD/setup/pyfhel_toolchain.cmake" \
  CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}" \
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements.lock
printf '%s\n' "$want" > "$stamp"
