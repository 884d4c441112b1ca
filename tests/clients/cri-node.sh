# cri-node.sh: sourced by the scripts that make CRI calls. A node: containerd's CRI plugin with the shim of husk as a runtime
# class, and Debian's CNI plugins. In a control run the shim's place is taken by containerd's own and runc. `cri` is a client
# with crictl's command line.

if [ "$RUNTIME" = husk ]; then
  # Neither runc nor its shim is left here.
  rm -f /usr/sbin/runc /usr/bin/runc /usr/bin/containerd-shim*
else
  ln -sf "$(command -v containerd-shim-runc-v2)" /usr/local/sbin/containerd-shim-husk-v1
fi

# What the page says, and what this machine wants: images that are here, and no oom_score_adj that needs CAP_SYS_RESOURCE.
mkdir -p /etc/containerd /etc/cni/net.d
if containerd --version | grep -qE ' v?1\.'; then
  snippet containerd.md shim-config-1.toml > /etc/containerd/config.toml
  cat >> /etc/containerd/config.toml <<'TOML'

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:latest"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
TOML
else
  snippet containerd.md shim-config-2.toml > /etc/containerd/config.toml
  cat >> /etc/containerd/config.toml <<'TOML'

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:latest"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dir = "/usr/lib/cni"
TOML
fi
cat > /etc/cni/net.d/10-pods.conflist <<'JSON'
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
supervise() {
  while :; do
    until [ ! -e /tmp/stay-down ]; do sleep 0.1; done
    containerd
    echo "containerd ended: $?"
  done
}
ln -s /clients/cri /usr/local/bin/cri
background containerd supervise
ready ctr version
for name in box pause; do
  ctr -n k8s.io image import /image/$name.tar >/results/import.log 2>&1 || { cat /results/import.log; exit 1; }
done
ready cri info

# pod NAME [JQ-PROGRAM]: a pod; its id is in $NAME
pod() {
  local -; { set +x; } 2>/dev/null
  jq -n --arg n "$1" '{metadata: {name: $n, uid: $n, namespace: "default"}, hostname: $n, log_directory: "/tmp/logs/\($n)",
    linux: {cgroup_parent: "/kubepods/\($n)", security_context: {namespace_options: {pid: "CONTAINER"}}}}'" | ${2:-.}" > "/tmp/$1.pod.json"
  declare -g "$1=$(cri runp --runtime husk "/tmp/$1.pod.json")" && [ -n "${!1}" ]
}
# made POD NAME PROGRAM [JQ-PROGRAM]: a container in it that runs the shell PROGRAM; its id is in $NAME
made() {
  local -; { set +x; } 2>/dev/null
  jq -n --arg n "$2" --arg p "$3" '{metadata: {name: $n}, image: {image: env.IMAGE}, command: ["sh", "-c", $p], log_path: "\($n).log",
    linux: {security_context: {namespace_options: {pid: "CONTAINER"}}}}'" | ${4:-.}" > "/tmp/$2.json"
  declare -g "$2=$(cri create "${!1}" "/tmp/$2.json" "/tmp/$1.pod.json")" && [ -n "${!2}" ]
}
started() { made "$@" && cri start "${!2}"; }
status_of() { cri inspect "$1" | jq -r ".status.$2"; }
exited() { [ "$(status_of "$1" state)" = CONTAINER_EXITED ]; }
# The lines of a log, without time, stream and tag.
logged() { cut -d' ' -f4- "/tmp/logs/$1/$2.log"; }
gone() { local p; for p in "$@"; do cri stopp "${!p}" && cri rmp "${!p}" || return 1; done; }
shims() { pgrep -fc '^[^ ]*containerd-shim-' || true; }
nothing_left() {
  same "$(cri pods -q)" "" || return 1
  same "$(cri ps -a -q)" "" || return 1
  same "$(find /sys/fs/cgroup -path '*/kubepods/*/*' -type d)" "" || return 1
  eventually expect 1 pgrep -f '^[^ ]*containerd-shim-' || return 1
  same "$(grep /io.containerd.runtime.v2.task/ /proc/self/mountinfo)" "" || return 1
}
sleeper='exec sleep 100000'
export -f pod made started status_of exited logged gone shims nothing_left
export sleeper
after_failure() {
  rm -f /tmp/stay-down
  eventually ctr version
  cri pods -q | while read -r p; do timeout 10 cri stopp "$p"; timeout 10 cri rmp "$p"; done
  [ -z "$(cri pods -q)" ] || { pgrep -f '^[^ ]*containerd-shim-' | xargs -r kill -KILL; sleep 1; }
  cri pods -q | while read -r p; do timeout 10 cri stopp "$p"; timeout 10 cri rmp "$p"; done
  # Where the shim was killed nobody may know of these any more.
  find /sys/fs/cgroup -path '*/kubepods/*' -name cgroup.procs -exec cat {} + | sort -u | xargs -r kill -KILL
  eventually emptied
}
emptied() { find /sys/fs/cgroup -depth -path '*/kubepods/*/*' -type d -exec rmdir {} + ; }
