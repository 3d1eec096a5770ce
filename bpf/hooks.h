/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Learn NAT where it is done: called once a packet and manipulation, in every network namespace of the machine. */
#ifndef NATLENS_HOOKS_H
#define NATLENS_HOOKS_H

/* Inode of the agent's network namespace: entries of others are none of its business. */
const volatile __u32 agent_netns SEC(".rodata.netns") = 0;

struct begun_key {
	struct tuple original;
	__u64 entry; /* its address */
};

/* The packet that began a connection: its destination is translated before the kernel chose its source. */
struct begun {
	__u64 first_ns;
	__u64 octets;
	__u64 segments;
	__u32 ifindex;
	__u32 window;
};

/* Connections between their first packet and the next one. LRU: one that is dropped must not stay. 8,192 are what
 * a node opens in 80 ms at 100,000 a second; what is lost early is a first sight that is late by one packet. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct begun_key);
	__type(value, struct begun);
} begun_connections SEC(".maps");

/* IPFIX octets, as measure() in parse.h has them: the headers stand in every segment. At the hook `len` begins
 * with the IP header. */
static __always_inline void measure_whole(struct packet *packet, const struct sk_buff *skb, __u8 proto)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	struct skb_shared_info *shared = (void *)(head + BPF_CORE_READ(skb, end));
	__u32 header = BPF_CORE_READ(skb, transport_header) - BPF_CORE_READ(skb, network_header);
	__u32 size = BPF_CORE_READ(shared, gso_size), segments = BPF_CORE_READ(shared, gso_segs);
	__u8 data_offset = 0;

	packet->octets = BPF_CORE_READ(skb, len);
	packet->segments = 1;
	if (!size)
		return;
	if (proto == PROTO_TCP)
		bpf_probe_read_kernel(&data_offset, 1, head + BPF_CORE_READ(skb, transport_header) + 12);
	header += proto == PROTO_TCP ? (data_offset >> 4) * 4 : 8;
	if (!segments && packet->octets > header)
		segments = (packet->octets - header + size - 1) / size;
	packet->segments = segments;
	packet->octets += (segments - 1) * header;
}

/* The entry was told of for the first time: it began with the packet that came before this one. */
static __always_inline void recall(struct translation_key *key, const struct nf_conn *ct, __u32 window, __u8 source)
{
	struct begun_key name = {.original = key->original, .entry = (unsigned long)ct};
	void *translations = bpf_map_lookup_elem(&translations_windows, &window);
	struct packet packet = {};
	struct translation *known;
	struct begun *begun;

	if (!translations || bpf_map_lookup_elem(translations, key))
		return;
	begun = bpf_map_lookup_elem(&begun_connections, &name);
	if (!begun)
		return;
	if (begun->window == window) { /* else that packet's row is in a window that is closed */
		packet.octets = begun->octets;
		packet.segments = begun->segments;
	}
	store(key, &packet, window, begun->ifindex, true, true, source);
	known = bpf_map_lookup_elem(translations, key);
	if (known && known->first_ns > begun->first_ns)
		known->first_ns = begun->first_ns;
	bpf_map_delete_elem(&begun_connections, &name);
}

static __always_inline void put_aside(const struct translation_key *key, const struct nf_conn *ct,
				      const struct packet *packet, __u32 window, __u32 ifindex)
{
	struct begun_key name = {.original = key->original, .entry = (unsigned long)ct};
	struct begun begun = {.first_ns = bpf_ktime_get_ns(),
			      .octets = packet->octets,
			      .segments = packet->segments,
			      .ifindex = ifindex,
			      .window = window};

	bpf_map_update_elem(&begun_connections, &name, &begun, BPF_ANY);
}

/* One packet of one connection is about to be changed. The first time its destination is changed the kernel has not
 * chosen the source yet: REPLY is not what it will be, so that is remembered until it is. */
static __always_inline int manipulated(const struct sk_buff *skb, const struct nf_conn *ct, __u32 manip,
				       __u32 direction, __u8 source)
{
	__u32 window = active_window & 1, ifindex = BPF_CORE_READ(skb, skb_iif);
	unsigned long status = BPF_CORE_READ(ct, status);
	struct translation_key key = {};
	struct packet packet = {};
	bool original = direction == 0;

	if (BPF_CORE_READ(ct, ct_net.net, ns.inum) != agent_netns)
		return 0;
	read_tuples(&key, ct);
	/* Both its ends may be changed, each by a call: the packet is counted once. */
	if (original && manip == (status & IPS_DST_NAT ? NF_NAT_MANIP_DST : NF_NAT_MANIP_SRC))
		measure_whole(&packet, skb, key.original.proto);
	if ((status & IPS_NAT_DONE) != IPS_NAT_DONE) {
		put_aside(&key, ct, &packet, window, ifindex);
		return 0;
	}
	if (is_inverse(&key.original, &key.reply))
		return 0;
	key.zone = zone_of(ct);
	recall(&key, ct, window, source);
	store(&key, &packet, window, ifindex, original, true, source);
	return 0;
}

#endif
