// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* The maps alone: needs nothing of the kernel's BTF. libbpf makes them from this where bcc compiles the programs. */
#include "kernel_compat.h"
#include "types.h"
#include "maps.h"
