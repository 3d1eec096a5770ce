/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Capture controls: which connections are not counted, by the user's rules and by sampling. Both judge a connection,
 * not a packet: by conntrack's ORIGINAL and REPLY, which all its packets share. Here only those packets are left out
 * whose connection is known well enough to be sure; user space judges the rest, once it knows (flows/selection.py, ADR
 * 14).
 */
#ifndef NATLENS_RULES_H
#define NATLENS_RULES_H

#define KEPT -1

/* What is known of a packet's connection: both of conntrack's tuples, ORIGINAL alone, or only the packet's own tuple.
 */
enum knowledge {
	KNOWN_PACKET,
	KNOWN_ORIGINAL,
	KNOWN_BOTH,
};

static __always_inline bool is_controlled(void)
{
	return capture_controls.rules || capture_controls.sampling > 1;
}

/* Of the packet under way: there is no room for it on the stack. */
static __always_inline struct known *known_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&known_connection, &zero);
}

static __always_inline void remember(const struct translation_key *key)
{
	struct known *known;

	if (!is_controlled())
		return;
	if (key->zone && !zones_in_use)
		zones_in_use = 1;
	known = known_here();
	if (known)
		known->key = *key;
}

/* How long a verdict holds: 0.26 to 2.6 s (HZ is 1,000 to 100). A tuple may become another connection's; a SYN, with or
 * without ACK, is always judged anew. */
#define VERDICT_TICKS 256

/* splitmix64's finalizer, as in flows/hashing.py; flows/sampling.py does the same. */
#define MIX_FIRST 0xBF58476D1CE4E5B9ULL
#define MIX_SECOND 0x94D049BB133111EBULL

static __always_inline __u64 stir(__u64 state, __u64 word)
{
	state = (state ^ word) * MIX_FIRST;
	return state ^ state >> 32;
}

static __always_inline __u64 hash_end(const __u8 *address, __u16 port)
{
	const __u64 *words = (const __u64 *)address;

	return stir(stir(stir(0, words[0]), words[1]), port);
}

/* The same for both directions: where there is no NAT nobody has to know who initiated. */
static __always_inline bool is_sampled(const struct tuple *original)
{
	__u16 dport = is_icmp(original) ? original->sport : original->dport;
	__u64 hash = hash_end(original->src, original->sport) + hash_end(original->dst, dport);

	hash = (hash ^ original->proto) * MIX_SECOND;
	hash ^= hash >> 29;
	return !((hash >> 32) * capture_controls.sampling >> 32);
}

/* 1 where a bit is set. With a branch the verifier would walk all that follows twice. */
static __always_inline __u64 any_of(__u64 bits)
{
	asm volatile("" : "+r"(bits)); /* else clang sees through it, and branches */
	return (bits | -bits) >> 63;
}

static __always_inline __u32 number_of(__u64 bit)
{
	return any_of(bit & 0xAAAAAAAAAAAAAAAA) | any_of(bit & 0xCCCCCCCCCCCCCCCC) << 1 |
	       any_of(bit & 0xF0F0F0F0F0F0F0F0) << 2 | any_of(bit & 0xFF00FF00FF00FF00) << 3 |
	       any_of(bit & 0xFFFF0000FFFF0000) << 4 | any_of(bit & 0xFFFFFFFF00000000) << 5;
}

static __always_inline const struct rule_ends *by_address(const __u8 *address)
{
	struct address_prefix prefix = {.length = 128};

	__builtin_memcpy(prefix.address, address, 16);
	return bpf_map_lookup_elem(&rule_addresses, &prefix);
}

static __always_inline const struct rule_ends *by_port(__u16 port)
{
	struct port_prefix prefix = {.length = 16, .port = bpf_htons(port)};

	return bpf_map_lookup_elem(&rule_ports, &prefix);
}

/* Rules that hold of one tuple: bit n is rule n. */
struct holding {
	__u64 any_address, any_port;
	__u64 source, destination, responder;
};

static __always_inline bool look_at(struct holding *holding, const struct tuple *tuple)
{
	const struct rule_ends *src = by_address(tuple->src), *dst = by_address(tuple->dst);
	const struct rule_ends *sport = by_port(tuple->sport), *dport = by_port(tuple->dport);

	if (!src || !dst || !sport || !dport) /* user space stores what holds of everything */
		return false;
	holding->any_address |= src->any | dst->any;
	holding->any_port |= sport->any | dport->any;
	holding->source = src->source & sport->source;
	holding->responder = src->responder & sport->responder;
	holding->destination = dst->destination & dport->destination;
	return true;
}

/* Rules that ask for an end which is not known yet: they may hold. */
static __always_inline __u64 where_known(__u64 known, __u64 holding, __u64 otherwise)
{
	return (holding & known) | (otherwise & ~known);
}

/* What is the same wherever a connection is seen; and side and interface, which belong to the packet. */
static __always_inline __u64 by_packet(const struct row_key *key)
{
	__u32 kind = key->tuple.proto | (key->tuple.family == 6) << 8 | (key->side & 1) << 9, ifindex = key->ifindex;
	__u64 *interfaces = bpf_map_lookup_elem(&rule_interfaces, &ifindex);
	__u64 *kinds = bpf_map_lookup_elem(&rule_kinds, &kind);

	return (kinds ? *kinds : 0) & (interfaces ? *interfaces : capture_controls.anywhere);
}

/* Returns the number of the rule that rejects the packet for sure, or KEPT. The first rule that holds decides. */
static __always_inline int rejected_by(const struct row_key *key, const struct known *known)
{
	__u64 original = -(__u64)((known->level + 1) >> 1), both = -(__u64)(known->level >> 1);
	__u64 maybe = by_packet(key), surely = maybe, first;
	struct holding dialled = {}, answering = {};

	if (!look_at(&dialled, &known->key.original) || !look_at(&answering, &known->key.reply))
		return KEPT;
	dialled.any_address |= answering.any_address;
	dialled.any_port |= answering.any_port;
	maybe &= where_known(both, dialled.any_address & dialled.any_port, ~0ULL);
	maybe &= where_known(original, dialled.source & dialled.destination, ~0ULL);
	maybe &= where_known(both, answering.responder, ~0ULL);
	surely &= dialled.any_address & dialled.any_port;
	surely &= where_known(original, dialled.source & dialled.destination, capture_controls.of_any_initiator);
	surely &= where_known(both, answering.responder, capture_controls.of_any_responder);
	first = maybe & -maybe;
	return first & surely & capture_controls.rejects ? (int)number_of(first) : KEPT;
}

/* Only where packets that leave tell of zones: else a look-up may find a twin, and nothing says so. */
static __always_inline bool can_look_up(void)
{
	return packets_tell && has.reads_memory && has.looks_up;
}

/* Find out what can be known where a packet comes in. A SYN begins a connection, and before NAT: its tuple is ORIGINAL.
 */
static __always_inline void find_connection(struct __sk_buff *ctx, const struct packet *packet, struct known *known)
{
	const struct tuple *own = &packet->key.tuple;

	if (packet->key.side == SIDE_INGRESS && can_look_up() && has_lookup(own) && !zones_in_use &&
	    (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN && look_up(ctx, own, &known->key) >= 0) {
		known->level = KNOWN_BOTH;
		return;
	}
	known->key.original = *own;
	known->key.reply = *own; /* one of the four ends each, so is_any_end() holds of them */
	if (packet->key.side == SIDE_INGRESS && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		known->level = KNOWN_ORIGINAL;
}

/* Sampling comes first: rules then count what they reject of the sampled connections, as user space does. */
static __always_inline int judge(struct __sk_buff *ctx, const struct packet *packet, struct known *known)
{
	if (known->level == KNOWN_PACKET)
		find_connection(ctx, packet, known);
	if (capture_controls.sampling > 1) {
		if (known->level == KNOWN_PACKET)
			return KEPT;
		if (!is_sampled(&known->key.original))
			return CAUSE_SAMPLING;
	}
	return capture_controls.rules ? rejected_by(&packet->key, known) : KEPT;
}

static __always_inline void count_left_out(__u32 by, const struct packet *packet)
{
	struct left_out_count *count = bpf_map_lookup_elem(&left_out_counts, &by);

	if (!count)
		return;
	count->packets += packet->segments;
	count->octets += packet->octets;
}

/* The place in the table of verdicts for a row. */
static __always_inline struct verdict *place_of(const struct row_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 destination = words[2] ^ words[3];
	__u64 mixed = words[0] ^ words[1] ^ (destination << 13 | destination >> 51) ^ words[4] ^ words[5];
	__u32 place = ((mixed * MIX_FIRST) >> 32) * capture_controls.places >> 32;

	return bpf_map_lookup_elem(&verdicts, &place);
}

static __always_inline bool is_of(const struct verdict *verdict, const struct row_key *key)
{
	const __u64 *own = (const __u64 *)key, *other = (const __u64 *)&verdict->key;

	return own[4] == other[4] && own[1] == other[1] && own[3] == other[3] && own[5] == other[5] &&
	       own[0] == other[0] && own[2] == other[2];
}

/* Other CPUs may be reading or writing: the place is nobody's meanwhile. */
static __always_inline void put_verdict(struct verdict *verdict, const struct row_key *key, __u32 by)
{
	volatile __u32 *owner = &verdict->key.ifindex;

	*owner = 0;
	barrier();
	verdict->key.tuple = key->tuple;
	verdict->key.side = key->side;
	verdict->by = by;
	verdict->tick = bpf_jiffies64();
	barrier();
	*owner = key->ifindex;
}

static __always_inline bool was_left_out(const struct packet *packet)
{
	const struct verdict *verdict;

	if (!is_controlled() || packet->tcp_flags & TCP_SYN)
		return false;
	verdict = place_of(&packet->key);
	if (!verdict || !is_of(verdict, &packet->key) || (__u32)bpf_jiffies64() - verdict->tick >= VERDICT_TICKS)
		return false;
	count_left_out(verdict->by, packet);
	return true;
}

static __always_inline bool is_left_out(struct __sk_buff *ctx, const struct packet *packet, const struct word *word)
{
	struct verdict *verdict;
	struct known *known;
	int by;

	if (!is_controlled())
		return false;
	known = known_here();
	verdict = place_of(&packet->key);
	if (!known || !verdict)
		return false;
	known->level = word->direction >= CONNTRACK_ORIGINAL ? KNOWN_BOTH : KNOWN_PACKET;
	by = judge(ctx, packet, known);
	if (by == KEPT) {
		if (is_of(verdict, &packet->key)) /* of the tuple's connection before */
			verdict->key.ifindex = 0;
		return false;
	}
	put_verdict(verdict, &packet->key, by);
	count_left_out(by, packet);
	return true;
}

#endif
