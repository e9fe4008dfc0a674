#!/usr/bin/env bash
# Measure how many small changes of the code the tests notice, and write results/mutation.json.
# Usage: bash scripts/mutate.sh [--sample N] [--seed S] [--targets NAME ...] [--help]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # a mutant for each core, so one thread each
exec nice -n 10 .venv/bin/python -m equiact.scripts.mutation "$@"
