#!/bin/busybox sh
# First stage: the modules of the root file system, the root file system, then the second stage in it.
export PATH=/bin
/bin/busybox mkdir -p /bin /proc /sys /dev /shared /top /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/modules/$module" || echo "natlens-vm: insmod $module failed"
done </modules/order
mount -t virtiofs shared /shared || { echo "natlens-vm: no virtiofs"; poweroff -f; }
mount -t tmpfs top /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/shared,upperdir=/top/upper,workdir=/top/work root /root || {
	echo "natlens-vm: no overlay"
	poweroff -f
}
mkdir -p /root/proc /root/sys /root/dev /root/run /root/tmp /root/exchange
mount --bind /shared/exchange /root/exchange
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root /bin/sh /exchange/start.sh
