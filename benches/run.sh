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

embedded() {
  local model=$1
  shift
  cargo run --quiet --release --locked --bin pictor-server -- embed --model ".deps/models/$model" "$@" >&2
}

# The peers are compiled for this processor or choose their kernels for it; hnswlib is built from source.
graph_on() {
  local venv=.deps/bench-graph-venv folder program
  if [ ! -x "$venv/bin/graph-ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6 usearch==2.26.6 \
      qdrant-edge-py==0.9.0 pybind11==3.1.0 setuptools==65.5.0 wheel
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation hnswlib==0.8.0
    install -m 755 /dev/null "$venv/bin/graph-ready"
  fi
  program=$(cargo bench --locked --profile release --bench graph --no-run --message-format=json |
    python3 -c 'import json, sys; print([found for line in sys.stdin if (found := json.loads(line).get("executable"))][-1])')
  folder=$(mktemp -d)
  "$venv/bin/python" benches/graph.py "$folder" "$program" "$@"
  rm -r "$folder"
}

graph() {
  local folder
  graph_on --library
  folder=$(mktemp -d)
  python3 benches/graph_texts.py "${PICTOR_TEST_DATA:-../shared/data}" .deps/demo/drawings "$folder"
  embedded all-minilm-l6-v2 --texts-jsonl "$folder/texts.jsonl" --out "$folder/minilm-texts.safetensors"
  graph_on --real "$folder/minilm-texts.safetensors"
  # After `scripts/drawings_corpus.py`: words ask for pictures.
  if [ -f "$folder/pictures.txt" ]; then
    embedded pictor-mini --images-from "$folder/pictures.txt" --out "$folder/pictures.safetensors"
    embedded pictor-mini --texts-jsonl "$folder/words.jsonl" --out "$folder/words.safetensors"
    graph_on --real "$folder/pictures.safetensors" --queries "$folder/words.safetensors"
  fi
  rm -r "$folder"
}

# A million vectors beside hnswlib, with memory; half an hour and 12 GiB.
graph_million() { graph_on --count 1000000 --few --only hnswlib --repeats 3; }

# Searches by raw vectors through gRPC beside the index itself.
graph_load() { bench graph_load; }

# Filtered searches and counts of values beside an embedded peer that has payload indexes, too; half an hour, most of it the peer's.
filters() {
  local venv=.deps/bench-filters-venv folder=target/bench-filters
  if [ ! -x "$venv/bin/filters-ready" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check qdrant-edge-py==0.9.0 numpy==2.4.6
    install -m 755 /dev/null "$venv/bin/filters-ready"
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  bench filters -- "$folder" "$@"
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$venv/bin/python" benches/filters.py "$folder"
  rm -r "$folder"
}

ingest_load() { bench ingest_load; }

# A first load as bulk writes beside ordinary ones; ten minutes.
bulk() { bench ingest_load -- --bulk; }

# Half an hour.
soak() { bench ingest_load -- --minutes 30; }

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
[ "$#" -gt 0 ] || set -- load scan graph graph_load filters ingest_load resize encoder dual_encoder image_load towers reembed train compose
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
