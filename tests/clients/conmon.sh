#!/bin/bash
# conmon, driven by the command lines of CRI-O (internal/oci/runtime_oci.go), since CRI-O is in no Debian suite.
source /clients/items.sh
[ "$RUNTIME" != husk ] || rm -f /usr/sbin/runc /usr/bin/crun

# The runtime's directory and path are those of the page about CRI-O.
root=$(snippet cri-o.md /etc/crio/crio.conf.d/20-husk.conf | sed -n 's/^runtime_root = "\(.*\)"/\1/p')
[ "$RUNTIME" != husk ] || BINARY=$(snippet cri-o.md /etc/crio/crio.conf.d/20-husk.conf | sed -n 's/^runtime_path = "\(.*\)"/\1/p')
export root
mkdir -p /crio/{exits,attach,logs,persist} "$root" /crio/rootfs /run/crio
unpack_image /crio/rootfs

# bundle ID [JQ-PROGRAM]: a bundle as CRI-O writes it, with a container that sleeps.
bundle() {
  local -; { set +x; } 2>/dev/null
  mkdir -p "/crio/$1"
  (cd "/crio/$1" && rm -f config.json && "$BINARY" spec)
  jq '.root = {path: "/crio/rootfs", readonly: true} | .process.terminal = false
    | .process.args = ["sleep", "1000"] | .linux.cgroupsPath = "/crio/'"$1"'"
    | .process.capabilities.ambient = []'"${2:+ | $2}" "/crio/$1/config.json" > "/crio/$1/new"
  mv "/crio/$1/new" "/crio/$1/config.json"
}
# Everything conmon reports through its pipe goes to /crio/ID/sync, one JSON object a line.
# conmon_create ID [FLAG...]: CreateContainer; returns when conmon has reported the pid, or minus one and the reason.
conmon_create() {
  local -; { set +x; } 2>/dev/null
  local id=$1; shift
  rm -f "/crio/$id/sync"
  mkfifo -m 600 "/crio/$id/pipe" "/crio/$id/start"
  exec {sync}<>"/crio/$id/pipe" {go}<>"/crio/$id/start"
  echo -n x >&$go
  _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 conmon -b "/crio/$id" -c "$id" --exit-dir /crio/exits -l "/crio/logs/$id" \
    --log-level info -n "k8s_$id" -P "/crio/$id/conmon-pidfile" -p "/crio/$id/pidfile" --persist-dir /crio/persist \
    -r "$BINARY" --runtime-arg "--root=$root" --socket-dir-path /crio/attach --syslog -u "$id" "$@" \
    3>&$sync 4<&$go {sync}>&- {go}>&- </dev/null
  timeout 20 head -n 1 <&$sync > "/crio/$id/sync"
  exec {sync}>&- {go}>&-
  rm "/crio/$id/pipe" "/crio/$id/start"
  cat "/crio/$id/sync"
}
# conmon_exec ID NAME PROCESS-JSON [FLAG...]: ExecSyncContainer; prints conmon's report; output goes to /crio/logs/NAME.
conmon_exec() {
  local -; { set +x; } 2>/dev/null
  local id=$1 name=$2 process=$3; shift 3
  echo "$process" > "/crio/$id/$name.json"
  mkfifo -m 600 "/crio/$id/pipe" "/crio/$id/start"
  exec {sync}<>"/crio/$id/pipe" {go}<>"/crio/$id/start"
  echo -n x >&$go
  _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 conmon -c "$id" -n "k8s_$id" -r "$BINARY" -p "/crio/$id/$name.pid" -e \
    -l "/crio/logs/$name" --socket-dir-path /crio/attach --log-level info --exec-process-spec "/crio/$id/$name.json" \
    --runtime-arg "--root=$root" --exit-dir /crio/exits -u "$name" "$@" 3>&$sync 4<&$go {sync}>&- {go}>&- </dev/null || true
  # The first report has the pid, the second the exit status; of a failure there is one report.
  timeout 20 sh -c 'while read -r line; do echo "$line"; case $line in *exit_code*|*-1*) break ;; esac; done' <&$sync
  exec {sync}>&- {go}>&-
  rm "/crio/$id/pipe" "/crio/$id/start"
}
runtime() { "$BINARY" "--root=$root" "$@"; }
status() { runtime state "$1" | jq -r .status; }
process() {
  local -; { set +x; } 2>/dev/null
  printf '%s\n' "$@" | jq -Rnc --arg cwd "${CWD:-/}" \
    '{terminal: false, user: {uid: 0, gid: 0}, env: ["PATH=/bin"], cwd: $cwd, args: [inputs]}'
}
removed() { runtime delete --force "$1"; }
exited() { test -e "/crio/exits/$1"; }
export -f bundle conmon_create conmon_exec runtime status process removed exited
after_failure() { for c in $(runtime list -q); do removed "$c"; done; rm -f /crio/*/pipe /crio/*/start; }

item "create, state, start, exit" <<'ITEM'
  bundle c1 '.process.args = ["sh", "-c", "echo out; echo err >&2; exit 7"]'
  report=$(conmon_create c1)
  same "$(echo "$report" | jq '.data // .pid')" "$(cat /crio/c1/pidfile)"
  same "$(status c1)" created
  runtime start c1
  eventually exited c1
  same "$(cat /crio/exits/c1)" 7
  same "$(status c1)" stopped
  has "$(cat /crio/logs/c1)" 'stdout F out'
  has "$(cat /crio/logs/c1)" 'stderr F err'
  runtime delete --force c1
  expect 1 runtime state c1
ITEM
item "create that fails: conmon hands on the reason" <<'ITEM'
  bundle c2 '.process.args = ["nosuch"]'
  report=$(conmon_create c2 || true)
  has "$report" 'executable file not found'
  has "$report" -1
  bundle c3 '.process.cwd = "/x/y" | .root.readonly = true | .hooks = {createRuntime: [{path: "/bin/false"}]}'
  has "$(conmon_create c3 || true)" 'error running createRuntime hook #0'
  test -z "$(runtime list -q)"
ITEM
item "create on a terminal" <<'ITEM'
  bundle c4 '.process.terminal = true | .process.args = ["sh", "-c", "tty; read line; echo got $line"]'
  conmon_create c4 -t -i
  runtime start c4
  eventually grep -q /dev/pts/0 /crio/logs/c4
  runtime delete --force c4
  bundle c5 '.process.terminal = true | .process.args = ["nosuch"]'
  has "$(conmon_create c5 -t || true)" 'not found'
ITEM
item "exec: output, exit status, failures" <<'ITEM'
  bundle e1; conmon_create e1; runtime start e1
  has "$(conmon_exec e1 x1 "$(process sh -c 'echo out; exit 9')")" 'exit_code'
  has "$(cat /crio/logs/x1)" 'stdout F out'
  has "$(conmon_exec e1 x2 "$(process sh -c 'exit 9')" | tail -n 1 | tr -d ' ')" '"exit_code":9'
  has "$(conmon_exec e1 x3 "$(process nosuch)")" 'not found'
  test ! -e /crio/e1/x3.pid
  has "$(CWD=/missing; export CWD; conmon_exec e1 x4 "$(process true)")" 'no such file or directory'
  test ! -e /crio/e1/x4.pid
  removed e1
ITEM
item "exec on a terminal" <<'ITEM'
  bundle e2; conmon_create e2; runtime start e2
  conmon_exec e2 y1 "$(process tty | jq -c '.terminal = true')" -t
  has "$(cat /crio/logs/y1)" /dev/pts/0
  has "$(conmon_exec e2 y2 "$(process nosuch | jq -c '.terminal = true')" -t)" 'not found'
  test ! -e /crio/e2/y2.pid
  removed e2
ITEM
item "streaming exec: the runtime without conmon" <<'ITEM'
  bundle e3; conmon_create e3; runtime start e3
  process sh -c 'cat; exit 4' > /crio/e3/process.json
  echo through > /tmp/in
  expect 4 runtime exec --pid-file /crio/e3/exec.pid --process /crio/e3/process.json e3 < /tmp/in > /tmp/out
  same "$(cat /tmp/out)" through
  test -s /crio/e3/exec.pid
  removed e3
ITEM
item "attach: standard input through conmon" <<'ITEM'
  bundle a1 '.process.args = ["sh", "-c", "read line; echo got $line"]'
  conmon_create a1 -i
  runtime start a1
  test -S /crio/attach/a1/attach
  runtime delete --force a1
ITEM
item "kill, the words of a container that is gone" <<'ITEM'
  bundle k1 '.process.args = ["sh", "-c", "trap \"exit 3\" TERM; echo ready; while :; do sleep 0.1; done"]'
  conmon_create k1; runtime start k1
  eventually grep -q ready /crio/logs/k1
  runtime kill k1 15
  eventually exited k1
  same "$(cat /crio/exits/k1)" 3
  expect 1 runtime kill k1 9 2> /tmp/err
  has "$(cat /tmp/err)" 'container not running'
  runtime delete --force k1
  runtime delete --force k1
  expect 1 runtime state k1 2> /tmp/err
  has "$(cat /tmp/err)" 'does not exist'
ITEM
item "kill KILL" <<'ITEM'
  bundle k2; conmon_create k2; runtime start k2
  runtime kill k2 KILL
  eventually exited k2
  same "$(cat /crio/exits/k2)" 137
  removed k2
ITEM
item "pause, resume" <<'ITEM'
  bundle p1; conmon_create p1; runtime start p1
  runtime pause p1; same "$(status p1)" paused
  runtime resume p1; same "$(status p1)" running
  removed p1
ITEM
item "update --resources -" <<'ITEM'
  bundle u1 '.linux.resources.memory.limit = 67108864'
  conmon_create u1; runtime start u1
  echo '{"memory":{"limit":134217728},"cpu":{"shares":512,"quota":50000,"period":100000},"pids":{"limit":50}}' | runtime update --resources - u1
  cd /sys/fs/cgroup
  same "$(cat memory/crio/u1/memory.limit_in_bytes 2>/dev/null || cat crio/u1/memory.max)" 134217728
  same "$(cat pids/crio/u1/pids.max 2>/dev/null || cat crio/u1/pids.max)" 50
  removed u1
ITEM
item "a pod: the second container joins the first one's namespaces" <<'ITEM'
  bundle pod; conmon_create pod; runtime start pod
  pid=$(cat /crio/pod/pidfile)
  bundle member '.linux.namespaces = [.linux.namespaces[] | if .type == "network" or .type == "ipc" or .type == "uts" then .path = "/proc/'$pid'/ns/\({network: "net", ipc: "ipc", uts: "uts"}[.type])" else . end] | del(.hostname)'
  conmon_create member; runtime start member
  for n in net ipc uts; do same "$(readlink /proc/$(cat /crio/member/pidfile)/ns/$n)" "$(readlink /proc/$pid/ns/$n)"; done
  removed member; removed pod
ITEM
item "features" <<'ITEM'
  runtime features > /tmp/features
  for q in .ociVersionMin .ociVersionMax '.mountOptions | index("rro")' .linux.mountExtensions.idmap.enabled; do
    jq -e "$q" /tmp/features
  done
ITEM
item "killed for want of memory: conmon sees it" <<'ITEM'
  bundle oom '.linux.resources.memory.limit = 16777216 | .process.args = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]'
  conmon_create oom; runtime start oom
  eventually exited oom
  same "$(cat /crio/exits/oom)" 137
  eventually test -e /crio/persist/oom -o -e /crio/oom/oom
  removed oom
ITEM
exit 0
