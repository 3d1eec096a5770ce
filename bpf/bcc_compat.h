/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The same sources under bcc, for kernels without usable BTF: types and offsets come from the kernel's headers instead,
 * and nothing is relocated. There are no kfuncs without BTF; the packet's kernel side is read by probe_read instead.
 * exporter/natlens/kernel/bcc_child.py compiles this; NATLENS_COARSE_CLOCK tells (0 or 1) whether the kernel has
 * bpf_ktime_get_coarse_ns.
 */
#ifndef NATLENS_BCC_COMPAT_H
#define NATLENS_BCC_COMPAT_H

/* bcc brings a uapi/linux/bpf.h of its own: older than the kernel's, it lacks what linux/bpf.h needs. That one is not
 * needed where struct cgroup_bpf, which all others have in them, has a header of its own (6.1 has, 5.10 has not). */
#if __has_include(<linux/bpf-cgroup-defs.h>)
#define _LINUX_BPF_H
#endif
#include <net/netfilter/nf_conntrack.h>
#include <uapi/linux/pkt_cls.h>

#undef SEC /* bcc gives every function that is no static one a section of its own */
#define SEC(name)

#ifndef barrier_var /* as in bpf_helpers.h */
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif
#ifndef barrier
#define barrier() asm volatile("" : : : "memory")
#endif

/* Maps and global variables are there already, made by user space from maps.h itself: they go by file descriptor. Their
 * names are macros, so none may be a struct's too. */
struct bcc_map;
#define BCC_MAP(fd) (*(struct bcc_map *)bpf_pseudo_fd(BPF_PSEUDO_MAP_FD, fd))
#define BCC_VALUE(type, fd) (*(type *)bpf_pseudo_fd(BPF_PSEUDO_MAP_VALUE, fd)) /* v5.2, commit d8eca5bbb2be */

/* bcc makes bpf_probe_read of its own where it sees no address in kallsyms, as without CAP_SYSLOG; tc has no such. */
static long (*const read_kernel)(void *to, __u32 size, const void *from) = (void *)BPF_FUNC_probe_read_kernel;

/* The comma takes `const` away: clang would take the 0 for the value. */
#define FIELD(pointer, field)                                                                                          \
	({                                                                                                             \
		typeof(((void)0, (pointer)->field)) _read = 0;                                                         \
		read_kernel(&_read, sizeof(_read), &(pointer)->field);                                                 \
		_read;                                                                                                 \
	})
#define BPF_CORE_READ FIELD
#define bpf_core_read read_kernel

/* The same bytes under names of our own (kernel_compat.h): the headers have this one already. */
#define nf_conntrack_tuple conntrack_tuple

#define KERNEL_PACKET(ctx) ((struct sk_buff *)(ctx))

/* `has.looks_up` is 0: never called. */
struct bpf_ct_opts___bcc {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
};
#define bpf_ct_opts bpf_ct_opts___bcc
#define bpf_skb_ct_lookup(...) ((struct nf_conn *)NULL)
#define bpf_ct_release(ct) ((void)(ct))

static __always_inline __u64 coarse_ns(void)
{
	return NATLENS_COARSE_CLOCK ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
}

static __always_inline __u16 zone_of(const struct nf_conn *ct)
{
#ifdef CONFIG_NF_CONNTRACK_ZONES
	return FIELD(ct, zone.id);
#else
	return 0;
#endif
}

/* Not a bit field, whose place C does not tell: the GSO types that carry another packet. */
#define IS_TUNNELLED is_tunnelled
static __always_inline bool is_tunnelled(const struct sk_buff *skb)
{
	const struct skb_shared_info *shared;

#ifdef NET_SKBUFF_DATA_USES_OFFSET
	shared = (void *)(FIELD(skb, head) + FIELD(skb, end));
#else
	shared = (void *)FIELD(skb, end);
#endif
	return FIELD(shared, gso_type) & (SKB_GSO_GRE | SKB_GSO_GRE_CSUM | SKB_GSO_IPXIP4 | SKB_GSO_IPXIP6 |
					  SKB_GSO_UDP_TUNNEL | SKB_GSO_UDP_TUNNEL_CSUM);
}

#endif
