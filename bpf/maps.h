/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The maps, and why each has its size. Rows, translations and retired rows exist twice, [0] and [1]:
 * programs write to the set that `active_window` names, user space reads and clears the other one.
 */
#ifndef NATLENS_MAPS_H
#define NATLENS_MAPS_H

#ifndef NATLENS_BCC /* bcc_compat.h: there they are made already */
#define WINDOWS 2

/* Which set of maps is written to. User space stores the other index, then waits for running programs by an
 * update of the outer map (the kernel waits for a grace period there): all three change at one instant. */
volatile __u32 active_window SEC(".data.window") = 0; /* a map of its own: user space writes nothing else */

/* Whether packets tell of their own NAT (tc reading and look-up); 0 where option nat_source leaves that to another
 * source. Known before the verifier runs: it takes the code out. */
const volatile __u8 packets_tell SEC(".rodata.learn") = 1;

const volatile struct kernel_functions has SEC(".rodata.kernel_functions") = {};

/* Set once an entry in another zone than 0 was seen: a look-up, which knows of zone 0 only, may then find a twin. A
 * request is seen leaving before its answer comes in. */
volatile __u32 zones_in_use SEC(".data.zones") = 0;

/* Sizes of the inner maps are set at load time from options (window_rows, window_translations); what is
 * here only gives each template a shape. Preallocated: the fast path must not wait for an allocator, and
 * "full" must mean full, not "the allocator could not keep up". */
struct rows {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct row_key);
	__type(value, struct row);
};

struct translations {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct translation_key);
	__type(value, struct translation);
};

/* Only ports that were reused inside one window: an eighth of the rows, by the same option. */
struct retired {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct retired_key);
	__type(value, struct row);
};

struct rows rows_0 SEC(".maps"), rows_1 SEC(".maps");
struct translations translations_0 SEC(".maps"), translations_1 SEC(".maps");
struct retired retired_0 SEC(".maps"), retired_1 SEC(".maps");

#define WINDOW_MAP(kind)                                                                                               \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, WINDOWS);                                                                          \
		__type(key, __u32);                                                                                    \
		__array(values, struct kind);                                                                          \
	} kind##_windows SEC(".maps") = {.values = {&kind##_0, &kind##_1}}

WINDOW_MAP(rows);
WINDOW_MAP(translations);
WINDOW_MAP(retired);

/* Interfaces whose incoming packets were counted already (themselves, or below a master or VLAN that stands
 * here). One entry an interface of the node: 16,384 is far beyond what a node's bridges carry (1,024 ports each). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} counted_interfaces SEC(".maps");

/* Ports of datagrams whose fragments are under way: the kernel reassembles at most 4 MiB at once
 * (ipfrag_high_thresh), 4,096 datagrams of 1 KiB. LRU: a datagram that lost its tail must not stay. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

/* What the user asks for, fixed when the programs are loaded: where it is nothing, the verifier removes all of rules.h.
 */
const volatile struct controls capture_controls SEC(".rodata.controls");

/* What holds of an address, and of a port: the longest prefix has every rule that is about it. One prefix for each
 * network of a rule, of which there are four at most; a range of ports is up to 30 prefixes. And one that holds of
 * everything. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, CAUSE_SAMPLING * 4 + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_prefix);
	__type(value, struct rule_ends);
} rule_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, CAUSE_SAMPLING * 4 * 30 + 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_prefix);
	__type(value, struct rule_ends);
} rule_ports SEC(".maps");

/* Rules by side, family and protocol (two bits, and the number): all that there can be. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} rule_kinds SEC(".maps");

/* Interface → the rules that ask for no interface, or for one of its name. As many as counted_interfaces. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} rule_interfaces SEC(".maps");

/* Rows that are not there because a rule or sampling said so: they are not asked about again at every packet. Two that
 * fall into one place take turns, and what is overwritten is asked again. As many as rows of a window, by the same
 * option, if there are rules or sampling. An array: a hash map's look-up costs as much as counting the packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict);
} verdicts SEC(".maps");

/* Of the packet that a CPU works on. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct known);
} known_connection SEC(".maps");

/* One entry a rule, and one for sampling. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CAUSE_SAMPLING + 1);
	__type(key, __u32);
	__type(value, struct left_out_count);
} left_out_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");
#endif

typedef struct counters counted; /* under bcc the map's name is a macro */

#define COUNT_BY(field, amount)                                                                                        \
	({                                                                                                             \
		__u32 _zero = 0;                                                                                       \
		counted *_counters = bpf_map_lookup_elem(&counters, &_zero);                                           \
		if (_counters)                                                                                         \
			_counters->field += (amount);                                                                  \
	})
#define COUNT(field) COUNT_BY(field, 1)

/* Nobody else names these enums: a pointer keeps each in the object's BTF, where user space reads them. */
enum side *export_side;
enum translation_source *export_translation_source;
enum conntrack_word *export_conntrack_word;
enum syn *export_syn;
enum cause *export_cause;

#endif
