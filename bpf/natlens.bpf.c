// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * natlens in the kernel: count every packet of the node exactly once, and learn what NAT made of its connection.
 * The join of the two is not here: it is a pure function in user space (exporter/natlens/flows/).
 */
#include "kernel_compat.h"
#include "types.h"
#include "maps.h"
#include "tuple.h"
#include "parse.h"
#include "account.h"
#include "learn.h"
#include "rules.h"

#define LINK_LAYER ETHERNET
#define NO_LINK_LAYER 0

/* Every path ends here: other agents' programs on the same hook always run (TCX_NEXT is the same -1). */
#define NEXT TC_ACT_UNSPEC

static __always_inline int came_in(struct __sk_buff *ctx, __u32 link_header)
{
	volatile struct __sk_buff *skb = ctx;
	struct packet packet = {.key = {.ifindex = skb->ifindex, .side = SIDE_INGRESS}};
	__u32 active = active_window, window = active & 1;
	struct word word = {};
	struct row *row;

	if (!parse(ctx, &packet, link_header, active >> 1))
		return NEXT;
	row = account(ctx, &packet, window, &word);
	if (packets_tell && row && row->conntrack == CONNTRACK_UNASKED && has.looks_up) {
		learn_lookup(ctx, &packet, window, &word);
		tell(row, &word);
	}
	return NEXT;
}

/* True where the host itself sent the packet: what came in by a counted interface was counted there. */
static __always_inline bool sent_by_host(__u32 came_in_by)
{
	return !came_in_by || !bpf_map_lookup_elem(&counted_interfaces, &came_in_by);
}

/* ip6_fragment() does not copy skb_iif (ip6_copy_metadata): without a socket such a fragment was forwarded. */
static __always_inline bool forwarded_fragment(struct __sk_buff *ctx, const struct packet *packet, __u32 came_in_by)
{
	if (came_in_by || !packet->fragment || packet->key.tuple.family != 6 || ctx->sk)
		return false;
	COUNT(forwarded_fragments);
	return true;
}

/* A forwarded packet that IPsec of this node encrypts keeps its skb_iif, but nobody has counted it as it is now. */
static __always_inline bool encrypted_here(struct __sk_buff *ctx, const struct tuple *tuple)
{
	if (tuple->proto == PROTO_UDP ? tuple->sport != NAT_T && tuple->dport != NAT_T : tuple->proto != PROTO_ESP)
		return false;
	return tuple->family == 4 ? WAS_TRANSFORMED_4(ctx) : WAS_TRANSFORMED_6(ctx);
}

static __always_inline int goes_out(struct __sk_buff *ctx, const __u32 link_header, const bool counts)
{
	volatile struct __sk_buff *skb = ctx;
	__u32 came_in_by = skb->ingress_ifindex;
	struct packet packet = {.key = {.ifindex = skb->ifindex, .side = SIDE_EGRESS}};
	__u32 active = active_window, window = active & 1;
	struct word word = {};

	if (!parse(ctx, &packet, link_header, active >> 1))
		return NEXT;
	if (packets_tell && has.reads_memory)
		learn_attached(ctx, &packet, window, came_in_by, &word);
	if (!counts || forwarded_fragment(ctx, &packet, came_in_by) ||
	    (!sent_by_host(came_in_by) && !encrypted_here(ctx, &packet.key.tuple)))
		return NEXT;
	account(ctx, &packet, window, &word);
	return NEXT;
}

SEC("tc")
int ingress_l2(struct __sk_buff *skb)
{
	return came_in(skb, LINK_LAYER);
}

SEC("tc")
int ingress_l3(struct __sk_buff *skb)
{
	return came_in(skb, left_in_front(skb));
}

SEC("tc")
int egress_l2(struct __sk_buff *skb)
{
	return goes_out(skb, LINK_LAYER, true);
}

SEC("tc")
int egress_l3(struct __sk_buff *skb)
{
	return goes_out(skb, NO_LINK_LAYER, true);
}

/* A bridge's port: what the host sends into the bridge was counted at the bridge's own egress. */
SEC("tc")
int egress_port(struct __sk_buff *skb)
{
	return goes_out(skb, LINK_LAYER, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
