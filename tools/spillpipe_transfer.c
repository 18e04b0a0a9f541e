/* SPDX-License-Identifier: MIT */
#include "spillpipe_transfer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "spillpipe_drain.h"
#include "spillpipe_feed.h"
#include "spillpipe_report.h"
#include "spillpipe_watch.h"
#include "spillway/errors.h"
#include "spillway/policies.h"

static int tell(struct transfer *transfer, const char *what, int err)
{
    console_say(transfer->console, SPILLWAY_LOG_ERROR, "%s: %s", what, spw_error_text(err));
    return err;
}

static int tell_no_thread(struct transfer *transfer, int err)
{
    console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot start a thread: %s%s",
                strerror(-err),
                err == -EAGAIN ? " (RLIMIT_NPROC, pids.max or RLIMIT_AS; see ulimit -u, -v)" : "");
    return err;
}

/*
 * The library goes on without a directory that does not work. One that was
 * named with --dir or --dirs was meant: spilling elsewhere, or not at all, would surprise.
 */
static bool dirs_are_used(struct transfer *transfer)
{
    const struct args *args = transfer->args;
    const char *option = args->dirs ? "dir" : "dirs";
    spw_stats stats = {.size = sizeof(stats)};
    if (!args->dirs_given)
        return true;
    if (!strstr(spw_options_value(args->options, "tiers", NULL), "disk")) {
        bool strict = strcmp(spw_options_value(args->options, "strict", NULL), "on") == 0;
        console_say(transfer->console, strict ? SPILLWAY_LOG_ERROR : SPILLWAY_LOG_WARN,
                    "--%s is without effect: --tiers leaves the disk out", option);
        return !strict;
    }
    if (spw_pool_stats(transfer->pool, &stats) == 0 && stats.disk_limit_bytes > 0 &&
        !strstr(stats.fallbacks, "scratch") && !strstr(stats.fallbacks, "tmpfs"))
        return true;
    console_say(transfer->console, SPILLWAY_LOG_ERROR,
                "--%s '%s' cannot be used for spilling; name a directory on a disk that you may "
                "write to, or leave --%s out",
                option, spw_options_value(args->options, "dirs", NULL), option);
    return false;
}

/* Opens the queue between the two ends. Returns 0 or -errno, told. */
static int open_queue(struct transfer *transfer)
{
    spw_strategy *strategy = NULL;
    spw_queue_options queue = {.size = sizeof(queue), .name = "spillpipe"};
    int err = spw_pool_strategy(transfer->pool, &strategy);
    if (err)
        return tell(transfer, "cannot use the pool", err);
    err = spw_policies_open(strategy, transfer->args->options, &queue.writer_policy,
                            &queue.reader_policy);
    if (err) {
        strategy->ops->close(strategy);
        return tell(transfer, "cannot open the policies", err);
    }
    queue.account = spw_pool_account(transfer->pool);
    err = spw_queue_open(&queue, &transfer->writer, &transfer->reader);
    if (err) {
        queue.writer_policy->ops->close(queue.writer_policy);
        queue.reader_policy->ops->close(queue.reader_policy);
        return tell(transfer, "cannot open the queue", err);
    }
    return 0;
}

static void close_queue(struct transfer *transfer)
{
    spw_writer_close(transfer->writer);
    spw_reader_close(transfer->reader);
    transfer->writer = NULL;
    transfer->reader = NULL;
}

static int open_pool(struct transfer *transfer)
{
    spw_pool_config config = {
        .size = sizeof(config),
        .name = "spillpipe",
        .options = transfer->args->options,
        .log = console_log,
        .log_context = transfer->console,
    };
    int err = spw_pool_open(&config, &transfer->pool);
    if (err && atomic_load(&transfer->console->library_error)) {
        /* In its own words, which say more than the number. */
        console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot open the pool: see above");
        return err;
    }
    if (err)
        return tell(transfer, "cannot open the pool", err);
    if (!dirs_are_used(transfer)) {
        spw_pool_close(transfer->pool);
        return -ENODEV;
    }
    return 0;
}

/* The part with threads; the caller opened everything and closes it after us. */
static enum drain_result run_threads(struct transfer *transfer, struct watch *watch,
                                     bool *feed_joined)
{
    pthread_t feed;
    *feed_joined = true;
    int err = watch_start(watch, transfer);
    if (err) {
        tell_no_thread(transfer, err);
        return DRAIN_FAILED;
    }
    err = -pthread_create(&feed, NULL, feed_run, transfer);
    if (err) {
        watch_stop(watch);
        tell_no_thread(transfer, err);
        return DRAIN_FAILED;
    }
    enum drain_result result = drain_run(transfer);
    /* After a failure the feed may sit in a read that never ends: the process ends without it. */
    *feed_joined = result == DRAIN_DELIVERED;
    if (*feed_joined)
        pthread_join(feed, NULL);
    else
        pthread_detach(feed);
    watch_stop(watch);
    return result;
}

/* What a full disk or network file system may say only now. */
static int close_output(struct transfer *transfer)
{
    if (close(STDOUT_FILENO) == 0 || errno == EINTR)
        return EXIT_DELIVERED;
    console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot write standard output: %s",
                strerror(errno));
    return EXIT_FAILED;
}

static int judge(struct transfer *transfer, const struct watch *watch, enum drain_result result)
{
    bool reported = report_end(transfer);
    if (result == DRAIN_CONSUMER_LEFT && watch->pipe_kills_us)
        watch_die(SIGPIPE);
    if (result == DRAIN_CONSUMER_LEFT)
        console_say(transfer->console, SPILLWAY_LOG_ERROR, "cannot write standard output: %s",
                    strerror(EPIPE));
    if (result != DRAIN_DELIVERED || atomic_load(&transfer->meter.in_failed) || !reported)
        return EXIT_FAILED;
    return close_output(transfer);
}

int transfer_run(const struct args *args, struct console *console)
{
    static struct transfer transfer; /* outlives this call: see run_threads() */
    struct watch watch;
    bool feed_joined;
    int code = EXIT_FAILED;
    transfer.args = args;
    transfer.console = console;
    watch_prepare(&watch);
    if (!report_open_stats(&transfer) || open_pool(&transfer) != 0)
        return EXIT_FAILED;
    if (open_queue(&transfer) != 0)
        goto close_pool;
    meter_init(&transfer.meter);
    enum drain_result result = run_threads(&transfer, &watch, &feed_joined);
    code = judge(&transfer, &watch, result);
    if (!feed_joined)
        return code;
    close_queue(&transfer);
close_pool:
    spw_pool_close(transfer.pool);
    return code;
}
