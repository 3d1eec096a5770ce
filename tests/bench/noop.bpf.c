// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* The floor: a program that does nothing, on the same hook. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int noop(struct __sk_buff *skb)
{
	return -1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
