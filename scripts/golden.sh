#!/usr/bin/env bash
# Recomputes the golden values in tests/golden with sentence-transformers, transformers and Pillow. Needs what scripts/setup.sh fetched and Python 3.11.
# The values are committed; run this to check them or after raising tests/golden/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

models=${PICTOR_MODELS:-.deps/models}
data=${PICTOR_TEST_DATA:-../shared/data}
venv=.deps/golden-venv
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || { echo "golden: needs Python 3.11, because setup's torch is built for it; set PYTHON" >&2; exit 1; }

key=$(sha256sum tests/golden/requirements.txt | cut -c1-16)
if [ "$(cat "$venv/.key" 2>/dev/null)" != "$key" ]; then
  echo "golden: making $venv"
  "$python" -m venv --clear "$venv"
  # These would pull torch with 4 GB of CUDA libraries; setup has the torch that we link with.
  apart='^(sentence-transformers|torchvision|open_clip_torch|timm)=='
  grep -E "$apart" tests/golden/requirements.txt | "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
  grep -vE "$apart" tests/golden/requirements.txt | "$venv/bin/pip" install --quiet --disable-pip-version-check -r /dev/stdin
  printf '%s' "$key" >"$venv/.key"
fi

# `import torch` wants the CUDA libraries that setup leaves out, though nothing calls them on a CPU: empty stand-ins satisfy the
# dynamic linker. They define the names and symbol versions that torch asks for, and are seen by this script's Python only.
stubs=.deps/golden-stubs
if [ ! -e "$stubs/.complete" ]; then
  echo "golden: making $stubs"
  rm -rf "$stubs"
  mkdir -p "$stubs"
  nm -D --undefined-only .deps/site/torch/lib/libtorch_{cuda,nvshmem,python,cuda_linalg}.so | awk 'NF == 2 { print $2 }' | sort -u >"$stubs/symbols"
  for library in libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12 libcufile.so.0 libcurand.so.10 libcusolver.so.12 \
    libcusparse.so.12 libcusparseLt.so.0 libnccl.so.2 libnvshmem_host.so.3; do
    version=$library
    case $library in
      libnvshmem*) version=NVSHMEM symbols='@NVSHMEM$' ;;
      libnccl*) symbols='^nccl[^@]*$' ;;
      libcufile*) symbols='^cuFile[^@]*$' ;;
      libcusparseLt*) symbols='^cusparseLt[^@]*$' ;;
      libcurand*) symbols='^curand[^@]*$' ;;
      *) symbols="@$library\$" ;;
    esac
    { grep -E "$symbols" "$stubs/symbols" || true; } | sed 's/@.*//; s/.*/void &(void) {}/' >"$stubs/stub.c"
    echo "$version { *; };" >"$stubs/stub.map"
    gcc -shared -fPIC -Wl,-soname,"$library" -Wl,--version-script="$stubs/stub.map" "$stubs/stub.c" -o "$stubs/$library"
  done
  touch "$stubs/.complete"
fi

run() {
  echo "golden: $*"
  LD_LIBRARY_PATH=$stubs PYTHONPATH=.deps/site HF_HUB_OFFLINE=1 TQDM_DISABLE=1 "$venv/bin/python" "$@"
}
model=$models/all-minilm-l6-v2/$(cat "$models/all-minilm-l6-v2/current")
run tests/golden/tiny.py
run tests/golden/minilm.py "$model"
run tests/golden/resize.py
run tests/golden/formats.py
run tests/golden/towers.py
run tests/golden/resnets.py
run tests/golden/checkpoints.py
run tests/golden/pads.py
run tests/golden/colours.py
run tests/golden/perceptual.py
run tests/golden/parquet_items.py
run tests/golden/pictor_mini.py "$models/pictor-mini/$(cat "$models/pictor-mini/current")"
if [ -d "$data/cranfield" ]; then run tests/golden/cranfield.py "$model" "$data"; else echo "golden: no $data/cranfield, cranfield.json is left as it is"; fi
if [ -d "$data/images" ]; then
  run tests/golden/images.py "$data"
  run tests/golden/prepare.py "$data"
else
  echo "golden: no $data/images, images.json and prepare.json are left as they are"
fi
git diff --stat -- tests/golden
