// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * Interfaces that come by the hundred are attached to by clsact at once, and moved to tcx one by one (ADR 15). While
 * one moves, its packets meet both: tcx programs and then filters, in one call of sch_handle_ingress() or
 * sch_handle_egress() on one CPU, so the first can tell the second "this packet is done".
 */
#include "kernel_compat.h"

#define NEXT TC_ACT_UNSPEC

enum kind { INGRESS_L2, INGRESS_L3, EGRESS_L2, EGRESS_L3, EGRESS_PORT, KINDS };

/* The programs of natlens.bpf.c, in the order of enum kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

struct done {
	__u64 packet; /* the skb's address: needs CAP_PERFMON, as all that natlens reads */
	__u32 ifindex;
	__u32 reserved;
};

/* By interface and side: another agent's program between the two may send a copy through other interfaces that move,
 * of which there are 16 at once at most. Two that fall into one place would only miss such a copy's mark. */
#define PLACES 256
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct done);
} done_packets SEC(".maps");

static __always_inline struct done *place_of(struct __sk_buff *skb, __u32 kind)
{
	__u32 place = (skb->ifindex << 1 | (kind >= EGRESS_L2)) & (PLACES - 1);

	return bpf_map_lookup_elem(&done_packets, &place);
}

/* At tcx. */
static __always_inline int run_first(struct __sk_buff *skb, __u32 kind)
{
	struct done *done = place_of(skb, kind);

	if (done) {
		done->packet = (unsigned long)skb;
		done->ifindex = skb->ifindex;
	}
	bpf_tail_call(skb, &programs, kind);
	return NEXT;
}

/* At clsact. */
static __always_inline int run_unless_done(struct __sk_buff *skb, __u32 kind)
{
	struct done *done = place_of(skb, kind);

	if (done && done->ifindex == skb->ifindex && done->packet == (unsigned long)skb) {
		done->packet = 0;
		return NEXT;
	}
	bpf_tail_call(skb, &programs, kind);
	return NEXT;
}

#define BOTH(name, kind)                                                                                               \
	SEC("tc") int first_##name(struct __sk_buff *skb)                                                              \
	{                                                                                                              \
		return run_first(skb, kind);                                                                           \
	}                                                                                                              \
	SEC("tc") int wait_##name(struct __sk_buff *skb)                                                               \
	{                                                                                                              \
		return run_unless_done(skb, kind);                                                                     \
	}

BOTH(ingress_l2, INGRESS_L2)
BOTH(ingress_l3, INGRESS_L3)
BOTH(egress_l2, EGRESS_L2)
BOTH(egress_l3, EGRESS_L3)
BOTH(egress_port, EGRESS_PORT)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
