# ctr-life.sh: sourced by the scripts that drive a shim with ctr. What a container goes through from run to delete.
#
# $run is the command that starts one, STATE where its runtime keeps state of the namespace "default".

after_failure() {
  ctr task ls -q | xargs -r -n1 ctr task kill -s KILL
  sleep 1
  ctr task ls -q | xargs -r -n1 ctr task rm -f
  ctr container ls -q | xargs -r ctr container rm
}
item "ctr run: output and exit status" <<'ITEM'
  same "$($run --rm $IMAGE t1 echo hello)" hello
  expect 7 $run --rm $IMAGE t1 sh -c 'exit 7'
ITEM
item "ctr run: it is the runtime that was asked for" <<'ITEM'
  $run -d $IMAGE t2 sleep 1000
  test -d "$STATE/t2"
  $BINARY --root "$STATE" state t2
  ctr task kill -s KILL t2
  eventually sh -c 'ctr task ls | grep t2 | grep STOPPED'
  ctr task rm t2
  test ! -e "$STATE/t2"
  ctr container rm t2
ITEM
item "ctr run: a missing command" <<'ITEM'
  expect 1 $run --rm $IMAGE t3 /nosuch > /tmp/out 2>&1
  has "$(cat /tmp/out)" 'no such file or directory'
  expect 1 $run --rm $IMAGE t3 nosuch > /tmp/out 2>&1
  has "$(cat /tmp/out)" 'executable file not found in $PATH'
ITEM
item "ctr run: on a terminal" <<'ITEM'
  has "$(on_terminal "$run --rm -t $IMAGE t4 sh -c 'tty; $SIZE'")" '33 77'
ITEM
item "ctr run: working directory, environment, read-only root" <<'ITEM'
  same "$($run --rm --cwd /etc --env A=b $IMAGE t5 sh -c 'pwd; echo $A')" $'/etc\nb'
  expect 1 $run --rm --read-only $IMAGE t5 touch /x
ITEM
item "ctr run: limits" <<'ITEM'
  $run -d --memory-limit 67108864 --cpu-quota 50000 --cpu-period 100000 $IMAGE t6 sleep 1000
  cd /sys/fs/cgroup
  same "$(cat memory/default/t6/memory.limit_in_bytes 2>/dev/null || cat default/t6/memory.max)" 67108864
  same "$(cat cpu/default/t6/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 default/t6/cpu.max)" 50000
  ctr task rm -f t6 || true
  ctr container rm t6
ITEM
item "ctr run: mounts, devices" <<'ITEM'
  mkdir -p /tmp/m; echo x > /tmp/m/f
  same "$($run --rm --mount type=bind,src=/tmp/m,dst=/mnt,options=rbind:ro $IMAGE t7 cat /mnt/f)" x
  $run --rm --device /dev/fuse $IMAGE t7 test -c /dev/fuse
ITEM
item "ctr run --privileged" <<'ITEM'
  $run --rm --privileged $IMAGE t8 true
ITEM
item "ctr run: user namespace" <<'ITEM'
  same "$($run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 $IMAGE t9 sh -c 'cat /proc/self/uid_map' | tr -s ' ')" ' 0 100000 65536'
ITEM
item "ctr task exec" <<'ITEM'
  $run -d $IMAGE e1 sleep 1000
  same "$(ctr task exec --exec-id x1 e1 echo hello)" hello
  expect 9 ctr task exec --exec-id x2 e1 sh -c 'exit 9'
  same "$(ctr task exec --exec-id x3 --user 65534 --cwd /etc e1 sh -c 'id -u; pwd')" $'65534\n/etc'
  expect 1 ctr task exec --exec-id x4 e1 nosuch > /tmp/out 2>&1
  has "$(cat /tmp/out)" 'executable file not found'
  ctr task kill -s KILL e1; eventually sh -c 'ctr task ls | grep e1 | grep STOPPED'; ctr task rm e1; ctr container rm e1
ITEM
item "ctr task exec: on a terminal" <<'ITEM'
  $run -d $IMAGE e2 sleep 1000
  has "$(on_terminal "ctr task exec -t --exec-id x1 e2 sh -c '$SIZE'")" '33 77'
  ctr task kill -s KILL e2; eventually sh -c 'ctr task ls | grep e2 | grep STOPPED'; ctr task rm e2; ctr container rm e2
ITEM
item "ctr task pause, resume, ps" <<'ITEM'
  $run -d $IMAGE p1 sleep 1000
  ctr task pause p1
  has "$(ctr task ls)" PAUSED
  ctr task resume p1
  has "$(ctr task ls)" RUNNING
  has "$(ctr task ps p1)" "$(ctr task ls | awk '$1 == "p1" { print $2 }')"
  ctr task kill -s KILL p1; eventually sh -c 'ctr task ls | grep p1 | grep STOPPED'; ctr task rm p1; ctr container rm p1
ITEM
item "ctr task kill: signals and all processes" <<'ITEM'
  $run -d $IMAGE k1 sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
  ctr task kill -s TERM k1
  eventually sh -c 'ctr task ls | grep k1 | grep STOPPED'
  has "$(ctr task rm k1 2>&1)" 'code 3'
  ctr container rm k1
  $run -d $IMAGE k2 sleep 1000
  ctr task kill --all -s KILL k2
  eventually sh -c 'ctr task ls | grep k2 | grep STOPPED'
  expect 1 ctr task kill k2 > /tmp/out 2>&1
  has "$(cat /tmp/out)" 'not found'
  ctr task rm k2 || true
  ctr container rm k2
ITEM
item "ctr task metrics" <<'ITEM'
  $run -d $IMAGE m1 sleep 1000
  has "$(ctr task metrics --format json m1)" '"usage'
  ctr task rm -f m1 || true
  ctr container rm m1
ITEM
item "ctr task rm -f of a running task" <<'ITEM'
  $run -d $IMAGE d1 sleep 1000
  pid=$(ctr task ls | awk '$1 == "d1" { print $2 }')
  ctr task rm -f d1 || true
  test ! -e /proc/$pid
  test ! -e "$STATE/d1"
  ctr container rm d1
ITEM
item "the kernel's seccomp filter is in place" <<'ITEM'
  same "$($run --rm --seccomp $IMAGE s1 sh -c 'grep Seccomp: /proc/self/status' | tr -d '\t ')" Seccomp:2
ITEM
item "thirty at once" <<'ITEM'
  for i in $(seq 30); do $run --rm $IMAGE many$i sh -c "echo $i" > /tmp/many$i & done
  wait
  for i in $(seq 30); do same "$(cat /tmp/many$i)" $i; done
  test -z "$(ls "$STATE")"
ITEM
if command -v criu > /dev/null; then
item "ctr task checkpoint: left running, and at its end" <<'ITEM'
  $run -d --null-io $IMAGE k1 sh -c "$COUNTER"
  eventually ctr task exec --exec-id a k1 test -s /count
  ctr task checkpoint k1
  ctr images ls -q | grep checkpoint/k1
  has "$(ctr task ls | grep k1)" RUNNING
  ctr task exec --exec-id b k1 true
  # ctr hands its options to runtimes of this name alone.
  if [[ $run == *io.containerd.runc.v2* ]]; then
    ctr task checkpoint --exit --image-path /tmp/k1 k1
    test -s /tmp/k1/inventory.img
    eventually sh -c 'ctr task ls | grep k1 | grep STOPPED'
  fi
  ctr task rm -f k1 || true
  ctr container rm k1
ITEM
item "ctr containers checkpoint, and restore --live: it counts on" <<'ITEM'
  $run -d --null-io $IMAGE k2 sh -c "$COUNTER"
  eventually ctr task exec --exec-id a k2 grep .. /count
  ctr containers checkpoint --task --image --rw k2 localhost/k2:saved
  before=$(ctr task exec --exec-id b k2 cat /count)
  ctr task rm -f k2 || true
  ctr container rm k2
  ctr containers restore --live --rw k2 localhost/k2:saved > /tmp/restored 2>&1 < /dev/null &
  eventually ctr task exec --exec-id c k2 true
  eventually sh -c "[ \"\$(ctr task exec --exec-id d\$\$ k2 cat /count)\" -gt $before ]"
  ctr task rm -f k2 || true
  ctr container rm k2
ITEM
fi
