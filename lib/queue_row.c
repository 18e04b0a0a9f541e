/* SPDX-License-Identifier: MIT */
#include "queue_row.h"

#include <stddef.h>
#include <string.h>

#include "text.h"

/* Takes a place among those in use; else a search would be in vain. */
static int place_take(struct queue_rows *rows)
{
    if (atomic_fetch_add_explicit(&rows->used, 1, memory_order_relaxed) < QUEUE_ROWS)
        return 1;
    atomic_fetch_sub_explicit(&rows->used, 1, memory_order_relaxed);
    return 0;
}

static struct queue_row *row_find(struct queue_rows *rows)
{
    unsigned first = atomic_load_explicit(&rows->next, memory_order_relaxed);

    /* There is a free one, but it may be taken from before us and another given back behind. */
    for (unsigned i = 0;; i++) {
        struct queue_row *row = &rows->rows[(first + i) % QUEUE_ROWS];
        uint64_t was = QUEUE_ROW_FREE;

        if (atomic_compare_exchange_strong_explicit(&row->state, &was, QUEUE_ROW_TAKEN,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            atomic_store_explicit(&rows->next, (first + i + 1) % QUEUE_ROWS, memory_order_relaxed);
            return row;
        }
    }
}

struct queue_row *queue_row_take(struct queue_rows *rows, const char *name)
{
    if (!place_take(rows))
        return NULL;
    struct queue_row *row = row_find(rows);

    memset(row->name, 0, sizeof(row->name));
    if (name)
        text_copy_clean(row->name, sizeof(row->name), name);
    row->sums = (struct queue_sums){0};
    atomic_store_explicit(&row->id,
                          1 + atomic_fetch_add_explicit(&rows->last_id, 1, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&row->state, QUEUE_ROW_USED, memory_order_release);
    return row;
}

void queue_row_give(struct queue_rows *rows, struct queue_row *row)
{
    atomic_store_explicit(&row->state, QUEUE_ROW_FREE, memory_order_release);
    atomic_fetch_sub_explicit(&rows->used, 1, memory_order_relaxed);
}
