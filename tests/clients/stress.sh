#!/bin/bash
# Containers without pause for a minute: none may fail. containerd-stress does it where CONTAINERD_PROGRAMS has it (no Debian
# package has it), and so do four calls of ctr.
source /clients/items.sh
if [ "$RUNTIME" = husk ]; then
  # No other runtime is left here: what runs, husk runs, even where ctr forgets the name that it was given.
  rm -f /usr/sbin/runc /usr/bin/runc
  eval "$(snippet containerd.md runc-name)"
fi

background containerd containerd
ready ctr version
ctr image import /image/box.tar >/results/import.log 2>&1 || { cat /results/import.log; exit 1; }
run=$(snippet containerd.md ctr)
run=${run/\/usr\/local\/bin\/husk/$BINARY}
export run ITEM_SECONDS=200 SHIM=io.containerd.runc.v2
after_failure() { ctr task ls -q | xargs -r -n1 ctr task rm -f; ctr container ls -q | xargs -r ctr container rm; }

# worker NUMBER WORK: does WORK for a minute; each line of /tmp/failures is a failure, of /tmp/done a container.
worker() {
  local -; { set +x; } 2>/dev/null
  local end=$((SECONDS + 60)) n=0
  while [ "$SECONDS" -lt "$end" ]; do
    n=$((n + 1))
    if "$2" "w$1-$n" >"/tmp/worker$1" 2>&1; then echo "w$1-$n" >> /tmp/done; else
      { echo "w$1-$n:"; cat "/tmp/worker$1"; } >> /tmp/failures
    fi
  done
}
run_once() { timeout 60 $run --rm "$IMAGE" "$1" true; }
run_and_exec() {
  timeout 60 $run -d "$IMAGE" "$1" sleep 1000 && timeout 60 ctr task exec --exec-id "$1-x" "$1" true &&
    timeout 60 ctr task kill -s KILL "$1" && eventually sh -c "ctr task ls | grep '^$1 .*STOPPED'" &&
    { timeout 60 ctr task rm "$1" || true; } && timeout 60 ctr container rm "$1"
}
# nothing_left: no failure, enough done, and neither state, group nor shim remain.
nothing_left() {
  local -; { set +x; } 2>/dev/null
  cat /tmp/failures
  echo "$(wc -l < /tmp/done) containers"
  [ ! -s /tmp/failures ] && [ "$(wc -l < /tmp/done)" -ge 20 ] || return 1
  same "$(ls /run/containerd/runc/default)" "" || return 1
  same "$(find /sys/fs/cgroup -path '*/default/w*' -type d)" "" || return 1
  eventually expect 1 pgrep -x containerd-shim
}
# containerd_stress FLAG...: four workers for a minute.
containerd_stress() {
  local -; { set +x; } 2>/dev/null
  local result
  result=$(/containerd/containerd-stress --json --image localhost:5000/box:latest --runtime "$SHIM" --concurrent 4 --duration 1m "$@") || return 1
  echo "$result"
  [ "$(jq '.failures + .execFailures' <<< "$result")" = 0 ] && [ "$(jq .total <<< "$result")" -ge 20 ]
}
export -f containerd_stress worker run_once run_and_exec nothing_left

item "four at once for a minute: run" <<'ITEM'
  : > /tmp/failures; : > /tmp/done
  for i in 1 2 3 4; do worker $i run_once & done
  wait
  nothing_left
ITEM
item "three at once for a minute: run, exec, kill, delete" <<'ITEM'
  : > /tmp/failures; : > /tmp/done
  for i in 1 2 3; do worker $i run_and_exec & done
  wait
  nothing_left
ITEM
if [ -x /containerd/containerd-stress ]; then
# It takes the image from a registry alone.
cat > /tmp/registry.yml <<'YAML'
version: 0.1
storage: {filesystem: {rootdirectory: /tmp/registry}}
http: {addr: "127.0.0.1:5000"}
YAML
background registry docker-registry serve /tmp/registry.yml
ctr image tag "$IMAGE" localhost:5000/box:latest >/dev/null
ready ctr image push --plain-http localhost:5000/box:latest
item "containerd-stress: four at once for a minute" <<'ITEM'
  containerd_stress
  same "$(ls /run/containerd/runc/stress)" ""
ITEM
item "containerd-stress --exec: four at once for a minute" <<'ITEM'
  containerd_stress --exec
  same "$(ls /run/containerd/runc/stress)" ""
ITEM
fi
exit 0
