/* SPDX-License-Identifier: MIT */
#include "coder_tools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "pool_tools.h"

static struct vault *vault_of(spw_coder *coder)
{
    return (struct vault *)coder;
}

static void pass_gate(struct vault *vault, enum vault_call call)
{
    atomic_fetch_add(&vault->calls[call], 1);
    pthread_mutex_lock(&vault->lock);
    vault->waiting[call]++;
    while (vault->shut[call])
        pthread_cond_wait(&vault->changed, &vault->lock);
    vault->waiting[call]--;
    pthread_mutex_unlock(&vault->lock);
}

/* Whether this call is to fail. */
static int scripted(struct vault *vault, enum vault_call call)
{
    unsigned times = atomic_load(&vault->fail_times[call]);
    while (times > 0)
        if (atomic_compare_exchange_weak(&vault->fail_times[call], &times, times - 1))
            return atomic_load(&vault->fail[call]);
    return 0;
}

static void vault_choose(spw_coder *coder, const spw_coder_view *view, spw_coder_choice *choice)
{
    struct vault *vault = vault_of(coder);
    pass_gate(vault, VAULT_CHOOSE);
    cr_assert(view->sample_bytes > 0 && view->sample_bytes <= sizeof(vault->sample));
    pthread_mutex_lock(&vault->lock);
    vault->seen = *view;
    vault->seen.sample = NULL;
    memcpy(vault->sample, view->sample, view->sample_bytes);
    pthread_mutex_unlock(&vault->lock);
    choice->code = atomic_load(&vault->code);
    choice->skip_runs = choice->code ? 0 : atomic_load(&vault->skip);
}

static long vault_encode(spw_coder *coder, unsigned code, const void *in, size_t in_bytes,
                         void *out, size_t capacity)
{
    struct vault *vault = vault_of(coder);
    pass_gate(vault, VAULT_ENCODE);
    int err = scripted(vault, VAULT_ENCODE);
    if (err)
        return err;
    unsigned percent = atomic_load(&vault->shrink_percent);
    pthread_mutex_lock(&vault->lock);
    uint32_t number = vault->count++;
    pthread_mutex_unlock(&vault->lock);
    cr_assert_lt(number, VAULT_RUNS_MAX);
    size_t len = in_bytes * (percent ? percent : number * 37 % 95 + 1) / 100;
    if (len < 16)
        len = 16;
    if (len > capacity)
        return -ENOSPC;
    unsigned char *copy = malloc(in_bytes);
    cr_assert_not_null(copy);
    memcpy(copy, in, in_bytes);
    vault->copies[number] = copy;
    vault->copy_bytes[number] = in_bytes;
    vault->written_bytes[number] = len;
    memset(out, (int)number, len);
    memcpy(out, &number, sizeof(number));
    memcpy((unsigned char *)out + 4, &code, sizeof(code));
    return (long)len;
}

static int vault_decode(spw_coder *coder, unsigned code, const void *in, size_t in_bytes, void *out,
                        size_t out_bytes)
{
    struct vault *vault = vault_of(coder);
    uint32_t number, code_then;
    pass_gate(vault, VAULT_DECODE);
    int err = scripted(vault, VAULT_DECODE);
    if (err)
        return err;
    memcpy(&number, in, sizeof(number));
    memcpy(&code_then, (const unsigned char *)in + 4, sizeof(code_then));
    pthread_mutex_lock(&vault->lock);
    bool known = number < vault->count && code_then == code && vault->copies[number] &&
                 vault->copy_bytes[number] == out_bytes && vault->written_bytes[number] == in_bytes;
    pthread_mutex_unlock(&vault->lock);
    for (size_t i = 8; known && i < in_bytes; i++)
        known = ((const unsigned char *)in)[i] == (unsigned char)number;
    if (!known)
        return -EBADMSG;
    memcpy(out, vault->copies[number], out_bytes);
    return 0;
}

static void vault_close(spw_coder *coder)
{
    cr_assert(!atomic_exchange(&vault_of(coder)->closed, true), "closed twice");
}

static const spw_coder_ops vault_ops = {
    .size = sizeof(vault_ops),
    .name = "vault",
    .choose = vault_choose,
    .encode = vault_encode,
    .decode = vault_decode,
    .close = vault_close,
};

struct vault *vault_open(void)
{
    struct vault *vault = calloc(1, sizeof(*vault));
    cr_assert_not_null(vault);
    vault->coder.ops = &vault_ops;
    atomic_init(&vault->code, 7);
    atomic_init(&vault->shrink_percent, 33);
    pthread_mutex_init(&vault->lock, NULL);
    pthread_cond_init(&vault->changed, NULL);
    return vault;
}

struct vault *vault_attach(struct spw_pool *pool)
{
    struct vault *vault = vault_open();
    cr_assert_eq(pool_attach_coder(pool, &vault->coder), 0);
    return vault;
}

static bool is_closed(void *context)
{
    return atomic_load(&((struct vault *)context)->closed);
}

void vault_free(struct vault *vault)
{
    cr_assert(wait_until(is_closed, vault), "nobody has closed the coder");
    for (unsigned i = 0; i < vault->count; i++)
        free(vault->copies[i]);
    pthread_cond_destroy(&vault->changed);
    pthread_mutex_destroy(&vault->lock);
    free(vault);
}

void vault_shut(struct vault *vault, enum vault_call call)
{
    pthread_mutex_lock(&vault->lock);
    vault->shut[call] = true;
    pthread_mutex_unlock(&vault->lock);
}

void vault_let(struct vault *vault, enum vault_call call)
{
    pthread_mutex_lock(&vault->lock);
    vault->shut[call] = false;
    pthread_cond_broadcast(&vault->changed);
    pthread_mutex_unlock(&vault->lock);
}

struct wanted_calls {
    struct vault *vault;
    enum vault_call call;
    unsigned count;
};

static bool waits(void *context)
{
    struct wanted_calls *wanted = context;
    pthread_mutex_lock(&wanted->vault->lock);
    bool enough = wanted->vault->waiting[wanted->call] >= wanted->count;
    pthread_mutex_unlock(&wanted->vault->lock);
    return enough;
}

void vault_wait(struct vault *vault, enum vault_call call, unsigned count)
{
    struct wanted_calls wanted = {vault, call, count};
    cr_assert(wait_until(waits, &wanted), "nothing came to the coder");
}

/* ---- a scene ---- */

void scene_open(struct scene *scene, const struct setting *settings, unsigned dirs)
{
    hand_open(&scene->hand, settings, dirs);
    scene->vault = vault_attach(scene->hand.bed.pool);
}

void scene_close(struct scene *scene)
{
    hand_close(&scene->hand);
    vault_free(scene->vault);
}
