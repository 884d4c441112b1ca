#!/bin/bash
# The runtime inside of its own containers: Docker in a privileged container, husk in husk.
source /clients/items.sh
if [ "$RUNTIME" = husk ]; then
  rm -f /usr/sbin/runc /usr/bin/crun
  eval "$(snippet docker.md buildkit)"
fi

# A root that shows this one's /usr and /etc: a container that has the engines.
usr=/nested/usr-root
mkdir -p $usr/{usr,etc,var/lib/docker,var/tmp,root,tmp,run,proc,sys,dev,mnt,image,docs,clients,box} /nested/box
for d in bin sbin lib lib64; do ln -s usr/$d $usr/$d; done
chmod 1777 $usr/tmp
unpack_image /nested/box

# Outer engine: podman, which asks for the capabilities that there are.
mkdir -p /etc/containers /etc/docker
snippet podman.md /etc/containers/containers.conf > /etc/containers/containers.conf
snippet docker.md /etc/docker/daemon.json > /etc/docker/daemon.json
if [ "$RUNTIME" != husk ]; then
  sed -i 's/^runtime = .*/runtime = "runc"/' /etc/containers/containers.conf
  echo '{}' > /etc/docker/daemon.json
fi
snippet podman.md cgroup-driver >> /etc/containers/containers.conf
printf 'events_logger = "file"\n[containers]\nlog_driver = "k8s-file"\n' >> /etc/containers/containers.conf
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
cp -a /etc/. $usr/etc
tar -C $usr -c . | podman import - localhost/usr:latest >/results/import.log 2>&1 || { cat /results/import.log; exit 1; }
mkdir -p /var/lib/docker/nested
podman run -d --privileged --name outer --tmpfs /run -v /usr:/usr:ro  -v /clients:/clients:ro -v /docs:/docs:ro \
  -v /image:/image:ro -v /var/lib/docker/nested:/var/lib/docker localhost/usr:latest sleep 10000 >/results/outer.log 2>&1
podman exec -d outer sh -c 'exec containerd --root /var/lib/docker/c >/var/lib/docker/containerd.log 2>&1'
podman exec -d outer sh -c 'until ctr version; do sleep 0.1; done; exec dockerd --containerd /run/containerd/containerd.sock >/var/lib/docker/dockerd.log 2>&1'
export inside='podman exec outer'

item "Docker in a privileged container: the daemon starts" <<'ITEM'
  cat /results/outer.log
  eventually $inside docker version || { tail -n 30 /var/lib/docker/nested/*.log; exit 1; }
  $inside docker load -i /image/box.tar
  same "$($inside docker info --format '{{.DefaultRuntime}}')" $RUNTIME
ITEM
item "Docker in a privileged container: run, exec, limits, terminal" <<'ITEM'
  same "$($inside docker run --rm $IMAGE echo hello)" hello
  expect 7 $inside docker run --rm $IMAGE sh -c 'exit 7'
  same "$($inside docker run --rm -m 64m $IMAGE sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 67108864
  $inside docker run -d --name in $IMAGE sleep 1000
  same "$($inside docker exec in echo hello)" hello
  $inside docker pause in; $inside docker unpause in
  $inside docker stop -t 0 in; $inside docker rm in
  has "$(on_terminal "podman exec -it outer docker run --rm -it $IMAGE tty")" /dev/pts/0
ITEM
item "Docker in a privileged container: build" <<'ITEM'
  $inside sh -c 'mkdir -p /tmp/b; printf "FROM localhost/box:latest\nRUN echo built > /made\nCMD cat /made\n" > /tmp/b/Dockerfile; DOCKER_BUILDKIT=0 docker build -t built /tmp/b'
  same "$($inside docker run --rm built)" built
ITEM
after_failure() { :; }

# What this process has: the machine may lack some.
capabilities() {
  local names=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE
    SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP) bits i list=()
  bits=0x$(awk '/^CapEff/ { print $2 }' /proc/self/status)
  for i in "${!names[@]}"; do (( bits >> i & 1 )) && list+=("CAP_${names[i]}"); done
  printf '%s\n' "${list[@]}" | jq -Rnc '[inputs]'
}
CAPABILITIES=$(capabilities)
export CAPABILITIES
# outer NAME JQ-PROGRAM SCRIPT: runs SCRIPT in a container of the runtime that has /usr, and the image at /box.
outer() {
  local -; { set +x; } 2>/dev/null
  mkdir -p "/nested/$1"
  (cd "/nested/$1" && rm -f config.json && "$BINARY" spec && jq --arg script "$3" '
    .root = {path: "'$usr'", readonly: false} | .process.terminal = false
    | .process.args = ["bash", "-euxc", $script]
    | .process.env = ["PATH=/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root", "BINARY='"$BINARY"'"]
    | .process.capabilities |= map_values($all)
    | .linux.cgroupsPath = "/nested/'"$1"'"
    | .mounts += [{destination: "/usr", source: "/usr", type: "bind", options: ["rbind", "ro"]},
        {destination: "/box", source: "/nested/box", type: "bind", options: ["rbind", "ro"]},
        {destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1777"]},
        {destination: "/run", type: "tmpfs", source: "tmpfs"}]
    | '"$2" --argjson all "$CAPABILITIES" config.json > new && mv new config.json && "$BINARY" run -b . "outer-$1")
}
# inner SPEC-FLAGS JQ-PROGRAM: the shell text of a container of husk with the image as root.
inner() {
  local -; { set +x; } 2>/dev/null
  cat <<TEXT
mkdir /tmp/inner; cd /tmp/inner
$BINARY spec $1
jq '.root = {path: "/box", readonly: true} | .process.terminal = false
  | .process.args = ["sh", "-c", "echo inner \$(id -u) pid \$\$; grep -c . /proc/self/mountinfo"] | $2' config.json > new
mv new config.json
$BINARY --root /tmp/state run inner
TEXT
}
groups='.mounts |= map(if .destination == "/sys/fs/cgroup" then .options -= ["ro"] else . end)'
unmasked=".linux.maskedPaths = [] | .linux.readonlyPaths = [] | $groups"
# Ids 0 to 65535 of the container are 100000 and up here.
mapped='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings'
# In the outer container this process may write to no cgroup.
no_groups='.mounts |= map(select(.destination != "/sys/fs/cgroup")) | del(.linux.resources) | del(.linux.cgroupsPath)'
export usr groups unmasked mapped no_groups
export -f outer inner
chown 100000:100000 $usr

item "in itself: root in root" <<'ITEM'
  has "$(outer root "$unmasked" "$(inner '' .)")" 'inner 0 pid 1'
ITEM
item "in itself: root in root with /proc masked" <<'ITEM'
  has "$(outer masked "$groups" "$(inner '' .)")" 'inner 0 pid 1'
ITEM
item "in itself: in a user namespace" <<'ITEM'
  has "$(outer mapped "$unmasked | $mapped" "$(inner '' "$no_groups | .mounts |= map(select(.destination != \"/sys\"))")")" 'inner 0 pid 1'
ITEM
item "in itself: a user namespace in a user namespace" <<'ITEM'
  has "$(outer mapped2 "$unmasked | $mapped" "$(inner --rootless "$no_groups")")" 'inner 0 pid 1'
ITEM
item "in itself: rootless in a user namespace with /proc masked works or names the mount" <<'ITEM'
  status=0
  out=$(outer mapped3 "$mapped" "$(inner --rootless "$no_groups")" 2>&1) || status=$?
  echo "$out"
  if [ "$status" != 0 ]; then
    has "$out" '/proc'
    has "$out" 'mask'
    has "$out" '/mounts/0'
  fi
ITEM
item "in itself: an ordinary user in a container of root" <<'ITEM'
  has "$(outer user "$unmasked | .process.user = {uid: 1000, gid: 1000} | del(.process.capabilities) | .process.env += [\"XDG_RUNTIME_DIR=/tmp\"]" "$(inner --rootless "$no_groups")")" 'inner 0 pid 1'
ITEM
item "in itself: an ordinary user in a container with /proc masked works or names the mount" <<'ITEM'
  status=0
  out=$(outer user2 ".process.user = {uid: 1000, gid: 1000} | del(.process.capabilities) | .process.env += [\"XDG_RUNTIME_DIR=/tmp\"]" "$(inner --rootless "$no_groups")" 2>&1) || status=$?
  echo "$out"
  if [ "$status" != 0 ]; then
    has "$out" '/proc'
    has "$out" 'mask'
    has "$out" '/mounts/0'
  fi
ITEM
item "in itself: three deep" <<'ITEM'
  middle="mkdir -p /tmp/middle; cd /tmp/middle
    $BINARY spec
    jq --arg script \"\$INNER\" '.root = {path: \"/\", readonly: false} | .process.terminal = false
      | .process.args = [\"bash\", \"-euxc\", \$script] | .process.capabilities |= map_values($CAPABILITIES)
      | .mounts += [{destination: \"/tmp\", type: \"tmpfs\", source: \"tmpfs\"}] | $unmasked' config.json > new
    mv new config.json
    $BINARY --root /tmp/state run middle"
  export INNER=$(inner '' .)
  has "$(outer three "$unmasked | .process.env += [\"INNER=\" + env.INNER]" "$middle")" 'inner 0 pid 1'
ITEM
exit 0
