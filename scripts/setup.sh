#!/usr/bin/env bash
# Create .venv with the pinned dependencies and an editable install of this package. Do nothing if it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    for python in "${PYTHON:-python3.11}" python3.11 python3.12 python3.13 python3.14 python3; do
        if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "Python 3.11 or newer with its venv module is needed; none was found on PATH." >&2
    return 1
}

python=$(find_python)
stamp=.venv/equiact.stamp
wanted=$(cat requirements.lock requirements-envs.lock pyproject.toml scripts/setup.sh | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "Setting up .venv (a few minutes the first time) …" >&2
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-envs.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
# mypy and mkdocstrings find the package by its import name, whatever the checkout is called.
mkdir -p .venv/typing
ln -sfn ../.. .venv/typing/equiact
echo "$wanted" >"$stamp"
