/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_RULES = 64, MAX_FILES = 64, MAX_LIMITS = 32, PATH_BYTES = 512 };
enum { PAGE_BYTES = 4096 };

enum effect { EFFECT_NONE, EFFECT_FAIL, EFFECT_SHORT, EFFECT_CORRUPT };

struct rule {
    enum fault kind;
    enum effect effect;
    bool matches_argument;
    unsigned long argument;
    uint32_t after, times;
    int err;
    size_t max_bytes;
};

struct file {
    char path[PATH_BYTES];
    bool prefix;
    int err; /* 0: open finds `text` */
    char *text;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* All guarded by lock. */
static struct {
    struct rule rules[MAX_RULES];
    unsigned rule_count;
    struct file files[MAX_FILES];
    unsigned file_count;
    uint64_t calls[FAULT_KINDS];
    struct fault_args last[FAULT_KINDS];
    void (*hooks[FAULT_KINDS])(void *context);
    void *hook_contexts[FAULT_KINDS];
    struct os_fs fs;
    struct os_dio dio;
    bool fs_set, dio_set, node_set, clock_set;
    int node;
    struct {
        int resource;
        uint64_t soft;
    } limits[MAX_LIMITS];
    unsigned limit_count;
    uint64_t clock_ns;
} script;
static int64_t open_fds, mapped_bytes; /* guarded by lock; not part of what fault_clear() clears */

static void give_up(const char *why)
{
    fprintf(stderr, "fault: %s\n", why);
    abort();
}

static bool argument_matches(const struct rule *rule, unsigned long argument)
{
    if (!rule->matches_argument)
        return true;
    switch (rule->kind) {
    case FAULT_OPEN:
    case FAULT_MKOSTEMP:
    case FAULT_MEMFD_CREATE:
    case FAULT_MAP:
    case FAULT_EVENTFD:
        return (argument & rule->argument) == rule->argument;
    default:
        return argument == rule->argument;
    }
}

/* Counts a call, runs its hook, and says what shall happen to it. */
static struct rule call_begin(enum fault kind, struct fault_args args)
{
    struct rule found = {.effect = EFFECT_NONE};
    void (*hook)(void *context);
    void *context;
    unsigned i;

    pthread_mutex_lock(&lock);
    script.calls[kind]++;
    script.last[kind] = args;
    for (i = 0; i < script.rule_count; i++) {
        struct rule *rule = &script.rules[i];

        if (rule->kind != kind || !argument_matches(rule, args.argument))
            continue;
        if (rule->after > 0) {
            rule->after--;
        } else if (rule->times > 0 && found.effect == EFFECT_NONE) {
            found = *rule;
            if (rule->times != FAULT_ALWAYS)
                rule->times--;
        }
    }
    hook = script.hooks[kind];
    context = script.hook_contexts[kind];
    pthread_mutex_unlock(&lock);
    if (hook != NULL)
        hook(context);
    return found;
}

static void count_fds(int by)
{
    pthread_mutex_lock(&lock);
    open_fds += by;
    pthread_mutex_unlock(&lock);
}

static int count_new_fd(int fd)
{
    if (fd >= 0)
        count_fds(1);
    return fd;
}

static void count_mapped(size_t len, int sign)
{
    int64_t whole = (int64_t)((len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);

    pthread_mutex_lock(&lock);
    mapped_bytes += sign * whole;
    pthread_mutex_unlock(&lock);
}

static int text_open(const char *text)
{
    int fd = os_linux.memfd_create("fault_file", MFD_CLOEXEC);

    if (fd < 0)
        return fd;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || lseek(fd, 0, SEEK_SET) != 0)
        give_up("a scripted file could not be written");
    return fd;
}

/* True when the script has an answer for this path: a descriptor or -errno. The newest wins. */
static bool scripted_path(const char *path, int *result)
{
    bool found = false;
    unsigned i;

    pthread_mutex_lock(&lock);
    for (i = script.file_count; i-- > 0 && !found;) {
        const struct file *file = &script.files[i];

        if (file->prefix ? strncmp(path, file->path, strlen(file->path)) != 0
                         : strcmp(path, file->path) != 0)
            continue;
        *result = file->err != 0 ? file->err : text_open(file->text);
        found = true;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static uint64_t fault_clock_ns(void)
{
    uint64_t ns = 0;
    bool set;

    pthread_mutex_lock(&lock);
    set = script.clock_set;
    ns = script.clock_ns;
    pthread_mutex_unlock(&lock);
    return set ? ns : os_linux.clock_ns();
}

static int fault_os_open(const char *path, int flags, mode_t mode)
{
    struct rule rule = call_begin(
        FAULT_OPEN, (struct fault_args){.argument = (unsigned long)(unsigned)flags, .start = path});
    int fd;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (scripted_path(path, &fd))
        return count_new_fd(fd);
    return count_new_fd(os_linux.open(path, flags, mode));
}

static int fault_os_mkostemp(char *path_template, int flags)
{
    struct rule rule =
        call_begin(FAULT_MKOSTEMP, (struct fault_args){.argument = (unsigned long)(unsigned)flags,
                                                       .start = path_template});
    int fd;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (scripted_path(path_template, &fd))
        return count_new_fd(fd);
    return count_new_fd(os_linux.mkostemp(path_template, flags));
}

static int fault_os_unlink(const char *path)
{
    struct rule rule = call_begin(FAULT_UNLINK, (struct fault_args){.start = path});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.unlink(path);
}

static int fault_os_close(int fd)
{
    struct rule rule = call_begin(FAULT_CLOSE, (struct fault_args){.fd = fd});
    int rc = os_linux.close(fd);

    if (rc == 0)
        count_fds(-1);
    return rule.effect == EFFECT_FAIL ? rule.err : rc;
}

static size_t len_allowed(const struct rule *rule, size_t len)
{
    return rule->effect == EFFECT_SHORT && rule->max_bytes < len ? rule->max_bytes : len;
}

static void corrupt(const struct rule *rule, void *buf, ssize_t n)
{
    if (rule->effect == EFFECT_CORRUPT && n > 0)
        ((unsigned char *)buf)[n / 2] ^= 0x40;
}

static ssize_t fault_os_read(int fd, void *buf, size_t len)
{
    struct rule rule =
        call_begin(FAULT_READ, (struct fault_args){.fd = fd, .len = len, .start = buf});
    ssize_t n;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    len = len_allowed(&rule, len);
    n = len > 0 ? os_linux.read(fd, buf, len) : 0;
    corrupt(&rule, buf, n);
    return n;
}

static ssize_t fault_os_write(int fd, const void *buf, size_t len)
{
    struct rule rule =
        call_begin(FAULT_WRITE, (struct fault_args){.fd = fd, .len = len, .start = buf});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    len = len_allowed(&rule, len);
    return len > 0 ? os_linux.write(fd, buf, len) : 0;
}

static ssize_t fault_os_pread(int fd, void *buf, size_t len, uint64_t offset)
{
    struct rule rule = call_begin(
        FAULT_PREAD, (struct fault_args){.fd = fd, .len = len, .offset = offset, .start = buf});
    ssize_t n;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (rule.effect == EFFECT_SHORT && rule.max_bytes == 0)
        return 0;
    /* The whole request goes to the kernel: a cut length may not suit direct I/O. */
    n = os_linux.pread(fd, buf, len, offset);
    if (rule.effect == EFFECT_SHORT && n > (ssize_t)rule.max_bytes)
        n = (ssize_t)rule.max_bytes;
    corrupt(&rule, buf, n);
    return n;
}

static ssize_t fault_os_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
    struct rule rule = call_begin(
        FAULT_PWRITE, (struct fault_args){.fd = fd, .len = len, .offset = offset, .start = buf});
    ssize_t n;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (rule.effect == EFFECT_SHORT && rule.max_bytes == 0)
        return 0;
    n = os_linux.pwrite(fd, buf, len, offset);
    if (rule.effect == EFFECT_SHORT && n > (ssize_t)rule.max_bytes)
        n = (ssize_t)rule.max_bytes;
    return n;
}

static int fault_os_fallocate(int fd, int mode, uint64_t offset, uint64_t len)
{
    struct rule rule = call_begin(
        FAULT_FALLOCATE,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)mode, .len = len, .offset = offset});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.fallocate(fd, mode, offset, len);
}

static int fault_os_ftruncate(int fd, uint64_t len)
{
    struct rule rule = call_begin(FAULT_FTRUNCATE, (struct fault_args){.fd = fd, .len = len});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.ftruncate(fd, len);
}

static int fault_os_fcntl(int fd, int command, unsigned long arg)
{
    struct rule rule = call_begin(
        FAULT_FCNTL,
        (struct fault_args){.fd = fd, .argument = (unsigned long)(unsigned)command, .offset = arg});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.fcntl(fd, command, arg);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        (void)count_new_fd(rc);
    return rc;
}

static int fault_os_fstatfs(int fd, struct os_fs *out)
{
    struct rule rule = call_begin(FAULT_FSTATFS, (struct fault_args){.fd = fd});
    bool set;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    pthread_mutex_lock(&lock);
    set = script.fs_set;
    if (set)
        *out = script.fs;
    pthread_mutex_unlock(&lock);
    return set ? 0 : os_linux.fstatfs(fd, out);
}

static int fault_os_dio_align(int fd, struct os_dio *out)
{
    struct rule rule = call_begin(FAULT_DIO_ALIGN, (struct fault_args){.fd = fd});
    bool set;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    pthread_mutex_lock(&lock);
    set = script.dio_set;
    if (set)
        *out = script.dio;
    pthread_mutex_unlock(&lock);
    return set ? 0 : os_linux.dio_align(fd, out);
}

static int fault_os_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
    struct rule rule = call_begin(
        FAULT_FADVISE,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)advice, .len = len, .offset = offset});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.fadvise(fd, offset, len, advice);
}

static int fault_os_memfd_create(const char *name, unsigned flags)
{
    struct rule rule =
        call_begin(FAULT_MEMFD_CREATE, (struct fault_args){.argument = flags, .start = name});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return count_new_fd(os_linux.memfd_create(name, flags));
}

static int fault_os_map(size_t len, int prot, int flags, int fd, uint64_t offset, void **out)
{
    struct rule rule = call_begin(
        FAULT_MAP,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)flags, .len = len, .offset = offset});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.map(len, prot, flags, fd, offset, out);
    if (rc == 0)
        count_mapped(len, 1);
    return rc;
}

static int fault_os_unmap(void *start, size_t len)
{
    struct rule rule = call_begin(FAULT_UNMAP, (struct fault_args){.len = len, .start = start});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.unmap(start, len);
    if (rc == 0)
        count_mapped(len, -1);
    return rc;
}

static int fault_os_advise(void *start, size_t len, int advice)
{
    struct rule rule = call_begin(
        FAULT_ADVISE, (struct fault_args){
                          .argument = (unsigned long)(unsigned)advice, .len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.advise(start, len, advice);
}

static int fault_os_lock(const void *start, size_t len, unsigned flags)
{
    struct rule rule =
        call_begin(FAULT_LOCK, (struct fault_args){.argument = flags, .len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.lock(start, len, flags);
}

static int fault_os_unlock(const void *start, size_t len)
{
    struct rule rule = call_begin(FAULT_UNLOCK, (struct fault_args){.len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.unlock(start, len);
}

static int fault_os_set_policy(void *start, size_t len, int mode, const unsigned long *mask,
                               unsigned long maxnode, unsigned flags)
{
    struct rule rule =
        call_begin(FAULT_SET_POLICY, (struct fault_args){.argument = (unsigned long)(unsigned)mode,
                                                         .len = len,
                                                         .offset = mask != NULL ? mask[0] : 0,
                                                         .start = start});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return os_linux.set_policy(start, len, mode, mask, maxnode, flags);
}

static int fault_os_where(unsigned long count, void **pages, int *nodes)
{
    struct rule rule = call_begin(FAULT_WHERE, (struct fault_args){.len = count});
    unsigned long i;
    bool set;
    int node;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    pthread_mutex_lock(&lock);
    set = script.node_set;
    node = script.node;
    pthread_mutex_unlock(&lock);
    if (!set)
        return os_linux.where(count, pages, nodes);
    for (i = 0; i < count; i++)
        nodes[i] = node;
    return 0;
}

static int fault_os_limit(int resource, uint64_t *soft)
{
    struct rule rule =
        call_begin(FAULT_LIMIT, (struct fault_args){.argument = (unsigned long)(unsigned)resource});
    bool found = false;
    unsigned i;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    pthread_mutex_lock(&lock);
    for (i = 0; i < script.limit_count; i++) {
        if (script.limits[i].resource == resource) {
            *soft = script.limits[i].soft;
            found = true;
        }
    }
    pthread_mutex_unlock(&lock);
    return found ? 0 : os_linux.limit(resource, soft);
}

static int fault_os_eventfd(unsigned initial, int flags)
{
    struct rule rule =
        call_begin(FAULT_EVENTFD,
                   (struct fault_args){.argument = (unsigned long)(unsigned)flags, .len = initial});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return count_new_fd(os_linux.eventfd(initial, flags));
}

static int fault_os_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    struct rule rule = call_begin(FAULT_THREAD, (struct fault_args){.start = argument});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.thread(thread, run, argument);
}

static int fault_os_ring_allowed(void)
{
    struct rule rule = call_begin(FAULT_RING_ALLOWED, (struct fault_args){0});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.ring_allowed();
}

static int fault_os_ring_result(int op, int result)
{
    struct rule rule = call_begin(op == 'r' ? FAULT_RING_READ : FAULT_RING_WRITE,
                                  (struct fault_args){.len = result > 0 ? (uint64_t)result : 0});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (rule.effect == EFFECT_SHORT && result > 0 && (size_t)result > rule.max_bytes)
        return (int)rule.max_bytes;
    return os_linux.ring_result(op, result);
}

const struct os fault_os = {
    .clock_ns = fault_clock_ns,
    .open = fault_os_open,
    .mkostemp = fault_os_mkostemp,
    .unlink = fault_os_unlink,
    .close = fault_os_close,
    .read = fault_os_read,
    .write = fault_os_write,
    .pread = fault_os_pread,
    .pwrite = fault_os_pwrite,
    .fallocate = fault_os_fallocate,
    .ftruncate = fault_os_ftruncate,
    .fcntl = fault_os_fcntl,
    .fstatfs = fault_os_fstatfs,
    .dio_align = fault_os_dio_align,
    .fadvise = fault_os_fadvise,
    .memfd_create = fault_os_memfd_create,
    .map = fault_os_map,
    .unmap = fault_os_unmap,
    .advise = fault_os_advise,
    .lock = fault_os_lock,
    .unlock = fault_os_unlock,
    .set_policy = fault_os_set_policy,
    .where = fault_os_where,
    .limit = fault_os_limit,
    .eventfd = fault_os_eventfd,
    .thread = fault_os_thread,
    .ring_allowed = fault_os_ring_allowed,
    .ring_result = fault_os_ring_result,
};

void fault_clear(void)
{
    unsigned i;

    pthread_mutex_lock(&lock);
    for (i = 0; i < script.file_count; i++)
        free(script.files[i].text);
    memset(&script, 0, sizeof(script));
    pthread_mutex_unlock(&lock);
    fault_alloc_after(0);
}

void fault_heal(enum fault kind)
{
    unsigned i, kept = 0;

    pthread_mutex_lock(&lock);
    for (i = 0; i < script.rule_count; i++) {
        if (script.rules[i].kind != kind)
            script.rules[kept++] = script.rules[i];
    }
    script.rule_count = kept;
    pthread_mutex_unlock(&lock);
}

static void add_rule(const struct rule *rule)
{
    pthread_mutex_lock(&lock);
    if (script.rule_count == MAX_RULES)
        give_up("too many rules");
    script.rules[script.rule_count++] = *rule;
    pthread_mutex_unlock(&lock);
}

void fault_fail(enum fault kind, uint32_t after, uint32_t times, int err)
{
    struct rule rule = {
        .kind = kind, .effect = EFFECT_FAIL, .after = after, .times = times, .err = err};

    add_rule(&rule);
}

void fault_fail_when(enum fault kind, unsigned long argument, uint32_t after, uint32_t times,
                     int err)
{
    struct rule rule = {.kind = kind,
                        .effect = EFFECT_FAIL,
                        .matches_argument = true,
                        .argument = argument,
                        .after = after,
                        .times = times,
                        .err = err};

    add_rule(&rule);
}

void fault_short(enum fault kind, uint32_t after, uint32_t times, size_t max_bytes)
{
    struct rule rule = {.kind = kind,
                        .effect = EFFECT_SHORT,
                        .after = after,
                        .times = times,
                        .max_bytes = max_bytes};

    add_rule(&rule);
}

void fault_corrupt(enum fault kind, uint32_t after, uint32_t times)
{
    struct rule rule = {.kind = kind, .effect = EFFECT_CORRUPT, .after = after, .times = times};

    add_rule(&rule);
}

uint64_t fault_calls(enum fault kind)
{
    uint64_t calls;

    pthread_mutex_lock(&lock);
    calls = script.calls[kind];
    pthread_mutex_unlock(&lock);
    return calls;
}

struct fault_args fault_last(enum fault kind)
{
    struct fault_args args;

    pthread_mutex_lock(&lock);
    args = script.last[kind];
    pthread_mutex_unlock(&lock);
    return args;
}

void fault_hook(enum fault kind, void (*hook)(void *context), void *context)
{
    pthread_mutex_lock(&lock);
    script.hooks[kind] = hook;
    script.hook_contexts[kind] = context;
    pthread_mutex_unlock(&lock);
}

static void add_file(const char *path, bool prefix, int err, const char *text)
{
    struct file *file;

    pthread_mutex_lock(&lock);
    if (script.file_count == MAX_FILES || strlen(path) >= PATH_BYTES)
        give_up("too many scripted files, or a path too long");
    file = &script.files[script.file_count];
    memset(file, 0, sizeof(*file));
    memcpy(file->path, path, strlen(path) + 1);
    file->prefix = prefix;
    file->err = err;
    if (text != NULL) {
        file->text = strdup(text);
        if (file->text == NULL)
            give_up("no memory");
    }
    script.file_count++;
    pthread_mutex_unlock(&lock);
}

void fault_file(const char *path, const char *text)
{
    add_file(path, false, text == NULL ? -ENOENT : 0, text);
}

void fault_path_fail(const char *prefix, int err)
{
    add_file(prefix, true, err, NULL);
}

void fault_fs(const struct os_fs *fs)
{
    pthread_mutex_lock(&lock);
    script.fs_set = fs != NULL;
    if (fs != NULL)
        script.fs = *fs;
    pthread_mutex_unlock(&lock);
}

void fault_dio(const struct os_dio *dio)
{
    pthread_mutex_lock(&lock);
    script.dio_set = dio != NULL;
    if (dio != NULL)
        script.dio = *dio;
    pthread_mutex_unlock(&lock);
}

void fault_limit(int resource, uint64_t soft)
{
    pthread_mutex_lock(&lock);
    if (script.limit_count == MAX_LIMITS)
        give_up("too many limits");
    script.limits[script.limit_count].resource = resource;
    script.limits[script.limit_count++].soft = soft;
    pthread_mutex_unlock(&lock);
}

void fault_node(int node)
{
    pthread_mutex_lock(&lock);
    script.node_set = node >= 0;
    script.node = node;
    pthread_mutex_unlock(&lock);
}

void fault_clock_set(uint64_t ns)
{
    pthread_mutex_lock(&lock);
    script.clock_set = true;
    script.clock_ns = ns;
    pthread_mutex_unlock(&lock);
}

void fault_clock_advance(uint64_t ns)
{
    pthread_mutex_lock(&lock);
    script.clock_ns += ns;
    pthread_mutex_unlock(&lock);
}

void fault_clock_real(void)
{
    pthread_mutex_lock(&lock);
    script.clock_set = false;
    pthread_mutex_unlock(&lock);
}

int64_t fault_open_fds(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = open_fds;
    pthread_mutex_unlock(&lock);
    return n;
}

int64_t fault_mapped_bytes(void)
{
    int64_t n;

    pthread_mutex_lock(&lock);
    n = mapped_bytes;
    pthread_mutex_unlock(&lock);
    return n;
}
