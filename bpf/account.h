/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Add one packet to its row in the active window. */
#ifndef NATLENS_ACCOUNT_H
#define NATLENS_ACCOUNT_H

#define MAP_FULL -7 /* -E2BIG: a hash map at max_entries */

static __always_inline void count_lost(const struct packet *packet, long error)
{
	if (error == MAP_FULL) {
		COUNT_BY(dropped_rows_full_packets, packet->segments);
		COUNT_BY(dropped_rows_full_octets, packet->octets);
	} else {
		COUNT_BY(dropped_rows_memory_packets, packet->segments);
		COUNT_BY(dropped_rows_memory_octets, packet->octets);
	}
}

static __always_inline __u8 syn_bits(const struct packet *packet)
{
	return SYN_SEEN | SYN_FIRST | (packet->tcp_flags & TCP_ACK ? SYN_ACKED : 0);
}

/* A port is used again: put the row's content so far aside and begin the next generation in its place.
 * Subtracting what was copied keeps what another CPU adds meanwhile. */
static __always_inline void retire(struct row *row, const struct packet *packet, __u32 window, __u64 now)
{
	struct retired_key key = {.row = packet->key, .first_ns = row->first_ns};
	void *retired = bpf_map_lookup_elem(&retired_windows, &window);
	struct row before = *row;

	if (!retired || bpf_map_update_elem(retired, &key, &before, BPF_ANY)) {
		COUNT(dropped_retired_full);
		row->syn_seq = packet->seq;
		return;
	}
	__sync_fetch_and_add(&row->octets, -before.octets);
	__sync_fetch_and_add(&row->packets, -before.packets);
	row->first_ns = now;
	row->syn_seq = packet->seq;
	row->tcp_flags = 0;
	row->syn = syn_bits(packet);
	row->conntrack = CONNTRACK_UNASKED;
}

/* Returns whether the packet began a new generation. */
static __always_inline bool add(struct row *row, const struct packet *packet, __u32 window)
{
	__u32 tick = bpf_jiffies64();
	bool begins = false;

	if (packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) { /* these order generations: the precise clock */
		__u64 now = bpf_ktime_get_ns();

		/* A retransmitted SYN repeats its sequence number, a new connection draws another one. */
		if (packet->tcp_flags & TCP_SYN && !(row->syn && row->syn_seq == packet->seq)) {
			retire(row, packet, window, now);
			begins = true;
		}
		row->last_ns = now;
		row->tick = tick;
	} else if (row->tick != tick) {
		__u64 now = coarse_ns(); /* stands still within a tick; asking it costs a fifth of all this */

		if (now > row->last_ns)
			row->last_ns = now;
		row->tick = tick;
	}
	__sync_fetch_and_add(&row->octets, packet->octets);
	__sync_fetch_and_add(&row->packets, packet->segments);
	/* A connection's direction runs on one CPU at a time: a plain store loses no flag (5.10 has no atomic or). */
	if (packet->tcp_flags & ~row->tcp_flags)
		row->tcp_flags |= packet->tcp_flags;
	return begins;
}

/* What conntrack says of one packet. */
struct word {
	__u16 zone;
	__u8 direction; /* enum conntrack_word; 0: nothing */
};

static __always_inline void tell(struct row *row, const struct word *word)
{
	row->zone = word->zone;
	row->conntrack = word->direction;
}

static __always_inline long insert(void *rows, const struct packet *packet, const struct word *word)
{
	struct row row = {.octets = packet->octets,
			  .packets = packet->segments,
			  .first_ns = bpf_ktime_get_ns(),
			  .tcp_flags = packet->tcp_flags};

	row.last_ns = row.first_ns;
	if (packet->tcp_flags & TCP_SYN) {
		row.syn = syn_bits(packet);
		row.syn_seq = packet->seq;
	}
	tell(&row, word);
	return bpf_map_update_elem(rows, &packet->key, &row, BPF_NOEXIST);
}

/* Rules and sampling (rules.h): whether a packet's row was left out lately; whether a packet without a row gets one. */
static __always_inline bool was_left_out(const struct packet *packet);
static __always_inline bool is_left_out(struct __sk_buff *ctx, const struct packet *packet, const struct word *word);

/* Count the packet; `word` may be empty. Returns its row where conntrack can be asked about it: not of the first packet
 * of a connection, for the entry that it would find is that of the port's last one. */
static __always_inline struct row *account(struct __sk_buff *ctx, const struct packet *packet, __u32 window,
					   const struct word *word)
{
	void *rows = bpf_map_lookup_elem(&rows_windows, &window);
	struct row *row;
	bool begins;
	long error;

	if (!rows) {
		COUNT(windows_missing);
		return NULL;
	}
	if (was_left_out(packet))
		return NULL;
	row = bpf_map_lookup_elem(rows, &packet->key);
	if (!row) {
		if (is_left_out(ctx, packet, word))
			return NULL;
		error = insert(rows, packet, word);
		if (!error)
			return NULL;
		row = bpf_map_lookup_elem(rows, &packet->key); /* another CPU may have been first */
		if (!row) {
			count_lost(packet, error);
			return NULL;
		}
	}
	begins = add(row, packet, window);
	if (word->direction)
		tell(row, word);
	return begins ? NULL : row;
}

#endif
