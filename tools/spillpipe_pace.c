/* SPDX-License-Identifier: MIT */
#include "spillpipe_pace.h"

#include <stdbool.h>
#include <time.h>

#include "spillpipe_meter.h"

enum {
    SMALL_READ_BYTES = 64 << 10,
    WANT_BYTES = 256 << 10,
    BACKLOG_BYTES = 1 << 20, /* the consumer is behind from here on */
};

#define NAP_MIN_NS     UINT64_C(20000)
#define NAP_PROMPT_NS  UINT64_C(4000000)  /* hardly noticed by a consumer that waits */
#define NAP_BACKLOG_NS UINT64_C(10000000) /* the consumer is behind: nobody waits */

void pace_init(struct pace *pace, size_t pipe_bytes)
{
    *pace = (struct pace){0};
    /* The half of the pipe that stays free keeps the producer from waiting for us. */
    pace->want_bytes = pipe_bytes / 2 < WANT_BYTES ? pipe_bytes / 2 : WANT_BYTES;
}

uint64_t pace_nap_ns(const struct pace *pace, size_t n, uint64_t backlog_bytes)
{
    bool behind = backlog_bytes >= BACKLOG_BYTES;
    uint64_t limit = behind ? NAP_BACKLOG_NS : NAP_PROMPT_NS;
    if (n >= SMALL_READ_BYTES || n >= pace->want_bytes || pace->ns_per_want == 0)
        return 0;
    /* Too slow for the nap to bring a large read: then the few bytes may as well come now. */
    double share = (double)SMALL_READ_BYTES / (double)pace->want_bytes;
    if (!behind && (double)pace->ns_per_want * share > (double)limit)
        return 0;
    uint64_t nap = pace->ns_per_want < limit ? pace->ns_per_want : limit;
    return nap > NAP_MIN_NS ? nap : NAP_MIN_NS;
}

void pace_after_read(struct pace *pace, size_t n, uint64_t backlog_bytes)
{
    if (pace->want_bytes == 0 || n == 0)
        return;
    uint64_t now = meter_now_ns();
    if (pace->last_ns) {
        double large_reads = (double)n / (double)pace->want_bytes;
        uint64_t cost = (uint64_t)((double)(now - pace->last_ns) / large_reads);
        /* The average follows within a few reads. */
        pace->ns_per_want = pace->ns_per_want ? (3 * pace->ns_per_want + cost) / 4 : cost;
    }
    pace->last_ns = now;
    uint64_t nap = pace_nap_ns(pace, n, backlog_bytes);
    if (nap == 0)
        return;
    struct timespec wait = {.tv_sec = 0, .tv_nsec = (long)nap};
    nanosleep(&wait, NULL);
}
