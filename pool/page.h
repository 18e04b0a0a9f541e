/* SPDX-License-Identifier: MIT */
/*
 * The page in which a pool publishes what it counts: its counters, histograms and rows lie there
 * and are changed in place, so that telling costs nothing and anybody who may look at this process
 * can read them, even when it is stopped or hangs. It is a sealed memfd that others find through
 * /proc/PID/fd; its descriptor stays open, and its map is not for children. Where it is off or
 * refused the same lies in private memory, without rows of queues.
 */
#ifndef SPILLWAY_POOL_PAGE_H
#define SPILLWAY_POOL_PAGE_H

#include "../lib/counters.h"
#include "../lib/histogram.h"
#include "../lib/option_types.h"
#include "../lib/os.h"
#include "../lib/queue_row.h"
#include "engine.h"
#include "page_format.h"
#include "rows.h"
#include "spillway/alloc.h"
#include "spillway/options.h"
#include "spillway/pool.h"

struct page_texts {
    char engine[16];
    char seal_mode[16];
    char fallbacks[256];
};

/* One setting; a value that is longer is cut, and ends in dots then. */
struct page_setting {
    char name[32];
    char value[496];
    char fallback[32];
    char origin[16];
    char help[256];
    uint64_t set_ns; /* when it was set while the pool was open, CLOCK_MONOTONIC; 0: never */
};

/* Where others ask for settings. */
struct page_control {
    uint64_t open;  /* 1: the next is a pipe of this process that takes requests */
    uint64_t fd;    /* by the time that it is opened, this number may be another file's */
    uint64_t inode; /* of the pipe; 0: not known */
};

/* What came of a request from outside. */
struct answer_row {
    uint64_t id;    /* of the request; 0: none yet */
    uint64_t error; /* an errno; 0: it was done */
    char text[240];
};

/* More than can be asked between two looks of who waits for an answer. */
enum { ROW_ANSWERS = 64 };

#define PAGE_COUNT_ONE(...) +1
enum {
    PAGE_SECTIONS = 12,
    PAGE_STATS = 0 SPILLWAY_STATS_TABLE(PAGE_COUNT_ONE),
    PAGE_HISTOGRAMS = 0 SPILLWAY_HISTOGRAMS_TABLE(PAGE_COUNT_ONE),
    PAGE_TEXT_FIELDS = 3,
    PAGE_DIR_FIELDS = 10,
    PAGE_NODE_FIELDS = 4,
    PAGE_QUEUE_FIELDS = 11,
    PAGE_SETTING_FIELDS = 6,
    PAGE_REQUEST_FIELDS = 1,
    PAGE_DECISION_FIELDS = 9,
    PAGE_CONTROL_FIELDS = 3,
    PAGE_ANSWER_FIELDS = 3,
    PAGE_FIELDS = PAGE_STATS + PAGE_HISTOGRAMS + PAGE_TEXT_FIELDS + PAGE_DIR_FIELDS +
                  PAGE_NODE_FIELDS + PAGE_QUEUE_FIELDS + PAGE_SETTING_FIELDS + PAGE_REQUEST_FIELDS +
                  PAGE_DECISION_FIELDS + PAGE_CONTROL_FIELDS + PAGE_ANSWER_FIELDS,
};

/* As it is laid out by this version; readers go by what it says of itself. */
struct page {
    struct page_header header;
    struct counters counters; /* from a new cache line on */
    struct histograms histograms;
    _Atomic uint64_t request_start_ns[ENGINE_SLOTS_MAX];
    struct page_texts texts;
    struct dir_row dirs[ROW_DIRS];
    struct node_row nodes[ROW_NODES];
    struct page_setting settings[OPTION_COUNT];
    spw_decision decisions[SPILLWAY_DECISIONS_KEPT];
    struct page_control control;
    struct answer_row answers[ROW_ANSWERS];
    struct page_section sections[PAGE_SECTIONS];
    struct page_field fields[PAGE_FIELDS];
};

_Static_assert(offsetof(struct page, counters) % 64 == 0, "counters begin on a cache line");

/* Rows of queues lie behind, in a page that is shared. */
#define PAGE_QUEUES_OFFSET ((sizeof(struct page) + 127) & ~(size_t)127)

struct page_config {
    const struct os *os;
    const spw_allocator *allocator; /* never NULL */
    bool shared;                    /* else private memory at once */
    const char *root;               /* prefixes /proc; "" but in tests */
    const char *name;               /* of the pool */
    uint64_t id;
};

struct page_owner {
    struct page *page;
    struct queue_row *queues; /* QUEUE_ROWS of them; NULL: none */
    int fd;                   /* -1: the page is in private memory */
    size_t size;              /* of its map or allocation */
};

/*
 * Makes the page. Returns 0, or -ENOMEM when there is not even private memory. `*why` is the -errno
 * that refused the shared one, else 0.
 */
int page_open(const struct page_config *config, struct page_owner *out, int *why);
void page_close(const struct page_config *config, struct page_owner *owner);

/* Between these two, texts may be changed; one thread at a time. */
void page_texts_begin(struct page *page);
void page_texts_end(struct page *page);

/* The settings as they are now; `options` NULL: the defaults. */
void page_tell_settings(struct page *page, const spw_options *options);

/* One of them was set at that time. One thread at a time. */
void page_tell_change(struct page *page, const spw_options *options, unsigned index,
                      uint64_t now_ns);

/* From now on the page may be read. */
void page_publish(struct page *page);

/* ---- page_table.c ---- */

/* Describes the page in itself: sections and fields. */
void page_describe(struct page *page);

#endif
