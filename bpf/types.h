/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Every struct that crosses between kernel and user space, once. `make structs` reads the compiled
 * object's BTF and writes exporter/natlens/kernel/structs.py; DOC() travels there inside the BTF.
 */
#ifndef NATLENS_TYPES_H
#define NATLENS_TYPES_H

/* What the kernel lets these programs call: set before loading (exporter/natlens/kernel/programs.py). It cannot be
 * asked by a weak function's address: only v6.4 (commit 58aa2afbb1e6) lets ld_imm64 name one, and libbpf before v1.2
 * gives a module's the wrong id. What is not there is dead code, which the verifier removes. */
struct kernel_functions {
	__u8 reads_memory;  /* bpf_probe_read_kernel(): not where lockdown is `confidentiality` */
	__u8 casts_context; /* bpf_cast_to_kern_ctx() */
	__u8 looks_up;	    /* bpf_skb_ct_lookup(), and its answer can be read */
};

#define DOC(text) __attribute__((btf_decl_tag(text)))

enum side {
	SIDE_INGRESS = 0,
	SIDE_EGRESS = 1,
};

enum translation_source {
	TRANSLATION_NONE = 0,
	TRANSLATION_TC = 1,
	TRANSLATION_LOOKUP = 2,
	TRANSLATION_DUMP = 3,
	TRANSLATION_CTNETLINK = 4,
	TRANSLATION_FENTRY = 5,
	TRANSLATION_KPROBE = 6,
};

enum conntrack_word {
	CONNTRACK_UNASKED = 0,
	CONNTRACK_UNKNOWN = 1,
	CONNTRACK_ORIGINAL = 2,
	CONNTRACK_REPLY = 3,
};

enum syn {
	SYN_SEEN = 1,
	SYN_FIRST = 2, /* it was the row's first packet */
	SYN_ACKED = 4, /* it answered one: SYN+ACK */
};

struct tuple {
	__u8 src[16] DOC("source address, network order; IPv4 as ::ffff:a.b.c.d");
	__u8 dst[16] DOC("destination address");
	__u16 sport DOC("source port, host order; ICMP: identifier; 0 where the protocol has none");
	__u16 dport DOC("destination port, host order; ICMP: type << 8 | code");
	__u8 proto DOC("IP protocol number");
	__u8 family DOC("4 or 6");
	__u16 reserved DOC("0");
};

struct row_key {
	struct tuple tuple DOC("as on the wire where it was counted");
	__u32 ifindex DOC("interface that counted it");
	__u8 side DOC("enum side: seen coming in (before NAT) or sent by the host (after NAT)");
	__u8 reserved[3] DOC("0");
};

struct row {
	__u64 octets DOC("IPFIX IE 1: IP header and payload of every segment");
	__u64 packets DOC("segments");
	__u64 first_ns DOC("CLOCK_MONOTONIC, ns");
	__u64 last_ns DOC("CLOCK_MONOTONIC, ns; up to one tick early, never before first_ns");
	__u32 syn_seq DOC("sequence number of the SYN, where `syn` is set");
	__u16 zone DOC("conntrack zone, where `conntrack` is ORIGINAL or REPLY");
	__u8 tcp_flags DOC("union of the TCP flags");
	__u8 syn DOC("bits of enum syn: of the SYN that opened this generation");
	__u8 conntrack DOC("enum conntrack_word: the direction that conntrack gives these packets");
	__u8 reserved[3] DOC("0");
	__u32 tick DOC("jiffies when last_ns was read: the clock is asked once a tick");
};

struct retired_key {
	struct row_key row DOC("the row that a new SYN ended");
	__u64 first_ns DOC("when that generation began");
};

struct translation_key {
	struct tuple original DOC("conntrack's ORIGINAL tuple");
	struct tuple reply DOC("conntrack's REPLY tuple: the inverse of ORIGINAL where there is no NAT");
	__u16 zone DOC("conntrack zone");
	__u16 reserved DOC("0");
};

struct translation {
	__u64 first_ns DOC("CLOCK_MONOTONIC, ns");
	__u64 last_ns DOC("CLOCK_MONOTONIC, ns");
	__u64 forward_octets DOC("seen leaving in ORIGINAL direction: splits a tuple that two entries share");
	__u64 forward_packets DOC("segments of the same");
	__u32 forward_ifindex
		DOC("interface a packet in ORIGINAL direction came in by; 0: not seen, or the host sent it");
	__u32 reply_ifindex DOC("interface a packet in REPLY direction came in by; 0: not seen, or the host sent it");
	__u8 source DOC("enum translation_source");
	__u8 reserved[3] DOC("0");
	__u32 tick DOC("jiffies when last_ns was read");
};

struct fragment_key {
	__u8 src[16] DOC("source address");
	__u8 dst[16] DOC("destination address");
	__u32 id DOC("identification of the datagram");
	__u8 proto DOC("IP protocol number; IPv6: next header of the fragment header");
	__u8 family DOC("4 or 6");
	__u16 reserved DOC("0");
};

struct fragment {
	__u16 sport DOC("of the first fragment");
	__u16 dport DOC("of the first fragment");
	__u8 proto DOC("upper protocol: behind extension headers that only the first fragment has");
	__u8 reserved DOC("0");
};

/* Why a packet is left out: the number of the rule that rejects it, or … */
enum cause {
	CAUSE_SAMPLING = 64, /* … this; so many rules there can be */
};

struct rule_ends {
	__u64 any DOC("bit n: rule n holds where this is one of the four ends, before or after NAT");
	__u64 source DOC("… where it is the initiator's");
	__u64 destination DOC("… where it is what the initiator dialled");
	__u64 responder DOC("… where it is what answers, after NAT");
};

struct address_prefix {
	__u32 length DOC("bits of the address that count; IPv4: 96 more than it has itself");
	__u8 address[16] DOC("as in struct tuple");
};

struct port_prefix {
	__u32 length DOC("bits of the port that count");
	__u16 port DOC("network order");
	__u16 reserved DOC("0");
};

struct controls {
	__u64 rejects DOC("bit n: rule n rejects");
	__u64 anywhere DOC("rules that ask for no interface");
	__u64 of_any_initiator DOC("rules that ask neither for source nor destination");
	__u64 of_any_responder DOC("rules that do not ask for the responder");
	__u32 rules DOC("how many there are");
	__u32 sampling DOC("one of so many connections is counted; 0, 1: all");
	__u32 places DOC("places in the table of verdicts");
	__u32 reserved DOC("0");
};

struct known {
	struct translation_key key DOC("conntrack's tuples; where these are not known, the packet's own");
	__u32 level DOC("enum knowledge");
};

struct verdict {
	struct row_key key DOC("whose rows are left out; ifindex 0: nobody's");
	__u32 tick DOC("jiffies when it was found");
	__u8 by DOC("number of the rule that rejects, or enum cause");
	__u8 reserved[3] DOC("0");
};

struct left_out_count {
	__u64 packets DOC("segments");
	__u64 octets DOC("as in struct row");
};

/* One field a counter: COUNT(field) in C; name, metric and documentation follow from here. */
struct counters {
	__u64 dropped_rows_full_packets DOC("packets not counted: the window's row map was full");
	__u64 dropped_rows_full_octets DOC("octets of those packets");
	__u64 dropped_rows_memory_packets DOC("packets not counted: the kernel had no memory for a row");
	__u64 dropped_rows_memory_octets DOC("octets of those packets");
	__u64 dropped_retired_full DOC("generations of a reused port merged into the next: retired map full");
	__u64 dropped_translations_full DOC("translations not stored: the window's translation map was full");
	__u64 unparsed_truncated DOC("packets not counted: shorter than their headers or lengths say");
	__u64 unparsed_header DOC("packets not counted: IP version or header length that no stack accepts");
	__u64 unparsed_extensions DOC("packets not counted: more IPv6 extension headers than are followed");
	__u64 unparsed_vlan DOC("packets not counted: more VLAN tags than are followed");
	__u64 fragments_without_first DOC("fragments counted without ports: their first one was not seen");
	__u64 forwarded_fragments
		DOC("IPv6 fragments at egress, not counted: taken as forwarded, counted when they came in");
	__u64 windows_missing DOC("packets not counted: no window was there");
	__u64 related DOC("packets whose conntrack entry is that of the connection they relate to (ICMP errors)");
	__u64 foreign_netns DOC("packets whose conntrack entry belongs to another network namespace");
};

#endif
