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

static __always_inline void add(struct row *row, const struct packet *packet, __u32 window)
{
	__u64 now;

	if (packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) { /* these order generations: the precise clock */
		now = bpf_ktime_get_ns();
		/* A retransmitted SYN repeats its sequence number, a new connection draws another one. */
		if (packet->tcp_flags & TCP_SYN && !(row->syn && row->syn_seq == packet->seq))
			retire(row, packet, window, now);
	} else {
		now = coarse_ns();
	}
	__sync_fetch_and_add(&row->octets, packet->octets);
	__sync_fetch_and_add(&row->packets, packet->segments);
	if (now > row->last_ns)
		row->last_ns = now;
	/* One direction of one connection runs on one CPU at a time, so a plain store loses no flag; 5.10 has no atomic
	 * or. */
	if (packet->tcp_flags & ~row->tcp_flags)
		row->tcp_flags |= packet->tcp_flags;
}

/* Returns the packet's row, or NULL where it was not counted (and that was). `fresh` tells that it is the row's first.
 */
static __always_inline struct row *account(const struct packet *packet, __u32 window, bool *fresh)
{
	void *rows = bpf_map_lookup_elem(&rows_windows, &window);
	struct row *row;
	long error;

	if (!rows) {
		COUNT(windows_missing);
		return NULL;
	}
	row = bpf_map_lookup_elem(rows, &packet->key);
	if (!row) {
		struct row first = {.octets = packet->octets,
				    .packets = packet->segments,
				    .first_ns = bpf_ktime_get_ns(),
				    .tcp_flags = packet->tcp_flags};

		first.last_ns = first.first_ns;
		if (packet->tcp_flags & TCP_SYN) {
			first.syn = syn_bits(packet);
			first.syn_seq = packet->seq;
		}
		error = bpf_map_update_elem(rows, &packet->key, &first, BPF_NOEXIST);
		row = bpf_map_lookup_elem(rows, &packet->key);
		if (!error) {
			*fresh = true;
			return row;
		}
		if (!row) { /* with -EEXIST another CPU was first: fall through */
			count_lost(packet, error);
			return NULL;
		}
	}
	add(row, packet, window);
	return row;
}

#endif
