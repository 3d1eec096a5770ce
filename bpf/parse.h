/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* One packet to one tuple, octets and segments. Everything read here was written by a stranger. */
#ifndef NATLENS_PARSE_H
#define NATLENS_PARSE_H

#define VLAN_TAGS 3 /* 802.1ad + 802.1Q, and one to spare */
#define EXTENSION_HEADERS 8
#define ETHERNET 14

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_OFFSET 0x1FFF
#define IP6_MORE_FRAGMENTS 0x0001
#define IP6_OFFSET 0xFFF8

#define NAT_T 4500 /* ESP in UDP, RFC 3948 */

#define JUMBO 8 /* hop-by-hop header with the jumbo option: put in by BIG TCP, never on the wire */

enum next_header {
	HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	ROUTING = 43,
	FRAGMENT = 44,
	PROTO_ESP = 50,
	AUTHENTICATION = 51,
	PROTO_ICMP6 = 58,
	DESTINATION_OPTIONS = 60,
	PROTO_SCTP = 132,
};

struct ip4_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 proto;
	__be16 checksum;
	__be32 src;
	__be32 dst;
} __attribute__((packed, aligned(4)));

struct ip6_header {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next;
	__u8 hops;
	__be64 src[2];
	__be64 dst[2];
} __attribute__((packed, aligned(4)));

struct ip6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* The first bytes of TCP; the ports are at the same place in UDP and SCTP. */
struct transport_header {
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 data_offset;
	__u8 flags;
} __attribute__((packed, aligned(2)));

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
};

struct packet {
	struct row_key key;
	__u32 octets;
	__u32 segments;
	__u32 seq;
	__u32 fragment_id;
	__u8 fragment_proto;
	__u8 tcp_flags;
	__u16 fragment;	     /* offset and "more" bits; 0: whole */
	bool later_fragment; /* its ports are in the first fragment */
};

/* Where the packet's bytes are, and how far they reach. */
struct frame {
	struct __sk_buff *skb;
	__u32 network; /* of the first byte behind the link header, from `data` */
	__u32 length;  /* octets from there to the end of the IP packet (as it says itself) */
	__u32 at;      /* of the header that is next, from `network` */
	/* 0, but the verifier does not know: or'ed to a value it makes the verifier forget what it knows of that, and
	 * walk what follows once, not once a protocol and header: 180,000 steps for five programs instead of 800,000.
	 */
	__u32 nothing;
};

/* Copy the `size` bytes at frame->at. The linear part is read directly, a header that lies in a page
 * fragment through the helper. */
static __always_inline bool take(const struct frame *frame, void *to, const __u32 size)
{
	volatile struct __sk_buff *skb = frame->skb;
	__u32 offset = frame->network + frame->at;
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (offset > 0x3FFF) /* extension headers are followed that far */
		return false;
	data += bounded(offset, 0x4000);
	if (data + size <= end) {
		/* not aligned, but said to be, or clang copies single bytes; kernels on x86, arm64 and s390 take it */
		__builtin_memcpy(to, __builtin_assume_aligned(data, 8), size);
		return true;
	}
	return !bpf_skb_load_bytes(frame->skb, offset, to, size);
}

/* The same where speed is no matter: one path instead of two keeps the verifier's work down. */
static __always_inline bool take_slowly(const struct frame *frame, void *to, const __u32 size)
{
	return !bpf_skb_load_bytes(frame->skb, frame->network + frame->at, to, size);
}

static __always_inline bool truncated(void)
{
	COUNT(unparsed_truncated);
	return false;
}

/* The octets in front of the payload in every segment of a tunnelled GSO packet, which are segments of the inner TCP
 * or UDP; 0: this is none. */
static __always_inline __u32 tunnelled_header(const struct frame *frame)
{
	__u8 version = 0, proto = 0, data_offset = 0;
	struct frame inner = *frame;
	struct sk_buff *kernel;
	__u32 transport;

	if (!has.casts_context && !has.reads_memory)
		return 0;
	kernel = KERNEL_PACKET(frame->skb);
	if (!IS_TUNNELLED(kernel))
		return 0;
	transport = (__u16)(FIELD(kernel, inner_transport_header) - FIELD(kernel, network_header));
	inner.at = (__u16)(FIELD(kernel, inner_network_header) - FIELD(kernel, network_header));
	take_slowly(&inner, &version, 1);
	inner.at += version >> 4 == 4 ? 9 : 6; /* protocol, or next header */
	inner.at |= frame->nothing;
	take_slowly(&inner, &proto, 1);
	inner.at = transport + 12;
	take_slowly(&inner, &data_offset, 1);
	return transport + (proto == PROTO_UDP ? 8 : (data_offset >> 4) * 4);
}

/* Octets that stand before the payload in every segment of a GSO packet, from `network`; 0: not known. */
static __always_inline __u32 repeated_header(const struct frame *frame, __u8 proto, __u8 tcp_data_offset)
{
	__u32 tunnelled;

	if (proto == PROTO_TCP)
		return frame->at + (tcp_data_offset >> 4) * 4;
	tunnelled = tunnelled_header(frame);
	if (tunnelled)
		return tunnelled;
	if (proto == PROTO_UDP)
		return frame->at + 8;
	return proto == PROTO_SCTP ? frame->at + 12 : 0;
}

/* IPFIX octets: the IP header and payload of every segment that this skb is on the wire. */
static __always_inline void measure(const struct frame *frame, struct packet *packet, __u32 header, __u32 jumbo)
{
	volatile struct __sk_buff *skb = frame->skb;
	__u32 size = skb->gso_size, segments = skb->gso_segs, octets = frame->length - jumbo;

	header |= frame->nothing;
	if (!header)
		return;
	header -= jumbo;
	if (!segments && size && octets > header) /* a tap with vnet_hdr leaves gso_segs 0 */
		segments = (octets - header + size - 1) / size;
	if (!segments)
		segments = 1;
	packet->segments = segments;
	packet->octets = octets + (segments - 1) * header;
}

static __always_inline bool parse_transport(struct frame *frame, struct packet *packet, __u32 jumbo)
{
	struct tuple *tuple = &packet->key.tuple;
	struct transport_header header = {};
	volatile struct __sk_buff *skb = frame->skb;

	switch (tuple->proto) {
	case PROTO_TCP:
		if (frame->at + 20 > frame->length || !take(frame, &header, 14))
			return truncated();
		packet->tcp_flags = header.flags;
		packet->seq = bpf_ntohl(header.seq);
		break;
	case PROTO_UDP:
		if (frame->at + 8 > frame->length || !take(frame, &header, 4))
			return truncated();
		break;
	case PROTO_SCTP:
		if (frame->at + 12 > frame->length || !take(frame, &header, 4))
			return truncated();
		break;
	case PROTO_ICMP:
	case PROTO_ICMP6: {
		struct icmp_header icmp;

		if (frame->at + 8 > frame->length || !take(frame, &icmp, 6))
			return truncated();
		if (has_id(tuple->proto, icmp.type))
			tuple->sport = bpf_ntohs(icmp.id);
		tuple->dport = icmp.type << 8 | icmp.code;
		return true;
	}
	default: /* no ports */
		break;
	}
	tuple->sport = bpf_ntohs(header.sport);
	tuple->dport = bpf_ntohs(header.dport);
	if (skb->gso_size)
		measure(frame, packet, repeated_header(frame, tuple->proto, header.data_offset), jumbo);
	return true;
}

static __always_inline bool parse_ip4(struct frame *frame, struct packet *packet)
{
	struct tuple *tuple = &packet->key.tuple;
	volatile struct __sk_buff *skb = frame->skb;
	struct ip4_header ip;
	__u32 total, header;
	__u16 fragment;

	if (!take(frame, &ip, sizeof(ip)))
		return truncated();
	header = (ip.version_ihl & 0xF) * 4;
	if (ip.version_ihl >> 4 != 4 || header < sizeof(ip)) {
		COUNT(unparsed_header);
		return false;
	}
	total = bpf_ntohs(ip.total_length);
	if (!total && skb->gso_size) /* BIG TCP */
		total = frame->length;
	if (total < header || total > frame->length)
		return truncated();
	frame->length = total;
	frame->at = header;
	tuple->family = 4;
	tuple->proto = ip.proto;
	set_ip4(tuple->src, ip.src);
	set_ip4(tuple->dst, ip.dst);
	packet->octets = total;
	packet->segments = 1;
	fragment = bpf_ntohs(ip.fragment);
	if (fragment & (IP4_MORE_FRAGMENTS | IP4_OFFSET)) {
		packet->fragment = fragment;
		packet->later_fragment = fragment & IP4_OFFSET;
		packet->fragment_id = bpf_ntohs(ip.id);
		packet->fragment_proto = ip.proto;
		if (packet->later_fragment)
			return true;
	}
	return parse_transport(frame, packet, 0);
}

static __always_inline bool is_extension(__u8 next)
{
	return next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == AUTHENTICATION ||
	       next == DESTINATION_OPTIONS;
}

/* Follow the extension headers from frame->at on; leaves the upper protocol in the tuple. */
static __always_inline bool skip_extensions(struct frame *frame, struct packet *packet, __u8 next)
{
	struct ip6_fragment header;

	for (int i = 0; i < EXTENSION_HEADERS && is_extension(next); i++) {
		frame->at |= frame->nothing;
		packet->fragment |= frame->nothing;
		if (next == FRAGMENT) {
			if (frame->at + 8 > frame->length || !take_slowly(frame, &header, 8))
				return truncated();
			packet->fragment = bpf_ntohs(header.offset) & (IP6_OFFSET | IP6_MORE_FRAGMENTS);
			packet->fragment_id = bpf_ntohl(header.id);
			packet->fragment_proto = header.next;
			frame->at += 8;
			if (packet->fragment & IP6_OFFSET) {
				packet->later_fragment = true;
				packet->key.tuple.proto = header.next;
				return true;
			}
		} else {
			if (frame->at + 2 > frame->length || !take_slowly(frame, &header, 2))
				return truncated();
			/* the second byte is a length: of 8 bytes each, but of 4 in AH (RFC 4302) */
			frame->at += next == AUTHENTICATION ? (header.reserved + 2) * 4 : (header.reserved + 1) * 8;
			if (frame->at > frame->length)
				return truncated();
		}
		next = header.next;
	}
	if (is_extension(next)) {
		COUNT(unparsed_extensions);
		return false;
	}
	packet->key.tuple.proto = next;
	return true;
}

static __always_inline bool parse_ip6(struct frame *frame, struct packet *packet)
{
	struct tuple *tuple = &packet->key.tuple;
	volatile struct __sk_buff *skb = frame->skb;
	__u32 total, jumbo = 0;
	struct ip6_header ip;

	if (!take(frame, &ip, sizeof(ip)))
		return truncated();
	if ((ip.version_class_label & bpf_htonl(0xF0000000)) != bpf_htonl(0x60000000)) {
		COUNT(unparsed_header);
		return false;
	}
	total = sizeof(ip) + bpf_ntohs(ip.payload_length);
	if (!ip.payload_length && skb->gso_size) {
		total = frame->length;
		jumbo = ip.next == HOP_BY_HOP ? JUMBO : 0;
	}
	if (total > frame->length)
		return truncated();
	frame->length = total;
	frame->at = sizeof(ip);
	tuple->family = 6;
	__builtin_memcpy(tuple->src, ip.src, 16);
	__builtin_memcpy(tuple->dst, ip.dst, 16);
	packet->octets = total - jumbo;
	packet->segments = 1;
	if (!skip_extensions(frame, packet, ip.next))
		return false;
	return packet->later_fragment || parse_transport(frame, packet, jumbo);
}

/* Later fragments go by the ports of their first one. */
static __always_inline void name_fragment(struct packet *packet)
{
	struct tuple *tuple = &packet->key.tuple;
	struct fragment_key key = {.id = packet->fragment_id, .proto = packet->fragment_proto, .family = tuple->family};
	struct fragment first = {.sport = tuple->sport, .dport = tuple->dport, .proto = tuple->proto};
	struct fragment *known;

	__builtin_memcpy(key.src, tuple->src, 16);
	__builtin_memcpy(key.dst, tuple->dst, 16);
	if (!packet->later_fragment) {
		bpf_map_update_elem(&fragments, &key, &first, BPF_ANY);
		return;
	}
	known = bpf_map_lookup_elem(&fragments, &key);
	if (!known) {
		COUNT(fragments_without_first);
		return;
	}
	tuple->sport = known->sport;
	tuple->dport = known->dport;
	tuple->proto = known->proto;
}

/* The octets that tc puts in front of a packet that came in by a device without link layer. These are none, but on
 * v5.10 tunnels leave the headers there that they took off. */
static __always_inline __u32 left_in_front(struct __sk_buff *ctx)
{
	struct sk_buff *kernel;

	if (!has.casts_context && !has.reads_memory)
		return 0;
	kernel = KERNEL_PACKET(ctx);
	return bounded(FIELD(kernel, mac_len), 1024);
}

/* Fill `packet` (zeroed by the caller); for `nothing` see struct frame. Returns false for what is not IP, and for what
 * cannot be parsed (counted). */
static __always_inline bool parse(struct __sk_buff *ctx, struct packet *packet, __u32 link_header, __u32 nothing)
{
	volatile struct __sk_buff *skb = ctx;
	struct frame frame = {.skb = ctx, .network = link_header, .nothing = nothing};
	__be16 protocol = skb->protocol;
	struct {
		__be16 tci;
		__be16 protocol;
	} tag;
	bool parsed = false;

	for (int i = 0; i < VLAN_TAGS; i++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (!take_slowly(&frame, &tag, sizeof(tag)))
			return truncated();
		protocol = tag.protocol;
		frame.network += sizeof(tag);
	}
	frame.network |= nothing;
	frame.length = skb->len - frame.network;
	if (protocol == bpf_htons(ETH_P_IP))
		parsed = parse_ip4(&frame, packet);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		parsed = parse_ip6(&frame, packet);
	else if (protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD))
		COUNT(unparsed_vlan);
	if (!parsed)
		return false;
	packet->fragment |= nothing;
	packet->tcp_flags |= nothing;
	packet->segments |= nothing;
	packet->key.tuple.proto |= nothing;
	packet->key.tuple.family |= nothing;
	if (packet->fragment)
		name_fragment(packet);
	return true;
}

#endif
