// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* natlens in the kernel: count every packet of the node once, and learn what NAT made of it. */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#include "types.h"
#include "maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
