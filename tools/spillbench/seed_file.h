/* SPDX-License-Identifier: MIT */
/* Where the seed's strategy puts bytes: one unnamed temporary file a batch. */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_SEED_FILE_H
#define SPILLWAY_TOOLS_SPILLBENCH_SEED_FILE_H

#include "seed.h"

/* What keeps an allocation alive. */
struct seed_owner {
    size_t references; /* atomic */
    unsigned char *memory;
};

struct seed_bytes seed_clone(const struct seed_bytes *bytes);

/* A claim on one chunk of a batch. */
struct seed_handle;

/* Writes all chunks to a file in `dir` and yields a handle each. Returns 0 or -errno, with nothing
 * taken and no handle made. */
int seed_file_spill(const char *dir, const struct seed_bytes *chunks, size_t count,
                    struct seed_handle **handles);

/* Ends the handle and gives its chunk; reads the whole file, if nobody did before. Returns 0, or
 * -errno with the handle intact. */
int seed_file_fetch(struct seed_handle *handle, struct seed_bytes *out);

/* Gives the claim up. */
void seed_file_drop(struct seed_handle *handle);

#endif
