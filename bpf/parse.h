/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* One packet to one tuple, octets and segments. Everything read here was written by a stranger. */
#ifndef NATLENS_PARSE_H
#define NATLENS_PARSE_H

#define VLAN_TAGS 3 /* 802.1ad + 802.1Q, and one to spare */
#define EXTENSION_HEADERS 8
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETHERNET 14

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define GSO_BY_FRAGS 0xFFFF

struct packet {
	struct tuple tuple;
	__u32 octets;
	__u32 segments;
	__u32 seq;
	__u8 tcp_flags;
	bool later_fragment; /* ports are not in this packet */
	bool fragment;
};

/* Where the packet's bytes are. */
struct frame {
	struct __sk_buff *skb;
	__u32 network; /* of the first byte behind the link header, from `data` */
	__u32 length;  /* of the packet, from `network`; with link-layer padding */
};

enum verdict {
	PARSED,
	NOT_IP,
	UNPARSED, /* counted */
};

/* Copy `size` bytes at `offset` from the network header. The linear part is read directly; a header that
 * lies in a page fragment goes through the helper. */
static __always_inline bool take(const struct frame *frame, __u32 offset, void *to, const __u32 size)
{
	void *data = (void *)(long)frame->skb->data;
	void *end = (void *)(long)frame->skb->data_end;

	if (offset > 0x7FFF)
		return false;
	data += frame->network + offset;
	if (data + size <= end) {
		__builtin_memcpy(to, data, size);
		return true;
	}
	return !bpf_skb_load_bytes(frame->skb, frame->network + offset, to, size);
}

#endif
