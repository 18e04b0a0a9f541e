/* SPDX-License-Identifier: MIT */
#include "retune.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/alloc.h"
#include "../lib/text.h"
#include "../lib/units.h"
#include "pool.h"

_Static_assert(OPTION_COUNT <= 64, "a bit for each row");

/* How much of a value is shown. */
enum { SHOWN_BYTES = 72 };

static uint64_t size_word(struct amount amount)
{
    return amount.percent > 0 ? SIZE_IS_SHARE | amount.percent : amount.bytes;
}

int retune_init(struct retune *retune)
{
    return -pthread_mutex_init(&retune->lock, NULL);
}

void retune_begin(struct retune *retune, const struct settings *settings)
{
    atomic_init(&retune->threshold, size_word(settings->threshold));
    atomic_init(&retune->head_reserve, size_word(settings->head_reserve));
    atomic_init(&retune->prefetch, size_word(settings->prefetch));
}

void retune_fini(struct retune *retune)
{
    spw_options_close(retune->options);
    pthread_mutex_destroy(&retune->lock);
}

/* With the lock held: the present settings, to be changed; NULL without memory. */
static spw_options *retune_options(struct spw_pool *pool)
{
    spw_options *made;
    if (!pool->retune.options && options_open(pool->allocator, &made) == 0) {
        options_copy(made, pool->governor.options);
        pool->retune.options = made;
    }
    return pool->retune.options;
}

uint64_t retune_rows_of(const struct spw_pool *pool, const char *name)
{
    uint64_t changed = atomic_load(&pool->retune.changed), rows = 0;
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if ((changed >> i & 1) != 0 && strcmp(option_rows[i].live, name) == 0)
            rows |= UINT64_C(1) << i;
    return rows;
}

void retune_value(struct spw_pool *pool, unsigned row, char out[SETTINGS_TEXT])
{
    struct retune *retune = &pool->retune;
    pthread_mutex_lock(&retune->lock);
    const spw_options *options = retune->options ? retune->options : pool->governor.options;
    memcpy(out, options->values[row].text, SETTINGS_TEXT);
    pthread_mutex_unlock(&retune->lock);
}

/* ---- one change ---- */

struct change {
    const struct option_row *row;
    enum option_origin origin;
    char before[SHOWN_BYTES], after[SHOWN_BYTES];
    struct budget_change budget; /* row memory */
};

/* Whether somebody takes this row's changes, or will once the first queue has its policies. */
static bool is_taken(struct spw_pool *pool, const struct option_row *row,
                     const struct settings *settings)
{
#define SETTINGS_POLICY_WORD(NAME, word)                                                           \
    if (strcmp(row->live, word) == 0 && (settings->policies & 1u << POLICY_##NAME) != 0)           \
        return true;
    SETTINGS_POLICIES(SETTINGS_POLICY_WORD)
#undef SETTINGS_POLICY_WORD
    return strcmp(row->live, OPTIONS_POOL) == 0 ||
           spw_governor_regulator(&pool->governor.governor, row->live) != NULL;
}

/* With the lock held: what the pool itself does about it at once. */
static void change_apply(struct spw_pool *pool, const struct settings *settings,
                         struct change *change)
{
    struct retune *retune = &pool->retune;
    switch (change->row - option_rows) {
    case OPTION_MEMORY:
        budget_ask(pool, settings->memory, &change->budget);
        break;
    case OPTION_THRESHOLD:
        atomic_store(&retune->threshold, size_word(settings->threshold));
        atomic_fetch_or(&retune->sizes, SPILLWAY_SET_THRESHOLD);
        break;
    case OPTION_HEAD_RESERVE:
        atomic_store(&retune->head_reserve, size_word(settings->head_reserve));
        atomic_fetch_or(&retune->sizes, SPILLWAY_SET_HEAD_RESERVE);
        break;
    case OPTION_PREFETCH:
        atomic_store(&retune->prefetch, size_word(settings->prefetch));
        atomic_fetch_or(&retune->sizes, SPILLWAY_SET_PREFETCH);
        break;
    case OPTION_LOG_LEVEL:
        pool->log.level = settings->log_level;
        break;
    default: /* it is for a regulator */
        break;
    }
    atomic_fetch_or(&retune->changed, UINT64_C(1) << (change->row - option_rows));
}

/* With the lock held: others see it. */
static void change_publish(struct spw_pool *pool, const struct option_row *row)
{
    if (pool->page.fd < 0)
        return;
    pthread_mutex_lock(&pool->lock);
    page_tell_change(pool->page.page, pool->retune.options, (unsigned)(row - option_rows),
                     pool->os->clock_ns());
    pthread_mutex_unlock(&pool->lock);
}

static const char *value_of(const spw_options *options, const struct option_row *row)
{
    return options->values[row - option_rows].text;
}

/* With the lock held. */
static int change_make(struct spw_pool *pool, const char *name, const char *value,
                       struct change *change, char answer[SET_ANSWER_BYTES])
{
    const struct option_row *row = change->row = options_find(name);
    spw_options *options = retune_options(pool);
    if (!options) {
        snprintf(answer, SET_ANSWER_BYTES, "there is no memory for it");
        return -ENOMEM;
    }
    if (row)
        text_copy_clean(change->before, sizeof(change->before), value_of(options, row));
    if (row && !row->live) {
        snprintf(answer, SET_ANSWER_BYTES,
                 "%s is fixed while the pool is open ('%s'): set %s and restart the service",
                 row->name, change->before, row->variable);
        return -ENOTSUP;
    }
    if (row && !is_taken(pool, row, &options->settings)) {
        snprintf(answer, SET_ANSWER_BYTES, "%s is without effect: policy %s is not in use",
                 row->name, row->live);
        return -ENOTSUP;
    }
    int err = options_set(options, name, value, change->origin);
    if (err) {
        text_copy_clean(answer, SET_ANSWER_BYTES, spw_options_message(options));
        return err;
    }
    text_copy_clean(change->after, sizeof(change->after), value_of(options, row));
    change_apply(pool, &options->settings, change);
    change_publish(pool, row);
    return 0;
}

/* No lock held: the rest of the work, and who is told. */
static void change_finish(struct spw_pool *pool, const struct change *change,
                          char answer[SET_ANSWER_BYTES])
{
    const char *who = change->origin == ORIGIN_CONTROL ? "control" : "service";
    struct governor *governor = &pool->governor;
    const struct option_row *row = change->row;
    uint64_t before_bytes = budget_now(pool);
    int used = snprintf(answer, SET_ANSWER_BYTES, "%s: %s, before %s", row->name, change->after,
                        change->before);
    if (row == &option_rows[OPTION_MEMORY]) {
        before_bytes = change->budget.before_bytes;
        budget_asked(pool, &change->budget);
        snprintf(answer + used, (size_t)(SET_ANSWER_BYTES - used),
                 "; the budget is %llu bytes, before %llu",
                 (unsigned long long)change->budget.ceiling_bytes,
                 (unsigned long long)before_bytes);
        spw_governor_wake(&governor->governor, NULL);
    } else if (strcmp(row->live, OPTIONS_POOL) == 0) {
        epoch_advance(&pool->account.epoch); /* who rests looks again */
        pool_progress(pool);
    } else {
        governor_tune(governor, row->live, UINT64_C(1) << (row - option_rows));
    }
    governor_note_set(governor, who, before_bytes, answer);
    log_line(&pool->log, SPILLWAY_LOG_INFO, "set by %s: %s", who, answer);
}

int pool_set(struct spw_pool *pool, const char *name, const char *value, enum option_origin origin,
             char answer[SET_ANSWER_BYTES])
{
    struct change change = {.origin = origin};
    pthread_mutex_lock(&pool->retune.lock);
    int err = change_make(pool, name, value, &change, answer);
    pthread_mutex_unlock(&pool->retune.lock);
    if (err)
        /* Who asked from outside has the answer; and may ask all day long. */
        log_line(&pool->log, origin == ORIGIN_CONTROL ? SPILLWAY_LOG_INFO : SPILLWAY_LOG_WARN,
                 "not set: %s", answer);
    else
        change_finish(pool, &change, answer);
    return err;
}

int spw_pool_set(spw_pool *pool, const char *name, const char *value)
{
    char answer[SET_ANSWER_BYTES];
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    if (!name || !value)
        return -EINVAL;
    return pool_set(pool, name, value, ORIGIN_CALL, answer);
}

int spw_pool_set_budget(spw_pool *pool, uint64_t bytes)
{
    struct budget_change change;
    char text[UNITS_TEXT_BYTES];
    if (pool_in_child(pool))
        return -EOWNERDEAD;
    if (bytes < BUDGET_MIN_BYTES || bytes == SETTINGS_AUTO)
        return -EINVAL;
    units_format_bytes(bytes, text, sizeof(text));
    pthread_mutex_lock(&pool->retune.lock);
    budget_ask(pool, (struct amount){.bytes = bytes}, &change);
    spw_options *options = retune_options(pool); /* what it is called is not worth a failure */
    if (options && options_set(options, "memory", text, ORIGIN_CALL) == 0)
        change_publish(pool, &option_rows[OPTION_MEMORY]);
    pthread_mutex_unlock(&pool->retune.lock);
    budget_asked(pool, &change);
    governor_note(&pool->governor, "set", change.before_bytes, "the service asked for %llu bytes",
                  (unsigned long long)bytes);
    spw_governor_wake(&pool->governor.governor, NULL);
    return 0;
}
