#!/bin/bash
# What tools/bench-shim runs in tests/clients/enter: containerd, a registry for containerd-stress, and shim.py.
set -euo pipefail
[ ! -d /containerd ] || export PATH=/containerd:$PATH
containerd >/results/containerd.log 2>&1 </dev/null &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr image import /image/box.tar >/dev/null
if [ -x /containerd/containerd-stress ]; then
  # It takes its image from a registry alone.
  cat > /tmp/registry.yml <<'YAML'
version: 0.1
storage: {filesystem: {rootdirectory: /tmp/registry}}
http: {addr: "127.0.0.1:5000"}
YAML
  docker-registry serve /tmp/registry.yml >/results/registry.log 2>&1 </dev/null &
  ctr image tag localhost/box:latest localhost:5000/box:latest >/dev/null
  until ctr image push --plain-http localhost:5000/box:latest >/dev/null 2>&1; do sleep 0.1; done
fi
exec python3 /results/shim.py "$@" >/results/table
