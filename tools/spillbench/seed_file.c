/* SPDX-License-Identifier: MIT */
#include "seed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITE_BUFFER_BYTES = 4 << 20 };

/* Shared by the handles of one spill. */
struct batch {
    size_t references; /* atomic */
    pthread_mutex_t lock;
    int fd; /* -1 once it was read */
    size_t count;
    size_t *lens;
    struct seed_bytes *chunks; /* NULL until it was read */
};

struct seed_handle {
    struct batch *batch;
    size_t index;
};

struct seed_bytes seed_clone(const struct seed_bytes *bytes)
{
    __atomic_fetch_add(&bytes->owner->references, 1, __ATOMIC_RELAXED);
    return *bytes;
}

static void owner_drop(struct seed_owner *owner)
{
    free(owner->memory);
    free(owner);
}

void seed_release(struct seed_bytes *bytes)
{
    if (bytes->owner && __atomic_sub_fetch(&bytes->owner->references, 1, __ATOMIC_ACQ_REL) == 0)
        bytes->drop(bytes->owner);
    *bytes = (struct seed_bytes){0};
}

/* Two allocations, as a vector behind a shared pointer has. */
static int wrap(unsigned char *memory, size_t len, struct seed_bytes *out)
{
    struct seed_owner *owner = malloc(sizeof *owner);

    if (!memory || !owner) {
        free(memory);
        free(owner);
        return -ENOMEM;
    }
    *owner = (struct seed_owner){.references = 1, .memory = memory};
    *out = (struct seed_bytes){.data = memory, .len = len, .owner = owner, .drop = owner_drop};
    return 0;
}

int seed_chunk(size_t len, struct seed_bytes *out)
{
    return wrap(malloc(len), len, out);
}

static void batch_release(struct batch *batch)
{
    if (__atomic_sub_fetch(&batch->references, 1, __ATOMIC_ACQ_REL))
        return;
    if (batch->fd >= 0)
        close(batch->fd);
    for (size_t i = 0; batch->chunks && i < batch->count; i++)
        seed_release(&batch->chunks[i]);
    pthread_mutex_destroy(&batch->lock);
    free(batch->chunks);
    free(batch->lens);
    free(batch);
}

enum direction { READ, WRITE };

static int move_all(int fd, enum direction direction, unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t done = direction == WRITE ? write(fd, data, len) : read(fd, data, len);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;
        data += done;
        len -= (size_t)done;
    }
    return 0;
}

/* All chunks through one buffer; what is larger than the buffer goes by itself. */
static int write_chunks(int fd, const struct seed_bytes *chunks, size_t count)
{
    unsigned char *buffer = malloc(WRITE_BUFFER_BYTES);
    size_t used = 0;
    int err = buffer ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && !err; i++) {
        if (chunks[i].len > WRITE_BUFFER_BYTES - used) {
            err = move_all(fd, WRITE, buffer, used);
            used = 0;
        }
        if (err)
            break;
        if (chunks[i].len >= WRITE_BUFFER_BYTES) {
            err = move_all(fd, WRITE, chunks[i].data, chunks[i].len);
        } else {
            memcpy(buffer + used, chunks[i].data, chunks[i].len);
            used += chunks[i].len;
        }
    }
    if (!err)
        err = move_all(fd, WRITE, buffer, used);
    free(buffer);
    return err;
}

/* One handle an allocation, as the original has them. */
static int make_handles(struct batch *batch, struct seed_handle **handles)
{
    for (size_t i = 0; i < batch->count; i++) {
        handles[i] = malloc(sizeof *handles[i]);
        if (!handles[i]) {
            while (i-- > 0)
                free(handles[i]);
            return -ENOMEM;
        }
        *handles[i] = (struct seed_handle){.batch = batch, .index = i};
    }
    batch->references = batch->count;
    return 0;
}

int seed_file_spill(const char *dir, const struct seed_bytes *chunks, size_t count,
                    struct seed_handle **handles)
{
    struct batch *batch = calloc(1, sizeof *batch);
    int err = -ENOMEM;

    if (!batch)
        return -ENOMEM;
    pthread_mutex_init(&batch->lock, NULL);
    batch->references = 1;
    batch->count = count;
    batch->lens = malloc(count * sizeof *batch->lens);
    batch->fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (batch->fd < 0)
        err = -errno;
    else if (batch->lens)
        err = write_chunks(batch->fd, chunks, count);
    if (!err) {
        for (size_t i = 0; i < count; i++)
            batch->lens[i] = chunks[i].len;
        err = make_handles(batch, handles);
    }
    if (err)
        batch_release(batch);
    return err;
}

/* Reads the whole file: zeroed memory and a read for each chunk. */
static int batch_read(struct batch *batch)
{
    struct seed_bytes *chunks = malloc(batch->count * sizeof *chunks);
    size_t done = 0;
    int err = chunks ? 0 : -ENOMEM;

    if (!err && lseek(batch->fd, 0, SEEK_SET) < 0)
        err = -errno;
    while (!err && done < batch->count) {
        size_t len = batch->lens[done];

        err = wrap(calloc(1, len), len, &chunks[done]);
        if (!err) {
            err = move_all(batch->fd, READ, chunks[done].data, len);
            done++;
        }
    }
    if (err) {
        while (chunks && done > 0)
            seed_release(&chunks[--done]);
        free(chunks);
        return err;
    }
    close(batch->fd);
    batch->fd = -1;
    batch->chunks = chunks;
    return 0;
}

int seed_file_fetch(struct seed_handle *handle, struct seed_bytes *out)
{
    struct batch *batch = handle->batch;
    int err;

    pthread_mutex_lock(&batch->lock);
    err = batch->chunks ? 0 : batch_read(batch);
    if (!err)
        *out = seed_clone(&batch->chunks[handle->index]);
    pthread_mutex_unlock(&batch->lock);
    if (!err)
        seed_file_drop(handle);
    return err;
}

void seed_file_drop(struct seed_handle *handle)
{
    batch_release(handle->batch);
    free(handle);
}
