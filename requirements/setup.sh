#!/usr/bin/env bash
# Makes .venv and installs the locked packages. Called by `make`, which skips it while nothing has changed.
#
#   setup.sh runtime      what `mobula` needs
#   setup.sh dev          the tools of `make test` and `make lint`
#   setup.sh benchmark    the peers of `make benchmark`
#
# PYTHON names the interpreter (default: the first of python3.11, python3.12, python3 that is fit).
# MOBULA_VARIANT=cpu or gpu overrides what the machine shows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV="${VENV:-.venv}"
LOCKS=requirements

say() { printf '[setup %4ds] %s\n' "$SECONDS" "$*" >&2; }

fit_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3; do
        if command -v "$candidate" >/dev/null && fit_python "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    say "found no Python 3.11 or 3.12 with the venv module. On Debian or Ubuntu: apt-get install python3-venv;"
    say "elsewhere install one and name it: make PYTHON=/path/to/python3.11 ..."
    return 2
}

variant() {
    if [ -n "${MOBULA_VARIANT:-}" ]; then
        echo "$MOBULA_VARIANT"
    elif [ -e /dev/nvidia0 ] || nvidia-smi -L >/dev/null 2>&1; then
        echo gpu
    else
        echo cpu
    fi
}

pip_install() {
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@"
}

make_venv() {
    if [ -x "$VENV/bin/python" ] && fit_python "$VENV/bin/python"; then
        return
    fi
    local python
    python="$(find_python)"
    say "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV"
}

install_runtime() {
    local lock="$LOCKS/$(variant).lock"
    say "installing $(grep -c '==' "$lock") locked packages from $lock; this takes a few minutes the first time"
    say "torch first, with the needs of the build that the package index gives"
    pip_install "$(grep '^torch==' "$lock")" --constraint "$lock"
    say "then all the others"
    pip_install --no-deps --requirement "$lock"
    say "then mobula itself, from this folder"
    pip_install --no-deps --no-build-isolation --editable .
    say "reading back: $("$VENV/bin/mobula" --version), torch $("$VENV/bin/python" -c 'import torch; print(torch.__version__)')"
}

make_venv
case "${1:-runtime}" in
    runtime) install_runtime ;;
    dev | benchmark)
        say "installing $LOCKS/$1.lock"
        pip_install --no-deps --requirement "$LOCKS/$1.lock"
        ;;
    *)
        say "unknown part $1; expected runtime, dev or benchmark"
        exit 2
        ;;
esac
say "done"
