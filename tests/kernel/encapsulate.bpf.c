// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* Put every IPv4 TCP packet into an IPIP tunnel, as a driver-less tunnel device would: for kernels without one. */
#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERNET 14
#define IPIP 4

SEC("tc")
int encapsulate(struct __sk_buff *skb)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETHERNET, &ip, sizeof(ip)) || ip.protocol != 6)
		return TC_ACT_UNSPEC;
	if (bpf_skb_adjust_room(skb, sizeof(ip), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4))
		return TC_ACT_SHOT;
	ip.protocol = IPIP;
	ip.tot_len = bpf_htons(bpf_ntohs(ip.tot_len) + sizeof(ip));
	bpf_skb_store_bytes(skb, ETHERNET, &ip, sizeof(ip), 0);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
