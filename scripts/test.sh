#!/usr/bin/env bash
# Sets up, then runs lint, types, tests and doctests; with --slow the longer learning checks as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
mypy
if [ "${1:-}" = "--slow" ]; then
    shift
    pytest -m "slow or not slow" "$@"
else
    pytest "$@"
fi
