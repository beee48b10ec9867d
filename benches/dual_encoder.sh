#!/usr/bin/env bash
# Pictures and texts a second beside transformers; see benches/dual_encoder.py. Needs scripts/setup.sh, a release build, and one
# run of scripts/golden.sh for the Python side. Arguments are passed on: --threads N, --rounds N, --out FILE.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e .deps/golden-stubs/.complete ] || { echo "dual encoder bench: run scripts/golden.sh first" >&2; exit 1; }
mkdir -p .deps/bench-models
LD_LIBRARY_PATH=.deps/golden-stubs PYTHONPATH=.deps/site HF_HUB_OFFLINE=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error .deps/golden-venv/bin/python \
  benches/dual_encoder.py --server target/release/pictor-server --models .deps/bench-models --data "${PICTOR_TEST_DATA:-../shared/data}" \
  --out benches/results/dual-encoder.json "$@"
