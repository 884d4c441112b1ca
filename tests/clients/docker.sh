#!/bin/bash
# dockerd with the runtime as default runtime, configured as docs/docker.md has it.
source /clients/items.sh

mkdir -p /etc/docker
configure() { # configure [JQ-PROGRAM]
  snippet docker.md /etc/docker/daemon.json | jq ". ${1:+| $1}" > /etc/docker/daemon.json
  [ "$RUNTIME" = husk ] || jq '.["default-runtime"] = "runc"' /etc/docker/daemon.json > /tmp/d && [ -s /tmp/d ] && mv /tmp/d /etc/docker/daemon.json
}
# For checkpoints.
configure '.experimental = true'
if [ "$RUNTIME" = husk ]; then
  # No other runtime is left here: what runs, husk runs. BuildKit takes the name runc from PATH.
  rm -f /usr/sbin/runc /usr/bin/runc
  eval "$(snippet docker.md buildkit)"
fi
background containerd containerd
ready ctr version
background dockerd dockerd --containerd /run/containerd/containerd.sock
ready docker version
docker load -i /image/box.tar >/results/load.log 2>&1 || { cat /results/load.log; exit 1; }

after_failure() { docker ps -aq | xargs -r docker rm -f; }
item "docker info names the runtime" <<'ITEM'
  same "$(docker info --format '{{.DefaultRuntime}}')" $RUNTIME
ITEM
item "docker run: output and exit status" <<'ITEM'
  same "$(docker run --rm $IMAGE echo hello)" hello
  expect 7 docker run --rm $IMAGE sh -c 'exit 7'
  expect 255 docker run --rm $IMAGE sh -c 'exit 255'
ITEM
item "docker run: missing and not executable commands" <<'ITEM'
  expect 127 docker run --rm $IMAGE /nosuch
  expect 127 docker run --rm $IMAGE nosuch
  expect 126 docker run --rm $IMAGE /etc/passwd
  expect 125 docker run --rm --network nosuch $IMAGE true
ITEM
item "docker run -i: standard input" <<'ITEM'
  same "$(echo through | docker run --rm -i $IMAGE cat)" through
ITEM
item "docker run -it" <<'ITEM'
  out=$(on_terminal "docker run --rm -it $IMAGE sh -c 'tty; $SIZE; test -c /dev/console && echo console'")
  has "$out" /dev/pts/0
  has "$out" '33 77'
  has "$out" console
  expect 5 on_terminal "docker run --rm -it $IMAGE sh -c 'exit 5'"
ITEM
item "docker run -it: the window changes" <<'ITEM'
  docker run -dit --name resize $IMAGE sh -c 'trap "stty size" WINCH; while :; do sleep 0.1; done'
  eventually docker exec resize true
  on_terminal "docker attach resize" &
  eventually sh -c 'docker logs resize | grep "33 77"'
  docker rm -f resize
  wait || true
ITEM
item "docker exec" <<'ITEM'
  docker run -d --name exec $IMAGE sleep 1000
  same "$(docker exec exec echo hello)" hello
  same "$(echo through | docker exec -i exec cat)" through
  expect 9 docker exec exec sh -c 'exit 9'
  expect 126 docker exec exec /etc/passwd
  docker exec exec nosuch && exit 1 || test $? = 126 -o $? = 127
  docker exec exec true
  same "$(docker exec -u nobody -w /etc -e A=b exec sh -c 'id -u; pwd; echo $A')" $'65534\n/etc\nb'
  docker rm -f exec
ITEM
item "docker exec --privileged" <<'ITEM'
  docker run -d --name execp $IMAGE sleep 1000
  # The filter stays the container's; the capabilities are all there are.
  bits=$(docker exec --privileged execp sh -c 'grep CapEff /proc/self/status | cut -f2')
  same $(( 0x$bits >> 21 & 1 )) 1
  docker rm -f execp
ITEM
item "docker exec -it" <<'ITEM'
  docker run -d --name exect $IMAGE sleep 1000
  has "$(on_terminal "docker exec -it exect sh -c 'tty; $SIZE'")" '33 77'
  docker rm -f exect
ITEM
item "docker exec -d" <<'ITEM'
  docker run -d --name execd $IMAGE sleep 1000
  docker exec -d execd touch /tmp/made
  eventually docker exec execd test -e /tmp/made
  docker rm -f execd
ITEM
item "docker logs" <<'ITEM'
  docker run --name logs $IMAGE sh -c 'echo out; echo err >&2' > /dev/null 2>&1
  same "$(docker logs logs 2>/dev/null)" out
  same "$(docker logs logs 2>&1 >/dev/null)" err
  docker rm logs
ITEM
item "docker pause, unpause" <<'ITEM'
  docker run -d --name pause $IMAGE sleep 1000
  docker pause pause
  same "$(docker inspect -f '{{.State.Status}}' pause)" paused
  expect 1 docker exec pause true
  docker unpause pause
  docker exec pause true
  docker rm -f pause
ITEM
item "docker stop: TERM, then KILL" <<'ITEM'
  docker run -d --name stop $IMAGE sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  eventually docker exec stop true
  docker stop stop
  same "$(docker inspect -f '{{.State.ExitCode}}' stop)" 3
  docker rm stop
  docker run -d --name stop2 $IMAGE sleep 1000
  docker stop -t 1 stop2
  same "$(docker inspect -f '{{.State.ExitCode}}' stop2)" 137
  docker rm stop2
ITEM
item "docker kill: signals" <<'ITEM'
  docker run -d --name kill $IMAGE sh -c 'trap "exit 4" USR1; while :; do sleep 0.1; done'
  eventually docker exec kill true
  docker kill -s USR1 kill
  same "$(docker wait kill)" 4
  docker rm kill
ITEM
item "docker start again, restart" <<'ITEM'
  docker run --name again $IMAGE sh -c 'echo x >> /n; wc -l < /n'
  same "$(docker start -a again)" 2
  docker rm again
  docker run -d --name re $IMAGE sleep 1000
  docker restart -t 0 re
  docker exec re true
  docker rm -f re
ITEM
item "docker run --restart" <<'ITEM'
  docker run -d --name policy --restart on-failure:2 $IMAGE sh -c 'exit 1'
  eventually sh -c 'test "$(docker inspect -f "{{.RestartCount}} {{.State.Status}}" policy)" = "2 exited"'
  docker rm policy
  docker run -d --name always --restart always $IMAGE sleep 1000
  kill -9 "$(docker inspect -f '{{.State.Pid}}' always)"
  eventually sh -c 'test "$(docker inspect -f "{{.RestartCount}} {{.State.Running}}" always)" = "1 true"'
  docker rm -f always
ITEM
item "docker cp" <<'ITEM'
  docker run -d --name cp $IMAGE sleep 1000
  echo content > /tmp/cp-in
  docker cp /tmp/cp-in cp:/tmp/f
  same "$(docker exec cp cat /tmp/f)" content
  docker cp cp:/tmp/f /tmp/cp-out
  same "$(cat /tmp/cp-out)" content
  docker rm -f cp
ITEM
item "docker top" <<'ITEM'
  docker run -d --name top $IMAGE sleep 1000
  has "$(docker top top)" 'sleep 1000'
  has "$(docker top top -o pid,comm)" sleep
  docker rm -f top
ITEM
item "docker stats" <<'ITEM'
  docker run -d --name stats -m 64m $IMAGE sleep 1000
  has "$(docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' stats)" '/ 64MiB 1'
  docker rm -f stats
ITEM
item "docker update" <<'ITEM'
  docker run -d --name update -m 64m $IMAGE sleep 1000
  docker update -m 128m --memory-swap 256m --cpu-shares 512 --pids-limit 50 --cpus 0.5 update
  same "$(docker exec update sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  same "$(docker exec update sh -c "$(limit pids/pids.max pids.max)")" 50
  docker exec update true
  docker update --restart on-failure update
  docker rm -f update
ITEM
item "docker run -m, --memory-reservation, --memory-swap" <<'ITEM'
  same "$(docker run --rm -m 64m $IMAGE sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 67108864
  same "$(docker run --rm -m 64m --memory-reservation 32m $IMAGE sh -c "$(limit memory/memory.soft_limit_in_bytes memory.low)")" 33554432
  docker run --rm -m 64m --memory-swap 64m $IMAGE true
  docker run --rm -m 64m --memory-swap -1 $IMAGE true
ITEM
item "docker run -m: killed for want of memory" <<'ITEM'
  docker run --name oom -m 16m --memory-swap 16m $IMAGE sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' && exit 1
  eventually sh -c 'test "$(docker inspect -f "{{.State.OOMKilled}}" oom)" = true'
  docker rm oom
ITEM
item "docker run --cpus, --cpu-shares, --cpuset-cpus" <<'ITEM'
  same "$(docker run --rm --cpus 0.5 $IMAGE sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d" " -f1 /sys/fs/cgroup/cpu.max')" 50000
  docker run --rm --cpu-shares 512 $IMAGE true
  same "$(docker run --rm --cpuset-cpus 0 $IMAGE sh -c 'grep Cpus_allowed_list /proc/self/status | cut -f2')" 0
ITEM
item "docker run --pids-limit" <<'ITEM'
  same "$(docker run --rm --pids-limit 20 $IMAGE sh -c "$(limit pids/pids.max pids.max)")" 20
ITEM
item "docker run --oom-score-adj" <<'ITEM'
  same "$(docker run --rm --oom-score-adj 500 $IMAGE cat /proc/self/oom_score_adj)" 500
ITEM
item "docker run --oom-kill-disable" <<'ITEM'
  if [ -d /sys/fs/cgroup/memory ]; then
    has "$(docker run --rm -m 64m --oom-kill-disable $IMAGE cat /sys/fs/cgroup/memory/memory.oom_control)" 'oom_kill_disable 1'
  else
    docker run --rm -m 64m --oom-kill-disable $IMAGE true
  fi
ITEM
item "docker run --ulimit" <<'ITEM'
  same "$(docker run --rm --ulimit nofile=100:200 $IMAGE sh -c 'ulimit -n; ulimit -Hn')" $'100\n200'
ITEM
item "docker run --sysctl" <<'ITEM'
  same "$(docker run --rm --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096 $IMAGE sh -c 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax')" $'1\n4096'
ITEM
item "docker run --cap-add, --cap-drop" <<'ITEM'
  same "$(docker run --rm --cap-drop ALL $IMAGE sh -c 'grep CapEff /proc/self/status | cut -f2')" 0000000000000000
  same "$(docker run --rm --cap-drop ALL --cap-add NET_ADMIN $IMAGE sh -c 'grep CapEff /proc/self/status | cut -f2')" 0000000000001000
  docker run --rm --cap-add SYS_ADMIN $IMAGE mount -t tmpfs none /mnt
ITEM
item "docker run --security-opt seccomp=, no-new-privileges" <<'ITEM'
  same "$(docker run --rm $IMAGE sh -c 'grep Seccomp: /proc/self/status | cut -f2')" 2
  same "$(docker run --rm --security-opt seccomp=unconfined $IMAGE sh -c 'grep Seccomp: /proc/self/status | cut -f2')" 0
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}' > /tmp/profile.json
  has "$(docker run --rm --security-opt seccomp=/tmp/profile.json $IMAGE mkdir /tmp/x 2>&1 || true)" 'Function not implemented'
  same "$(docker run --rm --security-opt no-new-privileges $IMAGE sh -c 'grep NoNewPrivs /proc/self/status | cut -f2')" 1
ITEM
item "docker run --user, --group-add, --workdir, --env, --hostname" <<'ITEM'
  same "$(docker run --rm -u 1000:2000 --group-add 3000 $IMAGE sh -c 'id -u; id -g; id -G')" $'1000\n2000\n2000 3000'
  same "$(docker run --rm -w /new/dir -e A=b -h name $IMAGE sh -c 'pwd; echo $A; hostname')" $'/new/dir\nb\nname'
ITEM
item "docker run --read-only, --tmpfs, --shm-size" <<'ITEM'
  expect 1 docker run --rm --read-only $IMAGE touch /x
  docker run --rm --read-only --tmpfs /scratch:size=1m $IMAGE sh -c 'touch /scratch/x; grep " /scratch tmpfs rw.*size=1024k" /proc/mounts'
  docker run --rm --shm-size 2m $IMAGE grep ' /dev/shm .*size=2048k' /proc/mounts
ITEM
item "volumes: bind, named, read-only" <<'ITEM'
  mkdir -p /tmp/vol; echo x > /tmp/vol/f
  same "$(docker run --rm -v /tmp/vol:/mnt/new $IMAGE cat /mnt/new/f)" x
  expect 1 docker run --rm -v /tmp/vol:/mnt:ro $IMAGE touch /mnt/g
  docker volume create named
  docker run --rm -v named:/data $IMAGE sh -c 'echo kept > /data/f'
  same "$(docker run --rm -v named:/data $IMAGE cat /data/f)" kept
  docker run --rm -v /tmp/vol/f:/etc/one $IMAGE cat /etc/one
  docker run --rm --mount type=bind,src=/tmp/vol,dst=/mnt,readonly $IMAGE cat /mnt/f
  docker volume rm named
ITEM
item "volumes: propagation" <<'ITEM'
  mkdir -p /tmp/prop
  mount --bind /tmp/prop /tmp/prop
  mount --make-rshared /tmp/prop
  docker run -d --name prop -v /tmp/prop:/mnt:rshared $IMAGE sleep 1000
  mkdir /tmp/prop/in
  mount -t tmpfs none /tmp/prop/in
  docker exec prop grep ' /mnt/in tmpfs' /proc/mounts
  docker rm -f prop
  docker run --rm --privileged -v /tmp/prop:/mnt:rslave $IMAGE grep 'master:' /proc/self/mountinfo || docker run --rm -v /tmp/prop:/mnt:rslave $IMAGE grep 'master:' /proc/self/mountinfo
  umount /tmp/prop/in
ITEM
item "docker run --device" <<'ITEM'
  docker run --rm --device /dev/fuse $IMAGE sh -c 'test -c /dev/fuse && dd if=/dev/fuse of=/dev/null count=0'
  docker run --rm --device /dev/zero:/dev/other:r $IMAGE dd if=/dev/other of=/dev/null bs=1 count=1
  expect 1 docker run --rm $IMAGE sh -c 'mknod /tmp/fuse c 10 229; dd if=/tmp/fuse of=/dev/null count=0'
ITEM
item "docker run --privileged" <<'ITEM'
  docker run --rm --privileged $IMAGE sh -c 'mount -t tmpfs none /mnt && test -c /dev/fuse'
ITEM
item "docker run --init" <<'ITEM'
  has "$(docker run --rm --init $IMAGE cat /proc/1/cmdline | tr '\0' ' ')" init
ITEM
item "docker run --pid host, --ipc, --uts host" <<'ITEM'
  docker run --rm --pid host $IMAGE sh -c 'grep -q dockerd /proc/*/comm'
  docker run --rm --uts host --ipc host $IMAGE true
  docker run -d --name ns $IMAGE sleep 1000
  has "$(docker run --rm --pid container:ns $IMAGE ps)" 'sleep 1000'
  docker rm -f ns
ITEM
item "docker run --network none, host, container:" <<'ITEM'
  same "$(docker run --rm --network none $IMAGE ls /sys/class/net | tr '\n' ' ' | grep -c eth0 || true)" 0
  docker run --rm --network host $IMAGE ls /sys/class/net/docker0
  docker run -d --name net $IMAGE sleep 1000
  same "$(docker run --rm --network container:net $IMAGE cat /sys/class/net/eth0/address)" "$(docker exec net cat /sys/class/net/eth0/address)"
  docker rm -f net
ITEM
item "docker run --network bridge" <<'ITEM'
  docker run -d --name server $IMAGE sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
  address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' server)
  eventually docker run --rm $IMAGE wget -qO- "http://$address/index.html"
  docker network create two
  docker run -d --name named-server --network two $IMAGE sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
  eventually docker run --rm --network two $IMAGE wget -qO- http://named-server/index.html
  docker rm -f server named-server
  docker network rm two
ITEM
item "docker run -p" <<'ITEM'
  docker run -d --name published -p 127.0.0.1:8080:80 $IMAGE sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
  eventually busybox wget -qO- http://127.0.0.1:8080/index.html
  docker rm -f published
ITEM
item "health checks" <<'ITEM'
  docker run -d --name health --health-cmd 'test -e /tmp/well' --health-interval 200ms --health-retries 2 $IMAGE sleep 1000
  eventually sh -c 'test "$(docker inspect -f "{{.State.Health.Status}}" health)" = unhealthy'
  docker exec health touch /tmp/well
  eventually sh -c 'test "$(docker inspect -f "{{.State.Health.Status}}" health)" = healthy'
  docker rm -f health
ITEM
# traced COMMAND: runs COMMAND with every execve of both daemons traced; prints the trace's lines about the runtime.
traced() {
  strace -f -qq -e trace=execve -o /tmp/trace $(pgrep -x 'dockerd|containerd' | sed 's/^/-p /') & tracer=$!
  eventually grep -q 'TracerPid:[^0]*[1-9]' /proc/$(pgrep -x dockerd)/status
  "$@"
  kill -INT $tracer; wait $tracer || true
  grep -E "execve\(\"[^\"]*/(husk|runc)\"" /tmp/trace | grep -v ENOENT | tee /tmp/runtimes
}
used_runtimes() { grep -oE '"[^"]*/(husk|runc)"' /tmp/runtimes | tr -d '"' | xargs -n1 realpath | sort -u; }
export -f traced used_runtimes
item "docker build, classic builder" <<'ITEM'
  mkdir -p /tmp/build1
  printf 'FROM %s\nRUN echo built > /made && id -u > /uid\nUSER nobody\nRUN test "$(id -u)" = 65534\nCMD cat /made\n' $IMAGE > /tmp/build1/Dockerfile
  DOCKER_BUILDKIT=0 traced docker build -t built1 /tmp/build1
  same "$(docker run --rm built1)" built
  test "$(wc -l < /tmp/runtimes)" -ge 2
  same "$(used_runtimes)" $BINARY
ITEM
item "docker build, BuildKit" <<'ITEM'
  mkdir -p /tmp/build2
  printf 'FROM %s\nRUN echo built > /made && id -u > /uid\nRUN --mount=type=tmpfs,target=/mnt touch /mnt/x\nUSER nobody\nRUN test "$(id -u)" = 65534\nCMD cat /made\n' $IMAGE > /tmp/build2/Dockerfile
  DOCKER_BUILDKIT=1 traced docker build -t built2 /tmp/build2
  same "$(docker run --rm built2)" built
  test "$(wc -l < /tmp/runtimes)" -ge 3
  same "$(used_runtimes)" $BINARY
ITEM
item "docker-compose with two services" <<'ITEM'
  mkdir -p /tmp/compose
  cat > /tmp/compose/docker-compose.yml <<YAML
version: "3"
services:
  web:
    image: $IMAGE
    command: ["sh", "-c", "mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www"]
  client:
    image: $IMAGE
    depends_on: [web]
    command: ["sh", "-c", "until wget -qO- http://web/index.html; do sleep 0.2; done; sleep 1000"]
YAML
  cd /tmp/compose
  compose=$(command -v docker-compose || echo docker compose)
  $compose up -d
  eventually sh -c "$compose logs client | grep page"
  $compose exec -T web true
  $compose down -t 0
ITEM
item "ten at once, and nothing is left" <<'ITEM'
  for i in $(seq 10); do docker run --rm $IMAGE echo $i > /tmp/many$i & done
  wait
  for i in $(seq 10); do same "$(cat /tmp/many$i)" $i; done
  same "$(docker ps -aq)" ""
  eventually sh -c 'test -z "$(ls /run/docker/runtime-*/moby 2>/dev/null)"'
ITEM
if command -v criu > /dev/null; then
item "docker checkpoint create, and docker start --checkpoint: it counts on" <<'ITEM'
  docker run -d --name saved $IMAGE sh -c "$COUNTER"
  eventually docker exec saved grep .. /count
  docker checkpoint create saved one
  has "$(docker checkpoint ls saved)" one
  eventually sh -c '[ "$(docker inspect -f "{{.State.Running}}" saved)" = false ]'
  docker cp saved:/count /tmp/count
  # Docker fails until containerd has forgotten the content of before.
  eventually docker start --checkpoint one saved
  eventually sh -c '[ "$(docker exec saved cat /count)" -gt "$(cat /tmp/count)" ]'
  docker rm -f saved
ITEM
item "docker checkpoint create --leave-running" <<'ITEM'
  docker run -d --name stays $IMAGE sh -c "$COUNTER"
  eventually docker exec stays grep .. /count
  docker checkpoint create --leave-running --checkpoint-dir /tmp/checkpoints stays two
  test -s /tmp/checkpoints/*two/inventory.img
  same "$(docker inspect -f '{{.State.Running}}' stays)" true
  before=$(docker exec stays cat /count)
  eventually sh -c "[ \"\$(docker exec stays cat /count)\" -gt $before ]"
  docker rm -f stays
ITEM
fi

# User namespaces are an option of the daemon.
docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1
kill "$started"; wait "$started"
configure '.["userns-remap"] = "default"'
echo dockremap:100000:65536 | tee -a /etc/subuid >> /etc/subgid
background dockerd-userns dockerd --containerd /run/containerd/containerd.sock
ready docker version
docker load -i /image/box.tar >/results/load.log 2>&1
item "userns-remap" <<'ITEM'
  same "$(docker run --rm $IMAGE cat /proc/self/uid_map | tr -s ' ')" ' 0 100000 65536'
  docker run -d --name mapped -v /tmp/mapped:/mnt $IMAGE sleep 1000
  docker exec mapped touch /root/x
  same "$(docker exec mapped id -u)" 0
  docker rm -f mapped
ITEM
item "docker run --userns host" <<'ITEM'
  same "$(docker run --rm --userns host $IMAGE cat /proc/self/uid_map | tr -s ' ')" ' 0 0 4294967295'
ITEM
exit 0
