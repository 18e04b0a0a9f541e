/* SPDX-License-Identifier: MIT */
/*
 * Makes runs smaller on their way to a tier where that is worth it: the coder of a pool. What is
 * worth it compress_choose.c decides; lz4 and zstd do the work.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "../lib/alloc.h"
#include "../lib/growable.h"
#include "compress.h"
#include "compress_choose.h"
#include "compress_codec.h"
#include "spillway/policies.h"

/* Contexts that rest between runs, one for each thread of a pool; more are freed. */
enum { CONTEXTS_KEPT = 4, CODECS = 2 };

/* What is encoded of a sample, at most. */
enum { SAMPLE_BYTES = 16 << 10 };

struct packer {
    const struct codec *codec;
    int level;
};

struct compress {
    spw_coder coder;
    const struct os *os;
    const spw_allocator *allocator;
    struct packer packers[CHOOSER_CODES]; /* by number - 1; constant */
    struct packer sampler;                /* constant */
    pthread_mutex_t lock;                 /* guards all below */
    struct chooser chooser;
    void *contexts[CODECS][CONTEXTS_KEPT];
    unsigned resting[CODECS];
    uint64_t used_bytes; /* of contexts that were released once */
};

static const struct codec *const codecs[CODECS] = {&codec_lz4, &codec_zstd};

/* What the codes are usually like; measured figures replace these soon. Bytes a ns. */
static const struct usual {
    const struct codec *codec;
    int level;
    double rate, gain;
} usual[] = {
    {&codec_lz4, 1, 0.6, 2.0},
    {&codec_zstd, -3, 0.55, 2.2},
    {&codec_zstd, 1, 0.45, 2.6},
    {&codec_zstd, 3, 0.3, 2.9},
};
enum { USUAL = sizeof(usual) / sizeof(usual[0]) };

static struct compress *compress_of(spw_coder *coder)
{
    return (struct compress *)coder;
}

/* ---- contexts ---- */

static unsigned codec_index(const struct codec *codec)
{
    return codec == codecs[0] ? 0 : 1;
}

/* A context, and what of it was counted when it was taken. */
struct lease {
    void *context; /* NULL without memory */
    size_t bytes;
};

static struct lease context_acquire(struct compress *compress, const struct codec *codec)
{
    unsigned index = codec_index(codec);
    struct lease lease = {NULL, 0};
    pthread_mutex_lock(&compress->lock);
    if (compress->resting[index] > 0)
        lease.context = compress->contexts[index][--compress->resting[index]];
    pthread_mutex_unlock(&compress->lock);
    if (lease.context)
        lease.bytes = codec->bytes(lease.context);
    else
        lease.context = codec->open(compress->allocator);
    return lease;
}

static void context_release(struct compress *compress, const struct codec *codec,
                            struct lease lease)
{
    unsigned index = codec_index(codec);
    size_t bytes = codec->bytes(lease.context);
    pthread_mutex_lock(&compress->lock);
    compress->used_bytes -= lease.bytes;
    if (compress->resting[index] < CONTEXTS_KEPT) {
        compress->contexts[index][compress->resting[index]++] = lease.context;
        compress->used_bytes += bytes;
        lease.context = NULL;
    }
    pthread_mutex_unlock(&compress->lock);
    if (lease.context)
        codec->close(lease.context, compress->allocator);
}

static long pack(struct compress *compress, const struct packer *packer, const void *in,
                 size_t in_bytes, void *out, size_t capacity)
{
    struct lease lease = context_acquire(compress, packer->codec);
    if (!lease.context)
        return -ENOMEM;
    long rc = packer->codec->encode(lease.context, packer->level, in, in_bytes, out, capacity);
    context_release(compress, packer->codec, lease);
    return rc;
}

/* ---- the coder ---- */

/* How much smaller a sample gets; 0: nobody knows. */
static double sample_gain(struct compress *compress, const spw_coder_view *view)
{
    char out[SAMPLE_BYTES];
    size_t bytes = view->sample_bytes < SAMPLE_BYTES ? view->sample_bytes : SAMPLE_BYTES;
    long len = pack(compress, &compress->sampler, view->sample, bytes, out, bytes);
    if (len == -ENOSPC)
        return 1;
    return len > 0 ? (double)bytes / (double)len : 0;
}

static void compress_choose(spw_coder *coder, const spw_coder_view *view, spw_coder_choice *choice)
{
    struct compress *compress = compress_of(coder);
    pthread_mutex_lock(&compress->lock);
    bool wanted = chooser_wants_sample(&compress->chooser, view);
    pthread_mutex_unlock(&compress->lock);
    double gain = wanted ? sample_gain(compress, view) : 0;
    pthread_mutex_lock(&compress->lock);
    chooser_pick(&compress->chooser, view, gain, choice);
    pthread_mutex_unlock(&compress->lock);
}

/* What a code makes of a run. Returns as the coder's encode. */
static long pack_measured(struct compress *compress, unsigned code, const void *in, size_t in_bytes,
                          void *out, size_t capacity, struct chooser_figures *figures)
{
    uint64_t start_ns = compress->os->thread_cpu_ns();
    long len = pack(compress, &compress->packers[code - 1], in, in_bytes, out, capacity);

    *figures =
        (struct chooser_figures){.in_bytes = (double)in_bytes,
                                 .out_bytes = len > 0          ? (double)len
                                              : len == -ENOSPC ? (double)in_bytes
                                                               : 0,
                                 .cpu_ns = (double)(compress->os->thread_cpu_ns() - start_ns)};
    return len;
}

static long compress_encode(spw_coder *coder, unsigned code, const void *in, size_t in_bytes,
                            void *out, size_t capacity)
{
    struct compress *compress = compress_of(coder);
    struct chooser_figures first, own;
    pthread_mutex_lock(&compress->lock);
    bool compares = chooser_compares(&compress->chooser, code);
    pthread_mutex_unlock(&compress->lock);
    if (compares) /* to the same place, for its length only */
        pack_measured(compress, 1, in, in_bytes, out, capacity, &first);
    uint64_t start_ns = compress->os->clock_ns();
    long len = pack_measured(compress, code, in, in_bytes, out, capacity, &own);
    if (len > 0 || len == -ENOSPC) {
        uint64_t wall_ns = compress->os->clock_ns() - start_ns;
        pthread_mutex_lock(&compress->lock);
        if (compares && len > 0)
            chooser_compared(&compress->chooser, code, &first, &own);
        chooser_encoded(&compress->chooser, code, in_bytes, len > 0 ? (uint64_t)len : 0,
                        (uint64_t)own.cpu_ns, wall_ns);
        pthread_mutex_unlock(&compress->lock);
    }
    return len;
}

static int compress_decode(spw_coder *coder, unsigned code, const void *in, size_t in_bytes,
                           void *out, size_t out_bytes)
{
    struct compress *compress = compress_of(coder);
    if (code == 0 || code > compress->chooser.count) /* the count is constant */
        return -EBADMSG;
    const struct codec *codec = compress->packers[code - 1].codec;
    struct lease lease = context_acquire(compress, codec);
    if (!lease.context)
        return -ENOMEM;
    int err = codec->decode(lease.context, in, in_bytes, out, out_bytes);
    context_release(compress, codec, lease);
    return err;
}

static uint64_t compress_used_bytes(spw_coder *coder)
{
    struct compress *compress = compress_of(coder);
    pthread_mutex_lock(&compress->lock);
    uint64_t bytes = compress->used_bytes;
    pthread_mutex_unlock(&compress->lock);
    return bytes;
}

static void compress_close(spw_coder *coder)
{
    struct compress *compress = compress_of(coder);
    for (unsigned i = 0; i < CODECS; i++)
        while (compress->resting[i] > 0)
            codecs[i]->close(compress->contexts[i][--compress->resting[i]], compress->allocator);
    pthread_mutex_destroy(&compress->lock);
    allocator_release(compress->allocator, compress, sizeof(*compress));
}

static const spw_coder_ops compress_ops = {
    .size = sizeof(compress_ops),
    .name = "compress",
    .choose = compress_choose,
    .encode = compress_encode,
    .decode = compress_decode,
    .close = compress_close,
    .used_bytes = compress_used_bytes,
};

/* ---- open ---- */

static void code_add(struct compress *compress, const struct codec *codec, int level, double rate,
                     double gain)
{
    char name[CHOOSER_NAME];
    if (codec == &codec_zstd)
        snprintf(name, sizeof(name), "zstd:%d", level);
    else
        snprintf(name, sizeof(name), "%s", codec->name);
    unsigned code = chooser_add(&compress->chooser, name, rate, gain);
    compress->packers[code - 1] = (struct packer){codec, level};
}

/* The codes of a mode that this build has. Returns 0 or -ENOTSUP. */
static int codes_add(struct compress *compress, const struct compress_setting *setting)
{
    const struct codec *only = setting->mode == COMPRESS_LZ4    ? &codec_lz4
                               : setting->mode == COMPRESS_ZSTD ? &codec_zstd
                                                                : NULL;
    if (only && only->built)
        code_add(compress, only, only == &codec_zstd ? setting->level : 1, 0.5, 2);
    for (unsigned i = 0; !only && i < USUAL; i++)
        if (usual[i].codec->built)
            code_add(compress, usual[i].codec, usual[i].level, usual[i].rate, usual[i].gain);
    /* zstd also sees what only entropy coding makes smaller. */
    compress->sampler = only               ? (struct packer){only, 1}
                        : codec_zstd.built ? (struct packer){&codec_zstd, 1}
                                           : (struct packer){&codec_lz4, 1};
    return compress->chooser.count > 0 ? 0 : -ENOTSUP;
}

int compress_open_with(const struct os *os, const spw_compress_config *config, spw_coder **out)
{
    spw_compress_config known = {.mode = NULL};
    struct compress_setting setting = {COMPRESS_AUTO, 0};
    int err = growable_read(config, COMPRESS_CONFIG_FIRST_BYTES, &known, sizeof(known));
    if (!err && known.mode)
        err = compress_parse(known.mode, &setting);
    if (err)
        return err;
    const spw_allocator *allocator = allocator_or_default(known.allocator);
    struct compress *compress = allocator_zeroed(allocator, sizeof(*compress));
    if (!compress)
        return -ENOMEM;
    compress->coder.ops = &compress_ops;
    compress->os = os;
    compress->allocator = allocator;
    chooser_init(&compress->chooser, setting.mode);
    err = codes_add(compress, &setting);
    if (!err)
        err = -pthread_mutex_init(&compress->lock, NULL);
    if (err) {
        allocator_release(allocator, compress, sizeof(*compress));
        return err;
    }
    *out = &compress->coder;
    return 0;
}

int spw_compress_open(const spw_compress_config *config, spw_coder **out)
{
    return compress_open_with(&os_linux, config, out);
}
