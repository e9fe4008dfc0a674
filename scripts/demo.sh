#!/usr/bin/env bash
# Set up, then collect data, train an encoder, train a policy on it, evaluate both and write a report.
# Arguments go to `equiact demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/equiact demo "$@"
