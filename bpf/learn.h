/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Learn from conntrack: the direction of a packet, and what NAT made of its connection. */
#ifndef NATLENS_LEARN_H
#define NATLENS_LEARN_H

/* Store ORIGINAL → REPLY in the window that the packet is counted in: nothing goes stale, nothing is overwritten. */
static __always_inline void store(struct translation_key *key, const struct packet *packet, __u32 window, __u32 ifindex,
				  bool original, bool leaving, __u8 source)
{
	void *translations = bpf_map_lookup_elem(&translations_windows, &window);
	struct translation *known;
	__u64 octets = original && leaving ? packet->octets : 0;
	__u64 segments = original && leaving ? packet->segments : 0;
	__u32 tick;

	if (!translations) {
		COUNT(windows_missing);
		return;
	}
	known = bpf_map_lookup_elem(translations, key);
	if (!known) {
		struct translation first = {.first_ns = bpf_ktime_get_ns(),
					    .forward_octets = octets,
					    .forward_packets = segments,
					    .source = source};

		first.last_ns = first.first_ns;
		if (original)
			first.forward_ifindex = ifindex;
		else
			first.reply_ifindex = ifindex;
		if (!bpf_map_update_elem(translations, key, &first, BPF_NOEXIST))
			return;
		known = bpf_map_lookup_elem(translations, key);
		if (!known) {
			COUNT(dropped_translations_full);
			return;
		}
	}
	tick = bpf_jiffies64();
	if (known->tick != tick) {
		known->last_ns = coarse_ns();
		known->tick = tick;
	}
	if (!leaving) /* a look-up knows of zone 0 only: the packet, and where it came in, may be a twin's in another */
		return;
	if (original) {
		known->forward_ifindex = ifindex;
		__sync_fetch_and_add(&known->forward_octets, octets);
		__sync_fetch_and_add(&known->forward_packets, segments);
	} else {
		known->reply_ifindex = ifindex;
	}
}

/* bpf_skb_ct_lookup() takes no other protocols. */
static __always_inline bool has_lookup(const struct tuple *tuple)
{
	return tuple->proto == PROTO_TCP || tuple->proto == PROTO_UDP;
}

/* A forwarded packet without NAT was counted under the same tuple where it came in, maybe as the only one of its row (a
 * datagram and its answer): its entry tells zone and initiator, which a look-up there cannot for a first packet. */
static __always_inline void tell_forwarded(const struct packet *packet, __u32 window, __u32 came_in_by,
					   const struct word *word)
{
	struct row_key key = packet->key;
	struct row *row;
	void *rows;

	key.ifindex = came_in_by;
	key.side = SIDE_INGRESS;
	rows = bpf_map_lookup_elem(&rows_windows, &window);
	row = rows ? bpf_map_lookup_elem(rows, &key) : NULL;
	if (row && row->conntrack < CONNTRACK_ORIGINAL)
		tell(row, word);
}

static __always_inline void read_tuples(struct translation_key *key, const struct nf_conn *ct)
{
	struct nf_conntrack_tuple from = {};

	bpf_core_read(&from, sizeof(from), &ct->tuplehash[0].tuple);
	from_conntrack(&key->original, &from);
	bpf_core_read(&from, sizeof(from), &ct->tuplehash[1].tuple);
	from_conntrack(&key->reply, &from);
}

/* Rules and sampling judge by it (rules.h). */
static __always_inline void remember(const struct translation_key *key);

/* The packet's own entry: at egress NAT has been done and the entry is still attached. Untrusted in two ways: it may
 * belong to another namespace (a macvlan pod's own NAT), or to the connection an ICMP error relates to. */
static __always_inline void learn_attached(struct __sk_buff *ctx, const struct packet *packet, __u32 window,
					   __u32 ifindex, struct word *word)
{
	struct sk_buff *skb = KERNEL_PACKET(ctx);
	struct net_device *device = FIELD(skb, dev);
	unsigned long nfct = FIELD(skb, _nfct);
	const struct nf_conn *ct = (void *)(nfct & ~NFCT_INFOMASK);
	bool original = (nfct & NFCT_INFOMASK) < IP_CT_IS_REPLY;
	struct translation_key key = {};

	if (!ct)
		return;
	if ((unsigned long)BPF_CORE_READ(ct, ct_net.net) != (unsigned long)FIELD(device, nd_net.net)) {
		COUNT(foreign_netns);
		return;
	}
	read_tuples(&key, ct);
	if (!is_inverse(original ? &key.reply : &key.original, &packet->key.tuple) &&
	    !same_tuple(original ? &key.original : &key.reply, &packet->key.tuple)) {
		COUNT(related);
		return;
	}
	key.zone = zone_of(ct);
	remember(&key);
	word->zone = key.zone;
	word->direction = original ? CONNTRACK_ORIGINAL : CONNTRACK_REPLY;
	/* An entry without NAT still tells zone and initiator. A later packet of TCP or UDP is looked up where it comes
	 * in; a TCP connection's first one says it all itself. */
	if (!is_inverse(&key.original, &key.reply) || !has_lookup(&key.original) ||
	    (key.original.proto == PROTO_UDP && (nfct & NFCT_INFOMASK) == IP_CT_NEW))
		store(&key, packet, window, ifindex, original, true, TRANSLATION_TC);
	else if (ifindex && !(BPF_CORE_READ(ct, status) & IPS_ASSURED)) /* later packets are looked up */
		tell_forwarded(packet, window, ifindex, word);
}

/* Look up the entry that the packet's tuple is in, in zone 0. Returns conntrack's direction, or -1 where there is none.
 */
static __always_inline int look_up(struct __sk_buff *ctx, const struct tuple *tuple, struct translation_key *key)
{
	struct bpf_ct_opts opts = {.netns_id = BPF_F_CURRENT_NETNS, .l4proto = tuple->proto};
	struct bpf_sock_tuple ask = {};
	struct nf_conn *ct;

	if (tuple->family == 4) {
		ask.ipv4.saddr = *(__be32 *)&tuple->src[12];
		ask.ipv4.daddr = *(__be32 *)&tuple->dst[12];
		ask.ipv4.sport = bpf_htons(tuple->sport);
		ask.ipv4.dport = bpf_htons(tuple->dport);
		ct = bpf_skb_ct_lookup(ctx, &ask, sizeof(ask.ipv4), &opts, sizeof(opts));
	} else {
		__builtin_memcpy(ask.ipv6.saddr, tuple->src, 16);
		__builtin_memcpy(ask.ipv6.daddr, tuple->dst, 16);
		ask.ipv6.sport = bpf_htons(tuple->sport);
		ask.ipv6.dport = bpf_htons(tuple->dport);
		ct = bpf_skb_ct_lookup(ctx, &ask, sizeof(ask.ipv6), &opts, sizeof(opts));
	}
	if (!ct)
		return -1;
	read_tuples(key, ct);
	key->zone = zone_of(ct);
	bpf_ct_release(ct);
	return opts.dir;
}

/* Ask conntrack by the packet's tuple: for connections that never leave by a covered egress (one-way to a process of
 * the node). Costs up to 1.3 us, so once a row and window, and not for the first packet, which has no entry yet. */
static __always_inline void learn_lookup(struct __sk_buff *ctx, const struct packet *packet, __u32 window,
					 struct word *word)
{
	const struct tuple *tuple = &packet->key.tuple;
	struct translation_key key = {};
	int direction;

	word->direction = CONNTRACK_UNKNOWN;
	if (!has_lookup(tuple))
		return;
	direction = look_up(ctx, tuple, &key);
	if (direction < 0)
		return;
	word->zone = key.zone;
	word->direction = direction ? CONNTRACK_REPLY : CONNTRACK_ORIGINAL;
	if (!is_inverse(&key.original, &key.reply))
		store(&key, packet, window, 0, !direction, false, TRANSLATION_LOOKUP);
}

#endif
