/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What natlens reads of the kernel's own types, and every difference between kernels. Only the fields
 * that are read are declared: CO-RE finds them in the running kernel's BTF, so no vmlinux.h is needed.
 */
#ifndef NATLENS_KERNEL_COMPAT_H
#define NATLENS_KERNEL_COMPAT_H

#ifdef NATLENS_BCC
#include "bcc_compat.h"
#else
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))
#define FIELD(pointer, field) ((pointer)->field) /* of what the verifier knows by its type */

struct net {
};

typedef struct {
	struct net *net;
} CORE possible_net_t;

struct net_device {
	possible_net_t nd_net;
} CORE;

struct sk_buff {
	struct net_device *dev;
	unsigned long _nfct; /* CONFIG_NF_CONNTRACK */
	__u8 encapsulation : 1;
	__u16 inner_transport_header;
	__u16 inner_network_header;
	__u16 network_header;
} CORE;
#endif

/* Not CO-RE: copied out whole. The layout has not changed since v2.6.24 (commit 8ce8439a31d7). */
struct nf_conntrack_tuple {
	struct {
		__u8 addr[16];
		__be16 all; /* port, ICMP id */
		__u16 l3num;
	} src;
	struct {
		__u8 addr[16];
		union {
			__be16 all;
			struct {
				__u8 type;
				__u8 code;
			} icmp;
		};
		__u8 protonum;
		__u8 dir;
	} dst;
};

#ifndef NATLENS_BCC
struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} CORE;

struct nf_conntrack_zone {
	__u16 id;
} CORE;

struct nf_conn {
	struct nf_conntrack_zone zone; /* CONFIG_NF_CONNTRACK_ZONES */
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	possible_net_t ct_net;
} CORE;

/* include/uapi/linux/netfilter/nf_conntrack_common.h */
#define NFCT_INFOMASK 7UL
#define IP_CT_NEW 2
#define IP_CT_IS_REPLY 3
#define IPS_ASSURED (1 << 2)

/* v6.2, commit fd264ca02094: a tc program may read its own sk_buff. */
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;

/* v5.18, commit b4c2b9593a1c; later kernels also take 16 bytes, with a zone; 12 stays valid. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;

/* v5.11, commit d05512618056. Without it the precise clock is read for every packet. */
static __always_inline __u64 coarse_ns(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* CONFIG_NF_CONNTRACK_ZONES may be off: every entry is then in zone 0. */
static __always_inline __u16 zone_of(const struct nf_conn *ct)
{
	return bpf_core_field_exists(ct->zone) ? BPF_CORE_READ(ct, zone.id) : 0;
}

static __always_inline bool is_tunnelled(const struct sk_buff *skb)
{
	return BPF_CORE_READ_BITFIELD(skb, encapsulation);
}
#endif

#endif
