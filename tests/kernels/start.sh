#!/bin/sh
# Second stage: what a running system has mounted; the command; its exit status; off.
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
chmod 1777 /tmp # no mount: the tree may lie in it
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /run/netns /usr/lib/modules
. /exchange/environment
ln -sfn "$VM_MODULES" "/usr/lib/modules/$(uname -r)"
if [ -n "$VM_HEADERS" ]; then
	mkdir -p /usr/src
	ln -s "$VM_HEADERS"/usr/src/* /usr/src/
	ln -sfn "/usr/src/linux-headers-$(uname -r)" "$VM_MODULES/build"
	ln -sfn "/usr/src/$(cd "$VM_HEADERS"/usr/src && echo linux-headers-*-common)" "$VM_MODULES/source"
fi
modprobe -a nf_conntrack nf_conntrack_netlink nf_nat br_netfilter # a node of a cluster has these
ip link set lo up
touch /exchange/up
cd "$VM_DIRECTORY" || exit
setsid sh /exchange/command </dev/null >/exchange/stdout 2>/exchange/stderr
echo $? >/exchange/status.new
dmesg >/exchange/dmesg
mv /exchange/status.new /exchange/status
sync
echo o >/proc/sysrq-trigger
sleep 60
