/* SPDX-License-Identifier: MIT */
#include "compress_choose.h"

#include <stdio.h>
#include <string.h>

#include "../lib/units.h"

#define MIB UINT64_C(1048576)
#define GIB UINT64_C(1073741824)

/* ---- what to rely on ---- */

/* Of the device: so long at least, and no more than this weighs. */
static const double device_least_ns = 5e6, device_most_ns = 200e6;
/* It is as fast as it was in the best of the last windows of this length: others who want it or the
 * processors make it look slower, nothing makes it look faster for long. */
static const double device_window_ns = 200e6;
/* The same of a code, and of the share of a processor. */
static const double code_least_ns = 20e6, code_most_ns = 100e6, share_most_ns = 400e6;
/* What is usual weighs as much as so many bytes that were encoded. */
static const double usual_bytes = 1 << 19;

/* Bytes that do not get at least this much smaller are left alone. */
static const double least_gain = 1.1;
/* What a code must bring to be taken, and what one in use must still bring. */
static const double worth = 1.2, still_worth = 1.05;
/* A dearer code must move so much more; one in use is given up for so much more. */
static const double clearly = 1.05, much = 1.1;

/* What went out with a code, and without one, is judged when so much is known; so long after a
 * change nothing is. */
static const double outcome_least_ns = 300e6, outcome_most_ns = 600e6, outcome_settle_ns = 50e6;
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

/* After a run that did not get smaller, samples are taken of so many. From this many misses in a
 * row on, whole runs are passed over: 1, 3, 7, ... */
enum { SUSPICION = 64, MISSES_FREE = 4, MISSES_DOUBLED = 5 };

/* Room is scarce when less than this is left: a share of the capacity; or half of it, or, on disk,
 * a few times the budget, as long as that is no more than a few GiB. */
#define TIGHT_LEFT_BYTES (4 * GIB)
enum { TIGHT_SHARE = 8, TIGHT_BUDGETS = 8 };

void chooser_init(struct chooser *chooser, enum compress_mode mode)
{
    memset(chooser, 0, sizeof(*chooser));
    chooser->mode = mode;
    chooser->look_after_ns = LOOK_FIRST_NS;
    chooser->skip_bytes = SKIP_FIRST_BYTES;
    chooser->vain_ns = VAIN_FIRST_NS;
}

unsigned chooser_add(struct chooser *chooser, const char *name, double usual_rate,
                     double usual_gain)
{
    struct chooser_code *code = &chooser->codes[chooser->count++];

    snprintf(code->name, sizeof(code->name), "%s", name);
    code->own =
        (struct chooser_figures){usual_bytes, usual_bytes / usual_gain, usual_bytes / usual_rate};
    code->first = chooser->codes[0].own;
    return chooser->count;
}

/* ---- what is known ---- */

/* Bytes a ns; 0: not known. */
static double device_rate(const struct chooser *chooser)
{
    if (chooser->device_ns < device_least_ns)
        return 0;
    return chooser->device_bytes / chooser->device_ns;
}

/* The fastest that the device was seen lately. */
static double device_best(const struct chooser *chooser)
{
    double best = device_rate(chooser);

    for (unsigned i = 0; i < CHOOSER_WINDOWS; i++)
        if (chooser->windows[i] > best)
            best = chooser->windows[i];
    return best;
}

/* What the first code makes of the data. */
static const struct chooser_figures *data_of(const struct chooser *chooser)
{
    return chooser->data.cpu_ns > 0 ? &chooser->data : &chooser->codes[0].own;
}

/* What a processor encodes, bytes a ns, if it does nothing else. */
static double code_rate(const struct chooser *chooser, const struct chooser_code *code)
{
    const struct chooser_figures *data = data_of(chooser);

    return data->in_bytes / data->cpu_ns * code->first.cpu_ns / code->own.cpu_ns;
}

static double code_gain(const struct chooser *chooser, const struct chooser_code *code)
{
    const struct chooser_figures *data = data_of(chooser);

    return data->in_bytes / data->out_bytes * code->first.out_bytes / code->own.out_bytes;
}

/* The part of a processor that a thread got for it. */
static double share_of(const struct chooser *chooser)
{
    if (chooser->share_wall_ns <= 0 || chooser->share_cpu_ns >= chooser->share_wall_ns)
        return 1;
    return chooser->share_cpu_ns / chooser->share_wall_ns;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* How fast runs go out with a code, if encoders get that share of their processors. */
static double code_moves(const struct chooser *chooser, const struct chooser_code *code,
                         unsigned workers, double share)
{
    return smaller(code_rate(chooser, code) * share * workers,
                   device_rate(chooser) * code_gain(chooser, code));
}

/* Older figures weigh less. */
static void halve(double *a, double *b, double *ns, double most_ns)
{
    while (*ns > most_ns) {
        *a /= 2;
        *b /= 2;
        *ns /= 2;
    }
}

static void figures_halve(struct chooser_figures *figures)
{
    halve(&figures->in_bytes, &figures->out_bytes, &figures->cpu_ns, code_most_ns);
}

static void windows_look(struct chooser *chooser, double bytes, double ns)
{
    chooser->window_bytes += bytes;
    chooser->window_ns += ns;
    double full = chooser->window_ns / device_window_ns;
    if (full < 1)
        return;
    for (unsigned i = 0; i < CHOOSER_WINDOWS && i + 1 <= full; i++)
        chooser->windows[chooser->window_at++ % CHOOSER_WINDOWS] =
            chooser->window_bytes / chooser->window_ns;
    chooser->window_bytes = chooser->window_ns = 0;
}

static void device_look(struct chooser *chooser, const spw_coder_view *view)
{
    if (view->write_busy_ns_total <= chooser->seen_ns)
        return;
    double bytes = (double)(view->written_bytes_total - chooser->seen_bytes);
    double ns = (double)(view->write_busy_ns_total - chooser->seen_ns);
    chooser->device_bytes += bytes;
    chooser->device_ns += ns;
    windows_look(chooser, bytes, ns);
    chooser->seen_bytes = view->written_bytes_total;
    chooser->seen_ns = view->write_busy_ns_total;
    chooser->device_known_ns = view->now_ns;
    halve(&chooser->device_bytes, &(double){0}, &chooser->device_ns, device_most_ns);
}

/* What the present choice is good for. */
static void outcome_look(struct chooser *chooser, const spw_coder_view *view)
{
    bool looked = chooser->looking;
    struct chooser_outcome *outcome = &chooser->outcomes[chooser->current[0] > 0 && !looked];
    double bytes = (double)(view->passed_bytes_total - chooser->seen_passed_bytes);
    double ns = (double)(view->passed_ns_total - chooser->seen_passed_ns);

    chooser->seen_passed_bytes = view->passed_bytes_total;
    chooser->seen_passed_ns = view->passed_ns_total;
    chooser->looking = false;
    if (!looked && chooser->settle_ns > 0) {
        chooser->settle_ns -= ns;
        return;
    }
    if (looked)
        chooser->settle_ns = outcome_settle_ns;
    outcome->bytes += bytes;
    outcome->ns += ns;
    halve(&outcome->bytes, &(double){0}, &outcome->ns, outcome_most_ns);
}

static double outcome_rate(const struct chooser *chooser, bool coded)
{
    const struct chooser_outcome *outcome = &chooser->outcomes[coded];

    return outcome->ns > 0 ? outcome->bytes / outcome->ns : 0;
}

/*
 * Whether the code in use moves no more than none did. If that is only because the device has
 * become slower since, none will show it soon.
 */
static bool is_vain(const struct chooser *chooser)
{
    bool known = chooser->outcomes[0].ns >= outcome_settle_ns;
    double none = known ? outcome_rate(chooser, false) : device_rate(chooser);

    return chooser->outcomes[1].ns >= outcome_least_ns &&
           outcome_rate(chooser, true) < none * still_worth;
}

/* Whether none moves clearly less than the last code did. */
static bool was_worth_it(const struct chooser *chooser)
{
    return chooser->outcomes[0].ns >= outcome_least_ns &&
           outcome_rate(chooser, true) > outcome_rate(chooser, false) * worth;
}

/* Not tight again only when clearly more is left. */
static void room_look(struct chooser *chooser, const spw_coder_view *view)
{
    bool *tight = &chooser->tight[view->to_memory != 0];
    uint64_t capacity = view->capacity_bytes;
    uint64_t left = capacity > view->stored_bytes ? capacity - view->stored_bytes : 0;

    if (*tight)
        left -= left / 4;
    uint64_t small = view->budget_bytes * TIGHT_BUDGETS;
    if (view->to_memory || small > TIGHT_LEFT_BYTES)
        small = view->to_memory ? 0 : TIGHT_LEFT_BYTES;
    *tight = left < capacity / TIGHT_SHARE || left < small ||
             (left < capacity / 2 && left < TIGHT_LEFT_BYTES);
}

void chooser_encoded(struct chooser *chooser, unsigned number, uint64_t in_bytes,
                     uint64_t out_bytes, uint64_t cpu_ns, uint64_t wall_ns)
{
    struct chooser_code *code = &chooser->codes[number - 1];

    chooser->share_cpu_ns += (double)cpu_ns;
    chooser->share_wall_ns += (double)wall_ns;
    halve(&chooser->share_cpu_ns, &(double){0}, &chooser->share_wall_ns, share_most_ns);
    if (out_bytes == 0) {
        chooser->suspicion = SUSPICION;
        return;
    }
    /* The first time a code also pays for its memory. */
    if (code->runs < 2 && code->runs++ == 0)
        return;
    struct chooser_figures *data = &chooser->data;
    data->in_bytes += (double)in_bytes;
    data->out_bytes += (double)out_bytes * code->first.out_bytes / code->own.out_bytes;
    data->cpu_ns += (double)(cpu_ns > 0 ? cpu_ns : 1) * code->first.cpu_ns / code->own.cpu_ns;
    figures_halve(data);
}

bool chooser_compares(struct chooser *chooser, unsigned number)
{
    struct chooser_code *code = &chooser->codes[number - 1];
    bool compares = code->compare > 0;

    code->compare -= compares;
    return compares;
}

void chooser_compared(struct chooser *chooser, unsigned number, const struct chooser_figures *first,
                      const struct chooser_figures *own)
{
    struct chooser_code *code = &chooser->codes[number - 1];
    double cpu_ns[2] = {first->cpu_ns > 0 ? first->cpu_ns : 1, own->cpu_ns > 0 ? own->cpu_ns : 1};

    if (code->runs == 0 || first->out_bytes <= 0 || own->out_bytes <= 0)
        return;
    code->compared_ns += cpu_ns[1];
    code->first.out_bytes += first->out_bytes;
    code->first.cpu_ns += cpu_ns[0];
    code->own.out_bytes += own->out_bytes;
    code->own.cpu_ns += cpu_ns[1];
    while (code->own.cpu_ns > code_most_ns) {
        code->first.out_bytes /= 2, code->first.cpu_ns /= 2;
        code->own.out_bytes /= 2, code->own.cpu_ns /= 2;
    }
}

/* ---- the choice ---- */

struct verdict {
    unsigned code;
    enum chooser_why why;
    uint64_t skip_bytes;
};

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
    double device = device_rate(chooser), fast = device_best(chooser), best = 0;
    unsigned current = chooser->current[0], found = 0;

    *why = WHY_FAST;
    for (unsigned i = 0; i < chooser->count; i++) {
        const struct chooser_code *code = &chooser->codes[i];
        double alone = code_moves(chooser, code, view->workers, 1);
        double moves = code_moves(chooser, code, view->workers, share_of(chooser));

        if (code_rate(chooser, code) < fast)
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

/* How soon a code should be looked at again. */
static uint64_t try_again_ns(const struct chooser *chooser, unsigned index)
{
    const struct chooser_code *code = &chooser->codes[index];

    if (index == 0)
        return chooser->data.cpu_ns < code_least_ns ? TRY_SOON_NS : TRY_AGAIN_NS;
    if (code->runs < 2)
        return 0;
    return code->compared_ns < code_least_ns ? COMPARE_NS : TRY_AGAIN_NS;
}

/* A code of which too little is known; 0: there is none. Without a code in use only the first one
 * is tried: with one, all others are compared with it. */
static unsigned to_try(const struct chooser *chooser, const spw_coder_view *view, unsigned found)
{
    double fast = device_best(chooser);

    if (found == 0)
        return code_is_due(&chooser->codes[0], view->now_ns, try_again_ns(chooser, 0));
    for (unsigned i = 1; i < chooser->count; i++)
        if (code_rate(chooser, &chooser->codes[i]) >= fast &&
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
    /* What was known weighs little beside what is going to be seen. */
    if (chooser->device_ns > device_least_ns) {
        chooser->device_bytes *= device_least_ns / chooser->device_ns;
        chooser->device_ns = device_least_ns;
    }
    return true;
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
    if (chooser->skip_bytes < SKIP_LAST_BYTES)
        chooser->skip_bytes *= 2;
}

/* Whether what was tried says that encoding brings nothing at present. */
static bool in_vain(struct chooser *chooser, const spw_coder_view *view)
{
    if (chooser->current[0] > 0 && is_vain(chooser)) {
        chooser->vain_until_ns = view->now_ns + chooser->vain_ns;
        chooser->outcomes[0] = (struct chooser_outcome){0, 0};
        if (chooser->vain_ns < VAIN_LAST_NS)
            chooser->vain_ns *= 2;
    } else if (chooser->current[0] == 0 && was_worth_it(chooser)) {
        chooser->vain_until_ns = 0;
        chooser->vain_ns = VAIN_FIRST_NS;
    }
    return view->now_ns < chooser->vain_until_ns;
}

static struct verdict by_speed(struct chooser *chooser, const spw_coder_view *view)
{
    struct verdict verdict = {.why = WHY_UP, .skip_bytes = SKIP_FIRST_BYTES};

    if (device_rate(chooser) <= 0)
        return verdict;
    verdict.skip_bytes = chooser->skip_bytes;
    if (in_vain(chooser, view)) {
        current_set(chooser, view, 0);
        verdict.why = WHY_VAIN;
        return verdict;
    }
    verdict.code = fastest(chooser, view, &verdict.why);
    unsigned trial = to_try(chooser, view, verdict.code);
    if (trial > 0)
        return (struct verdict){.code = trial, .why = WHY_MEASURE};
    if (verdict.code > 0 && device_is_due(chooser, view)) {
        chooser->looking = true;
        return (struct verdict){.why = WHY_MEASURE, .skip_bytes = LOOK_BYTES};
    }
    current_set(chooser, view, verdict.code);
    return verdict;
}

static struct verdict by_data(const struct chooser *chooser, const spw_coder_view *view)
{
    unsigned doubled = chooser->misses > MISSES_FREE ? chooser->misses - MISSES_FREE : 0;

    if (doubled > MISSES_DOUBLED)
        doubled = MISSES_DOUBLED;
    return (struct verdict){.why = WHY_DATA,
                            .skip_bytes = ((UINT64_C(1) << doubled) - 1) * view->run_bytes};
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

static struct verdict decide(struct chooser *chooser, const spw_coder_view *view,
                             double sample_gain)
{
    bool hopeless = sample_gain > 0 && sample_gain < least_gain;
    struct verdict verdict = by_scarcity(chooser, view);

    if (hopeless) {
        chooser->misses++;
        chooser->suspicion = SUSPICION;
    } else if (sample_gain > 0) {
        chooser->misses = 0;
        chooser->suspicion -= chooser->suspicion > 0;
    }
    return hopeless && verdict.code > 0 ? by_data(chooser, view) : verdict;
}

bool chooser_wants_sample(const struct chooser *chooser, const spw_coder_view *view)
{
    if (chooser->mode == COMPRESS_NONE)
        return false;
    if (chooser->suspicion > 0)
        return true;
    if (chooser->mode != COMPRESS_AUTO && chooser->mode != COMPRESS_SPEED)
        return false;
    return !view->to_memory && chooser->current[0] == 0 && device_rate(chooser) > 0;
}

/* ---- saying so ---- */

static const char *name_of(const struct chooser *chooser, unsigned code)
{
    return code > 0 ? chooser->codes[code - 1].name : "none";
}

/* Bytes a ns as MB or GB a second. */
static const char *rate_text(double rate, char out[16])
{
    if (rate < 1)
        snprintf(out, 16, "%.0f MB/s", rate * 1000);
    else
        snprintf(out, 16, "%.1f GB/s", rate);
    return out;
}

static void tell_room(const struct chooser *chooser, const spw_coder_view *view, unsigned code,
                      char *out, size_t capacity)
{
    const char *tier = view->to_memory ? "memory" : "disk";
    char stored[UNITS_TEXT_BYTES], whole[UNITS_TEXT_BYTES];

    if (chooser->mode == COMPRESS_ROOM) {
        snprintf(out, capacity, "told to save room, %s makes %.1f x", name_of(chooser, code),
                 code_gain(chooser, &chooser->codes[code - 1]));
        return;
    }
    units_format_bytes(view->stored_bytes & ~(MIB - 1), stored, sizeof(stored));
    units_format_bytes(view->capacity_bytes & ~(MIB - 1), whole, sizeof(whole));
    snprintf(out, capacity, "the %s tier holds %s of %s: room is scarce, %s makes %.1f x", tier,
             stored, whole, name_of(chooser, code), code_gain(chooser, &chooser->codes[code - 1]));
}

static void tell_speed(const struct chooser *chooser, const spw_coder_view *view,
                       const struct verdict *verdict, char *out, size_t capacity)
{
    unsigned code = verdict->code > 0 ? verdict->code : 1;
    const struct chooser_code *known = &chooser->codes[code - 1];
    char device[16], rate[16];

    rate_text(device_rate(chooser), device);
    rate_text(code_rate(chooser, known), rate);
    if (verdict->why == WHY_SPEED)
        snprintf(out, capacity,
                 "the disk writes at %s, %s makes %.1f x at %s on each of %u threads", device,
                 known->name, code_gain(chooser, known), rate, view->workers);
    else if (verdict->why == WHY_FAST)
        snprintf(out, capacity, "the disk writes at %s, a processor makes %s at %s", device,
                 known->name, rate);
    else
        snprintf(out, capacity, "the disk writes at %s, %s makes %.1f x at %s: not worth it",
                 device, known->name, code_gain(chooser, known), rate);
}

static void tell(struct chooser *chooser, const spw_coder_view *view, const struct verdict *verdict,
                 double sample_gain, spw_coder_choice *choice)
{
    struct chooser_told *told = &chooser->told[view->to_memory != 0];
    char *out = choice->reason, with[16];
    size_t capacity = sizeof(choice->reason);

    if (verdict->why == WHY_MEASURE ||
        (verdict->why == WHY_DATA && chooser->misses <= MISSES_FREE) ||
        (told->code == verdict->code && told->why == verdict->why))
        return;
    if (verdict->code > 0 && chooser->data.cpu_ns <= 0)
        return; /* with what it really makes, as soon as that is known */
    *told = (struct chooser_told){verdict->code, verdict->why};
    choice->action = name_of(chooser, verdict->code);
    switch (verdict->why) {
    case WHY_TOLD:
        snprintf(out, capacity, "told to take it");
        break;
    case WHY_ROOM:
        tell_room(chooser, view, verdict->code, out, capacity);
        break;
    case WHY_UP:
        snprintf(out, capacity, "the disk keeps up with what there is to write");
        break;
    case WHY_AMPLE:
        snprintf(out, capacity, "the memory tier has room");
        break;
    case WHY_DATA:
        snprintf(out, capacity, "the data does not get smaller: a sample of %zu bytes makes %.2f x",
                 view->sample_bytes, sample_gain);
        break;
    case WHY_VAIN:
        rate_text(outcome_rate(chooser, true), with);
        snprintf(out, capacity, "no more went out with a code than without one: %s", with);
        break;
    default:
        tell_speed(chooser, view, verdict, out, capacity);
        break;
    }
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
    device_look(chooser, view);
    outcome_look(chooser, view);
    room_look(chooser, view);
    struct verdict verdict = decide(chooser, view, sample_gain);
    if (verdict.code > 0)
        code_gets(&chooser->codes[verdict.code - 1], view, verdict.code, verdict.why);
    else
        choice->skip_runs = skip_runs(view, verdict.skip_bytes);
    choice->code = verdict.code;
    tell(chooser, view, &verdict, sample_gain, choice);
}
