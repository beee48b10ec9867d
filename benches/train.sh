#!/usr/bin/env bash
# Training steps beside a PyTorch loop; see benches/train.py. Needs scripts/setup.sh, a release build, and one run of
# scripts/golden.sh for the Python side. Arguments are passed on: --threads N, --rounds N, --steps N, --device D, --out FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e .deps/golden-stubs/.complete ] || { echo "train bench: run scripts/golden.sh first" >&2; exit 1; }
LD_LIBRARY_PATH=.deps/golden-stubs PYTHONPATH=.deps/site HF_HUB_OFFLINE=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error .deps/golden-venv/bin/python \
  benches/train.py --bin target/release --models .deps/models --out benches/results/train.json "$@"
