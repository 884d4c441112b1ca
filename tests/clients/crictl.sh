#!/bin/bash
# A pod by crictl, from the directory that CRI_TOOLS names.
source /clients/items.sh
source /clients/cri-node.sh
export PATH=/cri:$PATH
cat > /etc/crictl.yaml <<'YAML'
runtime-endpoint: unix:///run/containerd/containerd.sock
image-endpoint: unix:///run/containerd/containerd.sock
timeout: 60
YAML

item "crictl: a pod from runp to rmp" <<'ITEM'
  jq -n '{metadata: {name: "p", uid: "p", namespace: "default"}, hostname: "p", log_directory: "/tmp/logs/p", linux: {cgroup_parent: "/kubepods/p"}}' > /tmp/p.json
  jq -n '{metadata: {name: "c"}, image: {image: env.IMAGE}, command: ["sh", "-c", "echo started; exec httpd -f -p 8080 -h /www"], log_path: "c.log", stdin: true,
    linux: {resources: {memory_limit_in_bytes: 67108864}}}' > /tmp/c.json
  pod=$(crictl runp --runtime husk /tmp/p.json)
  id=$(crictl create $pod /tmp/c.json /tmp/p.json)
  crictl start $id
  same "$(crictl exec -s $id echo hello)" hello
  same "$(crictl exec $id echo streamed)" streamed
  has "$(on_terminal "crictl exec -it $id sh -c '$SIZE'")" '33 77'
  expect 1 crictl exec -s $id false
  eventually sh -c "crictl logs $id | grep started"
  has "$(crictl ps)" Running
  has "$(crictl pods)" Ready
  same "$(crictl inspect $id | jq -r .status.state)" CONTAINER_RUNNING
  has "$(crictl stats $id)" "${id:0:13}"
  crictl update --memory 134217728 $id
  same "$(crictl exec -s $id sh -c "$(limit memory/memory.limit_in_bytes memory.max)")" 134217728
  crictl port-forward $pod 18080:8080 & forward=$!
  eventually bash -c 'exec 3<>/dev/tcp/127.0.0.1/18080 && printf "GET / HTTP/1.0\r\n\r\n" >&3 && grep page <&3'
  kill $forward
  crictl stop $id
  crictl rm $id
  crictl stopp $pod
  crictl rmp $pod
  nothing_left
ITEM

exit 0
