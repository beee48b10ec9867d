#!/usr/bin/env bash
# Runs every bench and keeps the raw numbers, with the machine and the commit, in benches/results/.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --short=12 HEAD)
machine="$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ *//'), $(nproc) cores"
keep() {
  local name=$1 out=benches/results/$1-$(date +%F)-$commit.jsonl
  shift
  mkdir -p benches/results
  printf '{"bench":"%s","machine":"%s","commit":"%s","date":"%s"}\n' "$name" "$machine" "$commit" "$(date -u +%FT%TZ)" >"$out"
  "$@" | tee -a "$out"
  echo "kept in $out"
}
for bench in ${BENCHES:-load scan}; do
  keep "$bench" cargo bench --quiet --locked --profile release --bench "$bench"
done
