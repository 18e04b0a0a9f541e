/* SPDX-License-Identifier: MIT */
/* Somebody else's program in C++: a message through a queue that may spill. */
#include <iostream>
#include <spillway/spillway.h>
#include <string>

int main()
{
    spw_pool *pool;
    spw_strategy *strategy;
    spw_queue_options options = {};
    options.size = sizeof(options);
    if (spw_pool_open(nullptr, &pool) || spw_pool_strategy(pool, &strategy) ||
        spw_policies_open(strategy, nullptr, &options.writer_policy, &options.reader_policy))
        return 1;
    options.account = spw_pool_account(pool);
    spw_writer *writer;
    spw_reader *reader;
    spw_bytes bytes = SPILLWAY_BYTES_NONE;
    if (spw_queue_open(&options, &writer, &reader) || spw_bytes_copy("hello", 5, nullptr, &bytes) ||
        spw_writer_extend(writer, &bytes, 1, 0))
        return 1;
    spw_writer_close(writer);
    if (spw_reader_drain_wait(reader, &bytes, 1, SPILLWAY_FOREVER) == 1)
        std::cout << std::string(reinterpret_cast<const char *>(bytes.data), bytes.len)
                  << " from C++, " << spw_version_text() << std::endl;
    spw_bytes_release(&bytes);
    spw_reader_close(reader);
    return spw_pool_close_idle(pool) ? 1 : 0;
}
