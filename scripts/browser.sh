#!/usr/bin/env bash
# Walks through the page in a real browser (tests/browser): part of `make verify`, elsewhere one line unless PICTOR_BROWSER=1.
# Needs Node.js 18 or newer with npm, and Chromium: PICTOR_CHROMIUM, one on the PATH, or Debian's package, which root may install.
# --screenshots writes docs/page.png and docs/page-phone.png again.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${PICTOR_VERIFY:-}${PICTOR_BROWSER:-}" ]; then
  echo "browser: the walk through the page is part of make verify; PICTOR_BROWSER=1 runs it here"
  exit 0
fi
fail() { printf 'browser: %s\n' "$*" >&2; exit 1; }
command -v node >/dev/null 2>&1 || fail "missing prerequisite: Node.js (18 or newer)"
command -v npm >/dev/null 2>&1 || fail "missing prerequisite: npm"

find_chromium() {
  local name
  if [ -n "${PICTOR_CHROMIUM:-}" ]; then echo "$PICTOR_CHROMIUM"; return 0; fi
  for name in chromium chromium-browser google-chrome; do command -v "$name" && return 0; done
  return 1
}
if ! find_chromium >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "browser: installing Debian's chromium"
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium fonts-noto-color-emoji >/dev/null ||
      fail "apt-get could not install chromium; install it, or set PICTOR_CHROMIUM to a Chromium"
  else
    fail "missing prerequisite: Chromium; install it (on Debian: apt-get install chromium), or set PICTOR_CHROMIUM"
  fi
fi

python3 scripts/browser_packages.py
python3 scripts/demo_corpus.py
cargo build --release --locked --workspace --bins
PICTOR_CHROMIUM=$(find_chromium) PICTOR_BIN=${CARGO_TARGET_DIR:-target}/release exec node tests/browser/main.mjs "$@"
