#!/usr/bin/env bash
# Encoder throughput against sentence-transformers; see benches/encoder.py. Needs scripts/setup.sh, a release build, and one run
# of scripts/golden.sh for the Python side. Arguments are passed on: --threads N, --rounds N, --out FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
models=${PICTOR_MODELS:-.deps/models}
model=$models/all-minilm-l6-v2/$(cat "$models/all-minilm-l6-v2/current")
[ -e .deps/golden-stubs/.complete ] || { echo "encoder bench: run scripts/golden.sh first" >&2; exit 1; }
LD_LIBRARY_PATH=.deps/golden-stubs PYTHONPATH=.deps/site HF_HUB_OFFLINE=1 TQDM_DISABLE=1 .deps/golden-venv/bin/python benches/encoder.py \
  --server target/release/pictor-server --model "$model" --data "${PICTOR_TEST_DATA:-../shared/data}" --out benches/results/encoder.json "$@"
