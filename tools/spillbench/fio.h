/* SPDX-License-Identifier: MIT */
/* fio(1), where installed, doing what a raw plan does on the same file. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_FIO_H
#define SPILLWAY_TOOLS_SPILLBENCH_FIO_H

#include "raw.h"

/* Returns 0, -ENOENT without fio, -EIO when it failed, or -errno; bytes a second in *rate. */
int fio_run(const struct raw_file *file, uint64_t file_bytes, const struct raw_plan *plan,
            double *rate);

#endif
