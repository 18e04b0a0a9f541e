/* SPDX-License-Identifier: MIT */
#include "coding.h"

#include <errno.h>
#include <string.h>

#include "../lib/growable.h"
#include "pool.h"
#include "run.h"

/* A stretch that says something about the device, and a pause that does not end it: until the next
 * run comes in place of one that was written. */
#define STRETCH_LEAST_NS UINT64_C(20000000)
#define PAUSE_MOST_NS    UINT64_C(1000000)

int coding_init(struct spw_pool *pool)
{
    struct coding *coding = &pool->coding;
    int err = workers_init(&coding->workers, pool->os);
    if (err)
        return err;
    err = -pthread_mutex_init(&coding->gauge.lock, NULL);
    if (err)
        goto no_gauge;
    err = -pthread_mutex_init(&coding->attaching, NULL);
    if (!err)
        return 0;
    pthread_mutex_destroy(&coding->gauge.lock);
no_gauge:
    workers_fini(&coding->workers);
    return err;
}

void coding_fini(struct spw_pool *pool)
{
    struct coding *coding = &pool->coding;
    spw_coder *coder = atomic_load(&coding->coder);
    workers_fini(&coding->workers);
    if (coder && coder->ops->close)
        coder->ops->close(coder);
    pthread_mutex_destroy(&coding->attaching);
    pthread_mutex_destroy(&coding->gauge.lock);
}

/* ---- attaching ---- */

/* Returns 0, or -EAGAIN when there is no thread to encode on. */
static int threads_start(struct spw_pool *pool)
{
    unsigned wanted = workers_wanted(pool->os->processors());
    if (!pool->engine)
        return 0; /* nothing is ever spilled */
    int why, err = workers_start(&pool->coding.workers, wanted, &why);
    atomic_store(&pool->counters->coder_threads, pool->coding.workers.count);
    if (!why)
        return 0;
    log_line(&pool->log, SPILLWAY_LOG_WARN,
             "%u of %u threads to compress on: %s (see RLIMIT_NPROC, pids.max and RLIMIT_AS)",
             pool->coding.workers.count, wanted, strerrordesc_np(-why));
    if (err || pool->strict)
        return -EAGAIN; /* the caller tells of it */
    pool_fallback(pool, "coder-threads");
    return 0;
}

int pool_attach_coder(struct spw_pool *pool, spw_coder *coder)
{
    struct coding *coding = &pool->coding;
    if (!coder || !coder->ops || !OPS_HAS(coder->ops, choose) || !OPS_HAS(coder->ops, encode) ||
        !OPS_HAS(coder->ops, decode))
        return -EINVAL;
    pthread_mutex_lock(&coding->attaching);
    int err = atomic_load(&coding->coder) ? -EEXIST : threads_start(pool);
    if (!err)
        atomic_store(&coding->coder, coder);
    pthread_mutex_unlock(&coding->attaching);
    return err;
}

/* ---- what goes there ---- */

/* Takes one run off what the coder need not be asked about; false when there is nothing left. */
static bool skip_one(struct coding *coding)
{
    unsigned skip = atomic_load(&coding->skip);
    while (skip > 0)
        if (atomic_compare_exchange_weak(&coding->skip, &skip, skip - 1))
            return true;
    return false;
}

bool coding_asks(struct spw_pool *pool, const struct run *run)
{
    struct coding *coding = &pool->coding;
    return atomic_load(&coding->coder) && run->bytes >= CODED_MIN_BYTES &&
           run_total_bytes(run) <= RUN_MAX_BYTES && !skip_one(coding);
}

bool coding_wants_adopted(struct spw_pool *pool)
{
    struct coding *coding = &pool->coding;
    if (!atomic_load(&coding->coder))
        return false;
    if (atomic_load(&coding->in_memory) == ANSWER_NONE) {
        struct memtier_info info;
        memtier_info(pool->memtier, &info);
        if (info.stored_bytes < info.capacity_bytes / 2 || skip_one(coding))
            return false;
    }
    return true;
}

bool coding_keeps_slabs_out(const struct spw_pool *pool)
{
    return atomic_load(&pool->coding.in_memory) == ANSWER_CODE;
}

/* ---- asking ---- */

static void view_place(struct spw_pool *pool, const struct run *run, spw_coder_view *view)
{
    view->to_memory =
        pool->memtier && (!pool->disk || memtier_may_accept(pool->memtier, run_total_bytes(run)));
    if (view->to_memory) {
        struct memtier_info info;
        memtier_info(pool->memtier, &info);
        view->stored_bytes = info.stored_bytes;
        view->capacity_bytes = info.capacity_bytes;
    } else if (pool->disk) {
        struct disk_info info;
        disk_info(pool->disk, &info);
        view->stored_bytes = info.stored_bytes;
        view->capacity_bytes = info.limit_bytes;
    }
}

uint8_t coding_choose(struct spw_pool *pool, const struct run *run, const void *sample,
                      size_t sample_bytes)
{
    struct coding *coding = &pool->coding;
    spw_coder *coder = atomic_load(&coding->coder);
    spw_coder_view view = {.size = sizeof(view),
                           .now_ns = pool->os->clock_ns(),
                           .run_bytes = run_total_bytes(run),
                           .sample = sample,
                           .sample_bytes = sample_bytes,
                           .budget_bytes = budget_now(pool),
                           .waiting_bytes = atomic_load(&pool->counters->in_flight_bytes),
                           .workers = coding->workers.count};
    spw_coder_choice choice = {.size = sizeof(choice)};
    view_place(pool, run, &view);
    pthread_mutex_lock(&coding->gauge.lock);
    view.written_bytes_total = coding->gauge.written_bytes;
    view.write_busy_ns_total = coding->gauge.busy_ns;
    view.passed_bytes_total = coding->gauge.passed_bytes;
    view.passed_ns_total = coding->gauge.full_ns;
    pthread_mutex_unlock(&coding->gauge.lock);
    coder->ops->choose(coder, &view, &choice);
    if (choice.code > SPILLWAY_CODES_MAX)
        choice.code = 0;
    if (choice.action) {
        choice.reason[sizeof(choice.reason) - 1] = '\0';
        governor_note_coder(&pool->governor, coder->ops->name, choice.action, choice.reason);
    }
    if (choice.code == 0)
        atomic_store(&coding->skip, choice.skip_runs);
    if (view.to_memory)
        atomic_store(&coding->in_memory, choice.code ? ANSWER_CODE : ANSWER_NONE);
    return (uint8_t)choice.code;
}

void coding_note_bytes(struct spw_pool *pool)
{
    spw_coder *coder = atomic_load(&pool->coding.coder);
    if (OPS_HAS(coder->ops, used_bytes))
        atomic_store(&pool->counters->coder_bytes, coder->ops->used_bytes(coder));
}

/* ---- the device ---- */

static bool window_is_full(const struct spw_pool *pool)
{
    return atomic_load(&pool->counters->in_flight_bytes) + budget_run_bytes(pool) >
           budget_window(pool);
}

/* Whether the device has enough to do: several runs; or one, where no more fit in the window and
 * none is kept back by a coder. */
static bool device_is_busy(const struct coding *coding)
{
    if (coding->gauge.writing != 1)
        return coding->gauge.writing > 1;
    return coding->gauge.full && atomic_load(&coding->encoding) == 0;
}

/* With the gauge's lock held: the time since it was last looked at. */
static void gauge_pass(struct device_gauge *gauge, uint64_t passed_ns, uint64_t bytes)
{
    if (!gauge->busy && passed_ns > PAUSE_MOST_NS) {
        gauge->stretch_ns = gauge->stretch_bytes = 0;
        gauge->long_enough = false;
    }
    if (!gauge->busy && gauge->stretch_ns == 0 && !gauge->long_enough)
        return;
    gauge->stretch_ns += passed_ns;
    gauge->stretch_bytes += bytes;
    gauge->long_enough = gauge->long_enough || gauge->stretch_ns >= STRETCH_LEAST_NS;
    if (!gauge->long_enough)
        return;
    gauge->busy_ns += gauge->stretch_ns;
    gauge->written_bytes += gauge->stretch_bytes;
    gauge->stretch_ns = gauge->stretch_bytes = 0;
}

/* A run comes or goes, with what was written and what it was. */
static void gauge_move(struct spw_pool *pool, int runs, uint64_t written, uint64_t payload)
{
    struct device_gauge *gauge = &pool->coding.gauge;
    pthread_mutex_lock(&gauge->lock);
    uint64_t now_ns = pool->os->clock_ns(), passed_ns = now_ns - gauge->last_ns;
    gauge_pass(gauge, passed_ns, written);
    if (gauge->full) {
        gauge->full_ns += passed_ns;
        gauge->passed_bytes += payload;
    }
    gauge->last_ns = now_ns;
    gauge->writing += (unsigned)runs;
    gauge->full = window_is_full(pool);
    gauge->busy = device_is_busy(&pool->coding);
    pthread_mutex_unlock(&gauge->lock);
}

void coding_write_begins(struct spw_pool *pool)
{
    gauge_move(pool, 1, 0, 0);
}

void coding_write_ended(struct spw_pool *pool, const struct run *run, bool failed)
{
    gauge_move(pool, -1, failed ? 0 : run_region_bytes(run), failed ? 0 : run->bytes);
}
