/* SPDX-License-Identifier: MIT */
/*
 * The page in which a pool counts: that it says the same as the API, that nobody else can write it,
 * what happens where it is refused, and the rows of queues, directories and nodes.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/queue.h"
#include "../tools/poolstat/values.h"
#include "harness.h"
#include "pool_tools.h"
#include "queue_tools.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define CHUNK ((size_t)100000)

static const struct setting on_disk[] = {
    {"memory", "4MiB"}, {"engine", "threads"}, {"tiers", "disk"}, {NULL, NULL}};
static const struct setting no_tier[] = {{"memory", "4MiB"}, {"tiers", "none"}, {NULL, NULL}};
static const struct setting switched_off[] = {
    {"memory", "4MiB"}, {"tiers", "none"}, {"stats_page", "off"}, {NULL, NULL}};
static const struct setting strict[] = {
    {"memory", "4MiB"}, {"tiers", "none"}, {"strict", "on"}, {NULL, NULL}};

/* The page as another process gets it: through its own descriptor. */
static void copy_open(const struct bed *bed, struct page_copy *copy)
{
    char path[64], why[PAGE_WHY] = "";
    snprintf(path, sizeof(path), "/proc/self/fd/%d", bed->pool->page.fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    int err = page_copy_open(fd, copy, why);
    cr_assert_eq(err, 0, "it %s", why);
    close(fd);
}

static uint64_t row_number(const struct page_copy *copy, const char *section, uint32_t row,
                           const char *field)
{
    const struct copied_section *rows = page_section(copy, section);
    cr_assert_not_null(rows, "%s", section);
    cr_assert_not_null(page_field(copy, rows, field), "%s", field);
    return page_number(copy, rows, row, page_field(copy, rows, field));
}

static const char *row_text(const struct page_copy *copy, const char *section, uint32_t row,
                            const char *field)
{
    static char text[512];
    const struct copied_section *rows = page_section(copy, section);
    return page_text(copy, rows, row, page_field(copy, rows, field), text, sizeof(text));
}

/* ---- what it says ---- */

/* Not outside of what the pool says before and after: the governor may wake meanwhile. */
#define SAME(name, kind, help)                                                                     \
    cr_assert(value_stat(copy, #name, &value), #name);                                             \
    cr_assert((value >= stats->name && value <= later.name) ||                                     \
                  (value <= stats->name && value >= later.name),                                   \
              #name " is %llu, then %llu, and %llu in the page", (unsigned long long)stats->name,  \
              (unsigned long long)later.name, (unsigned long long)value);

/* A copy of the page beside what the pool said right before. */
static void stats_are_the_same(const struct page_copy *copy, const struct bed *bed,
                               const spw_stats *stats)
{
    spw_stats later = bed_stats(bed);
    char text[512];
    uint64_t value;
    SPILLWAY_STATS_TABLE(SAME)
    cr_assert_str_eq(value_text(copy, "engine", text, sizeof(text)), stats->engine);
    cr_assert_str_eq(value_text(copy, "seal_mode", text, sizeof(text)), stats->seal_mode);
    cr_assert_str_eq(value_text(copy, "fallbacks", text, sizeof(text)), stats->fallbacks);
}

#define SAME_HISTOGRAM(name, help)                                                                 \
    cr_assert(value_histogram(copy, NULL, #name, &histogram, &sum), #name);                        \
    cr_assert_eq(memcmp(&histogram, &histograms->name, sizeof(histogram)), 0, #name);              \
    cr_assert_geq(sum, histogram.highest, #name);

static void histograms_are_the_same(const struct page_copy *copy, const spw_histograms *histograms)
{
    spw_histogram histogram;
    uint64_t sum;
    SPILLWAY_HISTOGRAMS_TABLE(SAME_HISTOGRAM)
}

static void queue_is_the_same(const struct queue_value *queue, const spw_queue_info *info)
{
    cr_assert_eq(queue->entries, info->entries);
    cr_assert_eq(queue->paged_entries, info->paged_entries);
    cr_assert_eq(queue->resident_bytes, info->resident_bytes);
    cr_assert_eq(queue->paged_bytes, info->paged_bytes);
    cr_assert_eq(queue->extended_bytes_total, info->extended_bytes_total);
    cr_assert_eq(queue->drained_bytes_total, info->drained_bytes_total);
    cr_assert_eq(queue->merged_total, info->merged_total);
    cr_assert_eq(queue->skipped_bytes_total, info->skipped_bytes_total);
}

static void extend(struct ends *ends, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        spw_bytes bytes = stream_piece(i, CHUNK);
        cr_assert_eq(spw_writer_extend(ends->writer, &bytes, 1, 0), 0);
    }
}

static void drain(struct ends *ends, unsigned count)
{
    while (count > 0) {
        spw_bytes out[8];
        long got =
            spw_reader_drain_wait(ends->reader, out, count < 8 ? count : 8, UINT64_C(60000000000));
        cr_assert_gt(got, 0);
        for (long i = 0; i < got; i++)
            spw_bytes_release(&out[i]);
        count -= (unsigned)got;
    }
}

Test(stats_page, says_the_same_as_the_api)
{
    struct bed bed;
    bed_open(&bed, on_disk, 2);
    struct ends ends = ends_open(&bed);
    extend(&ends, 100);
    drain(&ends, 30);
    spw_stats stats = bed_quiet(&bed);
    spw_histograms histograms = {.size = sizeof(histograms)};
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_pool_histograms(bed.pool, &histograms), 0);
    cr_assert_eq(spw_writer_info(ends.writer, &info), 0);
    cr_assert_gt(stats.spilled_bytes_total, 0);
    cr_assert_gt(info.paged_bytes, 0);

    struct page_copy copy;
    copy_open(&bed, &copy);
    stats_are_the_same(&copy, &bed, &stats);
    histograms_are_the_same(&copy, &histograms);
    size_t count;
    struct queue_value *queues = value_queues(&copy, &count);
    cr_assert_eq(count, 1);
    queue_is_the_same(&queues[0], &info);
    free(queues);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_str_eq(row_text(&copy, "dirs", i, "name"), bed.dirs[i]);
        cr_assert_eq(row_number(&copy, "dirs", i, "used"), 1);
        cr_assert_eq(row_number(&copy, "dirs", i, "withdrawn"), 0);
    }
    cr_assert_eq(row_number(&copy, "dirs", 2, "used"), 0);
    cr_assert_eq(row_number(&copy, "dirs", 0, "stored_bytes") +
                     row_number(&copy, "dirs", 1, "stored_bytes"),
                 stats.disk_stored_bytes);
    cr_assert_eq(row_number(&copy, "dirs", 0, "file_bytes") +
                     row_number(&copy, "dirs", 1, "file_bytes"),
                 stats.disk_file_bytes);
    page_copy_close(&copy);
    ends_close(&ends);
    bed_close(&bed);
}

Test(stats_page, says_whose_it_is)
{
    struct bed bed;
    struct process self;
    struct page_copy copy;
    bed_open(&bed, no_tier, 0);
    copy_open(&bed, &copy);
    cr_assert_eq(process_look("/proc", getpid(), &self), 0);
    cr_assert_eq(copy.header.pid, (uint64_t)self.own_pid);
    cr_assert_eq(copy.header.start_ticks, self.start_ticks);
    cr_assert_str_eq(copy.header.name, "pool");
    cr_assert_str_eq(copy.header.library, spw_version_text());
    cr_assert_eq(copy.header.state, PAGE_OPEN);
    cr_assert_eq(copy.header.sequence % 2, 0);
    page_copy_close(&copy);
    bed_close(&bed);
}

/* Found by who looks through this process' descriptors, once, whatever was inherited by whom. */
Test(stats_page, is_found)
{
    struct bed bed;
    struct pools pools = {0};
    bed_open(&bed, no_tier, 0);
    int twice = dup(bed.pool->page.fd);
    cr_assert_eq(pools_find("/proc", getpid(), &pools), 0);
    cr_assert_eq(pools.count, 1);
    cr_assert_eq(pools.refused, 0);
    cr_assert_not(pools.items[0].gone);
    cr_assert_eq(pools.items[0].process.pid, getpid());
    spw_stats stats = bed_stats(&bed);
    pools_refresh("/proc", &pools, true);
    cr_assert_eq(pools.count, 1);
    stats_are_the_same(&pools.items[0].now, &bed, &stats);
    bed_close(&bed);
    pools_refresh("/proc", &pools, true);
    cr_assert_eq(pools.count, 0, "it says that it is closed");
    pools_close(&pools);
    close(twice);
}

struct watch {
    const struct bed *bed;
    _Atomic bool done;
    unsigned looks;
};

static void take_a_moment(void *context)
{
    (void)context;
    usleep(3000);
}

static void *search_all_the_time(void *argument)
{
    struct watch *watch = argument;
    while (!atomic_load(&watch->done)) {
        struct pools pools = {0};
        cr_assert_eq(pools_find("/proc", getpid(), &pools), 0);
        cr_assert_eq(pools.refused, 0, "%s", pools.why);
        watch->looks += (unsigned)pools.count;
        pools_close(&pools);
    }
    return NULL;
}

/* A pool that is just being opened is no page that is refused. */
Test(stats_page, is_found_when_it_is_ready)
{
    struct watch watch = {.looks = 0};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, search_all_the_time, &watch), 0);
    for (unsigned i = 0; i < 30; i++) {
        struct bed bed;
        fault_hook(FAULT_FCNTL, take_a_moment, NULL);
        fault_hook(FAULT_FALLOCATE, take_a_moment, NULL);
        bed_open(&bed, no_tier, 0);
        fault_hook(FAULT_FCNTL, NULL, NULL);
        fault_hook(FAULT_FALLOCATE, NULL, NULL);
        bed_close(&bed);
    }
    atomic_store(&watch.done, true);
    pthread_join(thread, NULL);
}

Test(stats_page, settings_say_where_they_came_from)
{
    static const struct setting some[] = {
        {"memory", "8MiB"}, {"tiers", "none"}, {"checksum", "all"}, {NULL, NULL}};
    struct bed bed;
    struct page_copy copy;
    unsigned found = 0;
    bed_open(&bed, some, 0);
    copy_open(&bed, &copy);
    const struct copied_section *section = page_section(&copy, "settings");
    for (uint32_t row = 0; row < section->rows; row++) {
        char name[64];
        snprintf(name, sizeof(name), "%s", row_text(&copy, "settings", row, "name"));
        const char *origin, *value = spw_options_value(bed.options, name, &origin);
        cr_assert_not_null(value, "'%s'", name);
        cr_assert_str_eq(row_text(&copy, "settings", row, "value"), value);
        cr_assert_str_eq(row_text(&copy, "settings", row, "origin"), origin);
        cr_assert_neq(row_text(&copy, "settings", row, "help")[0], '\0');
        found += strcmp(name, "memory") == 0 && strcmp(value, "8MiB") == 0;
        found += strcmp(name, "checksum") == 0 && strcmp(origin, "call") == 0;
    }
    cr_assert_eq(found, 2);
    cr_assert_eq(section->rows, (uint32_t)OPTION_COUNT);
    page_copy_close(&copy);
    bed_close(&bed);
}

/* No text of the tables is cut. */
Test(stats_page, tables_fit)
{
    const struct page_setting setting;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        cr_assert_lt(strlen(option_rows[i].name), sizeof(setting.name));
        cr_assert_lt(strlen(option_rows[i].fallback), sizeof(setting.fallback));
        cr_assert_lt(strlen(option_rows[i].help), sizeof(setting.help), "%s", option_rows[i].name);
    }
}

/* ---- who may write ---- */

Test(stats_page, nobody_else_can_write)
{
    struct bed bed;
    char path[64];
    struct stat st;
    bed_open(&bed, no_tier, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", bed.pool->page.fd);
    int seals = fcntl(bed.pool->page.fd, F_GET_SEALS);
    cr_assert_eq(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    cr_assert_eq(errno, EPERM);
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mprotect(map, 4096, PROT_READ | PROT_WRITE), -1);
    munmap(map, 4096);
    cr_assert_eq(ftruncate(fd, 4096), -1);
    cr_assert_eq(ftruncate(fd, st.st_size + 4096), -1);
    cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    cr_assert_neq(fcntl(bed.pool->page.fd, F_GETFD) & FD_CLOEXEC, 0);
    /* All of it is there: nothing is left that a first touch could fail at. */
    cr_assert_geq(st.st_blocks * 512, st.st_size);
    close(fd);
    bed_close(&bed);
}

static bool maps_name(const char *name)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        found = found || strstr(line, name);
    if (maps)
        fclose(maps);
    return found;
}

Test(stats_page, is_not_in_a_forked_child)
{
    struct bed bed;
    struct pools pools = {0};
    bed_open(&bed, no_tier, 0);
    cr_assert(maps_name("memfd:" PAGE_FILE));
    pid_t child = fork();
    if (child == 0) {
        spw_stats stats = {.size = sizeof(stats)};
        bool good = !maps_name("memfd:" PAGE_FILE) &&
                    spw_pool_stats(bed.pool, &stats) == -EOWNERDEAD &&
                    spw_pool_close(bed.pool) == -EOWNERDEAD && spw_pool_run_bytes(bed.pool) > 0;
        if (!good)
            _exit(1);
        pause();
        _exit(0);
    }
    /* It still has the descriptor, but the pool is its parent's. */
    cr_assert_eq(pools_find("/proc", child, &pools), 0);
    cr_assert_eq(pools.count, 1);
    cr_assert(pools.items[0].gone);
    cr_assert_eq(pools_find("/proc", getpid(), &pools), 0);
    cr_assert_eq(pools.count, 1);
    cr_assert_not(pools.items[0].gone);
    cr_assert_eq(pools.items[0].process.pid, getpid());
    int status;
    cr_assert_eq(waitpid(child, &status, WNOHANG), 0, "the child found something wrong");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    pools_close(&pools);
    bed_close(&bed);
}

/* ---- off, or refused ---- */

Test(stats_page, can_be_switched_off)
{
    struct bed bed;
    struct pools pools = {0};
    bed_open(&bed, switched_off, 0);
    cr_assert_eq(fault_calls(FAULT_MEMFD_CREATE), 0);
    cr_assert_eq(bed.pool->page.fd, -1);
    cr_assert_eq(bed_stats(&bed).fallbacks_total, 0);
    struct ends ends = ends_open(&bed);
    extend(&ends, 3);
    spw_stats stats = bed_stats(&bed);
    cr_assert_geq(stats.resident_foreign_bytes, 3 * CHUNK);
    cr_assert_eq(stats.queues, 1);
    identity_holds(&stats);
    cr_assert_eq(pools_find("/proc", getpid(), &pools), 0);
    cr_assert_eq(pools.count, 0);
    pools_close(&pools);
    ends_close(&ends);
    bed_close(&bed);
}

struct refusal {
    enum fault kind;
    unsigned long argument; /* 0: any */
    uint32_t after;
    int err;
    const char *hint;
};

static const struct refusal refusals[] = {
    {FAULT_MEMFD_CREATE, 0, 0, -EMFILE, "RLIMIT_NOFILE"},
    {FAULT_MEMFD_CREATE, 0, 0, -ENFILE, "fs.file-max"},
    {FAULT_MEMFD_CREATE, 0, 0, -ENOSYS, "seccomp"},
    {FAULT_MEMFD_CREATE, 0, 0, -EACCES, "vm.memfd_noexec"},
    {FAULT_MEMFD_CREATE, 0, 0, -EINVAL, "version of the kernel"},
    {FAULT_FTRUNCATE, 0, 0, -ENOMEM, "RLIMIT_AS"},
    {FAULT_FTRUNCATE, 0, 0, -EINTR, "EINTR"},
    {FAULT_MAP, MAP_SHARED, 0, -ENOMEM, "RLIMIT_AS"},
    {FAULT_ADVISE, MADV_DONTFORK, 0, -EINVAL, "EINVAL"},
    {FAULT_ADVISE, MADV_DONTDUMP, 0, -ENOMEM, "ENOMEM"},
    {FAULT_FCNTL, F_ADD_SEALS, 0, -EINVAL, "version of the kernel"},
    {FAULT_FCNTL, F_ADD_SEALS, 0, -EINTR, "EINTR"},
    {FAULT_FALLOCATE, 0, 0, -ENOSPC, "vm.overcommit_memory"},
    {FAULT_FALLOCATE, 0, 0, -EINTR, "EINTR"},
};

static void refuse(const struct refusal *refusal)
{
    if (refusal->argument)
        fault_fail_when(refusal->kind, refusal->argument, 0, FAULT_ALWAYS, refusal->err);
    else
        fault_fail(refusal->kind, 0, FAULT_ALWAYS, refusal->err);
}

Test(stats_page, goes_on_in_private_memory_where_it_is_refused)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct bed bed;
        fault_clear();
        log_forget();
        refuse(&refusals[i]);
        bed_open(&bed, no_tier, 0);
        fault_clear();
        cr_assert_eq(bed.pool->page.fd, -1, "%zu", i);
        spw_stats stats = bed_stats(&bed);
        cr_assert_str_eq(stats.fallbacks, "stats-page");
        cr_assert_eq(stats.fallbacks_total, 1);
        cr_assert_eq(log_lines_with("no stats page can be made"), 1);
        cr_assert_eq(log_lines_with(refusals[i].hint), 1, "%s", refusals[i].hint);
        struct ends ends = ends_open(&bed);
        extend(&ends, 3);
        stats = bed_stats(&bed);
        cr_assert_geq(stats.resident_foreign_bytes, 3 * CHUNK);
        identity_holds(&stats);
        ends_close(&ends);
        bed_close(&bed);
    }
}

Test(stats_page, is_insisted_on_where_strict)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct bed bed;
        fault_clear();
        log_forget();
        refuse(&refusals[i]);
        cr_assert_eq(bed_try(&bed, strict, 0), -EOPNOTSUPP, "%zu", i);
        fault_clear();
        cr_assert_eq(log_lines_with("strict: these fell back: stats-page"), 1);
        nothing_left();
        bed_remove(&bed);
    }
    struct bed bed;
    bed_open(&bed, strict, 0);
    cr_assert_geq(bed.pool->page.fd, 0);
    bed_close(&bed);
}

Test(stats_page, signals_do_not_keep_it_away)
{
    struct bed bed;
    fault_fail(FAULT_FTRUNCATE, 0, 3, -EINTR);
    fault_fail_when(FAULT_FCNTL, F_ADD_SEALS, 0, 3, -EINTR);
    fault_fail(FAULT_FALLOCATE, 0, 3, -EINTR);
    bed_open(&bed, strict, 0);
    cr_assert_geq(bed.pool->page.fd, 0);
    bed_close(&bed);
}

Test(stats_page, older_kernels_know_no_noexec)
{
    struct bed bed;
    fault_fail_when(FAULT_MEMFD_CREATE, 0x0008U /* MFD_NOEXEC_SEAL */, 0, FAULT_ALWAYS, -EINVAL);
    bed_open(&bed, strict, 0);
    cr_assert_geq(bed.pool->page.fd, 0);
    cr_assert_eq(fault_last(FAULT_MEMFD_CREATE).argument,
                 (unsigned long)(MFD_CLOEXEC | MFD_ALLOW_SEALING));
    bed_close(&bed);
}

/* Growing a file past this limit sends SIGXFSZ. */
Test(stats_page, keeps_within_the_limit_of_file_sizes)
{
    struct bed bed;
    fault_limit(RLIMIT_FSIZE, 4096);
    bed_open(&bed, no_tier, 0);
    cr_assert_eq(bed.pool->page.fd, -1);
    cr_assert_eq(fault_calls(FAULT_FTRUNCATE), 0);
    cr_assert_eq(log_lines_with("RLIMIT_FSIZE"), 1);
    bed_close(&bed);
}

static void cut_it(void *context)
{
    (void)context;
    cr_assert_eq(ftruncate(fault_last(FAULT_FTRUNCATE).fd, 4096), 0);
}

/* Somebody of this user found it before it was sealed. */
Test(stats_page, is_not_used_once_it_was_cut)
{
    struct bed bed;
    fault_hook(FAULT_FCNTL, cut_it, NULL);
    bed_open(&bed, no_tier, 0);
    fault_hook(FAULT_FCNTL, NULL, NULL);
    cr_assert_eq(bed.pool->page.fd, -1);
    cr_assert_str_eq(bed_stats(&bed).fallbacks, "stats-page");
    cr_assert_eq(log_lines_with("EPERM"), 1);
    bed_close(&bed);
}

Test(stats_page, without_any_memory_there_is_no_pool)
{
    for (uint64_t n = 1;; n++) {
        struct bed bed;
        fault_clear();
        fault_fail(FAULT_MEMFD_CREATE, 0, FAULT_ALWAYS, -EMFILE);
        fault_alloc_after(n);
        int err = bed_try(&bed, no_tier, 0);
        fault_alloc_after(0);
        if (err == 0) {
            cr_assert_gt(n, 2, "the page takes memory, too");
            bed_close(&bed);
            break;
        }
        cr_assert_eq(err, -ENOMEM);
        nothing_left();
        bed_remove(&bed);
    }
}

Test(stats_page, a_process_that_is_not_known_is_0)
{
    static const char *const texts[] = {NULL, "", "17 (name", "17 (a) b) R 1 2"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bed bed;
        struct page_copy copy;
        fault_file("/proc/self/stat", texts[i]);
        bed_open(&bed, no_tier, 0);
        copy_open(&bed, &copy);
        cr_assert_eq(copy.header.pid, 0, "%zu", i);
        cr_assert_eq(copy.header.start_ticks, 0);
        page_copy_close(&copy);
        bed_close(&bed);
        fault_clear();
    }
}

/* ---- queues ---- */

static struct ends plain_queue(const struct bed *bed, const char *name)
{
    struct ends ends;
    spw_queue_options options = {.size = sizeof(options),
                                 .name = name,
                                 .account = spw_pool_account(bed->pool),
                                 .allocator = &fault_allocator};
    cr_assert_eq(spw_queue_open(&options, &ends.writer, &ends.reader), 0);
    return ends;
}

static struct queue_value queue_of(const struct bed *bed, const struct ends *ends)
{
    struct page_copy copy;
    struct queue_value value;
    const struct queue_row *row = ends->writer->queue->row;
    cr_assert_not_null(row);
    copy_open(bed, &copy);
    cr_assert(value_queue(&copy, (uint32_t)(row - bed->pool->page.queues), &value));
    page_copy_close(&copy);
    return value;
}

Test(stats_page, queues_have_rows)
{
    static const char longest[] = "0123456789012345678901234567890123456789012345678901234567890";
    struct bed bed;
    bed_open(&bed, no_tier, 0);
    struct ends named = plain_queue(&bed, "orders\nof today"), unnamed = plain_queue(&bed, NULL);
    struct ends cut = plain_queue(&bed, longest);
    cr_assert_str_eq(queue_of(&bed, &named).name, "orders?of today");
    cr_assert_str_eq(queue_of(&bed, &unnamed).name, "");
    cr_assert_eq(strncmp(queue_of(&bed, &cut).name, longest, 40), 0);
    cr_assert_eq(strlen(queue_of(&bed, &cut).name), (size_t)QUEUE_ROW_NAME - 1);
    uint64_t id = queue_of(&bed, &unnamed).id;
    cr_assert_neq(id, queue_of(&bed, &named).id);

    extend(&named, 5);
    drain(&named, 2);
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_reader_info(named.reader, &info), 0);
    cr_assert_eq(info.drained_bytes_total, 2 * CHUNK);
    cr_assert_eq(info.extended_bytes_total, 5 * CHUNK);
    struct queue_value value = queue_of(&bed, &named);
    queue_is_the_same(&value, &info);

    /* A row is used again, but not its number. */
    ends_close(&unnamed);
    struct page_copy copy;
    size_t count;
    copy_open(&bed, &copy);
    struct queue_value *queues = value_queues(&copy, &count);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(queues[0].name, "orders?of today", "the largest first");
    free(queues);
    page_copy_close(&copy);
    unnamed = plain_queue(&bed, "later");
    cr_assert_neq(queue_of(&bed, &unnamed).id, id);
    cr_assert_eq(queue_of(&bed, &unnamed).extended_bytes_total, 0);
    ends_close(&unnamed);
    ends_close(&named);
    ends_close(&cut);
    bed_close(&bed);
}

/* What an end throws away is gone, but what was counted is not. */
Test(stats_page, rows_outlive_an_end)
{
    struct bed bed;
    bed_open(&bed, no_tier, 0);
    struct ends ends = plain_queue(&bed, "q");
    extend(&ends, 5);
    drain(&ends, 1);
    spw_reader_close(ends.reader);
    ends.reader = NULL;
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_writer_info(ends.writer, &info), 0);
    cr_assert_eq(info.entries, 0);
    cr_assert_eq(info.resident_bytes, 0);
    cr_assert_eq(info.extended_bytes_total, 5 * CHUNK);
    cr_assert_eq(info.drained_bytes_total, CHUNK);
    struct queue_value value = queue_of(&bed, &ends);
    queue_is_the_same(&value, &info);
    spw_writer_close(ends.writer);
    bed_close(&bed);
}

Test(stats_page, more_queues_than_rows_work_all_the_same)
{
    enum { MORE = 10 };
    static struct ends all[QUEUE_ROWS + MORE];
    struct bed bed;
    bed_open(&bed, no_tier, 0);
    for (size_t i = 0; i < QUEUE_ROWS + MORE; i++)
        all[i] = plain_queue(&bed, "many");
    struct page_copy copy;
    size_t count;
    copy_open(&bed, &copy);
    free(value_queues(&copy, &count));
    cr_assert_eq(count, (size_t)QUEUE_ROWS);
    page_copy_close(&copy);
    struct ends *last = &all[QUEUE_ROWS + MORE - 1];
    cr_assert_null(last->writer->queue->row);
    extend(last, 3);
    drain(last, 1);
    spw_queue_info info = {.size = sizeof(info)};
    cr_assert_eq(spw_reader_info(last->reader, &info), 0);
    cr_assert_eq(info.entries, 2);
    cr_assert_eq(info.drained_bytes_total, CHUNK);
    ends_close(&all[500]);
    struct ends next = plain_queue(&bed, "next");
    cr_assert_str_eq(queue_of(&bed, &next).name, "next");
    ends_close(&next);
    for (size_t i = 0; i < QUEUE_ROWS + MORE; i++)
        if (i != 500)
            ends_close(&all[i]);
    cr_assert_eq(atomic_load(&bed.pool->queue_rows.used), 0);
    bed_close(&bed);
}

struct storm {
    const struct bed *bed;
    struct ends all[QUEUE_ROWS / 3];
};

/* Three of these at once want about as many rows as there are. */
static void *open_and_close(void *argument)
{
    struct storm *storm = argument;
    for (uint64_t round = 0; round < test_scaled(10); round++) {
        for (size_t i = 0; i < QUEUE_ROWS / 3; i++)
            storm->all[i] = plain_queue(storm->bed, "storm");
        for (size_t i = 0; i < QUEUE_ROWS / 3; i++)
            ends_close(&storm->all[i]);
    }
    return NULL;
}

Test(stats_page, rows_are_taken_by_many_threads)
{
    static struct storm storms[3];
    pthread_t threads[3];
    struct bed bed;
    bed_open(&bed, no_tier, 0);
    for (unsigned i = 0; i < 3; i++) {
        storms[i].bed = &bed;
        cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, &storms[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(atomic_load(&bed.pool->queue_rows.used), 0);
    for (unsigned i = 0; i < QUEUE_ROWS; i++)
        cr_assert_eq(atomic_load(&bed.pool->page.queues[i].state), (uint64_t)QUEUE_ROW_FREE);
    bed_close(&bed);
}

/* ---- directories and nodes ---- */

Test(stats_page, a_directory_that_fails_says_so)
{
    struct bed bed;
    struct page_copy copy;
    bed_open(&bed, on_disk, 1);
    struct ends ends = ends_open(&bed);
    fault_fail(FAULT_PWRITE, 0, FAULT_ALWAYS, -EIO);
    extend(&ends, 60);
    wait_stat(&bed, quarantined_dirs, ==, 1);
    fault_clear();
    copy_open(&bed, &copy);
    cr_assert_eq(row_number(&copy, "dirs", 0, "withdrawn"), 1);
    cr_assert_geq(row_number(&copy, "dirs", 0, "errors_total"), 1);
    page_copy_close(&copy);
    ends_close(&ends);
    bed_close(&bed);
}

Test(stats_page, a_directory_that_is_full_says_so)
{
    struct bed bed;
    struct page_copy copy;
    bed_open(&bed, on_disk, 1);
    struct ends ends = ends_open(&bed);
    fault_fail(FAULT_FALLOCATE, 0, FAULT_ALWAYS, -ENOSPC);
    extend(&ends, 60);
    wait_stat(&bed, enospc_total, >=, 1);
    copy_open(&bed, &copy);
    cr_assert_eq(row_number(&copy, "dirs", 0, "full"), 1);
    cr_assert_geq(row_number(&copy, "dirs", 0, "full_total"), 1);
    cr_assert_eq(row_number(&copy, "dirs", 0, "withdrawn"), 0);
    page_copy_close(&copy);
    fault_clear();
    ends_close(&ends);
    bed_close(&bed);
}

static const struct setting on_node_0[] = {{"memory", "4MiB"},
                                           {"memory_tier", "16MiB"},
                                           {"tiers", "memory"},
                                           {"nodes", "0"},
                                           {NULL, NULL}};

/* `node`: where the kernel says that all pages are. */
static void node_is_told(int node)
{
    struct bed bed;
    struct page_copy copy;
    fault_clear();
    fault_fail(FAULT_SET_POLICY, 0, FAULT_ALWAYS, 0);
    fault_node(node);
    bed_open(&bed, on_node_0, 0);
    struct ends ends = ends_open(&bed);
    extend(&ends, 60);
    spw_stats stats = bed_quiet(&bed);
    cr_assert_gt(stats.memory_tier_bytes, 0);
    copy_open(&bed, &copy);
    stats_are_the_same(&copy, &bed, &stats);
    cr_assert_eq(row_number(&copy, "nodes", 0, "used"), 1);
    cr_assert_eq(row_number(&copy, "nodes", 0, "node"), (uint64_t)node);
    cr_assert_eq(row_number(&copy, "nodes", 0, "segment_bytes"), stats.memory_tier_bytes);
    cr_assert_eq(row_number(&copy, "nodes", 0, "misplaced_bytes"),
                 stats.memory_tier_misplaced_bytes);
    cr_assert_eq(stats.memory_tier_misplaced_bytes, node == 0 ? 0 : stats.memory_tier_bytes);
    page_copy_close(&copy);
    ends_close(&ends);
    spw_pool_trim(bed.pool);
    copy_open(&bed, &copy);
    cr_assert_eq(row_number(&copy, "nodes", 0, "segment_bytes"), 0);
    cr_assert_eq(row_number(&copy, "nodes", 0, "misplaced_bytes"), 0);
    page_copy_close(&copy);
    bed_close(&bed);
}

Test(stats_page, nodes_are_those_the_kernel_reports)
{
    if (!SPILLWAY_HAVE_NUMA)
        test_skip("built without NUMA");
    node_is_told(0);
    node_is_told(3);
}

/* ---- decisions ---- */

Test(stats_page, the_last_decisions_are_told)
{
    enum { KEPT = SPILLWAY_DECISIONS_KEPT, MADE = KEPT + 10 };
    static spw_decision expected[KEPT];
    struct bed bed;
    struct page_copy copy;
    size_t count;
    bed_open(&bed, no_tier, 0);
    copy_open(&bed, &copy);
    free(value_decisions(&copy, &count));
    cr_assert_eq(count, 0);
    page_copy_close(&copy);
    for (uint64_t i = 1; i <= MADE; i++)
        governor_note(&bed.pool->governor, "tested", i, "reason %d", (int)i);
    for (size_t i = 0; i < KEPT; i++)
        expected[i].size = sizeof(expected[i]);
    cr_assert_eq(spw_pool_decisions(bed.pool, 0, expected, KEPT), (long)KEPT);
    copy_open(&bed, &copy);
    struct decision_value *decisions = value_decisions(&copy, &count);
    cr_assert_eq(count, (size_t)KEPT);
    for (size_t i = 0; i < KEPT; i++) {
        cr_assert_eq(decisions[i].number, MADE - KEPT + 1 + i);
        cr_assert_eq(decisions[i].number, expected[i].number);
        cr_assert_eq(decisions[i].time_ns, expected[i].time_ns);
        cr_assert_eq(decisions[i].budget_before_bytes, expected[i].budget_before_bytes);
        cr_assert_eq(decisions[i].budget_bytes, expected[i].budget_bytes);
        cr_assert_eq(decisions[i].used_bytes, expected[i].used_bytes);
        cr_assert_str_eq(decisions[i].regulator, expected[i].regulator);
        cr_assert_str_eq(decisions[i].action, expected[i].action);
        cr_assert_str_eq(decisions[i].reason, expected[i].reason);
    }
    free(decisions);
    page_copy_close(&copy);
    bed_close(&bed);
}

struct notes {
    struct bed *bed;
    _Atomic bool done;
};

static void *note_all_the_time(void *argument)
{
    struct notes *notes = argument;
    for (int i = 1; !atomic_load(&notes->done); i++)
        governor_note(&notes->bed->pool->governor, "tested", (uint64_t)i, "%d %d %d", i, i, i);
    return NULL;
}

/* Each that is seen is whole. */
Test(stats_page, decisions_are_seen_whole)
{
    struct bed bed;
    pthread_t thread;
    bed_open(&bed, no_tier, 0);
    struct notes notes = {.bed = &bed};
    cr_assert_eq(pthread_create(&thread, NULL, note_all_the_time, &notes), 0);
    for (uint64_t round = 0; round < test_scaled(1000); round++) {
        struct page_copy copy;
        size_t count;
        copy_open(&bed, &copy);
        struct decision_value *decisions = value_decisions(&copy, &count);
        for (size_t i = 0; i < count; i++) {
            char reason[64];
            int number = (int)decisions[i].budget_before_bytes;
            snprintf(reason, sizeof(reason), "%d %d %d", number, number, number);
            cr_assert_str_eq(decisions[i].reason, reason);
        }
        free(decisions);
        page_copy_close(&copy);
    }
    atomic_store(&notes.done, true);
    pthread_join(thread, NULL);
    bed_close(&bed);
}

/* ---- what is written while others look ---- */

/* A text that is half written is told as such; its owner may be stopped there. */
Test(stats_page, a_text_that_changes_is_told)
{
    struct bed bed;
    struct page_copy copy;
    bed_open(&bed, no_tier, 0);
    page_texts_begin(bed.pool->page.page);
    copy_open(&bed, &copy);
    cr_assert(copy.torn);
    page_texts_end(bed.pool->page.page);
    page_copy_close(&copy);
    copy_open(&bed, &copy);
    cr_assert_not(copy.torn);
    pool_fallback(bed.pool, "something");
    char why[PAGE_WHY], text[512];
    cr_assert_eq(page_copy_refresh(bed.pool->page.fd, &copy, true, why), 0);
    cr_assert_not(copy.torn);
    cr_assert_str_eq(value_text(&copy, "fallbacks", text, sizeof(text)), "something");
    page_copy_close(&copy);
    bed_close(&bed);
}

static uint64_t uses_sum(const struct page_copy *copy)
{
    static const char *const uses[] = {"slab_bytes",   "staging_bytes", "reading_bytes",
                                       "loaded_bytes", "lent_bytes",    "warm_bytes",
                                       "reserve_bytes"};
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
        sum += value_stat_or_0(copy, uses[i]);
    return sum;
}

/* used = foreign + blocks + buffers, and buffers = their uses, in each look from outside and from
 * inside. */
static void *look_on(void *argument)
{
    struct watch *watch = argument;
    struct page_copy copy;
    char why[PAGE_WHY];
    copy_open(watch->bed, &copy);
    while (!atomic_load(&watch->done)) {
        cr_assert_eq(page_copy_refresh(watch->bed->pool->page.fd, &copy, true, why), 0, "%s", why);
        cr_assert_eq(value_stat_or_0(&copy, "used_bytes"),
                     value_stat_or_0(&copy, "resident_foreign_bytes") +
                         value_stat_or_0(&copy, "entry_block_bytes") +
                         value_stat_or_0(&copy, "buffer_bytes"));
        cr_assert_leq(value_stat_or_0(&copy, "used_bytes"),
                      value_stat_or_0(&copy, "used_peak_bytes"));
        cr_assert_eq(value_stat_or_0(&copy, "buffer_bytes"), uses_sum(&copy));
        spw_stats stats = bed_stats(watch->bed);
        budget_adds_up(&stats);
        watch->looks++;
    }
    page_copy_close(&copy);
    return NULL;
}

Test(stats_page, identity_holds_while_all_is_moving)
{
    struct bed bed;
    pthread_t thread;
    bed_open(&bed, on_disk, 1);
    struct watch watch = {.bed = &bed};
    struct ends ends = ends_open(&bed);
    cr_assert_eq(pthread_create(&thread, NULL, look_on, &watch), 0);
    for (uint64_t i = 0; i < test_scaled(40); i++) {
        extend(&ends, 60);
        drain(&ends, 60);
    }
    atomic_store(&watch.done, true);
    pthread_join(thread, NULL);
    cr_assert_gt(watch.looks, 0);
    ends_close(&ends);
    bed_close(&bed);
}
