#!/usr/bin/env bash
# The main job from nothing: sets up, then collects, trains, evaluates and reports. Arguments go to `equiact demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/equiact demo "$@"
