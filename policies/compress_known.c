/* SPDX-License-Identifier: MIT */
#include "compress_known.h"

#include <stdio.h>

/* Of the device: so long at least, and no more than this weighs. */
static const double device_least_ns = 5e6, device_most_ns = 200e6;
/* It is as fast as it was in the best of the last windows of this length: others who want it or the
 * processors make it look slower, nothing makes it look faster for long. */
static const double device_window_ns = 200e6;
/* Of a code, and of the share of a processor, no more than this weighs. */
static const double code_most_ns = 100e6, share_most_ns = 400e6;
/* What is usual weighs as much as so many bytes that were encoded. */
static const double usual_bytes = 1 << 19;
/* What went out with a code, and without one, is judged when so much is known. */
static const double outcome_least_ns = 300e6, outcome_most_ns = 600e6;

/* Room is scarce when less than this is left: a share of the capacity; or half of it, or, on disk,
 * a few times the budget, as long as that is no more than a few GiB. */
#define TIGHT_LEFT_BYTES (4 * GIB)
enum { TIGHT_SHARE = 8, TIGHT_BUDGETS = 8 };

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

double known_device(const struct chooser *chooser)
{
    if (chooser->device_ns < device_least_ns)
        return 0;
    return chooser->device_bytes / chooser->device_ns;
}

double known_device_best(const struct chooser *chooser)
{
    double best = known_device(chooser);

    for (unsigned i = 0; i < CHOOSER_WINDOWS; i++)
        if (chooser->windows[i] > best)
            best = chooser->windows[i];
    return best;
}

void known_device_doubt(struct chooser *chooser)
{
    if (chooser->device_ns <= device_least_ns)
        return;
    chooser->device_bytes *= device_least_ns / chooser->device_ns;
    chooser->device_ns = device_least_ns;
}

/* What the first code makes of the data. */
static const struct chooser_figures *data_of(const struct chooser *chooser)
{
    return chooser->data.cpu_ns > 0 ? &chooser->data : &chooser->codes[0].own;
}

double known_rate(const struct chooser *chooser, const struct chooser_code *code)
{
    const struct chooser_figures *data = data_of(chooser);

    return data->in_bytes / data->cpu_ns * code->first.cpu_ns / code->own.cpu_ns;
}

double known_gain(const struct chooser *chooser, const struct chooser_code *code)
{
    const struct chooser_figures *data = data_of(chooser);

    return data->in_bytes / data->out_bytes * code->first.out_bytes / code->own.out_bytes;
}

double known_share(const struct chooser *chooser)
{
    if (chooser->share_wall_ns <= 0 || chooser->share_cpu_ns >= chooser->share_wall_ns)
        return 1;
    return chooser->share_cpu_ns / chooser->share_wall_ns;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

double known_moves(const struct chooser *chooser, const struct chooser_code *code, unsigned workers,
                   double share)
{
    return smaller(known_rate(chooser, code) * share * workers,
                   known_device(chooser) * known_gain(chooser, code));
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

double known_outcome(const struct chooser *chooser, bool coded)
{
    const struct chooser_outcome *outcome = &chooser->outcomes[coded];

    return outcome->ns > 0 ? outcome->bytes / outcome->ns : 0;
}

bool known_vain(const struct chooser *chooser)
{
    bool known = chooser->outcomes[0].ns >= outcome_settle_ns;
    double none = known_device(chooser); /* as it is, no more goes out than the device takes */
    if (known)
        none = smaller(none, known_outcome(chooser, false));

    return chooser->outcomes[1].ns >= outcome_least_ns &&
           known_outcome(chooser, true) < none * still_worth;
}

bool known_worth_it(const struct chooser *chooser)
{
    return chooser->outcomes[0].ns >= outcome_least_ns &&
           known_outcome(chooser, true) > known_outcome(chooser, false) * worth;
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

void known_look(struct chooser *chooser, const spw_coder_view *view)
{
    device_look(chooser, view);
    outcome_look(chooser, view);
    room_look(chooser, view);
}

void known_miss(struct chooser *chooser, uint64_t bytes)
{
    chooser->misses++;
    chooser->row_bytes += bytes;
    chooser->suspicion = SUSPICION;
}

void known_hit(struct chooser *chooser)
{
    chooser->misses = 0;
    chooser->row_bytes = 0;
}

void chooser_encoded(struct chooser *chooser, unsigned number, uint64_t in_bytes,
                     uint64_t out_bytes, uint64_t cpu_ns, uint64_t wall_ns)
{
    struct chooser_code *code = &chooser->codes[number - 1];

    chooser->share_cpu_ns += (double)cpu_ns;
    chooser->share_wall_ns += (double)wall_ns;
    halve(&chooser->share_cpu_ns, &(double){0}, &chooser->share_wall_ns, share_most_ns);
    chooser->refused = chooser->refusal_due = out_bytes == 0;
    if (out_bytes == 0) {
        known_miss(chooser, in_bytes);
        return;
    }
    known_hit(chooser);
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
