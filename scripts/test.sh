#!/usr/bin/env bash
# Set up, then run lint, type checks, tests (doctests included) and the strict documentation build.
# Usage: bash scripts/test.sh [--slow] [pytest arguments]; --slow adds the longer learning and packaging checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

ruff format --check .
ruff check .
mypy
NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # a test process for each core, so one thread each
parallel=(--numprocesses auto --maxprocesses 8 --dist loadfile)
if [ "${1:-}" = "--slow" ]; then
    shift
    pytest "${parallel[@]}" -m "slow or not slow" "$@"
else
    pytest "${parallel[@]}" "$@"
fi
