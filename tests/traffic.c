/* SPDX-License-Identifier: MIT */
#include "traffic.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "harness.h"

/* ---- content ---- */

static uint64_t content_word(uint64_t stream, uint64_t index)
{
    uint64_t word = (index + (stream << 40)) * UINT64_C(0x9e3779b97f4a7c15);
    return word ^ (word >> 29);
}

void content_fill(unsigned char *out, uint64_t stream, uint64_t at, size_t len)
{
    while (len > 0) {
        uint64_t word = content_word(stream, at / sizeof(word));
        size_t skip = at % sizeof(word), n = sizeof(word) - skip;
        if (n > len)
            n = len;
        memcpy(out, (const unsigned char *)&word + skip, n);
        out += n;
        at += n;
        len -= n;
    }
}

bool content_is(const unsigned char *data, uint64_t stream, uint64_t at, size_t len)
{
    unsigned char expected[4096];
    while (len > 0) {
        size_t n = len < sizeof(expected) ? len : sizeof(expected);
        content_fill(expected, stream, at, n);
        if (memcmp(data, expected, n) != 0)
            return false;
        data += n;
        at += n;
        len -= n;
    }
    return true;
}

/* ---- loans ---- */

struct loan {
    unsigned char *memory;
    size_t size;
    _Atomic unsigned returns;
};

enum { LOANS_A_PAGE = 1024, LOAN_PAGES = 4096 };

/* Kept to the end of the process, so that a second return is noticed. Slots are given out by
 * number; nothing here is ever moved or freed. */
static struct {
    _Atomic uint64_t made, back;
    struct loan *_Atomic pages[LOAN_PAGES];
} loans;

static struct loan *loan_slot(uint64_t number)
{
    struct loan *_Atomic *page = &loans.pages[number / LOANS_A_PAGE % LOAN_PAGES];
    struct loan *at = atomic_load(page);
    if (!at) {
        struct loan *fresh = calloc(LOANS_A_PAGE, sizeof(*fresh));
        if (!fresh)
            abort();
        if (atomic_compare_exchange_strong(page, &at, fresh))
            at = fresh;
        else
            free(fresh);
    }
    return &at[number % LOANS_A_PAGE];
}

static void loan_back(void *context, const void *data, size_t len)
{
    struct loan *loan = context;
    (void)data;
    (void)len;
    if (atomic_fetch_add(&loan->returns, 1) != 0)
        abort(); /* on any thread: an assertion may not work there */
    memset(loan->memory, 0xee, loan->size);
    free(loan->memory);
    atomic_fetch_add(&loans.back, 1);
}

int loan_make(uint64_t stream, uint64_t at, size_t len, spw_bytes *out)
{
    size_t skew = at % 32;
    unsigned char *memory = malloc(len + skew + 1);
    struct loan *loan;
    int err;
    if (!memory)
        abort();
    content_fill(memory + skew, stream, at, len);
    loan = loan_slot(atomic_fetch_add(&loans.made, 1));
    loan->memory = memory;
    loan->size = len + skew;
    atomic_store(&loan->returns, 0);
    err = spw_bytes_wrap(memory + skew, len, loan_back, loan, &fault_allocator, out);
    if (err) {
        free(memory);
        atomic_fetch_add(&loans.back, 1);
    }
    return err;
}

uint64_t loans_out(void)
{
    return atomic_load(&loans.made) - atomic_load(&loans.back);
}

/* ---- a source ---- */

void source_open(struct source *source, spw_pool *pool, uint64_t stream, size_t slab_bytes)
{
    *source = (struct source){.pool = pool, .stream = stream, .slab_bytes = slab_bytes};
}

void source_close(struct source *source)
{
    for (unsigned i = 0; i < ORIGINS; i++)
        spw_slab_close(source->slabs[i]);
}

static int slab_renew(struct source *source, enum origin origin, size_t len)
{
    spw_slab **slab = &source->slabs[origin];
    size_t capacity = len > source->slab_bytes ? len : source->slab_bytes;
    /* Its bytes may all have come back: then it starts anew. */
    if (*slab && spw_slab_capacity(*slab) >= len && spw_slab_regain(*slab) == 0)
        return 0;
    spw_slab_close(*slab);
    *slab = NULL;
    return origin == ORIGIN_POOL_SLAB ? spw_pool_slab_open(source->pool, capacity, 0, slab)
                                      : spw_slab_open(capacity, &fault_allocator, slab);
}

static int slab_make(struct source *source, struct random *random, enum origin origin, size_t len,
                     spw_bytes *out)
{
    spw_slab **slab = &source->slabs[origin];
    if (!*slab || spw_slab_room(*slab) < len) {
        int err = slab_renew(source, origin, len);
        if (err)
            return err;
    } else if (random_percent(random, source->gap_percent) && spw_slab_room(*slab) > len) {
        spw_bytes gap;
        size_t bytes = 1 + random_below(random, spw_slab_room(*slab) - len);
        cr_assert_eq(spw_slab_cut(*slab, bytes, &gap), 0);
        spw_bytes_release(&gap);
    }
    content_fill(spw_slab_space(*slab), source->stream, source->mark.at, len);
    cr_assert_eq(spw_slab_cut(*slab, len, out), 0);
    return 0;
}

int source_make(struct source *source, struct random *random, enum origin origin, size_t len,
                struct value *value, spw_bytes *out)
{
    struct mark *mark = &source->mark;
    int err;
    if (origin == ORIGIN_HEAP_SLAB || origin == ORIGIN_POOL_SLAB) {
        err = slab_make(source, random, origin, len, out);
    } else if (origin == ORIGIN_LOAN) {
        err = loan_make(source->stream, source->mark.at, len, out);
    } else {
        unsigned char *data = malloc(len + 1);
        if (!data)
            abort();
        content_fill(data, source->stream, source->mark.at, len);
        err = spw_bytes_copy(data, len, &fault_allocator, out);
        free(data);
    }
    if (err)
        return err;
    *value = (struct value){mark->at, len, out->owner == mark->owner && out->data == mark->end};
    *mark = (struct mark){mark->at + len, out->owner, out->data + len};
    return 0;
}

/* ---- the model ---- */

void model_open(struct model *model, uint64_t stream)
{
    *model = (struct model){.stream = stream};
}

void model_close(struct model *model)
{
    free(model->values);
    model->values = NULL;
    model->count = model->capacity = model->first = 0;
    model->bytes = 0;
}

void model_push(struct model *model, const struct value *value)
{
    if (model->count == model->capacity) {
        size_t capacity = model->capacity ? model->capacity * 2 : 1024;
        struct value *values = malloc(capacity * sizeof(*values));
        if (!values)
            abort();
        for (size_t i = 0; i < model->count; i++)
            values[i] = model->values[(model->first + i) % model->capacity];
        free(model->values);
        model->values = values;
        model->capacity = capacity;
        model->first = 0;
    }
    model->values[(model->first + model->count++) % model->capacity] = *value;
    model->bytes += value->len;
}

uint64_t model_pop(struct model *model, const spw_bytes *bytes)
{
    size_t len = 0;
    uint64_t at = 0;
    cr_assert_gt(bytes->len, 0);
    while (len < bytes->len) {
        cr_assert_gt(model->count, 0, "more came out than went in");
        const struct value *value = &model->values[model->first];
        if (len == 0)
            at = value->at;
        else
            cr_assert(value->joins, "values merged that are no neighbours");
        len += value->len;
        model->first = (model->first + 1) % model->capacity;
        model->count--;
    }
    cr_assert_eq(len, bytes->len, "an entry of %zu bytes came out with %zu", len, bytes->len);
    cr_assert(content_is(bytes->data, model->stream, at, len), "wrong content at %llu of %zu bytes",
              (unsigned long long)at, len);
    model->bytes -= len;
    return at;
}
