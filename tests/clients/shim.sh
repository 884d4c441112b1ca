#!/bin/bash
# The shim of husk, called by containerd for the runtime io.containerd.husk.v1. In a control run its place is taken by
# containerd's own shim and runc.
source /clients/items.sh

if [ "$RUNTIME" = husk ]; then
  # Neither runc nor its shim is left here.
  rm -f /usr/sbin/runc /usr/bin/runc /usr/bin/containerd-shim*
  original=/usr/local/bin/containerd-shim-husk-v1
else
  original=$(command -v containerd-shim-runc-v2)
fi
export original SHIM=/usr/local/sbin/containerd-shim-husk-v1
# A file that can be replaced, as an upgrade does it. containerd remembers the path.
install_shim() { install -m 755 "$original" $SHIM.new && mv -f $SHIM.new $SHIM; }
install_shim
# containerd starts again whenever it ends, unless /tmp/stay-down is there.
supervise() {
  while :; do
    until [ ! -e /tmp/stay-down ]; do sleep 0.1; done
    "$(cat /tmp/containerd-binary)"
    echo "containerd ended: $?"
  done
}
mkdir -p /etc/containerd
version=$(containerd --version | grep -qE ' v?1\.' && echo 1 || echo 2)
snippet containerd.md "shim-config-$version.toml" > /etc/containerd/config.toml
command -v containerd > /tmp/containerd-binary
background containerd supervise
ready ctr version
ctr image import /image/box.tar >/results/import.log 2>&1 || { cat /results/import.log; exit 1; }

run=$(snippet containerd.md ctr-shim)
export run STATE=/run/containerd/runc/default

# The shim of the task or pod ID. Its command line is the one of the Go shims.
shim_of() { pgrep -f "^[^ ]*containerd-shim-[a-z0-9-]+ .*-id $1( |\$)"; }
stopped() { ctr task ls | grep -q "^$1 .*STOPPED"; }
finish() { # finish ID...: kills and removes
  local id
  for id in "$@"; do ctr task kill -s KILL "$id" || true; done
  for id in "$@"; do eventually stopped "$id" && { ctr task rm "$id" || true; } && ctr container rm "$id" || return 1; done
}
anonymous() { awk '$1 == "RssAnon:" { print $2 }' "/proc/$1/status"; } # KiB
threads() { ls "/proc/$1/task" | wc -l; }
descriptors() { ls "/proc/$1/fd" | wc -l; }
sockets() { # the paths of the unix sockets on which the process PID listens
  local -; { set +x; } 2>/dev/null
  ls -l "/proc/$1/fd" | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p' | while read -r inode; do
    awk -v inode="$inode" '$7 == inode && $4 == "00010000" { print $8 }' /proc/net/unix
  done
}
containerd_pid() { pgrep -xo containerd; }
restart_containerd() { # restart_containerd SIGNAL
  local old; old=$(containerd_pid)
  kill "-$1" "$old"
  eventually test ! -e "/proc/$old"
  eventually ctr version > /dev/null
}
nothing_left() {
  same "$(ls "$STATE" 2>/dev/null)" "" || return 1
  same "$(find /sys/fs/cgroup -path '*/default/*' -type d)" "" || return 1
  same "$(grep /io.containerd.runtime.v2.task/ /proc/self/mountinfo)" "" || return 1
  eventually expect 1 pgrep -f '^[^ ]*containerd-shim-' || return 1
  eventually sh -c '[ -z "$(find /run/containerd/s -type s)" ]'
}
# A bundle's configuration without image: bundle ID JQ-PROGRAM writes /tmp/ID.json.
bundle() {
  ctr oci spec | jq --arg id "$1" '.root = {path: "/tmp/box"} | .process.args = ["sleep", "1000"] | .process.env = ["PATH=/bin"] | .linux.cgroupsPath = "/default/\($id)"
    | '"$2" > "/tmp/$1.json"
}
mkdir -p /tmp/box && unpack_image /tmp/box
export -f install_shim shim_of stopped finish anonymous threads descriptors sockets containerd_pid restart_containerd nothing_left bundle

source /clients/ctr-life.sh
after_failure() {
  install_shim
  rm -f /tmp/stay-down
  eventually ctr version
  # One that hangs would answer nothing.
  pgrep -f '^[^ ]*containerd-shim-' | xargs -r kill -KILL
  sleep 1
  find /run/containerd/s -type s -delete
  ctr task ls -q | xargs -r -n1 timeout 10 ctr task rm -f
  ctr container ls -q | xargs -r ctr container rm
}

item "the version, and that it is ours" <<'ITEM'
  $SHIM -v
  [ "$RUNTIME" != husk ] || has "$($SHIM -v)" husk
  $run -d $IMAGE a1 sleep 1000
  pid=$(shim_of a1)
  [ "$RUNTIME" != husk ] || grep -q containerd-shim-husk-v1 "/proc/$pid/cmdline"
  finish a1
ITEM
item "standard input, and its end" <<'ITEM'
  # ctr run 1.6 tells nobody of the end, ctr task exec does.
  same "$(printf 'a\nb\n' | $run --rm $IMAGE i1 sh -c 'head -n 2; echo end')" $'a\nb\nend'
  $run -d $IMAGE i2 sleep 1000
  same "$(printf through | ctr task exec --exec-id x i2 cat)" through
  # More than any buffer holds.
  same "$(head -c 20000000 /dev/zero | ctr task exec --exec-id y i2 sh -c 'sleep 0.3; wc -c')" 20000000
  finish i2
ITEM
item "standard error is apart" <<'ITEM'
  same "$($run --rm $IMAGE i3 sh -c 'echo out; echo err >&2' 2>/dev/null)" out
  # ctr has a word about cgroup v1, too.
  same "$($run --rm $IMAGE i4 sh -c 'echo out; echo err >&2' 2>&1 >/dev/null | grep -v DEPRECATION)" err
ITEM
item "a hundred MiB at full speed and exit at once: no byte is lost" <<'ITEM'
  wanted=$({ yes 0123456789abcdef || true; } | head -c 104857600 | sha256sum)
  same "$($run --rm $IMAGE b1 sh -c 'yes 0123456789abcdef | head -c 104857600' | sha256sum)" "$wanted"
  $run -d --log-uri file:///tmp/b2.log $IMAGE b2 sh -c 'yes 0123456789abcdef | head -c 104857600'
  eventually stopped b2
  ctr task rm b2; ctr container rm b2
  same "$(sha256sum < /tmp/b2.log)" "$wanted"
  rm /tmp/b2.log
  # The last words of many that end at once.
  for i in $(seq 20); do same "$($run --rm $IMAGE b3 sh -c 'head -c 70000 /dev/zero; exit 0' | wc -c)" 70000; done
ITEM
item "the terminal: size, new size, raw bytes" <<'ITEM'
  mkdir -p /tmp/w
  on_terminal "(until [ -e /tmp/w/up ]; do sleep 0.1; done; stty cols 101 rows 44 < /dev/tty) &
    $run --rm -t --mount type=bind,src=/tmp/w,dst=/mnt,options=rbind:rw $IMAGE w1 sh -c '$SIZE; touch /mnt/up; until stty size | grep \"44 101\"; do sleep 0.1; done'" > /tmp/out
  has "$(cat /tmp/out)" '33 77'
  has "$(cat /tmp/out)" '44 101'
  expect 6 on_terminal "$run --rm -t $IMAGE w2 sh -c 'exit 6'"
  # A megabyte; its end is waited for, since ctr does not read what is left when the process has ended.
  on_terminal "$run --rm -t --mount type=bind,src=/tmp/w,dst=/mnt,options=rbind:rw $IMAGE w3 sh -c '
    yes 0123456789 | head -n 100000; until [ -e /mnt/over ]; do printf %8192s .; sleep 0.1; done'" > /tmp/out & job=$!
  eventually sh -c '[ "$(grep -c 0123456789 /tmp/out)" = 100000 ]'
  touch /tmp/w/over
  wait $job
ITEM
item "log file and log program" <<'ITEM'
  $run -d --log-uri file:///tmp/logs/deep/l1 $IMAGE l1 sh -c 'echo out; echo err >&2'
  eventually stopped l1
  ctr task rm l1; ctr container rm l1
  same "$(sort /tmp/logs/deep/l1)" $'err\nout'
  printf '%s\n' '#!/bin/sh' 'echo "$CONTAINER_NAMESPACE $CONTAINER_ID" > $2.id' 'exec 5>&-' 'cat <&3 > $2.out & cat <&4 > $2.err & wait' > /tmp/logger
  chmod +x /tmp/logger
  $run -d --log-uri 'binary:///tmp/logger?to=/tmp/l2' $IMAGE l2 sh -c 'echo out; echo err >&2'
  eventually stopped l2
  ctr task rm l2; ctr container rm l2
  same "$(cat /tmp/l2.out /tmp/l2.err /tmp/l2.id)" $'out\nerr\ndefault l2'
ITEM
item "a log program that is not there, or fails" <<'ITEM'
  expect 1 $run -d --log-uri 'binary:///nosuch' $IMAGE l3 true > /tmp/out 2>&1
  has "$(cat /tmp/out)" 'nosuch'
  ctr container rm l3 || true
  printf '%s\n' '#!/bin/sh' 'exit 3' > /tmp/failing; chmod +x /tmp/failing
  timeout 30 $run -d --log-uri 'binary:///tmp/failing' $IMAGE l4 true || true
  ctr task rm -f l4 || true
  ctr container rm l4 || true
  nothing_left
ITEM
item "events: create, start, exec, exit, oom, paused, delete" <<'ITEM'
  ctr events > /tmp/events & events=$!
  eventually sh -c 'ctr namespaces label default a=b; grep -q . /tmp/events'
  $run -d $IMAGE ev sleep 1000
  ctr task exec --exec-id x ev true
  ctr task pause ev; ctr task resume ev
  finish ev
  $run --rm --memory-limit 16777216 $IMAGE evo sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' || true
  for topic in create start exec-added exec-started exit paused resumed delete; do
    eventually grep -q "/tasks/$topic .*\"ev\"" /tmp/events
  done
  eventually grep -q '/tasks/oom .*"evo"' /tmp/events
  same "$(grep '/tasks/' /tmp/events | grep '"ev"' | sed 's|.*/tasks/\([a-z-]*\) .*|\1|' | tr '\n' ' ')" \
    'create start exec-added exec-started exit paused resumed exit delete '
  kill "$events"
ITEM
item "metrics have numbers" <<'ITEM'
  $run -d --memory-limit 67108864 $IMAGE m2 sh -c 'while :; do :; done'
  sleep 1
  ctr task metrics --format json m2 | tee /tmp/metrics | jq -e '[.. | .usage_usec? // .total? // .usage?.total? // empty | numbers] | max > 1000' ||
    jq -e '[.. | numbers] | max > 1000' /tmp/metrics
  has "$(cat /tmp/metrics)" 67108864
  has "$(ctr task metrics m2)" m2
  finish m2
ITEM
item "at rest: threads, descriptors, socket" <<'ITEM'
  $run -d --null-io $IMAGE r1 sleep 1000
  ctr task exec --exec-id x r1 true
  pid=$(shim_of r1)
  list=$(sockets "$pid")
  echo "sockets: $list"
  # Linux writes abstract names with an @.
  [ -n "$list" ]; ! grep '^@' <<< "$list"
  for s in $list; do
    mode=$(stat -c %a "$s") directory=$(stat -c %a "$(dirname "$s")")
    echo "$s $mode in $directory"
    expect 1 setpriv --reuid 65534 --regid 65534 --clear-groups test -w "$s"
    if [ "$RUNTIME" = husk ]; then same "$mode" 600; same "$directory" 700; fi
  done
  if [ "$RUNTIME" = husk ]; then
    eventually sh -c "[ \$(ls /proc/$pid/task | wc -l) -le 2 ]"
    [ "$(descriptors "$pid")" -le 20 ] || { ls -l "/proc/$pid/fd"; exit 1; }
  fi
  # It is in no terminal's session and keeps no directory of ours.
  same "$(ps -o tty= -p "$pid")" '?'
  finish r1
ITEM
item "a thousand execs leave memory, descriptors and threads as they were" <<'ITEM'
  $run -d $IMAGE st sleep 10000
  pid=$(shim_of st)
  storm() { # storm PREFIX COUNT
    local -; { set +x; } 2>/dev/null
    for w in 1 2 3 4; do
      ( for i in $(seq $(($2 / 4))); do ctr task exec --exec-id $1-$w-$i st true || exit 1; done ) & jobs[w]=$!
    done
    for w in 1 2 3 4; do wait ${jobs[w]} || return 1; done
  }
  rest() { eventually sh -c "[ \$(ls /proc/$pid/task | wc -l) -le ${1:-1000} ]"; }
  storm a 100
  if [ "$RUNTIME" = husk ]; then rest 2; fi
  before=$(anonymous $pid) threads=$(threads $pid) open=$(descriptors $pid)
  storm b 1000
  rest "$threads"
  eventually sh -c "[ \$(ls /proc/$pid/fd | wc -l) -le $open ]"
  after=$(anonymous $pid)
  echo "anonymous memory $before KiB, then $after KiB; $threads threads, $open descriptors"
  # Pages touched for the first time are no growth: half a KiB for each exec would be.
  [ "$after" -le $((before + 512)) ]
  storm c 8
  settled() { [ "$(anonymous $pid)" -le $((after + 16)) ]; }
  if [ "$RUNTIME" = husk ]; then eventually settled; fi
  finish st
ITEM
item "fifty at once" <<'ITEM'
  for i in $(seq 50); do $run -d $IMAGE fifty$i sh -c "echo $i; exec sleep 1000" & jobs[i]=$!; done
  for i in $(seq 50); do wait ${jobs[i]}; done
  same "$(ctr task ls | grep -c '^fifty.*RUNNING')" 50
  for i in $(seq 50); do ctr task kill -s KILL fifty$i & done
  wait
  for i in $(seq 50); do eventually stopped fifty$i; done
  for i in $(seq 50); do { ctr task rm fifty$i || true; ctr container rm fifty$i; } & done
  wait
  nothing_left
ITEM
for signal in TERM KILL; do
item "containerd ends by $signal and comes back" <<ITEM
  signal=$signal
$(cat <<'REST'
  $run -d --log-uri file:///tmp/restart.log $IMAGE c1 sh -c 'while :; do date +%s%N; sleep 0.05; done'
  $run -d $IMAGE c2 sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'
  init=$(ctr task ls | awk '$1 == "c2" { print $2 }')
  shim=$(shim_of c1)
  touch /tmp/stay-down
  kill -$signal $(containerd_pid)
  eventually expect 1 pgrep -x containerd
  # This end nobody hears of until containerd is back.
  kill -TERM $init
  eventually test ! -e /proc/$init
  size=$(stat -c %s /tmp/restart.log)
  eventually sh -c "[ \$(stat -c %s /tmp/restart.log) -gt $size ]"
  rm /tmp/stay-down
  eventually sh -c 'ctr version > /dev/null'
  same "$(shim_of c1)" "$shim"
  eventually sh -c 'ctr task ls | grep -q "^c1 .*RUNNING"'
  same "$(ctr task exec --exec-id x c1 echo still)" still
  # A task that ended meanwhile: containerd 1.6 knows its status, later ones remove it when it starts.
  if containerd --version | grep -qE ' v?1\.6\.'; then
    eventually stopped c2
    has "$(ctr task rm c2 2>&1)" 'code 5'
  else
    eventually sh -c '! ctr task ls | grep -q "^c2 "'
  fi
  ctr container rm c2
  finish c1
  nothing_left
REST
)
ITEM
done
item "kill -9 of the shim: everything of its task goes" <<'ITEM'
  $run -d $IMAGE k9 sh -c 'sleep 2000 & exec sleep 1000'
  init=$(ctr task ls | awk '$1 == "k9" { print $2 }')
  kill -9 "$(shim_of k9)"
  eventually test ! -e /proc/$init
  eventually expect 1 pgrep -f '^sleep 2000'
  eventually sh -c '! ctr task ls | grep -q "^k9 .*RUNNING"'
  ctr task rm -f k9 || true
  ctr container rm k9
  nothing_left
ITEM
item "kill -9 of the shim while containerd is away" <<'ITEM'
  $run -d $IMAGE k8 sleep 1000
  init=$(ctr task ls | awk '$1 == "k8" { print $2 }')
  touch /tmp/stay-down
  kill -9 $(containerd_pid)
  eventually expect 1 pgrep -x containerd
  kill -9 "$(shim_of k8)"
  rm /tmp/stay-down
  eventually sh -c 'ctr version > /dev/null'
  eventually test ! -e /proc/$init
  eventually sh -c '! ctr task ls | grep -q "^k8 .*RUNNING"'
  ctr task rm -f k8 || true
  ctr container rm k8
  nothing_left
ITEM
item "another shim binary on disk while tasks run" <<'ITEM'
  $run -d $IMAGE n1 sleep 1000
  $run -d $IMAGE n2 sleep 1000
  # A newer file of the same program.
  install_shim
  same "$(ctr task exec --exec-id x n1 echo still)" still
  finish n1
  # One that does not even work: those that run do not need it.
  printf '%s\n' '#!/bin/sh' 'exit 1' > $SHIM.new; chmod 755 $SHIM.new; mv -f $SHIM.new $SHIM
  same "$(ctr task exec --exec-id y n2 echo still)" still
  finish n2
  # Put back, it removes what a killed shim of the older file left.
  install_shim
  $run -d $IMAGE n3 sleep 1000
  install_shim
  kill -9 "$(shim_of n3)"
  eventually sh -c '! ctr task ls | grep -q "^n3 .*RUNNING"'
  ctr task rm -f n3 || true
  ctr container rm n3
  nothing_left
ITEM
item "one shim for a group, and its pod goes with it" <<'ITEM'
  for i in 1 2 3; do
    bundle g$i '.annotations["io.containerd.runc.v2.group"] = "group-a"'
    $run -d --config /tmp/g$i.json g$i
  done
  same "$(pgrep -fc '^[^ ]*containerd-shim-')" 1
  same "$(ctr task exec --exec-id x g2 echo two)" two
  finish g1
  same "$(ctr task exec --exec-id y g3 echo three)" three
  kill -9 $(pgrep -f '^[^ ]*containerd-shim-')
  eventually sh -c '! ctr task ls | grep -q RUNNING'
  for i in 2 3; do ctr task rm -f g$i || true; ctr container rm g$i; done
  nothing_left
ITEM
if [ "$RUNTIME" = husk ]; then # containerd's own shim waits.
item "a create that hangs delays nobody" <<'ITEM'
  mkfifo /tmp/gate
  bundle h1 '.annotations["io.containerd.runc.v2.group"] = "group-h"'
  bundle h2 '.annotations["io.containerd.runc.v2.group"] = "group-h" | .hooks.createRuntime = [{path: "/bin/sh", args: ["sh", "-c", "read x < /tmp/gate"]}]'
  bundle h3 '.annotations["io.containerd.runc.v2.group"] = "group-h"'
  $run -d --config /tmp/h1.json h1
  $run -d --config /tmp/h2.json h2 & hanging=$!
  eventually pgrep -f '^sh -c read x < /tmp/gate$'
  same "$(timeout 20 ctr task exec --exec-id x h1 echo free)" free
  timeout 20 $run -d --config /tmp/h3.json h3
  timeout 20 ctr task ls
  timeout 20 ctr task metrics h1
  timeout 20 ctr task pause h1; timeout 20 ctr task resume h1
  init=$(ctr task ls | awk '$1 == "h3" { print $2 }')
  kill -9 "$init"
  eventually stopped h3
  kill -0 $hanging
  ctr task rm h3 || true; ctr container rm h3
  echo > /tmp/gate
  wait $hanging
  finish h1 h2
  nothing_left
ITEM
item "a delete that hangs delays nobody" <<'ITEM'
  mkfifo /tmp/gate2
  bundle j1 '.annotations["io.containerd.runc.v2.group"] = "group-j" | .hooks.poststop = [{path: "/bin/sh", args: ["sh", "-c", "read x < /tmp/gate2"]}]'
  bundle j2 '.annotations["io.containerd.runc.v2.group"] = "group-j"'
  $run -d --config /tmp/j2.json j2
  $run -d --config /tmp/j1.json j1
  ctr task kill -s KILL j1
  eventually stopped j1
  ctr task rm j1 & hanging=$!
  eventually pgrep -f '^sh -c read x < /tmp/gate2$'
  same "$(timeout 20 ctr task exec --exec-id x j2 echo free)" free
  timeout 20 ctr task pause j2; timeout 20 ctr task resume j2
  kill -0 $hanging
  echo > /tmp/gate2
  wait $hanging || true
  ctr container rm j1
  finish j2
  nothing_left
ITEM
fi
if [ "$CLIENT" = shim-other ]; then
item "containerd's upgrade while tasks run" <<'ITEM'
  head=$(cat /tmp/containerd-binary)
  echo /usr/bin/containerd > /tmp/containerd-binary
  restart_containerd TERM
  $run -d $IMAGE u1 sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'
  echo "$head" > /tmp/containerd-binary
  restart_containerd TERM
  same "$(ctr task exec --exec-id x u1 echo still)" still
  ctr task kill -s TERM u1
  eventually stopped u1
  has "$(ctr task rm u1 2>&1)" 'code 5'
  ctr container rm u1
  nothing_left
ITEM
fi
exit 0
