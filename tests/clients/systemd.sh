#!/bin/bash
# Docker, Podman, containerd and conmon with systemd's cgroup driver, where systemd is the init: containers are scopes of
# its, in slices. Runs in tests/systemd/machine.
source /clients/items.sh

limited() { [ -d /sys/fs/cgroup/memory ] || grep -qw memory /sys/fs/cgroup/cgroup.controllers; }

# Without CAP_SYS_RESOURCE nothing may be raised.
for unit in docker containerd; do
  mkdir -p "/etc/systemd/system/$unit.service.d"
  printf '[Service]\nOOMScoreAdjust=\nLimitNOFILE=\nLimitNPROC=\nLimitCORE=\n' > "/etc/systemd/system/$unit.service.d/test.conf"
done
systemctl daemon-reload
mkdir -p /etc/docker /etc/containers /etc/containerd /etc/cni/net.d
snippet docker.md /etc/docker/daemon.json | jq '. + {"exec-opts": ["native.cgroupdriver=systemd"]}' > /etc/docker/daemon.json
[ "$RUNTIME" = husk ] || jq '.["default-runtime"] = "runc"' /etc/docker/daemon.json > /tmp/d && [ -s /tmp/d ] && mv /tmp/d /etc/docker/daemon.json
snippet podman.md /etc/containers/containers.conf > /etc/containers/containers.conf
[ "$RUNTIME" = husk ] || sed -i 's/^runtime = .*/runtime = "runc"/' /etc/containers/containers.conf
# Its default is a limit, which takes a controller.
limited || printf '[containers]\npids_limit = 0\n' >> /etc/containers/containers.conf
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
# Pods of CRI calls on the host's network: two runtime classes, containerd's shim with the runtime, and the shim of husk.
cat > /etc/containerd/config.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:latest"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "binary"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.binary]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.binary.options]
BinaryName = "$BINARY"
SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.shim]
runtime_type = "$([ "$RUNTIME" = husk ] && echo io.containerd.husk.v1 || echo io.containerd.runc.v2)"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.shim.options]
$([ "$RUNTIME" = husk ] && echo 'ConfigPath = "/etc/containerd/husk.toml"' || echo 'SystemdCgroup = true')
TOML
# containerd 1.6 hands on options of other shims than its own as a file.
echo 'SystemdCgroup = true' > /etc/containerd/husk.toml
if [ "$RUNTIME" = husk ]; then
  # No other runtime is left here: what runs, husk runs.
  rm -f /usr/sbin/runc /usr/bin/runc /usr/bin/crun
  eval "$(snippet docker.md buildkit)"
fi
ln -s /clients/cri /usr/local/bin/cri

unified() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }
property() { systemctl show --value -p "$2" "$1"; }
gone() { [ "$(property "$1" LoadState)" = not-found ]; }
# The group by which systemd knows a process.
group() { if unified; then sed -n 's/^0:://p' "/proc/$1/cgroup"; else sed -n 's/^[0-9]*:name=systemd://p' "/proc/$1/cgroup"; fi; }
# in_unit PID UNIT: in all hierarchies that have limits, not only in that of systemd.
in_unit() {
  local -; { set +x; } 2>/dev/null
  has "$(group "$1")" "/$2" || return 1
  unified || for h in memory pids devices freezer; do
    [ ! -d "/sys/fs/cgroup/$h" ] || grep -E "[:,]$h[:,].*/$2" "/proc/$1/cgroup" >/dev/null || { echo "$1 is not in $2 of $h"; return 1; }
  done
}
left() { find /sys/fs/cgroup -type d \( -name 'docker-*.scope' -o -name 'libpod-*.scope' -o -name 'cri-*.scope' -o -name 'crio-*.scope' \); }
nothing_left() {
  same "$(left)" "" || return 1
  same "$(systemctl list-units --all --no-legend --plain 'docker-*' 'libpod-*' 'cri-*' 'crio-*' | grep -v '\.service' | cut -d' ' -f1)" ""
}
# A memory limit as a property of a unit: MemoryMax, on v1 MemoryLimit.
memory_of() { if unified; then property "$1" MemoryMax; else property "$1" MemoryLimit; fi; }
export -f limited unified property gone group in_unit left nothing_left memory_of

systemctl start containerd docker >/results/start.log 2>&1 || { journalctl -b --no-pager | tail -n 40; cat /results/start.log; }
started=$$
ready ctr version
ready docker version
docker load -i /image/box.tar >/results/load.log 2>&1 || { cat /results/load.log; exit 1; }
podman load -i /image/box.tar >>/results/load.log 2>&1 || { cat /results/load.log; exit 1; }
for name in box pause; do
  ctr -n k8s.io image import /image/$name.tar >>/results/load.log 2>&1 || { cat /results/load.log; exit 1; }
done
ready cri info
after_failure() {
  docker ps -aq | xargs -r docker rm -f
  podman pod rm -fa; podman rm -fa -t 0
  cri pods -q | while read -r p; do timeout 20 cri stopp "$p"; timeout 20 cri rmp "$p"; done
}

item "docker: the driver is systemd's" <<'ITEM'
  same "$(docker info --format '{{.CgroupDriver}} {{.DefaultRuntime}}')" "systemd $RUNTIME"
ITEM
item "docker: a container is a scope in system.slice, from run to rm" <<'ITEM'
  id=$(docker run -d --name scope $IMAGE sleep 1000)
  unit=docker-$id.scope
  same "$(property $unit ActiveState) $(property $unit Slice) $(property $unit Delegate)" 'active system.slice yes'
  in_unit "$(docker inspect -f '{{.State.Pid}}' scope)" $unit
  same "$(docker exec scope echo hello)" hello
  docker exec -d scope sleep 999
  eventually pgrep -x -f 'sleep 999'
  in_unit "$(pgrep -x -f 'sleep 999')" $unit
  docker pause scope; same "$(docker inspect -f '{{.State.Status}}' scope)" paused
  docker unpause scope
  docker restart -t 0 scope
  same "$(property $unit ActiveState)" active
  in_unit "$(docker inspect -f '{{.State.Pid}}' scope)" $unit
  docker stop -t 1 scope
  eventually gone $unit
  docker rm scope
  eventually nothing_left
ITEM
item "docker: limits are properties and files; update, stats" <<'ITEM'
  limited || exit 0
  id=$(docker run -d --name limits -m 64m --cpus 0.5 --pids-limit 20 $IMAGE sleep 1000)
  unit=docker-$id.scope
  same "$(memory_of $unit) $(property $unit TasksMax) $(property $unit CPUQuotaPerSecUSec)" '67108864 20 500ms'
  same "$(docker exec limits sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 67108864
  has "$(docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' limits)" '/ 64MiB 1'
  docker update -m 128m --memory-swap 256m --pids-limit 50 --cpus 0.25 --cpu-shares 512 limits
  same "$(memory_of $unit) $(property $unit TasksMax) $(property $unit CPUQuotaPerSecUSec)" '134217728 50 250ms'
  systemctl daemon-reload
  same "$(docker exec limits sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  same "$(docker exec limits sh -c "$(limit pids/pids.max pids.max)")" 50
  docker rm -f limits
  eventually nothing_left
ITEM
item "docker: killed for want of memory" <<'ITEM'
  limited || exit 0
  docker run --name oom -m 16m --memory-swap 16m $IMAGE sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' && exit 1
  eventually sh -c 'test "$(docker inspect -f "{{.State.OOMKilled}}" oom)" = true'
  docker rm oom
  eventually nothing_left
ITEM
item "docker --cgroup-parent: the slice is made" <<'ITEM'
  id=$(docker run -d --name parent --cgroup-parent husk-inner.slice $IMAGE sleep 1000)
  has "$(group "$(docker inspect -f '{{.State.Pid}}' parent)")" "/husk.slice/husk-inner.slice/docker-$id.scope"
  same "$(property docker-$id.scope Slice)" husk-inner.slice
  docker rm -f parent
  eventually gone docker-$id.scope
ITEM
item "docker: device rules hold after daemon-reload" <<'ITEM'
  docker run -d --name devices --device /dev/null:/dev/zero2 --cap-add MKNOD $IMAGE sleep 1000
  for round in 1 2; do
    docker exec devices sh -c 'exec 3< /dev/zero2; exec 4> /dev/null'
    docker exec devices sh -c "rm -f /tmp/kmsg; mknod /tmp/kmsg c 1 11; ! cat /tmp/kmsg 2>/tmp/err; grep 'not permitted' /tmp/err"
    systemctl daemon-reload
  done
  docker rm -f devices
ITEM
item "docker: ten at once, and nothing is left" <<'ITEM'
  for i in $(seq 10); do docker run --rm $IMAGE echo $i > /tmp/many$i & done
  wait
  for i in $(seq 10); do same "$(cat /tmp/many$i)" $i; done
  same "$(docker ps -aq)" ""
  eventually nothing_left
ITEM
item "docker: another start of dockerd and of systemd leave containers alone" <<'ITEM'
  docker run -d --name stays --restart always $IMAGE sleep 1000
  systemctl daemon-reexec
  systemctl restart docker
  eventually docker exec stays true
  docker rm -f stays
  eventually nothing_left
ITEM
item "docker --log-driver journald" <<'ITEM'
  docker run --rm --log-driver journald --name tojournal $IMAGE echo in-the-journal
  eventually sh -c 'journalctl -o cat CONTAINER_NAME=tojournal | grep -x in-the-journal'
ITEM

item "podman: the driver is systemd's" <<'ITEM'
  same "$(podman info --format '{{.Host.CgroupManager}} {{.Host.OCIRuntime.Name}}')" "systemd $RUNTIME"
ITEM
item "podman: a container is a scope in machine.slice, from run to rm" <<'ITEM'
  id=$(podman run -d --name scope $IMAGE sleep 1000)
  unit=libpod-$id.scope
  same "$(property $unit ActiveState) $(property $unit Slice)" 'active machine.slice'
  in_unit "$(podman inspect -f '{{.State.Pid}}' scope)" $unit
  same "$(podman exec scope echo hello)" hello
  podman pause scope; podman unpause scope
  has "$(podman top scope args)" 'sleep 1000'
  podman stop -t 0 scope
  eventually gone $unit
  podman start scope
  same "$(property $unit ActiveState)" active
  podman rm -f -t 0 scope
  eventually nothing_left
ITEM
item "podman: limits are properties and files; update, stats" <<'ITEM'
  limited || exit 0
  id=$(podman run -d --name limits -m 64m --cpus 0.5 --pids-limit 20 $IMAGE sleep 1000)
  unit=libpod-$id.scope
  same "$(memory_of $unit) $(property $unit TasksMax) $(property $unit CPUQuotaPerSecUSec)" '67108864 20 500ms'
  has "$(podman stats --no-stream --format '{{.Name}} {{.MemUsage}}' limits)" 67.11MB
  podman update --memory 128m --cpus 0.25 limits
  same "$(memory_of $unit) $(property $unit CPUQuotaPerSecUSec)" '134217728 250ms'
  same "$(podman exec limits sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  podman rm -f -t 0 limits
  eventually nothing_left
ITEM
item "podman pod: a slice with its containers" <<'ITEM'
  pod=$(podman pod create --name pod --network host)
  podman run -d --pod pod --name one $IMAGE sleep 1000
  slice=machine-libpod_pod_$pod.slice
  same "$(property "libpod-$(podman inspect -f '{{.Id}}' one).scope" Slice)" $slice
  podman pod stop -t 0 pod
  podman pod rm -f pod
  eventually nothing_left
ITEM
item "podman --health-cmd: systemd's timer runs the check" <<'ITEM'
  podman run -d --name health --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 $IMAGE sleep 1000
  eventually sh -c 'podman inspect -f "{{.State.Health.Status}}" health | grep -x unhealthy'
  podman exec health touch /tmp/well
  eventually sh -c 'podman inspect -f "{{.State.Health.Status}}" health | grep -x healthy'
  podman rm -f -t 0 health
ITEM
item "podman --log-driver journald" <<'ITEM'
  podman run --log-driver journald --name tojournal $IMAGE echo in-the-journal
  eventually sh -c 'podman logs tojournal | grep -x in-the-journal'
  podman rm tojournal
ITEM

# Its init takes no SIGTERM: podman has to end it.
item "podman --sdnotify: services that are ready when podman or the container says so" <<'ITEM'
  for who in conmon container; do
    words=(--network host "$IMAGE" sleep 1000)
    [ $who = conmon ] || words=(--network host --pid host --rootfs /:O sh -c 'systemd-notify --ready && exec sleep 1000')
    systemd-run --collect --unit husk-notify --service-type notify --property NotifyAccess=all --property 'ExecStop=podman stop --time 1 notify-'$who \
      podman run --rm --name notify-$who --sdnotify $who "${words[@]}" || { journalctl --no-pager -o cat -n 20 -u husk-notify; exit 1; }
    same "$(property husk-notify.service ActiveState)" active
    systemctl stop husk-notify
    eventually nothing_left
  done
ITEM

# pod NAME CLASS: a pod of CRI calls in a slice, and a container in it.
pod() {
  local -; { set +x; } 2>/dev/null
  jq -n --arg n "$1" '{metadata: {name: $n, uid: $n, namespace: "default"}, log_directory: "/tmp/logs/\($n)",
    linux: {cgroup_parent: "kubepods-\($n).slice", security_context: {namespace_options: {network: "NODE", pid: "CONTAINER"}}}}' > "/tmp/$1.pod.json"
  jq -n --arg n "$1" '{metadata: {name: $n}, image: {image: env.IMAGE}, command: ["sleep", "100000"], log_path: "\($n).log",
    linux: ({security_context: {namespace_options: {network: "NODE", pid: "CONTAINER"}}}
      + if env.LIMITED == "yes" then {resources: {memory_limit_in_bytes: 67108864, cpu_quota: 50000, cpu_period: 100000}} else {} end)}' > "/tmp/$1.json"
  sandbox=$(cri runp --runtime "$2" "/tmp/$1.pod.json") && container=$(cri create "$sandbox" "/tmp/$1.json" "/tmp/$1.pod.json") && cri start "$container"
}
export -f pod
LIMITED=$(limited && echo yes || echo no); export LIMITED
for class in binary shim; do
  export class
  item "containerd, SystemdCgroup = true, $class: pod, exec, update, stop" <<'ITEM'
    pod $class $class
    unit=cri-containerd-$container.scope
    same "$(property $unit ActiveState) $(property $unit Slice)" "active kubepods-$class.slice"
    in_unit "$(cri inspect $container | jq .info.pid)" $unit
    has "$(group "$(cri inspect $container | jq .info.pid)")" "/kubepods.slice/kubepods-$class.slice/$unit"
    same "$(cri exec -s $container echo hello)" hello
    if [ $LIMITED = yes ]; then
      same "$(memory_of $unit) $(property $unit CPUQuotaPerSecUSec)" '67108864 500ms'
      cri update --memory 134217728 $container
      same "$(memory_of $unit)" 134217728
    fi
    cri stop $container
    eventually gone $unit
    cri rm $container
    cri stopp $sandbox; cri rmp $sandbox
    eventually nothing_left
ITEM
done

item "conmon as CRI-O starts it, -s: a scope in the pod's slice" <<'ITEM'
  mkdir -p /crio/{exits,attach,logs,persist,c1} /crio/rootfs /run/crio
  unpack_image /crio/rootfs
  cd /crio/c1
  $BINARY spec
  jq '.root = {path: "/crio/rootfs", readonly: true} | .process.terminal = false | .process.args = ["sleep", "1000"]
    | .linux.cgroupsPath = "pods-one.slice:crio:c1" | .process.capabilities.ambient = []' config.json > new
  mv new config.json
  mkfifo pipe start
  exec 8<>pipe 9<>start
  echo -n x >&9
  _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 conmon -s -b /crio/c1 -c c1 --exit-dir /crio/exits -l /crio/logs/c1 --log-level info -n k8s_c1 \
    -P /crio/c1/conmon-pidfile -p /crio/c1/pidfile --persist-dir /crio/persist -r "$BINARY" --runtime-arg --root=/run/husk-crio \
    --socket-dir-path /crio/attach -u c1 3>&8 4<&9 8>&- 9>&- </dev/null
  timeout 20 head -n 1 <&8
  runtime() { $BINARY --root=/run/husk-crio "$@"; }
  runtime start c1
  same "$(property crio-c1.scope ActiveState) $(property crio-c1.scope Slice)" 'active pods-one.slice'
  in_unit "$(cat pidfile)" crio-c1.scope
  if limited; then
    echo '{"memory":{"limit":134217728},"pids":{"limit":50}}' | runtime update --resources - c1
    same "$(memory_of crio-c1.scope) $(property crio-c1.scope TasksMax)" '134217728 50'
  fi
  runtime kill c1 KILL
  eventually test -e /crio/exits/c1
  same "$(cat /crio/exits/c1)" 137
  runtime delete --force c1
  eventually gone crio-c1.scope
  eventually nothing_left
ITEM
exit 0
