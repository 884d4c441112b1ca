#!/bin/bash
# Pods, as a kubelet asks for them.
source /clients/items.sh
source /clients/cri-node.sh

item "the runtime class is there, with its features" <<'ITEM'
  cri info > /tmp/info
  same "$(jq -r '[.status.conditions[] | select(.type | endswith("Ready")) | "\(.type)=\(.status)"] | sort | join(" ")' /tmp/info)" \
    'NetworkReady=true RuntimeReady=true'
  jq -e '.info.config.containerd.runtimes.husk' /tmp/info
  # containerd newer than 2.1 asks this shim, too, for features.
  handler=$(jq -c '.runtimeHandlers[]? | select(.name == "husk" and .features != null)' /tmp/info)
  if [ -n "$handler" ]; then
    same "$(jq -r .features.recursiveReadOnlyMounts <<< "$handler")" true
    same "$(jq -r .features.userNamespaces <<< "$handler")" true
  else
    containerd --version | grep -E ' v?(1\.|2\.[01]\.)'
  fi
ITEM
item "a pod with a container: status, output, exit code" <<'ITEM'
  pod pa
  same "$(cri inspectp $pa | jq -r .status.state)" SANDBOX_READY
  started pa ca 'echo out; echo err >&2; exit 7'
  eventually exited $ca
  same "$(status_of $ca exitCode) $(status_of $ca reason)" '7 Error'
  same "$(logged pa ca | sort)" $'err\nout'
  started pa cb true
  eventually exited $cb
  same "$(status_of $cb exitCode) $(status_of $cb reason)" '0 Completed'
  gone pa
  nothing_left
ITEM
item "one shim for a pod" <<'ITEM'
  pod pb
  for n in b1 b2 b3; do started pb $n "$sleeper"; done
  same "$(shims)" 1
  gone pb
  nothing_left
ITEM
item "containers of a pod share network, ipc and uts; each has its own pids and mounts" <<'ITEM'
  pod pc
  started pc c1 "httpd -p 8080 -h /etc; $sleeper"
  started pc c2 "$sleeper"
  for n in net ipc uts; do same "$(cri exec -s $c1 readlink /proc/self/ns/$n)" "$(cri exec -s $c2 readlink /proc/self/ns/$n)"; done
  for n in pid mnt; do [ "$(cri exec -s $c1 readlink /proc/self/ns/$n)" != "$(cri exec -s $c2 readlink /proc/self/ns/$n)" ]; done
  eventually sh -c "cri exec -s $c2 wget -qO- http://127.0.0.1:8080/passwd | grep nobody"
  same "$(cri exec -s $c1 hostname)" pc
  ip=$(cri inspectp $pc | jq -r .status.network.ip)
  has "$(cri exec -s $c2 ip addr show eth0)" "$ip/"
  gone pc
ITEM
item "pods reach each other, and the node" <<'ITEM'
  pod pd; pod pe
  started pd d1 "exec httpd -f -p 8080 -h /etc"
  started pe e1 "$sleeper"
  ip=$(cri inspectp $pd | jq -r .status.network.ip)
  eventually sh -c "cri exec -s $e1 wget -qO- http://$ip:8080/passwd | grep nobody"
  gone pd pe
ITEM
item "a pod with one pid namespace" <<'ITEM'
  shared='.linux.security_context.namespace_options = {pid: "POD"}'
  pod pf "$shared"
  started pf f1 'exec sleep 54321' "$shared"
  started pf f2 "$sleeper" "$shared"
  has "$(cri exec -s $f2 ps)" 'sleep 54321'
  gone pf
  nothing_left
ITEM
item "a pod in the node's network, pids and ipc" <<'ITEM'
  node='.linux.security_context.namespace_options = {network: "NODE", pid: "NODE", ipc: "NODE"}'
  pod pg "$node | .hostname = \"\""
  started pg g1 "$sleeper" "$node"
  for n in net ipc pid; do same "$(cri exec -s $g1 readlink /proc/self/ns/$n)" "$(readlink /proc/self/ns/$n)"; done
  has "$(cri exec -s $g1 ls /sys/class/net)" pods0
  gone pg
  nothing_left
ITEM
item "exec: synchronous, its exit code, standard error, timeout" <<'ITEM'
  pod ph
  started ph h1 "$sleeper"
  same "$(cri exec -s $h1 echo hello)" hello
  expect 9 cri exec -s $h1 sh -c 'exit 9'
  same "$(cri exec -s $h1 sh -c 'echo err >&2' 2>&1 >/dev/null)" err
  # As much as one answer of gRPC holds.
  same "$(cri exec -s $h1 head -c 4000000 /dev/zero | wc -c)" 4000000
  cri exec -s --timeout 1 $h1 sleep 1000 > /tmp/out 2>&1 && exit 1
  grep -iE 'deadline|timeout' /tmp/out
  # What did not finish is ended.
  eventually sh -c "! cri exec -s $h1 ps | grep -w 'sleep 1000'"
  cri exec -s $h1 /nosuch > /tmp/out 2>&1 && exit 1
  has "$(cat /tmp/out)" 'no such file or directory'
  gone ph
ITEM
item "exec as probes do it: two hundred in five containers" <<'ITEM'
  pod pi
  for n in 1 2 3 4 5; do started pi probe$n "touch /ready; $sleeper"; done
  for n in 1 2 3 4 5; do id=probe$n; eventually cri exec -s ${!id} test -e /ready; done
  for n in 1 2 3 4 5; do id=probe$n; cri exec -s --timeout 30 --times 40 ${!id} test -e /ready & jobs[n]=$!; done
  for n in 1 2 3 4 5; do wait ${jobs[n]}; done
  same "$(shims)" 1
  gone pi
  nothing_left
ITEM
item "exec: with streams, on a terminal" <<'ITEM'
  pod pj
  started pj j1 "$sleeper"
  same "$(cri exec $j1 echo hello)" hello
  expect 5 cri exec $j1 sh -c 'exit 5'
  same "$(printf 'one\ntwo\n' | cri exec -i $j1 sh -c 'head -n 2; echo err >&2' 2>/dev/null)" $'one\ntwo'
  has "$(cri exec -i -t $j1 tty)" /dev/pts/
  same "$(cri exec $j1 head -c 5000000 /dev/zero | wc -c)" 5000000
  gone pj
ITEM
item "attach: output and input" <<'ITEM'
  pod pk
  started pk k1 'read a; echo "got $a"; read b; exit 4' '.stdin = true | .stdin_once = false'
  { echo through; sleep 1; } | timeout 30 cri attach -i $k1 > /tmp/out & job=$!
  eventually grep -q 'got through' /tmp/out
  echo more | timeout 30 cri attach -i $k1 || true
  eventually exited $k1
  same "$(status_of $k1 exitCode)" 4
  wait $job || true
  started pk k2 "tty; read a; echo \"got \$a\"; $sleeper" '.stdin = true | .tty = true'
  { echo through; sleep 1; } | timeout 30 cri attach -i $k2 > /tmp/out & job=$!
  eventually sh -c "logged() { cut -d' ' -f4- /tmp/logs/pk/k2.log; }; logged | grep 'got through'"
  kill $job || true
  gone pk
ITEM
item "port-forward" <<'ITEM'
  pod pl
  started pl l1 "exec httpd -f -p 8080 -h /etc"
  eventually cri exec -s $l1 wget -qO /dev/null http://127.0.0.1:8080/passwd
  { printf 'GET /passwd HTTP/1.0\r\n\r\n'; sleep 2; } | timeout 20 cri port-forward $pl 8080 > /tmp/out || true
  has "$(cat /tmp/out)" nobody
  gone pl
ITEM
item "log: partial lines, a megabyte, a new file" <<'ITEM'
  pod pm
  started pm m1 'printf "no newline"; head -c 1000000 /dev/zero | tr "\0" x'
  eventually exited $m1
  same "$(cut -d' ' -f4- /tmp/logs/pm/m1.log | tr -d '\n' | wc -c)" 1000010
  gone pm
ITEM
item "limits, and their update" <<'ITEM'
  pod pn
  started pn n1 "$sleeper" '.linux.resources = {memory_limit_in_bytes: 67108864, cpu_quota: 50000, cpu_period: 100000, cpu_shares: 512}'
  same "$(cri exec -s $n1 sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 67108864
  same "$(cri exec -s $n1 sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max')" 50000
  cri update --memory 134217728 --cpu-quota 70000 --cpu-period 100000 $n1
  same "$(cri exec -s $n1 sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  same "$(cri exec -s $n1 sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max')" 70000
  gone pn
ITEM
item "OOMKilled" <<'ITEM'
  pod po
  started po o1 'dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?' '.linux.resources = {memory_limit_in_bytes: 16777216}'
  eventually exited $o1
  same "$(status_of $o1 reason)" OOMKilled
  same "$(status_of $o1 exitCode)" 137
  gone po
ITEM
item "stats of containers and pods" <<'ITEM'
  pod pq
  started pq q1 'while :; do :; done'
  eventually sh -c "[ \"\$(cri stats $q1 | jq -r '.stats.cpu.usageCoreNanoSeconds.value // 0')\" -gt 1000000 ]"
  [ "$(cri stats $q1 | jq -r '.stats.memory.workingSetBytes.value')" -gt 10000 ]
  # containerd 1.6 knows none of pods.
  if cri statsp $pq > /tmp/out 2>&1; then [ "$(jq -r '.stats.linux.memory.workingSetBytes.value' /tmp/out)" -gt 10000 ]; else grep -i unimplemented /tmp/out; fi
  gone pq
ITEM
item "security context: user, groups, read-only root, no new privileges" <<'ITEM'
  pod pr
  started pr r1 "$sleeper" '.linux.security_context *= {run_as_user: {value: 1000}, run_as_group: {value: 2000}, supplemental_groups: [3000],
    readonly_rootfs: true, no_new_privs: true}'
  same "$(cri exec -s $r1 sh -c 'id -u; id -g; id -G')" $'1000\n2000\n2000 3000'
  expect 1 cri exec -s $r1 touch /tmp/x
  same "$(cri exec -s $r1 sh -c 'grep NoNewPrivs /proc/self/status | cut -f2')" 1
  started pr r2 "$sleeper" '.linux.security_context *= {run_as_username: "nobody"}'
  same "$(cri exec -s $r2 id -u)" 65534
  gone pr
ITEM
item "security context: capabilities, seccomp, masked paths" <<'ITEM'
  pod ps
  started ps s1 "$sleeper" '.linux.security_context.capabilities = {drop_capabilities: ["ALL"]}'
  same "$(cri exec -s $s1 sh -c 'grep CapEff /proc/self/status | cut -f2')" 0000000000000000
  started ps s2 "$sleeper" '.linux.security_context.capabilities = {drop_capabilities: ["ALL"], add_capabilities: ["NET_ADMIN"]}'
  same "$(cri exec -s $s2 sh -c 'grep CapEff /proc/self/status | cut -f2')" 0000000000001000
  started ps s3 "$sleeper" '.linux.security_context *= {seccomp: {profile_type: "RuntimeDefault"}, masked_paths: ["/proc/meminfo"], readonly_paths: ["/proc/sys"]}'
  same "$(cri exec -s $s3 sh -c 'grep Seccomp: /proc/self/status | cut -f2')" 2
  same "$(cri exec -s $s3 sh -c 'wc -c < /proc/meminfo')" 0
  expect 1 cri exec -s $s3 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  started ps s4 "$sleeper" '.linux.security_context.seccomp = {profile_type: "Unconfined"}'
  same "$(cri exec -s $s4 sh -c 'grep Seccomp: /proc/self/status | cut -f2')" 0
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}' > /tmp/profile.json
  started ps s5 "$sleeper" '.linux.security_context.seccomp = {profile_type: "Localhost", localhost_ref: "/tmp/profile.json"}'
  has "$(cri exec -s $s5 mkdir /tmp/x 2>&1 || true)" 'Function not implemented'
  gone ps
ITEM
item "security context: privileged" <<'ITEM'
  pod pt '.linux.security_context.privileged = true'
  started pt t1 "$sleeper" '.linux.security_context.privileged = true'
  cri exec -s $t1 sh -c 'mount -t tmpfs none /mnt && test -c /dev/fuse'
  gone pt
ITEM
item "sysctls, mounts, devices, environment" <<'ITEM'
  pod pu '.linux.sysctls = {"net.ipv4.ip_forward": "1"}'
  mkdir -p /tmp/volume; echo x > /tmp/volume/f
  started pu u1 "$sleeper" '.mounts = [{container_path: "/mnt/in", host_path: "/tmp/volume", readonly: true}]
    | .envs = [{key: "A", value: ("b" | @base64)}] | .devices = [{container_path: "/dev/other", host_path: "/dev/zero", permissions: "r"}]
    | .working_dir = "/etc"'
  same "$(cri exec -s $u1 cat /proc/sys/net/ipv4/ip_forward)" 1
  same "$(cri exec -s $u1 sh -c 'cat /mnt/in/f; echo $A; pwd')" $'x\nb\n/etc'
  expect 1 cri exec -s $u1 touch /mnt/in/g
  cri exec -s $u1 dd if=/dev/other of=/dev/null bs=1 count=1
  gone pu
ITEM
item "a pod with a user namespace" <<'ITEM'
  if containerd --version | grep -qE ' v?1\.6\.'; then echo "containerd 1.6 has no such thing"; exit 0; fi
  users='{mode: "POD", uids: [{host_id: 200000, container_id: 0, length: 65536}], gids: [{host_id: 200000, container_id: 0, length: 65536}]}'
  options=".linux.security_context.namespace_options.userns_options = $users"
  pod pv "$options"
  started pv v1 "$sleeper" "$options"
  same "$(cri exec -s $v1 sh -c 'cat /proc/self/uid_map' | tr -s ' ')" ' 0 200000 65536'
  cri exec -s $v1 touch /root/x
  same "$(cri exec -s $v1 stat -c %u /root/x)" 0
  gone pv
  nothing_left
ITEM
item "a command that is not there" <<'ITEM'
  pod pw
  made pw w1 true '.command = ["/nosuch"]'
  cri start $w1 > /tmp/out 2>&1 && exit 1
  has "$(cat /tmp/out)" 'no such file or directory'
  eventually exited $w1
  same "$(status_of $w1 reason)" StartError
  same "$(status_of $w1 exitCode)" 128
  gone pw
  nothing_left
ITEM
item "stop: TERM, then KILL; remove" <<'ITEM'
  pod px
  started px x1 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  eventually cri exec -s $x1 true
  cri stop --timeout 60 $x1
  same "$(status_of $x1 exitCode)" 3
  cri rm $x1
  started px x2 "$sleeper"
  cri stop --timeout 1 $x2
  same "$(status_of $x2 exitCode)" 137
  # What is stopped already is stopped.
  cri stop $x2
  gone px
  nothing_left
ITEM
item "a pod stops with all that runs in it" <<'ITEM'
  pod py
  for n in y1 y2 y3; do started py $n "sleep 2000 & $sleeper"; done
  cri stopp $py
  same "$(cri inspectp $py | jq -r .status.state)" SANDBOX_NOTREADY
  for n in y1 y2 y3; do exited ${!n}; done
  expect 1 pgrep -f '^sleep 2000'
  cri stopp $py
  cri rmp $py
  nothing_left
ITEM
item "containerd ends by KILL and comes back: pods go on" <<'ITEM'
  pod pz
  started pz z1 'trap "exit 5" TERM; while :; do date; sleep 0.1; done'
  started pz z2 'trap "exit 6" TERM; while :; do sleep 0.1; done'
  eventually cri exec -s $z2 true
  init=$(cri inspect $z2 | jq -r .info.pid)
  touch /tmp/stay-down
  kill -KILL $(pgrep -xo containerd)
  eventually expect 1 pgrep -x containerd
  kill -TERM $init
  eventually test ! -e /proc/$init
  rm /tmp/stay-down
  eventually sh -c 'cri info > /dev/null'
  eventually exited $z2
  # containerd from 1.7 on removes a task that ended meanwhile when it starts, and its status with it.
  if containerd --version | grep -qE ' v?1\.6\.'; then same "$(status_of $z2 exitCode)" 6; fi
  same "$(cri exec -s $z1 echo still)" still
  before=$(wc -l < /tmp/logs/pz/z1.log)
  eventually sh -c "[ \$(wc -l < /tmp/logs/pz/z1.log) -gt $before ]"
  cri stop --timeout 60 $z1
  same "$(status_of $z1 exitCode)" 5
  gone pz
  nothing_left
ITEM
item "kill -9 of a pod's shim: the pod is not ready, and can be removed" <<'ITEM'
  pod qa
  started qa qb "sleep 2000 & $sleeper"
  kill -9 $(pgrep -f '^[^ ]*containerd-shim-')
  eventually exited $qb
  eventually sh -c "[ \"\$(cri inspectp $qa | jq -r .status.state)\" = SANDBOX_NOTREADY ]"
  eventually expect 1 pgrep -f '^sleep 2000'
  gone qa
  nothing_left
ITEM
item "fifty pods" <<'ITEM'
  jq -n --arg p "$sleeper" '{metadata: {name: "box"}, image: {image: env.IMAGE}, command: ["sh", "-c", $p], linux: {}}' > /tmp/box.json
  for i in $(seq 50); do
    jq -n --arg n many$i '{metadata: {name: $n, uid: $n, namespace: "default"}, log_directory: "/tmp/logs/\($n)", linux: {cgroup_parent: "/kubepods/\($n)"}}' > /tmp/many$i.json
    cri run --runtime husk /tmp/box.json /tmp/many$i.json > /tmp/id$i & jobs[i]=$!
  done
  for i in $(seq 50); do wait ${jobs[i]}; done
  same "$(shims)" 50
  same "$(cri ps -q | wc -l)" 50
  for i in 1 25 50; do same "$(cri exec -s $(cat /tmp/id$i) echo here)" here; done
  cri rmp -f -a
  nothing_left
ITEM

# The node as it is before: one class, and no section for husk.
cat > /usr/local/bin/systemctl <<'SH'
#!/bin/sh
# What the DaemonSet calls. The test starts containerd again.
[ "$*" = "restart containerd" ] && kill "$(pgrep -xo containerd)"
SH
chmod +x /usr/local/bin/systemctl
item "Kubernetes: the DaemonSet puts husk on the node, and its pods go on" <<'ITEM'
  sed 's/runtimes\.husk\]/runtimes.first]/' -i /etc/containerd/config.toml
  systemctl restart containerd
  handlers() { cri info | jq -r '.info.config.containerd.runtimes | keys | sort | join(" ")'; }
  export -f handlers
  eventually bash -c '[ "$(handlers)" = "first runc" ]'
  snippet kubernetes.md daemonset.yaml > /tmp/daemonset.yaml
  # The pod's containers as the kubelet would ask for them; the image is the test's, with the binaries in it as a mount.
  python3 - <<'PYTHON'
import json, os, yaml
spec = yaml.safe_load(open("/tmp/daemonset.yaml"))["spec"]["template"]["spec"]
assert spec["hostPID"]
paths = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"]}
# Here the binaries are mounts in /usr/local/bin, over which nothing can be renamed.
paths["bin"] = paths["bin"].replace("/usr/local/bin", "/usr/local/sbin")
for c in spec["initContainers"] + spec["containers"]:
    mounts = [{"container_path": m["mountPath"], "host_path": paths[m["name"]]} for m in c.get("volumeMounts", [])]
    mounts.append({"container_path": "/husk", "host_path": "/usr/local/bin", "readonly": True})
    json.dump({"metadata": {"name": c["name"]}, "image": {"image": os.environ["IMAGE"]}, "command": c["command"], "mounts": mounts,
               "log_path": c["name"] + ".log", "linux": {"security_context": {
                   "privileged": c.get("securityContext", {}).get("privileged", False), "namespace_options": {"pid": "NODE"}}}},
              open(f"/tmp/{c['name']}.json", "w"))
PYTHON
  jq -n '{metadata: {name: "ds", uid: "ds", namespace: "kube-system"}, log_directory: "/tmp/logs/ds",
    linux: {cgroup_parent: "/kubepods/ds", security_context: {privileged: true, namespace_options: {pid: "NODE"}}}}' > /tmp/ds.pod.json
  ds=$(cri runp --runtime first /tmp/ds.pod.json)
  install=$(cri create $ds /tmp/install.json /tmp/ds.pod.json)
  cri start $install
  eventually bash -c '[ "$(handlers)" = "first husk runc" ]'
  eventually exited $install || { cat /tmp/logs/ds/install.log; exit 1; }
  # It ends while containerd is away, and containerd from 1.7 on does not know with what then; nor does 1.6 where it had deleted the task before
  # it went, and says so. A kubelet runs it again, as below.
  status=$(status_of $install exitCode) reason=$(status_of $install reason)
  [ "$status" = 0 ] || { [ "$status" = 255 ] && { [ "$reason" = Unknown ] || ! containerd --version | grep -E ' v?1\.6\.'; }; } ||
    { cat /tmp/logs/ds/install.log; exit 1; }
  for f in husk containerd-shim-husk-v1; do cmp /usr/local/sbin/$f /usr/local/bin/$f; done
  same "$(cri inspectp $ds | jq -r .status.state)" SANDBOX_READY
  installed=$(cri create $ds /tmp/installed.json /tmp/ds.pod.json)
  cri start $installed
  # A pod of the class that the page names.
  handler=$(snippet kubernetes.md runtimeclass.yaml | python3 -c 'import sys, yaml; print(yaml.safe_load(sys.stdin)["handler"])')
  jq -n '{metadata: {name: "k", uid: "k", namespace: "default"}, linux: {}}' > /tmp/k.pod.json
  k=$(cri runp --runtime "$handler" /tmp/k.pod.json)
  same "$(cat /run/containerd/io.containerd.runtime.v2.task/k8s.io/$k/shim-binary-path)" /usr/local/sbin/containerd-shim-husk-v1
  # Once more: nothing changes, containerd stays.
  pid=$(pgrep -xo containerd)
  again=$(jq '.metadata.name = "again"' /tmp/install.json > /tmp/again.json && cri create $ds /tmp/again.json /tmp/ds.pod.json)
  cri start $again
  eventually exited $again
  same "$(status_of $again exitCode)" 0
  same "$(pgrep -xo containerd)" "$pid"
  gone ds k
  nothing_left
ITEM
exit 0
