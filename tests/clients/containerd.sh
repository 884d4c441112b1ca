#!/bin/bash
# containerd's own runc shim, its BinaryName set to the runtime.
source /clients/items.sh

if [ "$RUNTIME" = husk ]; then
  # No other runtime is left here: what runs, husk runs, even where ctr forgets the name that it was given.
  rm -f /usr/sbin/runc /usr/bin/runc
  eval "$(snippet containerd.md runc-name)"
fi
mkdir -p /etc/containerd
snippet containerd.md /etc/containerd/config.toml > /etc/containerd/config.toml
background containerd containerd
ready ctr version
ctr image import /image/box.tar >/results/import.log 2>&1 || { cat /results/import.log; exit 1; }

run=$(snippet containerd.md ctr)
run=${run/\/usr\/local\/bin\/husk/$BINARY}
export run STATE=/run/containerd/runc/default

source /clients/ctr-life.sh
item "the configuration is taken" <<'ITEM'
  has "$(ctr plugins ls | grep -w cri)" ok
  has "$(containerd config dump | tr "'" '"')" 'default_runtime_name = "husk"'
ITEM
exit 0
