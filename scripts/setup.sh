#!/usr/bin/env bash
# Makes .venv with the pinned dependencies and this package in it. Does nothing if that is already so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for python in python3.11 python3.12 python3.13 python3; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    python=
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed, with its venv module; none was found on PATH." >&2
    exit 1
fi

stamp=.venv/equiact.stamp
wanted=$(cat requirements.lock pyproject.toml | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "Setting up .venv (a few minutes the first time) …" >&2
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
echo "$wanted" >"$stamp"
