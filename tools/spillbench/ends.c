/* SPDX-License-Identifier: MIT */
#include "ends.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static int open_queue(struct ends *ends, spw_pool *pool, const spw_options *options,
                      spw_policy *reader)
{
    spw_queue_options queue = {.size = sizeof(queue)};
    spw_strategy *strategy;
    int rc;

    ends->writer = NULL;
    ends->reader = NULL;
    if (!pool)
        return spw_queue_open(NULL, &ends->writer, &ends->reader);
    rc = spw_pool_strategy(pool, &strategy);
    if (rc != 0)
        return rc;
    rc = spw_policies_open(strategy, options, &queue.writer_policy, &queue.reader_policy);
    if (rc != 0) {
        strategy->ops->close(strategy);
        return rc;
    }
    spw_policy *usual = queue.reader_policy;
    if (reader)
        queue.reader_policy = reader;
    queue.account = spw_pool_account(pool);
    rc = spw_queue_open(&queue, &ends->writer, &ends->reader);
    if (rc != 0) {
        queue.writer_policy->ops->close(queue.writer_policy);
        usual->ops->close(usual);
    } else if (reader) {
        usual->ops->close(usual);
    }
    return rc;
}

int ends_make(struct ends *ends, spw_pool *pool, const spw_options *options)
{
    return open_queue(ends, pool, options, NULL);
}

int ends_make_with(struct ends *ends, spw_pool *pool, const spw_options *options,
                   spw_policy *reader)
{
    return open_queue(ends, pool, options, reader);
}

void ends_drop(struct ends *ends)
{
    spw_writer_close(ends->writer);
    spw_reader_close(ends->reader);
}

void *shared_open(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void shared_close(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes);
}

bool shared_run(const struct child_plan *child, void *shared, void *result, size_t bytes, char *why,
                size_t why_bytes)
{
    struct measure *measure = shared ? child_run(child) : NULL;
    bool done = measure && measure->error == 0;

    if (done)
        memcpy(result, shared, bytes);
    else
        snprintf(why, why_bytes, "%s", measure ? measure->why : "no memory");
    child_release(measure);
    shared_close(shared, bytes);
    return done;
}
