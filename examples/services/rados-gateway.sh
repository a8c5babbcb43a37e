#!/bin/bash
# A throw-away Ceph RADOS gateway, an S3 server: rados-gateway.sh FOLDER PORT MONITOR_PORT
# Needs no root and no set-up. Prints "ready", and ends with whoever holds its standard input, however that ends.
set -euo pipefail
folder=$1 port=$2 monitor_port=$3
libraries=/usr/lib/$(uname -m)-linux-gnu
mkdir -p "$folder"/{mon,osd,run,log}
end() {
  for file in "$folder"/run/*.pid; do [ -f "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null; done
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' TERM INT HUP

cat > "$folder/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v1:127.0.0.1:$monitor_port
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = $folder/run
admin socket =
pid file = $folder/run/\$name.pid
log file = $folder/log/\$name.log
mon cluster log file = $folder/log/cluster.log
crash dir = $folder/run
ms bind msgr2 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = $folder/mon
mon data avail crit = 0
plugin dir = $libraries/ceph
erasure code dir = $libraries/ceph/erasure-code
[mon]
paxos min wait = 0.01
paxos propose interval = 0.05
[osd]
osd data = $folder/osd
osd objectstore = memstore
osd class dir = $libraries/rados-classes
osd class load list = *
osd class default list = *
osd class update on start = false
osd crush update on start = false
memstore device bytes = 17179869184
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw thread pool size = 64
rgw run sync thread = false
rgw crypt require ssl = false
rgw sts key = abcdefghijklmnop
rgw s3 auth use sts = true
CONF
export CEPH_CONF=$folder/ceph.conf
fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
monmaptool --create --clobber --addv a "[v1:127.0.0.1:$monitor_port]" --fsid "$fsid" "$folder/monmap" >/dev/null
osdmaptool --createsimple 1 --with-default-pool --clobber "$folder/osdmap" >/dev/null 2>&1
ceph-mon -i a --mkfs --monmap "$folder/monmap" --osdmap "$folder/osdmap" 2>"$folder/log/mkfs-mon"
ceph-mon -i a
ceph-osd -i 0 --mkfs --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" 2>"$folder/log/mkfs-osd"
for try in 1 2 3 4 5 6 7 8; do ceph-osd -i 0 2>"$folder/log/start-osd" && break; [ "$try" = 8 ] && { cat "$folder/log/start-osd" >&2; exit 1; }; done
radosgw -n client.rgw
timeout 60 radosgw-admin user create --uid=test --display-name=test --access-key=testkey --secret=testsecret --caps="roles=*" >/dev/null 2>"$folder/log/user"
for _ in $(seq 1200); do
  curl -s -o /dev/null "http://127.0.0.1:$port/" && break
  sleep 0.05
done
echo ready
cat >/dev/null
