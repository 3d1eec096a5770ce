// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The programs without calls of kernel functions. Where the kernel itself has none of that name libbpf (1.1) looks for
 * it, weak or not, in the BTF of all modules. That takes CAP_SYS_ADMIN, and with less it loads nothing.
 */
#define NATLENS_NO_KFUNCS
#include "natlens.bpf.c"
