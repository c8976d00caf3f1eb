#!/bin/sh
# Makes .venv and installs hashed locks into it: requirements/environment.sh LOCK...
# Needs a Python >= 3.11 and nothing else; uv does the work, and pip takes over where uv cannot.
set -eu
cd "$(dirname "$0")/.."

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

describe() { "$1" -c 'import sys; print("Python %d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo "not there"; }

has_module() { "$1" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$2') is None)"; }

fail() {
    echo "$1" >&2
    exit 1
}

# The newest Python that the locks are tested with, before whatever else is called python3.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" && { echo "$PYTHON"; return; }
        fail "Portside needs Python 3.11 or newer, and PYTHON=$PYTHON is $(describe "$PYTHON"): name a newer one."
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        is_new_enough "$candidate" && { echo "$candidate"; return; }
    done
    fail "Portside needs Python 3.11 or newer, and python3 is $(describe python3): install one, or name it: make demo PYTHON=python3.12"
}

# The interpreter's own pip works on the virtual environment too, and saves the seconds that copying it in would cost.
run_pip() {
    if has_module "$python" pip; then
        "$python" -m pip --python .venv/bin/python "$@"
    elif has_module .venv/bin/python pip || .venv/bin/python -m ensurepip >/dev/null 2>&1; then
        .venv/bin/python -m pip "$@"
    else
        fail "$python has neither pip nor ensurepip: install them (on Debian: apt install python3-venv) and try again."
    fi
}

# uv reads neither pip's settings nor, of itself, the system's certificates: hand both over.
take_over_pip_settings() {
    settings=$(run_pip config list 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$(echo "$settings" | sed -n "s/^[^=]*\.index-url='\(.*\)'$/\1/p" | tail -n 1)}
    certificates=${PIP_CERT:-$(echo "$settings" | sed -n "s/^[^=]*\.cert='\(.*\)'$/\1/p" | tail -n 1)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    [ -z "$certificates" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificates}"
    export UV_SYSTEM_CERTS=1
}

# What the cache holds needs no network, so ask without it first.
install() {
    .venv/bin/uv pip install --python .venv/bin/python --quiet --offline "$@" 2>/dev/null ||
        .venv/bin/uv pip install --python .venv/bin/python --quiet "$@" || {
        echo "uv could not install; trying pip with the same locks." >&2
        run_pip install --quiet "$@"
    }
}

python=$(find_python)
is_new_enough .venv/bin/python || "$python" -m venv --clear --without-pip .venv ||
    fail "$python cannot make a virtual environment in $PWD/.venv: see the lines above."
export PIP_DISABLE_PIP_VERSION_CHECK=1
take_over_pip_settings
if ! .venv/bin/uv --version >/dev/null 2>&1 || [ requirements/bootstrap.txt -nt .venv/bin/uv ]; then
    run_pip install --quiet --no-compile --require-hashes -r requirements/bootstrap.txt
    touch .venv/bin/uv
fi
set -- $(for lock in "$@"; do echo "-r requirements/$lock.txt"; done)
install --require-hashes "$@"
install --no-deps --no-build-isolation --editable .
