// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * NAT where it is done: nf_nat_manip_pkt(), by fentry or by kprobe. For kernels whose tc programs cannot read the
 * packet's conntrack entry. An object of its own, because it needs what the other can do without; it is given that
 * one's maps before it is loaded, and writes the same rows into the same windows.
 */
#define TRACING 1

#include "kernel_compat.h"
#include "types.h"
#include "maps.h"
#include "tuple.h"
#include "parse.h"
#include "account.h"
#include "learn.h"
#include "rules.h"
#include "hooks.h"

/* The same since v5.1 (commit cc5e4ee0e0ce) up to v6.18: nf_nat_manip_pkt(skb, ct, manip, direction). */
SEC("fentry/nf_nat_manip_pkt")
int nat_fentry(__u64 *arguments)
{
	return manipulated((void *)arguments[0], (void *)arguments[1], arguments[2], arguments[3], TRANSLATION_FENTRY);
}

/* v5.18, commit 0dcac2725406: needs no perf event. */
SEC("kprobe.multi")
int nat_kprobe_multi(void *registers)
{
	return manipulated((void *)KPROBE_ARGUMENT(registers, di, 0), (void *)KPROBE_ARGUMENT(registers, si, 1),
			   KPROBE_ARGUMENT(registers, dx, 2), KPROBE_ARGUMENT(registers, cx, 3), TRANSLATION_KPROBE);
}

SEC("kprobe")
int nat_kprobe(void *registers)
{
	return manipulated((void *)KPROBE_ARGUMENT(registers, di, 0), (void *)KPROBE_ARGUMENT(registers, si, 1),
			   KPROBE_ARGUMENT(registers, dx, 2), KPROBE_ARGUMENT(registers, cx, 3), TRANSLATION_KPROBE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
