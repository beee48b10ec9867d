#!/usr/bin/env bash
# The body of `make demo`: sets up, builds, starts a server on loopback, stores the emoji, searches by meaning and by picture,
# checks what is found, draws a contact sheet, and finetunes the model on a new vendor's drawings while it is searched. --keep leaves the server running until Ctrl-C.
# PICTOR_DEMO_DIR: where the data go (default .deps/demo/data; emptied at the start).
set -euo pipefail
cd "$(dirname "$0")/.."

keep=no
case "${1:-}" in
  "") ;;
  --keep) keep=yes ;;
  *) echo "usage: scripts/demo.sh [--keep]" >&2; exit 2 ;;
esac

say() { printf '\ndemo: %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
now() { date +%s; }
began=$(now)
command -v python3 >/dev/null 2>&1 || fail "missing prerequisite: python3 (3.9 or newer)"

say "setting up (scripts/setup.sh)"
scripts/setup.sh
say "building"
cargo build --release --locked --workspace
cargo build --release --locked --example rasterise --example contact_sheet
python3 scripts/demo_corpus.py
target/release/examples/rasterise 128 .deps/demo/corpus/queries/queries.tsv
python3 scripts/demo_vendors.py
built=$(now)

bin=target/release
data=${PICTOR_DEMO_DIR:-.deps/demo/data}
log=$data/server.log
# Only a folder that an earlier demo made is emptied.
if [ -e "$data" ] && [ ! -e "$data/.pictor-demo" ]; then
  [ -z "$(ls -A "$data")" ] || fail "$data is not empty and not from an earlier demo; set PICTOR_DEMO_DIR"
fi
rm -rf "$data"
mkdir -p "$data"
touch "$data/.pictor-demo"
# A folder of the demo's own: finetuning adds a model to it.
mkdir "$data/models"
for model in all-minilm-l6-v2 pictor-mini pictor-mini-combiner; do ln -s "$PWD/.deps/models/$model" "$data/models/$model"; done

read -r grpc http < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
export PICTOR_URL=http://127.0.0.1:$grpc
unset PICTOR_API_KEY

server=
stop_server() {
  local pid=$server
  server=
  [ -n "$pid" ] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}
trap stop_server EXIT
trap 'exit 130' INT TERM

say "starting the server on 127.0.0.1:$grpc (log: $log)"
"$bin/pictor-server" serve --data-dir "$data/store" --models-dir "$data/models" \
  --grpc "127.0.0.1:$grpc" --http "127.0.0.1:$http" >"$log" 2>&1 &
server=$!
ready() {
  python3 - "http://127.0.0.1:$http/readyz" <<'PYTHON'
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    sys.exit(0 if opener.open(sys.argv[1], timeout=2).status == 200 else 1)
except OSError:
    sys.exit(1)
PYTHON
}
waited=0
until ready; do
  kill -0 "$server" 2>/dev/null || { tail -20 "$log" >&2; fail "the server ended before it was ready"; }
  waited=$((waited + 1))
  [ "$waited" -le 120 ] || { tail -20 "$log" >&2; fail "the server was not ready after two minutes"; }
  sleep 0.5
done

say "storing the emoji: a picture, a name and keywords each"
"$bin/pictor" collection create emoji --text-field text=all-minilm-l6-v2:name,keywords --image-field image=pictor-mini --default-field text
"$bin/pictor" ingest emoji .deps/demo/corpus/emoji.jsonl --no-journal
stored=$(now)
count=$("$bin/pictor" count emoji)
[ "$count" = 3786 ] || fail "expected 3786 items, the server counts $count"

say "searching by meaning, by words among the pictures, and by OpenMoji's drawings, which the model never saw"
searches=0
python3 scripts/demo_search.py --pictor "$bin/pictor" || searches=$?
sheet=.deps/demo/contact-sheet.png
target/release/examples/contact_sheet .deps/demo/corpus/sheet.jsonl "$sheet"
say "contact sheet: $sheet"
finetuned=0
say "finetuning on the drawings of a new vendor, embedding again and switching, while somebody searches"
python3 scripts/demo_finetune.py --pictor "$bin/pictor" || finetuned=$?
"$bin/pictor" snapshot create
"$bin/pictor" snapshot list
say "set-up and build $((built - began)) s, storing $((stored - built)) s, searching and finetuning $(($(now) - stored)) s"

by_hand() {
  cat <<HAND

Go on by hand:
$1
  $3  (the page: search in words or by a picture, and say what should be different)
  $bin/pictor --url $2 search emoji --text 'a cup of something hot' --limit 5
  $bin/pictor --url $2 search emoji --item 1f98a --filter 'group = "Animals & Nature"'
  $bin/pictor --url $2 search emoji --field image --text 'a slice of cake'
  $bin/pictor --url $2 search emoji --field image --image .deps/demo/corpus/queries/1f98a.png
  $bin/pictor --url $2 search emoji --text 'happy' --minus 'cat' --filter 'subgroup ^= "face"'
  $bin/pictor --url $2 collection info vendors
  $bin/pictor --url $2 generation switch vendors --field image --generation 1
  $bin/pictor --url $2 get emoji 1f600
  $bin/pictor --url $2 status
  $bin/pictor --url $2 snapshot create
  $bin/pictor --help
HAND
}
if [ "$keep" = yes ] && [ "$searches" = 0 ] && [ "$finetuned" = 0 ]; then
  by_hand "  (the server is running until Ctrl-C)" "$PICTOR_URL" "http://127.0.0.1:$http/"
  wait "$server" || true
  server=
else
  stop_server
  by_hand "  $bin/pictor-server serve --data-dir $data/store --models-dir $data/models &" http://127.0.0.1:7600 http://127.0.0.1:7601/
fi
[ "$searches" = 0 ] || exit "$searches"
exit "$finetuned"
