/* SPDX-License-Identifier: MIT */
#include "compress_choose.h"

#include <string.h>

#include "compress_known.h"
#include "compress_tell.h"

/* Bytes that do not get at least this much smaller are left alone. */
static const double least_gain = 1.1;
/* A device that is so much faster than a processor encodes will not be beaten. */
static const double far_too_fast = 1.5;
/* A dearer code must move so much more; one in use is given up for so much more. */
static const double clearly = 1.05, much = 1.1;

/* A code that brought nothing is left alone for so long, first and at the longest; one that has
 * been in use for so long was not in vain. */
#define VAIN_FIRST_NS UINT64_C(2000000000)
#define VAIN_LAST_NS  UINT64_C(80000000000)
#define PROVED_NS     UINT64_C(5000000000)

/* A code is tried again after this; sooner as long as it had hardly any run; at once where another
 * is in use that may not be the best. */
#define TRY_AGAIN_NS UINT64_C(10000000000)
#define TRY_SOON_NS  UINT64_C(500000000)
#define COMPARE_NS   UINT64_C(200000000)
/* So is the device, first and at the longest. */
#define LOOK_FIRST_NS UINT64_C(4000000000)
#define LOOK_LAST_NS  UINT64_C(64000000000)
#define LOOK_BYTES    (24 * MIB)

/* An answer "none" holds for so many bytes; at first for fewer, each time for twice as many. */
#define SKIP_FIRST_BYTES (4 * MIB)
#define SKIP_LAST_BYTES  (32 * MIB)
enum { SKIP_RUNS_MAX = 512 };

/* Of data that does not get smaller so much is passed over at once, at the longest. */
#define SKIP_DATA_BYTES (64 * MIB)

void chooser_init(struct chooser *chooser, enum compress_mode mode)
{
    memset(chooser, 0, sizeof(*chooser));
    chooser->mode = mode;
    chooser->look_after_ns = LOOK_FIRST_NS;
    chooser->skip_bytes = chooser->idle_bytes = SKIP_FIRST_BYTES;
    chooser->vain_ns = VAIN_FIRST_NS;
    chooser->suspicion = SUSPICION; /* nothing is known of the data */
}

/* Whether a code is due for a run, so that more is known of it. */
static bool code_is_due(const struct chooser_code *code, uint64_t now_ns, uint64_t again_ns)
{
    return code->tried_ns == 0 || now_ns - code->tried_ns > again_ns;
}

static bool saves_room(const struct chooser *chooser, const spw_coder_view *view)
{
    return chooser->mode == COMPRESS_ROOM ||
           (chooser->mode == COMPRESS_AUTO && chooser->tight[view->to_memory != 0]);
}

/*
 * The code that moves most, 0 where none is worth it; a dearer one only where it is clearly better.
 * Encoders that get only a share of their processors make the cheaper ones better. Whether any is
 * worth it then, their outcome tells.
 */
static unsigned fastest(const struct chooser *chooser, const spw_coder_view *view,
                        enum chooser_why *why)
{
    double device = known_device(chooser), fast = known_device_best(chooser), best = 0;
    unsigned current = chooser->current[0], found = 0;

    *why = WHY_FAST;
    for (unsigned i = 0; i < chooser->count; i++) {
        const struct chooser_code *code = &chooser->codes[i];
        double alone = known_moves(chooser, code, view->workers, 1);
        double moves = known_moves(chooser, code, view->workers, known_share(chooser));

        if (known_rate(chooser, code) < fast)
            continue;
        if (!found && *why == WHY_FAST)
            *why = WHY_SMALL;
        if (alone < device * (current > 0 ? still_worth : worth))
            continue;
        if (current == i + 1)
            moves *= much;
        if (!found || moves > best * clearly) {
            best = moves;
            found = i + 1;
            *why = WHY_SPEED;
        }
    }
    return found;
}

/* Whether the device is so fast that no better figures of a code would change anything. */
static bool is_far_too_fast(const struct chooser *chooser)
{
    return chooser->count > 0 &&
           known_device_best(chooser) > known_rate(chooser, &chooser->codes[0]) * far_too_fast;
}

/* How soon a code should be looked at again. */
static uint64_t try_again_ns(const struct chooser *chooser, unsigned index)
{
    const struct chooser_code *code = &chooser->codes[index];

    if (index == 0 && (is_far_too_fast(chooser) || chooser->data.cpu_ns >= code_least_ns))
        return TRY_AGAIN_NS;
    if (index == 0)
        return TRY_SOON_NS;
    if (code->runs < 2)
        return 0;
    return code->compared_ns < code_least_ns ? COMPARE_NS : TRY_AGAIN_NS;
}

/* A code of which too little is known; 0: there is none. Without a code in use only the first one
 * is tried: with one, all others are compared with it. */
static unsigned to_try(const struct chooser *chooser, const spw_coder_view *view, unsigned found)
{
    double fast = known_device_best(chooser);

    if (found == 0)
        return code_is_due(&chooser->codes[0], view->now_ns, try_again_ns(chooser, 0));
    for (unsigned i = 1; i < chooser->count; i++)
        if (known_rate(chooser, &chooser->codes[i]) >= fast &&
            code_is_due(&chooser->codes[i], view->now_ns, try_again_ns(chooser, i)))
            return i + 1;
    return 0;
}

/* With a code in use the device may have less to do than it could, so that nobody knows whether it
 * has become faster: now and then it gets some bytes as they are. */
static bool device_is_due(struct chooser *chooser, const spw_coder_view *view)
{
    uint64_t now_ns = view->now_ns;

    if (chooser->look_at_ns == 0 || chooser->device_known_ns + LOOK_FIRST_NS > now_ns)
        chooser->look_at_ns = now_ns + chooser->look_after_ns;
    if (now_ns < chooser->look_at_ns)
        return false;
    if (chooser->look_after_ns < LOOK_LAST_NS)
        chooser->look_after_ns *= 2;
    chooser->look_at_ns = now_ns + chooser->look_after_ns;
    known_device_doubt(chooser);
    return true;
}

static uint64_t doubled(uint64_t bytes, uint64_t most)
{
    return bytes < most ? bytes * 2 : most;
}

static void current_set(struct chooser *chooser, const spw_coder_view *view, unsigned code)
{
    if ((code > 0) != (chooser->current[0] > 0)) {
        chooser->settle_ns = outcome_settle_ns;
        if (code > 0)
            chooser->outcomes[1] = (struct chooser_outcome){0, 0};
        chooser->since_ns = view->now_ns;
    }
    chooser->current[0] = code;
    if (code > 0) {
        chooser->skip_bytes = SKIP_FIRST_BYTES;
        if (view->now_ns - chooser->since_ns > PROVED_NS)
            chooser->vain_ns = VAIN_FIRST_NS;
        return;
    }
    chooser->look_after_ns = LOOK_FIRST_NS;
    chooser->skip_bytes = doubled(chooser->skip_bytes, SKIP_LAST_BYTES);
}

/* Whether what was tried says that encoding brings nothing at present. */
static bool in_vain(struct chooser *chooser, const spw_coder_view *view)
{
    if (chooser->current[0] > 0 && known_vain(chooser)) {
        chooser->vain_until_ns = view->now_ns + chooser->vain_ns;
        chooser->outcomes[0] = (struct chooser_outcome){0, 0};
        if (chooser->vain_ns < VAIN_LAST_NS)
            chooser->vain_ns *= 2;
    } else if (chooser->current[0] == 0 && known_worth_it(chooser)) {
        chooser->vain_until_ns = 0;
        chooser->vain_ns = VAIN_FIRST_NS;
    }
    return view->now_ns < chooser->vain_until_ns;
}

static struct verdict by_speed(struct chooser *chooser, const spw_coder_view *view)
{
    struct verdict verdict = {.why = WHY_UP, .skip_bytes = chooser->idle_bytes};

    if (known_device(chooser) <= 0) {
        chooser->idle_bytes = doubled(chooser->idle_bytes, SKIP_LAST_BYTES);
        return verdict;
    }
    verdict.skip_bytes = chooser->skip_bytes;
    if (in_vain(chooser, view)) {
        current_set(chooser, view, 0);
        verdict.why = WHY_VAIN;
        return verdict;
    }
    verdict.code = fastest(chooser, view, &verdict.why);
    unsigned trial = to_try(chooser, view, verdict.code);
    if (trial > 0) {
        if (chooser->current[0] == 0) /* it does not show what none is good for */
            chooser->settle_ns = outcome_settle_ns;
        return (struct verdict){.code = trial, .why = WHY_MEASURE};
    }
    if (verdict.code > 0 && device_is_due(chooser, view)) {
        chooser->looking = true;
        return (struct verdict){.why = WHY_MEASURE, .skip_bytes = LOOK_BYTES};
    }
    current_set(chooser, view, verdict.code);
    return verdict;
}

/* Up to a quarter less: no data whose kinds come in turns keeps out of sight for long. */
static uint64_t varied(struct chooser *chooser, uint64_t runs)
{
    chooser->draw = chooser->draw * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return runs - runs * (chooser->draw >> 56) / 1024;
}

static struct verdict by_data(struct chooser *chooser, const spw_coder_view *view)
{
    uint64_t run_bytes = view->run_bytes > 0 ? view->run_bytes : 1;
    uint64_t bytes = chooser->misses > MISSES_FREE ? chooser->row_bytes / 2 : 0;

    if (bytes > SKIP_DATA_BYTES)
        bytes = SKIP_DATA_BYTES;
    bytes = varied(chooser, bytes / run_bytes) * run_bytes;
    chooser->row_bytes += bytes;
    return (struct verdict){.why = WHY_DATA, .skip_bytes = bytes};
}

/* What would be chosen for bytes that get smaller. */
static struct verdict by_scarcity(struct chooser *chooser, const spw_coder_view *view)
{
    if (chooser->mode == COMPRESS_NONE || chooser->count == 0)
        return (struct verdict){.why = WHY_TOLD, .skip_bytes = UINT64_MAX};
    if (chooser->mode == COMPRESS_LZ4 || chooser->mode == COMPRESS_ZSTD)
        return (struct verdict){.code = 1, .why = WHY_TOLD};
    if (saves_room(chooser, view))
        return (struct verdict){.code = chooser->count, .why = WHY_ROOM};
    if (view->to_memory)
        return (struct verdict){.why = WHY_AMPLE, .skip_bytes = SKIP_LAST_BYTES};
    return by_speed(chooser, view);
}

/* What a sample says of the data. Returns whether it does not get smaller. */
static bool sample_look(struct chooser *chooser, const spw_coder_view *view, double sample_gain)
{
    if (sample_gain <= 0)
        return false;
    if (sample_gain < least_gain) {
        known_miss(chooser, view->run_bytes);
        return true;
    }
    if (!chooser->refused) /* else a run must show it */
        known_hit(chooser);
    chooser->suspicion -= chooser->suspicion > 0;
    return false;
}

static struct verdict decide(struct chooser *chooser, const spw_coder_view *view,
                             double sample_gain)
{
    bool hopeless = sample_look(chooser, view, sample_gain) ||
                    (chooser->refusal_due && chooser->misses > MISSES_FREE);
    struct verdict verdict = by_scarcity(chooser, view);

    if (!hopeless || verdict.code == 0)
        return verdict;
    chooser->refusal_due = false;
    return by_data(chooser, view);
}

bool chooser_wants_sample(struct chooser *chooser, const spw_coder_view *view)
{
    known_look(chooser, view);
    if (chooser->mode == COMPRESS_NONE)
        return false;
    bool told = chooser->mode == COMPRESS_LZ4 || chooser->mode == COMPRESS_ZSTD;
    if (told || saves_room(chooser, view))
        return chooser->suspicion > 0;
    if (view->to_memory || known_device(chooser) <= 0 || is_far_too_fast(chooser))
        return false;
    return chooser->suspicion > 0 || chooser->current[0] == 0;
}

/* For how many runs the answer holds, without running into a limit unseen. */
static unsigned skip_runs(const spw_coder_view *view, uint64_t skip_bytes)
{
    uint64_t left =
        view->capacity_bytes > view->stored_bytes ? view->capacity_bytes - view->stored_bytes : 0;
    uint64_t run_bytes = view->run_bytes > 0 ? view->run_bytes : 1;

    if (skip_bytes == UINT64_MAX)
        return UINT32_MAX;
    if (skip_bytes > left / 16)
        skip_bytes = left / 16;
    uint64_t runs = skip_bytes / run_bytes;
    return (unsigned)(runs < SKIP_RUNS_MAX ? runs : SKIP_RUNS_MAX);
}

static void code_gets(struct chooser_code *code, const spw_coder_view *view, unsigned number,
                      enum chooser_why why)
{
    if (number > 1 && why != WHY_MEASURE)
        return;
    code->tried_ns = view->now_ns > 0 ? view->now_ns : 1;
    code->compare += number > 1;
}

void chooser_pick(struct chooser *chooser, const spw_coder_view *view, double sample_gain,
                  spw_coder_choice *choice)
{
    struct verdict verdict = decide(chooser, view, sample_gain);
    if (verdict.code > 0)
        code_gets(&chooser->codes[verdict.code - 1], view, verdict.code, verdict.why);
    else
        choice->skip_runs = skip_runs(view, verdict.skip_bytes);
    choice->code = verdict.code;
    chooser_tell(chooser, view, &verdict, sample_gain, choice);
}
