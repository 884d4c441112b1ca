#!/bin/bash
# containerd-stress: containers without pause for a minute, and none may fail.
source /clients/items.sh

# It has no option for the runtime's binary: the shim takes what is called runc.
if [ "$RUNTIME" = husk ]; then
  rm -f /usr/sbin/runc /usr/bin/runc
  eval "$(snippet docker.md buildkit)"
fi
background containerd containerd
ready ctr version
# It pulls its image, even one that is there: from a registry on loopback.
background registry docker-registry serve /clients/registry.yml
ready busybox wget -qO- http://127.0.0.1:5000/v2/
ctr image import /image/box.tar >/results/import.log 2>&1
ctr image tag localhost/box:latest localhost:5000/box:latest >>/results/import.log 2>&1
ctr image push --plain-http localhost:5000/box:latest >>/results/import.log 2>&1 || { cat /results/import.log; exit 1; }

export ITEM_SECONDS=200
item "containerd-stress for a minute" <<'ITEM'
  containerd-stress --image localhost:5000/box:latest --concurrent 4 --duration 60s --json --debug > /tmp/stress 2> /tmp/log || { tail /tmp/log; exit 1; }
  cat /tmp/stress
  jq -e '.total > 20' /tmp/stress
  expect 1 grep -iE 'level=(error|fatal)' /tmp/log
  test -z "$(ls /run/containerd/runc/stress 2>/dev/null)"
ITEM
item "containerd-stress with exec, for a minute" <<'ITEM'
  containerd-stress --image localhost:5000/box:latest --concurrent 2 --duration 60s --json --exec --debug > /tmp/stress 2> /tmp/log || { tail /tmp/log; exit 1; }
  cat /tmp/stress
  jq -e '.total > 10 and .execTotal > 10' /tmp/stress
  expect 1 grep -iE 'level=(error|fatal)' /tmp/log
ITEM
exit 0
