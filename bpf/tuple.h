/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Directed tuples: compare, invert, and read conntrack's own. */
#ifndef NATLENS_TUPLE_H
#define NATLENS_TUPLE_H

#define AF_INET 2

/* ICMP messages that carry an identifier: what conntrack tracks by it (nf_conntrack_proto_icmp.c, _icmpv6.c). */
static __always_inline bool has_id(__u8 proto, __u8 type)
{
	if (proto == 1) /* echo 0, 8; timestamp, information, address mask 13..18 */
		return type == 0 || type == 8 || (type >= 13 && type <= 18);
	return type == 128 || type == 129 || type == 139 || type == 140;
}

static __always_inline void set_ip4(__u8 *to, __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xFFFF);
	words[3] = address;
}

static __always_inline bool same_address(const __u8 *a, const __u8 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool is_icmp(const struct tuple *tuple)
{
	return tuple->proto == 1 || tuple->proto == 58;
}

static __always_inline bool same_tuple(const struct tuple *a, const struct tuple *b)
{
	return a->sport == b->sport && a->dport == b->dport && same_address(a->src, b->src) &&
	       same_address(a->dst, b->dst) && a->proto == b->proto;
}

/* ICMP's type is left out: an entry's two tuples are request and reply by construction. */
static __always_inline bool is_inverse(const struct tuple *a, const struct tuple *b)
{
	if (!same_address(a->src, b->dst) || !same_address(a->dst, b->src) || a->proto != b->proto)
		return false;
	if (is_icmp(a))
		return a->sport == b->sport;
	return a->sport == b->dport && a->dport == b->sport;
}

static __always_inline void set_conntrack_address(__u8 *to, const __u8 *from, bool ip4)
{
	if (ip4)
		set_ip4(to, *(const __be32 *)from);
	else
		__builtin_memcpy(to, from, 16);
}

static __always_inline void from_conntrack(struct tuple *to, const struct nf_conntrack_tuple *from)
{
	bool ip4 = from->src.l3num == AF_INET;

	set_conntrack_address(to->src, from->src.addr, ip4);
	set_conntrack_address(to->dst, from->dst.addr, ip4);
	to->proto = from->dst.protonum;
	to->family = ip4 ? 4 : 6;
	if (is_icmp(to)) {
		to->sport = bpf_ntohs(from->src.all);
		to->dport = from->dst.icmp.type << 8 | from->dst.icmp.code;
	} else if (to->proto == 6 || to->proto == 17 || to->proto == 132) {
		to->sport = bpf_ntohs(from->src.all);
		to->dport = bpf_ntohs(from->dst.all);
	}
}

#endif
