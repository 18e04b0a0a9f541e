/* SPDX-License-Identifier: MIT */
/* Somebody else's program: a message through a queue that may spill. */
#include <spillway/spillway.h>
#include <stdio.h>

int main(void)
{
    spw_pool *pool;
    spw_strategy *strategy;
    spw_policy *writing, *reading;
    if (spw_pool_open(NULL, &pool) || spw_pool_strategy(pool, &strategy) ||
        spw_policies_open(strategy, NULL, &writing, &reading))
        return 1;
    spw_queue_options options = {.size = sizeof(options), .account = spw_pool_account(pool)};
    options.writer_policy = writing;
    options.reader_policy = reading;
    spw_writer *writer;
    spw_reader *reader;
    spw_bytes bytes;
    if (spw_queue_open(&options, &writer, &reader) || spw_bytes_copy("hello", 5, NULL, &bytes) ||
        spw_writer_extend(writer, &bytes, 1, 0))
        return 1;
    spw_writer_close(writer);
    if (spw_reader_drain_wait(reader, &bytes, 1, SPILLWAY_FOREVER) == 1)
        printf("%.*s from C, %s\n", (int)bytes.len, (const char *)bytes.data, spw_version_text());
    spw_bytes_release(&bytes);
    spw_reader_close(reader);
    return spw_pool_close_idle(pool) ? 1 : 0;
}
