# items.sh: sourced by each client's script. An item is a short shell program; it has passed when it ends with 0.
#
#   item "docker run: exit status" <<'ITEM'
#     expect 7 docker run --rm $IMAGE sh -c 'exit 7'
#   ITEM
#
# RUNTIME is husk or, for a control run, runc. With HUSK_CLIENTS_ITEMS only the items named in that file run.

set -uo pipefail
export IMAGE=localhost/box:latest
export RUNTIME=${RUNTIME:-husk}
case $RUNTIME in husk) export BINARY=/usr/local/bin/husk ;; *) BINARY=$(command -v "$RUNTIME"); export BINARY ;; esac

case ${CLIENT:-} in *-other) PATH=/containerd:$PATH ;; esac

# What items may use.
# Their own commands are left out of an item's trace.
expect() { # expect STATUS CMD...
  local -; { set +x; } 2>/dev/null
  local wanted=$1 got=0; shift
  "$@" || got=$?
  [ "$got" = "$wanted" ] || { echo "status $got instead of $wanted: $*"; return 1; }
}
same() { # same GOT WANTED
  local -; { set +x; } 2>/dev/null
  [ "$1" = "$2" ] || { printf 'got    %q\nwanted %q\n' "$1" "$2"; return 1; }
}
has() { # has TEXT PART
  local -; { set +x; } 2>/dev/null
  [[ $1 == *"$2"* ]] || { printf 'no %q in\n%s\n' "$2" "$1"; return 1; }
}
eventually() { # eventually CMD...: within 20 seconds
  local -; { set +x; } 2>/dev/null
  local end=$((SECONDS + 20))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || { echo "not within 20 seconds: $*"; return 1; }
    sleep 0.1
  done
}
# On a terminal of 77 columns and 33 rows, whose carriage returns are taken off.
# Its input stays open: at its end script types a control-D, which an engine may read before the container does.
on_terminal() {
  local -; { set +x; } 2>/dev/null
  local input status=0
  input=$(mktemp -u) && mkfifo "$input" || return 1
  script -qec "stty cols 77 rows 33; $1" /dev/null 0<>"$input" | tr -d '\r' || status=$?
  rm "$input"
  return "$status"
}
# In a container on such a terminal: engines set the size a moment after the start.
export SIZE='until stty size 2>/dev/null | grep 33; do sleep 0.1; done'
unpack_image() { # unpack_image DIRECTORY
  tar -xOf /image/box.tar "./$(tar -xOf /image/box.tar ./manifest.json | jq -r '.[0].Layers[0]')" | tar -C "$1" -x
}
snippet() { # snippet PAGE NAME: the block of docs/PAGE whose fence carries NAME
  local -; { set +x; } 2>/dev/null
  awk -v name="$2" '/^```/ { if (on) exit; if ($2 == name) { on = 1; next } } on' "/docs/$1" | grep . || {
    echo "docs/$1 has no block named $2" >&2; return 1; }
}
# What is saved and made again counts on, in its file /count.
export COUNTER='i=0; while :; do i=$((i+1)); echo $i > /count.new; mv /count.new /count; sleep 0.05; done'
# limit CONTROLLER/FILE-OF-V1 FILE-OF-V2: a value of the container's own cgroup, to be read inside it.
limit() { echo "cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2"; }
export -f expect same has eventually on_terminal snippet limit unpack_image

item() { # item NAME: its program is the standard input
  local name=$1 program began status=0 seconds output=/results/output
  program=$(cat)
  if [ -n "${HUSK_CLIENTS_ITEMS:-}" ] && ! grep -qxF -- "$CLIENT: $name" /results/only; then return; fi
  [[ $name == *"${HUSK_CLIENTS_TEXT:-}"* ]] || return 0
  began=$SECONDS
  timeout --kill-after=5 "${ITEM_SECONDS:-90}" bash -euo pipefail -x -c "$program" >"$output" 2>&1 </dev/null || status=$?
  seconds=$((SECONDS - began))
  if [ "$status" = 0 ]; then
    echo "passed	$seconds	$CLIENT: $name" >> /results/table
    return
  fi
  [ "$status" != 124 ] || echo "not finished after ${ITEM_SECONDS:-90} seconds" >> "$output"
  echo "failed	$seconds	$CLIENT: $name" >> /results/table
  {
    printf '\n--- %s: %s (%s, status %s)\n%s\n--- what it did and said:\n' "$CLIENT" "$name" "$RUNTIME" "$status" "$program"
    tail -c 6000 "$output"
  } >> /results/failures
  # What the item left would make the next ones fail, too.
  after_failure >/dev/null 2>&1 </dev/null || true
}

after_failure() { :; }

# background LOG CMD...: starts an engine; everything ends with the namespace.
background() { local log=$1; shift; "$@" >"/results/$log.log" 2>&1 </dev/null & started=$!; }
# ready CMD...: an engine that does not come up is a failed item.
ready() {
  local end=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ] || ! kill -0 "$started" 2>/dev/null; then
      echo "failed	0	$CLIENT: the engine starts" >> /results/table
      { printf '\n--- %s: the engine does not start (%s)\n' "$CLIENT" "$*"; tail -n 30 /results/*.log; } >> /results/failures
      exit 1
    fi
    sleep 0.1
  done
}
