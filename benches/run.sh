#!/usr/bin/env bash
# Runs the benches named (default: all) and keeps the raw numbers, with machine and commit, in benches/results/.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --short=12 HEAD)
machine="$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ *//'), $(nproc) cores"

bench() { cargo bench --quiet --locked --profile release --bench "$@"; }

load() { bench load; }

# The peers come from a virtual environment of their own, versions pinned.
scan() {
  local venv=.deps/bench-venv folder
  if [ ! -x "$venv/bin/faiss-ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6
    install -m 755 /dev/null "$venv/bin/faiss-ready"
  fi
  folder=$(mktemp -d)
  bench scan -- "$folder"
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$venv/bin/python" benches/scan.py "$folder"
  rm -r "$folder"
}

resize() {
  local venv=.deps/bench-pillow-venv
  if [ ! -x "$venv/bin/pillow-ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check Pillow==13.0.0 numpy==2.4.6
    install -m 755 /dev/null "$venv/bin/pillow-ready"
  fi
  bench resize
  "$venv/bin/python" benches/resize.py
}

# Prints its own table; the raw numbers are in the file that it names.
encoder() { benches/encoder.sh --out "benches/results/encoder-$(date +%F)-$commit.json"; }

# The same for pictures and texts of a dual encoder; also makes the model that image_load serves.
dual_encoder() { benches/dual_encoder.sh --out "benches/results/dual-encoder-$(date +%F)-$commit.json"; }

# After dual_encoder.
image_load() { bench image_load; }

# The image towers alone, from pixels on the device: PICTOR_BENCH_DEVICE=cuda:0 where a GPU is.
towers() { bench towers -- "${PICTOR_BENCH_DEVICE:-auto}" "${PICTOR_BENCH_DTYPE:-auto}"; }

# Searches beside a field that is embedded again; after `make demo`, whose pictures it stores.
reembed() { bench reembed; }

# Training steps beside a PyTorch loop.
train() { benches/train.sh --out "benches/results/train-$(date +%F)-$commit.json"; }

# The Combiner alone beside torch, and composed searches beside plain ones; after `make demo` and scripts/golden.sh.
compose() {
  bench compose
  LD_LIBRARY_PATH=.deps/golden-stubs PYTHONPATH=.deps/site .deps/golden-venv/bin/python benches/compose.py
}

mkdir -p benches/results
[ "$#" -gt 0 ] || set -- load scan resize encoder dual_encoder image_load towers reembed train compose
for name in "$@"; do
  echo "== $name"
  if [ "$name" = encoder ] || [ "$name" = dual_encoder ] || [ "$name" = train ]; then
    "$name"
    continue
  fi
  out=benches/results/$name-$(date +%F)-$commit.jsonl
  printf '{"bench":"%s","machine":"%s","commit":"%s","date":"%s"}\n' "$name" "$machine" "$commit" "$(date -u +%FT%TZ)" >"$out"
  "$name" | tee -a "$out"
  echo "kept in $out"
done
