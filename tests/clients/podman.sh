#!/bin/bash
# podman with the runtime, configured as docs/podman.md has it.
source /clients/items.sh

mkdir -p /etc/containers
snippet podman.md /etc/containers/containers.conf > /etc/containers/containers.conf
if [ "$RUNTIME" = husk ]; then
  # No other runtime is left here: what runs, husk runs.
  rm -f /usr/sbin/runc /usr/bin/crun
else
  sed -i 's/^runtime = .*/runtime = "runc"/' /etc/containers/containers.conf
fi
# Without systemd there is neither its cgroup driver nor its journal.
snippet podman.md cgroup-driver >> /etc/containers/containers.conf
cat >> /etc/containers/containers.conf <<'TOML'
events_logger = "file"
[containers]
log_driver = "k8s-file"
TOML
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
podman load -i /image/box.tar >/results/load.log 2>&1 || { cat /results/load.log; exit 1; }
after_failure() { podman pod rm -fa; podman rm -fa -t 0; }

item "podman info names the runtime" <<'ITEM'
  same "$(podman info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}')" "$RUNTIME $BINARY"
ITEM
item "podman --runtime" <<'ITEM'
  same "$(podman --runtime $BINARY run --rm $IMAGE echo hello)" hello
ITEM
item "podman run: output and exit status" <<'ITEM'
  same "$(podman run --rm $IMAGE echo hello)" hello
  expect 7 podman run --rm $IMAGE sh -c 'exit 7'
  same "$(echo through | podman run --rm -i $IMAGE cat)" through
ITEM
item "podman run: missing and not executable commands" <<'ITEM'
  expect 127 podman run --rm $IMAGE /nosuch
  expect 127 podman run --rm $IMAGE nosuch
  expect 126 podman run --rm $IMAGE /etc/passwd
  expect 126 podman run --rm $IMAGE /etc
ITEM
item "podman run -it" <<'ITEM'
  out=$(on_terminal "podman run --rm -it $IMAGE sh -c 'tty; $SIZE; test -c /dev/console && echo console'")
  has "$out" /dev/pts/0
  has "$out" '33 77'
  has "$out" console
  expect 5 on_terminal "podman run --rm -it $IMAGE sh -c 'exit 5'"
  expect 127 on_terminal "podman run --rm -it $IMAGE nosuch"
ITEM
item "podman exec" <<'ITEM'
  podman run -d --name exec $IMAGE sleep 1000
  same "$(podman exec exec echo hello)" hello
  same "$(echo through | podman exec -i exec cat)" through
  expect 9 podman exec exec sh -c 'exit 9'
  expect 127 podman exec exec nosuch
  expect 126 podman exec exec /etc/passwd
  expect 127 podman exec --workdir /missing exec true
  same "$(podman exec -u nobody -w /etc -e A=b exec sh -c 'id -u; pwd; echo $A')" $'65534\n/etc\nb'
  podman exec --privileged exec true
  podman exec -d exec touch /tmp/made
  eventually podman exec exec test -e /tmp/made
  podman rm -f -t 0 exec
ITEM
item "podman exec -it" <<'ITEM'
  podman run -d --name exect $IMAGE sleep 1000
  has "$(on_terminal "podman exec -it exect sh -c 'tty; $SIZE'")" '33 77'
  expect 127 on_terminal 'podman exec -it --workdir /missing exect true'
  podman rm -f -t 0 exect
ITEM
item "podman logs, top, inspect, cp" <<'ITEM'
  podman run -d --name several $IMAGE sh -c 'echo out; sleep 1000'
  eventually sh -c 'podman logs several | grep -x out'
  has "$(podman top several)" 'sleep 1000'
  echo content > /tmp/cp; podman cp /tmp/cp several:/tmp/f
  same "$(podman exec several cat /tmp/f)" content
  same "$(podman inspect -f '{{.OCIRuntime}}' several)" $RUNTIME
  podman rm -f -t 0 several
ITEM
item "podman stats" <<'ITEM'
  podman run -d --name stats -m 64m $IMAGE sleep 1000
  has "$(podman stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' stats)" '/ 67.11MB 1'
  podman rm -f -t 0 stats
ITEM
item "podman pause, unpause" <<'ITEM'
  podman run -d --name pause $IMAGE sleep 1000
  podman pause pause
  same "$(podman inspect -f '{{.State.Status}}' pause)" paused
  podman unpause pause
  podman exec pause true
  podman rm -f -t 0 pause
ITEM
item "podman stop, kill, wait, restart" <<'ITEM'
  podman run -d --name stop $IMAGE sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  eventually podman exec stop true
  podman stop stop
  same "$(podman inspect -f '{{.State.ExitCode}}' stop)" 3
  podman restart stop
  podman kill stop
  same "$(podman wait stop)" 137
  podman rm stop
ITEM
item "podman stop --time 1 of a process that ignores TERM" <<'ITEM'
  podman run -d --name stop1 $IMAGE sleep 1000
  podman stop -t 1 stop1
  same "$(podman inspect -f '{{.State.ExitCode}}' stop1)" 137
  podman rm stop1
ITEM
item "podman rm of a running container" <<'ITEM'
  podman run -d --name rm $IMAGE sleep 1000
  expect 2 podman rm rm
  podman rm -f -t 0 rm
ITEM
item "podman run --restart" <<'ITEM'
  podman run -d --name policy --restart on-failure:2 $IMAGE sh -c 'echo x; exit 1'
  eventually sh -c 'test "$(podman logs policy | wc -l)" = 3'
  podman rm -f policy
ITEM
item "podman create, start, attach, init" <<'ITEM'
  podman create --name created $IMAGE echo started
  same "$(podman start -a created)" started
  podman rm created
  podman create --name inited $IMAGE sleep 1000
  podman init inited
  same "$(podman inspect -f '{{.State.Status}}' inited)" initialized
  podman start inited
  podman rm -f -t 0 inited
ITEM
item "podman update" <<'ITEM'
  podman run -d --name update -m 64m $IMAGE sleep 1000
  podman update -m 128m update
  same "$(podman exec update sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  podman rm -f -t 0 update
ITEM
item "podman run --memory, --cpus, --pids-limit" <<'ITEM'
  same "$(podman run --rm --memory 64m $IMAGE sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 67108864
  same "$(podman run --rm --cpus 0.5 $IMAGE sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max')" 50000
  same "$(podman run --rm --pids-limit 20 $IMAGE sh -c "$(limit pids/pids.max pids.max)")" 20
ITEM
item "podman, pids_limit = 0: no limit" <<'ITEM'
  sed 's/^\[containers\]/&\npids_limit = 0/' /etc/containers/containers.conf > /tmp/no-limit.conf
  same "$(CONTAINERS_CONF=/tmp/no-limit.conf podman run --rm $IMAGE sh -c "$(limit pids/pids.max pids.max)")" max
ITEM
item "podman run -m: killed for want of memory" <<'ITEM'
  podman run --name oom -m 16m --memory-swap 16m $IMAGE sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' && exit 1
  podman rm oom
ITEM
item "podman run --cap-add, --cap-drop, --security-opt" <<'ITEM'
  same "$(podman run --rm --cap-drop ALL $IMAGE sh -c 'grep CapEff /proc/self/status | cut -f2')" 0000000000000000
  same "$(podman run --rm $IMAGE sh -c 'grep Seccomp: /proc/self/status | cut -f2')" 2
  same "$(podman run --rm --security-opt seccomp=unconfined --security-opt no-new-privileges $IMAGE sh -c 'grep -E "Seccomp:|NoNewPrivs" /proc/self/status | cut -f2' | tr '\n' ' ')" '1 0 '
  expect 1 podman run --rm $IMAGE sh -c 'echo 1 > /proc/sysrq-trigger'
ITEM
item "podman run --privileged" <<'ITEM'
  podman run --rm --privileged $IMAGE sh -c 'mount -t tmpfs none /mnt'
ITEM
item "podman run --ulimit" <<'ITEM'
  same "$(podman run --rm --ulimit nofile=100:200 $IMAGE sh -c 'ulimit -n; ulimit -Hn')" $'100\n200'
ITEM
item "podman run --sysctl, --device, --init, --read-only, --tmpfs" <<'ITEM'
  same "$(podman run --rm --sysctl net.ipv4.ip_forward=1 $IMAGE cat /proc/sys/net/ipv4/ip_forward)" 1
  podman run --rm --device /dev/fuse $IMAGE test -c /dev/fuse
  podman run --rm --init $IMAGE grep -q catatonit /proc/1/cmdline
  podman run --rm --read-only --tmpfs /scratch $IMAGE touch /scratch/x
  expect 1 podman run --rm --read-only $IMAGE touch /x
ITEM
item "podman volumes: bind, named, read-only, propagation" <<'ITEM'
  mkdir -p /tmp/vol; echo x > /tmp/vol/f
  same "$(podman run --rm -v /tmp/vol:/new $IMAGE cat /new/f)" x
  expect 1 podman run --rm -v /tmp/vol:/mnt:ro $IMAGE touch /mnt/g
  podman run --rm -v named:/data $IMAGE sh -c 'echo kept > /data/f'
  same "$(podman run --rm -v named:/data $IMAGE cat /data/f)" kept
  podman volume rm named
  podman run --rm -v /tmp/vol:/mnt:rslave $IMAGE grep ' /mnt ' /proc/self/mountinfo
ITEM
item "podman run --network none, host, container:" <<'ITEM'
  same "$(podman run --rm --network none $IMAGE ls /sys/class/net | tr '\n' ' ')" 'lo '
  podman run --rm --network host $IMAGE true
  podman run -d --name net --network none $IMAGE sleep 1000
  same "$(podman run --rm --network container:net $IMAGE readlink /proc/self/ns/net)" "$(podman exec net readlink /proc/self/ns/net)"
  podman rm -f -t 0 net
ITEM
item "podman run --network bridge" <<'ITEM'
  podman run -d --name server $IMAGE sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
  address=$(podman inspect -f '{{.NetworkSettings.IPAddress}}' server)
  test -n "$address"
  eventually podman run --rm $IMAGE wget -qO- "http://$address/index.html"
  podman rm -f -t 0 server
ITEM
item "podman run --userns auto, --uidmap, keep of ids" <<'ITEM'
  same "$(podman run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 $IMAGE cat /proc/self/uid_map | tr -s ' ')" ' 0 100000 65536'
  echo containers:200000:1000000 | tee -a /etc/subuid >> /etc/subgid
  podman run --rm --userns auto $IMAGE sh -c 'id -u; touch /x'
  same "$(podman run --rm --userns host $IMAGE cat /proc/self/uid_map | tr -s ' ')" ' 0 0 4294967295'
ITEM
item "podman pod" <<'ITEM'
  podman pod create --name pod
  podman run -d --pod pod --name in-pod $IMAGE sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
  eventually podman run --rm --pod pod $IMAGE wget -qO- http://127.0.0.1/index.html
  has "$(podman pod ps)" Running
  podman pod stop -t 0 pod
  podman pod rm -f pod
ITEM
item "podman kube play" <<'ITEM'
  cat > /tmp/pod.yaml <<YAML
apiVersion: v1
kind: Pod
metadata: { name: played }
spec:
  containers:
    - name: one
      image: $IMAGE
      imagePullPolicy: Never
      command: ["sleep", "1000"]
      resources: { limits: { memory: 64Mi, cpu: 500m } }
      securityContext: { runAsUser: 65534, readOnlyRootFilesystem: true }
    - name: two
      image: $IMAGE
      imagePullPolicy: Never
      command: ["sleep", "1000"]
YAML
  podman kube play /tmp/pod.yaml
  same "$(podman exec played-one id -u)" 65534
  has "$(podman ps --format '{{.Names}}')" played-two
  podman kube down /tmp/pod.yaml
ITEM
item "podman healthcheck" <<'ITEM'
  # The timer is systemd's; the check is podman's.
  podman run -d --name health --health-cmd 'test -e /tmp/well' --health-interval disable $IMAGE sleep 1000
  expect 1 podman healthcheck run health
  podman exec health touch /tmp/well
  podman healthcheck run health
  podman rm -f -t 0 health
ITEM
item "podman build" <<'ITEM'
  mkdir -p /tmp/build
  printf 'FROM %s\nRUN echo built > /made && id -u > /uid\nUSER nobody\nRUN test "$(id -u)" = 65534\nCMD cat /made\n' $IMAGE > /tmp/build/Dockerfile
  # Podman 5 raises limits that need CAP_SYS_RESOURCE.
  case $(podman --version) in *' 5.'*) low='--ulimit nofile=1024:1024 --ulimit nproc=1024:1024' ;; *) low= ;; esac
  podman build $low -t built /tmp/build
  same "$(podman run --rm built)" built
  strace -f -qq -e trace=execve -o /tmp/trace podman build $low --no-cache -t built /tmp/build
  grep -F "execve(\"$BINARY\"" /tmp/trace
ITEM
if command -v criu > /dev/null; then
item "podman container checkpoint and restore: it counts on" <<'ITEM'
  podman run -d --name saved $IMAGE sh -c "$COUNTER"
  eventually podman exec saved grep .. /count
  podman container checkpoint saved
  same "$(podman inspect -f '{{.State.Status}} {{.State.Checkpointed}}' saved)" 'exited true'
  podman cp saved:/count /tmp/count
  podman container restore saved
  eventually sh -c '[ "$(podman exec saved cat /count)" -gt "$(cat /tmp/count)" ]'
  podman container checkpoint --leave-running --keep saved
  before=$(podman exec saved cat /count)
  eventually sh -c "[ \"\$(podman exec saved cat /count)\" -gt $before ]"
  podman rm -f -t 0 saved
ITEM
item "podman container checkpoint --export, and restore --import under another name" <<'ITEM'
  podman run -d --name from $IMAGE sh -c "$COUNTER"
  eventually podman exec from grep .. /count
  podman container checkpoint --export /tmp/from.tar.gz --compress gzip from
  podman cp from:/count /tmp/count
  podman rm -f -t 0 from
  podman container restore --import /tmp/from.tar.gz --name to
  eventually sh -c '[ "$(podman exec to cat /count)" -gt "$(cat /tmp/count)" ]'
  podman rm -f -t 0 to
ITEM
item "podman container checkpoint --pre-checkpoint, and --with-previous" <<'ITEM'
  podman run -d --name ahead $IMAGE sh -c "$COUNTER"
  eventually podman exec ahead grep .. /count
  podman container checkpoint --pre-checkpoint --export /tmp/ahead-1.tar.gz --compress gzip ahead
  podman exec ahead true
  podman container checkpoint --with-previous --export /tmp/ahead-2.tar.gz --compress gzip ahead
  podman rm -f -t 0 ahead
  podman container restore --import-previous /tmp/ahead-1.tar.gz --import /tmp/ahead-2.tar.gz
  podman exec ahead true
  podman rm -f -t 0 ahead
ITEM
fi
item "ten at once, and nothing is left" <<'ITEM'
  for i in $(seq 10); do podman run --rm $IMAGE echo $i > /tmp/many$i & done
  wait
  for i in $(seq 10); do same "$(cat /tmp/many$i)" $i; done
  same "$(podman ps -aq)" ""
  test -z "$(ls /run/$RUNTIME 2>/dev/null)"
ITEM
exit 0
