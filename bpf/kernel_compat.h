/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What natlens reads of the kernel's own types, and every difference between kernels. Only the fields
 * that are read are declared: CO-RE finds them in the running kernel's BTF, so no vmlinux.h is needed.
 */
#ifndef NATLENS_KERNEL_COMPAT_H
#define NATLENS_KERNEL_COMPAT_H

#ifndef TRACING
#define TRACING 0 /* the programs of this object are not fentry and kprobe */
#endif

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

/* The packet as the kernel has it, and its fields. v6.2 (commit fd264ca02094) has a cast; before, a tc program's
 * context *is* the sk_buff, but the verifier only lets its address be passed on to bpf_probe_read_kernel(). */
#ifdef NATLENS_NO_KFUNCS
#define KERNEL_PACKET(ctx) ((struct sk_buff *)(ctx))
#define FIELD BPF_CORE_READ
#define BITFIELD BPF_CORE_READ_BITFIELD_PROBED
#else
#define KERNEL_PACKET(ctx) (has.casts_context ? bpf_cast_to_kern_ctx(ctx) : (struct sk_buff *)(ctx))
#define FIELD(pointer, field) (has.casts_context ? (pointer)->field : BPF_CORE_READ(pointer, field))
#define BITFIELD(pointer, field)                                                                                       \
	(has.casts_context ? BPF_CORE_READ_BITFIELD(pointer, field) : BPF_CORE_READ_BITFIELD_PROBED(pointer, field))
#endif

struct ns_common {
	unsigned int inum;
} CORE;

struct net {
	struct ns_common ns;
} CORE;

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
	__u16 mac_len;
	__u16 inner_transport_header;
	__u16 inner_network_header;
	__u16 network_header;
	__u16 transport_header;
	unsigned int len;
	int skb_iif;
	unsigned char *head;
	unsigned int end; /* an offset wherever pointers have 64 bits (NET_SKBUFF_DATA_USES_OFFSET) */
} CORE;

struct skb_shared_info {
	unsigned short gso_size;
	unsigned short gso_segs;
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
#define IPS_DST_NAT (1 << 5)
#define IPS_NAT_DONE (1 << 7 | 1 << 8) /* of source and of destination: the tuples will not change any more */

/* include/net/netfilter/nf_nat.h */
#define NF_NAT_MANIP_SRC 0
#define NF_NAT_MANIP_DST 1

/* A kprobe's context is the registers: which ones carry arguments is the machine's own affair. One object serves all
 * machines, so the running kernel's BTF tells. */
struct pt_regs___x86 {
	unsigned long di, si, dx, cx;
} CORE;

struct user_pt_regs {
	__u64 regs[4];
} CORE; /* arm64 */

#define KPROBE_ARGUMENT(ctx, x86, number)                                                                              \
	(bpf_core_field_exists(struct pt_regs___x86, x86) ? BPF_CORE_READ((struct pt_regs___x86 *)(ctx), x86)          \
							  : BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[number]))

#ifndef NATLENS_NO_KFUNCS
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;
#endif

/* v5.18, commit b4c2b9593a1c; later kernels also take 16 bytes, with a zone; 12 stays valid. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};
#ifdef NATLENS_NO_KFUNCS
#define bpf_skb_ct_lookup(skb, tuple, size, opts, opts_size) ((struct nf_conn *)NULL)
#define bpf_ct_release(ct)
#else
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;
#endif

/* v5.11, commit d05512618056. Without it the precise clock is read for every packet. Tracing programs may not. */
static __always_inline __u64 coarse_ns(void)
{
	if (!TRACING && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* CONFIG_NF_CONNTRACK_ZONES may be off: every entry is then in zone 0. */
static __always_inline __u16 zone_of(const struct nf_conn *ct)
{
	return bpf_core_field_exists(ct->zone) ? BPF_CORE_READ(ct, zone.id) : 0;
}

#define IS_TUNNELLED(skb) BITFIELD(skb, encapsulation)
#endif

/* xfrm_output() marks what it transforms in IPCB(skb)->flags or IP6CB(skb)->flags, 20
 * and 16 bytes into skb->cb. A tc program's cb[] begins at 8 (struct qdisc_skb_cb). */
#define IPSKB_XFRM_TRANSFORMED 4
#define IP6SKB_XFRM_TRANSFORMED 1
#define WAS_TRANSFORMED_4(ctx) (*(volatile __u16 *)&(ctx)->cb[3] & IPSKB_XFRM_TRANSFORMED)
#define WAS_TRANSFORMED_6(ctx) (*(volatile __u16 *)&(ctx)->cb[2] & IP6SKB_XFRM_TRANSFORMED)

/* A number below `limit`, a power of 2, that every verifier knows to be: on v5.10 a comparison of 32 bits says nothing
 * about the register. */
static __always_inline __u64 bounded(__u64 number, const __u64 limit)
{
	barrier_var(number);
	return number & (limit - 1);
}

#endif
