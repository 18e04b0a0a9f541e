/* SPDX-License-Identifier: MIT */
/*
 * NUMA nodes: which there are, what a node list means, how far they are, and
 * what is free on them. Decides nothing about segments.
 */
#ifndef SPILLWAY_POOL_NODE_H
#define SPILLWAY_POOL_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/os.h"

enum { NODE_MAX = 1024, NODE_WORD_BITS = 64, NODE_WORDS = NODE_MAX / NODE_WORD_BITS };

/* Modes of mbind(2), as the kernel numbers them; headers lack the last one or need libnuma. */
enum { NODE_PREFERRED = 1, NODE_BIND = 2, NODE_PREFERRED_MANY = 5 };

#define NODE_UNKNOWN_BYTES UINT64_MAX

struct node_set {
    unsigned long words[NODE_WORDS];
};

_Static_assert(sizeof(unsigned long) * 8 == NODE_WORD_BITS, "a mask word has 64 bits");

/* What the machine has. */
struct node_map {
    struct node_set memory;      /* online, with memory */
    struct node_set cpu;         /* with processors */
    struct node_set allowed;     /* this process may allocate there */
    int current;                 /* where the caller runs */
    uint16_t distance[NODE_MAX]; /* from `current`; 0: unknown */
};

bool node_has(const struct node_set *set, unsigned node);
void node_add(struct node_set *set, unsigned node);
unsigned node_count(const struct node_set *set);

/* The lowest node of a set, -1 when it is empty. */
int node_first(const struct node_set *set);

/*
 * Reads the machine's nodes. `root` is "" except in tests (a fixture tree); `current` is -1 to
 * ask the kernel. A machine that tells nothing has one node, 0. Returns 0 or -ENOSYS: the kernel
 * has no NUMA calls.
 */
int node_map_read(const struct os *os, const char *root, int current, struct node_map *out);

/* The node that the calling thread runs on now; -1 where the kernel does not say. */
int node_of_thread(void);

/* What a node list asks for, and what can be had of it. */
struct node_choice {
    bool local;          /* no policy: wherever the kernel puts it */
    bool incomplete;     /* something that was asked for is not there, or not allowed */
    struct node_set set; /* empty when local */
};

/*
 * "local", "far", "cpuless", "all" or a list as libnuma has it: "1", "0-1,3", "!0", "+0" (counted
 * among the allowed nodes). Nothing to be had: local and incomplete. Returns 0 or -EINVAL (not
 * such a text).
 */
int node_choose(const struct node_map *map, const char *text, struct node_choice *out);

/*
 * Free bytes of the nodes together, and free plus clean-able page cache; both
 * NODE_UNKNOWN_BYTES when a node's figures cannot be read.
 */
void node_free_bytes(const struct os *os, const char *root, const struct node_set *set,
                     uint64_t *free_bytes, uint64_t *available_bytes);

#endif
