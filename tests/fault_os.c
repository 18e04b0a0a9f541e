/* SPDX-License-Identifier: MIT */
/* The system that follows the script of fault.c and forwards the rest to os_linux. */
#define _GNU_SOURCE 1

#include <fcntl.h>

#include "fault_script.h"

static uint64_t fault_os_clock_ns(void)
{
    uint64_t ns;

    return script_clock(&ns) ? ns : os_linux.clock_ns();
}

static uint64_t fault_os_thread_cpu_ns(void)
{
    return os_linux.thread_cpu_ns();
}

static int fault_os_open(const char *path, int flags, mode_t mode)
{
    struct rule rule = script_call(
        FAULT_OPEN, (struct fault_args){.argument = (unsigned long)(unsigned)flags, .start = path});
    int fd;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (script_path(path, &fd))
        return script_count_fd(fd);
    return script_count_fd(os_linux.open(path, flags, mode));
}

static int fault_os_mkostemp(char *path_template, int flags)
{
    struct rule rule =
        script_call(FAULT_MKOSTEMP, (struct fault_args){.argument = (unsigned long)(unsigned)flags,
                                                        .start = path_template});
    int fd;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (script_path(path_template, &fd))
        return script_count_fd(fd);
    return script_count_fd(os_linux.mkostemp(path_template, flags));
}

static int fault_os_unlink(const char *path)
{
    struct rule rule = script_call(FAULT_UNLINK, (struct fault_args){.start = path});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.unlink(path);
}

static int fault_os_close(int fd)
{
    struct rule rule = script_call(FAULT_CLOSE, (struct fault_args){.fd = fd});
    int rc = os_linux.close(fd);

    if (rc == 0)
        script_count_close();
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
        script_call(FAULT_READ, (struct fault_args){.fd = fd, .len = len, .start = buf});
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
        script_call(FAULT_WRITE, (struct fault_args){.fd = fd, .len = len, .start = buf});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    len = len_allowed(&rule, len);
    return len > 0 ? os_linux.write(fd, buf, len) : 0;
}

static ssize_t fault_os_pread(int fd, void *buf, size_t len, uint64_t offset)
{
    struct rule rule = script_call(
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
    struct rule rule = script_call(
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
    struct rule rule = script_call(
        FAULT_FALLOCATE,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)mode, .len = len, .offset = offset});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.fallocate(fd, mode, offset, len);
}

static int fault_os_ftruncate(int fd, uint64_t len)
{
    struct rule rule = script_call(FAULT_FTRUNCATE, (struct fault_args){.fd = fd, .len = len});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.ftruncate(fd, len);
}

static int fault_os_fcntl(int fd, int command, unsigned long arg)
{
    struct rule rule = script_call(
        FAULT_FCNTL,
        (struct fault_args){.fd = fd, .argument = (unsigned long)(unsigned)command, .offset = arg});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.fcntl(fd, command, arg);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        (void)script_count_fd(rc);
    return rc;
}

static int fault_os_fstat(int fd, struct os_stat *out)
{
    struct rule rule = script_call(FAULT_FSTAT, (struct fault_args){.fd = fd});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.fstat(fd, out);
}

static int fault_os_fstatfs(int fd, struct os_fs *out)
{
    struct rule rule = script_call(FAULT_FSTATFS, (struct fault_args){.fd = fd});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return script_fs(out) ? 0 : os_linux.fstatfs(fd, out);
}

static int fault_os_dio_align(int fd, struct os_dio *out)
{
    struct rule rule = script_call(FAULT_DIO_ALIGN, (struct fault_args){.fd = fd});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return script_dio(out) ? 0 : os_linux.dio_align(fd, out);
}

static int fault_os_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
    struct rule rule = script_call(
        FAULT_FADVISE,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)advice, .len = len, .offset = offset});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.fadvise(fd, offset, len, advice);
}

static int fault_os_memfd_create(const char *name, unsigned flags)
{
    struct rule rule =
        script_call(FAULT_MEMFD_CREATE, (struct fault_args){.argument = flags, .start = name});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return script_count_fd(os_linux.memfd_create(name, flags));
}

static int fault_os_map(size_t len, int prot, int flags, int fd, uint64_t offset, void **out)
{
    struct rule rule = script_call(
        FAULT_MAP,
        (struct fault_args){
            .fd = fd, .argument = (unsigned long)(unsigned)flags, .len = len, .offset = offset});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.map(len, prot, flags, fd, offset, out);
    if (rc == 0)
        script_count_map(len, 1);
    return rc;
}

static int fault_os_unmap(void *start, size_t len)
{
    struct rule rule = script_call(FAULT_UNMAP, (struct fault_args){.len = len, .start = start});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.unmap(start, len);
    if (rc == 0)
        script_count_map(len, -1);
    return rc;
}

static int fault_os_advise(void *start, size_t len, int advice)
{
    struct rule rule = script_call(
        FAULT_ADVISE, (struct fault_args){
                          .argument = (unsigned long)(unsigned)advice, .len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.advise(start, len, advice);
}

static int fault_os_lock(const void *start, size_t len, unsigned flags)
{
    struct rule rule =
        script_call(FAULT_LOCK, (struct fault_args){.argument = flags, .len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.lock(start, len, flags);
}

static int fault_os_unlock(const void *start, size_t len)
{
    struct rule rule = script_call(FAULT_UNLOCK, (struct fault_args){.len = len, .start = start});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.unlock(start, len);
}

static int fault_os_set_policy(void *start, size_t len, int mode, const unsigned long *mask,
                               unsigned long maxnode, unsigned flags)
{
    struct rule rule =
        script_call(FAULT_SET_POLICY, (struct fault_args){.argument = (unsigned long)(unsigned)mode,
                                                          .len = len,
                                                          .offset = mask != NULL ? mask[0] : 0,
                                                          .start = start});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return os_linux.set_policy(start, len, mode, mask, maxnode, flags);
}

static int fault_os_where(unsigned long count, void **pages, int *nodes)
{
    struct rule rule = script_call(FAULT_WHERE, (struct fault_args){.len = count});
    unsigned long i;
    int node;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (!script_node(&node))
        return os_linux.where(count, pages, nodes);
    for (i = 0; i < count; i++)
        nodes[i] = node;
    return 0;
}

static int fault_os_limit(int resource, uint64_t *soft)
{
    struct rule rule = script_call(
        FAULT_LIMIT, (struct fault_args){.argument = (unsigned long)(unsigned)resource});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return script_limit(resource, soft) ? 0 : os_linux.limit(resource, soft);
}

static int fault_os_eventfd(unsigned initial, int flags)
{
    struct rule rule =
        script_call(FAULT_EVENTFD, (struct fault_args){.argument = (unsigned long)(unsigned)flags,
                                                       .len = initial});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return script_count_fd(os_linux.eventfd(initial, flags));
}

static int fault_os_pipe(int fds[2], int flags)
{
    struct rule rule =
        script_call(FAULT_PIPE, (struct fault_args){.argument = (unsigned long)(unsigned)flags});
    int rc;

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    rc = os_linux.pipe(fds, flags);
    if (rc == 0) {
        (void)script_count_fd(fds[0]);
        (void)script_count_fd(fds[1]);
    }
    return rc;
}

static int fault_os_connect(const char *path)
{
    struct rule rule = script_call(FAULT_CONNECT, (struct fault_args){.start = path});

    return rule.effect == EFFECT_FAIL ? rule.err : script_count_fd(os_linux.connect(path));
}

static ssize_t fault_os_send(int fd, const void *buf, size_t len)
{
    struct rule rule =
        script_call(FAULT_SEND, (struct fault_args){.fd = fd, .len = len, .start = buf});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    return os_linux.send(fd, buf, len_allowed(&rule, len));
}

static int fault_os_poll(struct pollfd *fds, unsigned count, uint64_t timeout_ns)
{
    struct rule rule = script_call(
        FAULT_POLL, (struct fault_args){.len = count, .offset = timeout_ns, .start = fds});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.poll(fds, count, timeout_ns);
}

static int fault_os_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    struct rule rule = script_call(FAULT_THREAD, (struct fault_args){.start = argument});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.thread(thread, run, argument);
}

static int fault_os_ring_allowed(void)
{
    struct rule rule = script_call(FAULT_RING_ALLOWED, (struct fault_args){0});

    return rule.effect == EFFECT_FAIL ? rule.err : os_linux.ring_allowed();
}

static int fault_os_ring_result(int op, int result)
{
    enum fault kind = op == 'r' ? FAULT_RING_READ : op == 'w' ? FAULT_RING_WRITE : FAULT_RING_HINT;
    struct rule rule =
        script_call(kind, (struct fault_args){.len = result > 0 ? (uint64_t)result : 0});

    if (rule.effect == EFFECT_FAIL)
        return rule.err;
    if (rule.effect == EFFECT_SHORT && result > 0 && (size_t)result > rule.max_bytes)
        return (int)rule.max_bytes;
    return os_linux.ring_result(op, result);
}

static unsigned fault_os_processors(void)
{
    unsigned count;

    return script_processors(&count) ? count : os_linux.processors();
}

const struct os fault_os = {
    .clock_ns = fault_os_clock_ns,
    .thread_cpu_ns = fault_os_thread_cpu_ns,
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
    .fstat = fault_os_fstat,
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
    .pipe = fault_os_pipe,
    .connect = fault_os_connect,
    .send = fault_os_send,
    .poll = fault_os_poll,
    .thread = fault_os_thread,
    .processors = fault_os_processors,
    .ring_allowed = fault_os_ring_allowed,
    .ring_result = fault_os_ring_result,
};
