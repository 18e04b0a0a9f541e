/* SPDX-License-Identifier: MIT */
/*
 * Which code a run gets, from figures alone: pure, without clock, lock or codec.
 *
 * Two things can be scarce. Room: the tier is near its limit; then the densest code is worth its
 * time. Speed: the device has more to write than it can; then a code c moves as much as the slower
 * of the processors (what one encodes x how many there are) and the device (its rate x how much
 * smaller c makes things). The cheapest code that is not clearly beaten wins, and none where a
 * processor encodes slower than the device writes: that would cost the service more than it gains.
 *
 * Everything is measured on real runs: the device while it had several writes to do, the codes on
 * the runs that they got, and how much of a processor there is to be had for that. Codes are
 * compared on the same bytes, since one run may get ten times as small as the next: now and then
 * the first code encodes a run that another gets. So is the device looked at, without any code,
 * where nothing else shows what it can do.
 *
 * Data that does not get smaller is found out by samples, before any of it is encoded, and then
 * looked at less and less often: after each look half as many bytes are passed over as went by
 * since the first of them, at most 64 MiB and 512 runs. So once it gets smaller again, that is
 * noticed after half as many bytes as did not, and after 64 MiB at the latest. Runs that do not get
 * smaller though their samples do count as much.
 */
#ifndef SPILLWAY_POLICIES_COMPRESS_CHOOSE_H
#define SPILLWAY_POLICIES_COMPRESS_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/compress_text.h"
#include "spillway/coder.h"

enum { CHOOSER_CODES = 5, CHOOSER_NAME = 12, CHOOSER_WINDOWS = 4 };

/* What a code, or several, made of some bytes, and how long a processor took for it. */
struct chooser_figures {
    double in_bytes, out_bytes, cpu_ns;
};

/* What is known of a code; older figures weigh less and less. */
struct chooser_code {
    char name[CHOOSER_NAME];
    /* What the first code and this one made of the same bytes; begins with what is usual. */
    struct chooser_figures first, own;
    double compared_ns; /* of a processor, on real runs */
    uint64_t tried_ns;  /* when it was last compared; the first: when it last got a run; 0: never */
    unsigned runs;      /* so many got it, at most 2 are counted */
    unsigned compare;   /* so many of the next are compared */
};

/* What led to a choice. */
enum chooser_why {
    WHY_NONE, /* nothing was chosen yet */
    WHY_TOLD, /* by the setting */
    WHY_ROOM,
    WHY_SPEED,
    WHY_FAST,    /* the device writes faster than a processor encodes */
    WHY_SMALL,   /* no code gains enough */
    WHY_UP,      /* the device keeps up with what there is to write */
    WHY_AMPLE,   /* the memory tier has room */
    WHY_DATA,    /* the bytes do not get smaller */
    WHY_VAIN,    /* encoding was tried, and no more went out than without */
    WHY_MEASURE, /* to learn something; not told */
};

struct chooser_told {
    unsigned code;
    enum chooser_why why;
};

struct chooser {
    enum compress_mode mode;
    unsigned count; /* codes, from the cheapest to the densest; their number is the index + 1 */
    struct chooser_code codes[CHOOSER_CODES];
    /* The device. */
    uint64_t seen_bytes, seen_ns; /* of the view's totals */
    double device_bytes, device_ns;
    double window_bytes, window_ns;     /* the same, of the present window */
    double windows[CHOOSER_WINDOWS];    /* bytes a ns of the last ones, in turns; 0: none yet */
    unsigned window_at;                 /* the next */
    uint64_t device_known_ns;           /* when something was last learnt of it */
    uint64_t look_after_ns, look_at_ns; /* the pause before it is looked at without a code */
    uint64_t skip_bytes;                /* for which "none" holds */
    uint64_t idle_bytes;                /* the same, while the device keeps up */
    /* What went out, without a code and with one: whatever the reason, that is what counts. */
    uint64_t seen_passed_bytes, seen_passed_ns;
    struct chooser_outcome {
        double bytes, ns;
    } outcomes[2];
    bool looking;     /* what goes out now has no code, so that the device is seen */
    double settle_ns; /* what comes next belongs to the choice before */
    uint64_t vain_until_ns,
        vain_ns;                 /* encoding is not tried again before; how long, the next time */
    uint64_t since_ns;           /* when the code in use was taken first */
    struct chooser_figures data; /* what the first code makes, or would make, of the last runs */
    /* What encoding took, on the processor and by the clock: others may want the processors too. */
    double share_cpu_ns, share_wall_ns;
    /* The data. */
    unsigned misses;    /* samples and runs in a row that did not get smaller */
    uint64_t row_bytes; /* since the first of these */
    unsigned suspicion; /* runs for which samples are still taken */
    bool refused;       /* the last run that was encoded did not get smaller */
    bool refusal_due;   /* no choice has followed from that yet */
    uint64_t draw;      /* how far runs are passed over varies */
    /* By tier: disk, memory. */
    bool tight[2];
    unsigned current[2];
    struct chooser_told told[2];
};

/* Codes are added afterwards, from the cheapest to the densest. */
void chooser_init(struct chooser *chooser, enum compress_mode mode);

/* Returns the number of the code. */
unsigned chooser_add(struct chooser *chooser, const char *name, double usual_rate,
                     double usual_gain);

/* The first call for a run: takes in what the view tells. Whether chooser_pick() should know how a
 * sample of the run does: not where it is stored as it is whatever the bytes are. */
bool chooser_wants_sample(struct chooser *chooser, const spw_coder_view *view);

/* The second call: picks a code for the run. `sample_gain`: how much smaller its sample got; 0:
 * there is none. */
void chooser_pick(struct chooser *chooser, const spw_coder_view *view, double sample_gain,
                  spw_coder_choice *choice);

/* Whether the run that is about to be encoded should be encoded by the first code too, before. */
bool chooser_compares(struct chooser *chooser, unsigned code);

/* What both made of it, `own` being the code's. */
void chooser_compared(struct chooser *chooser, unsigned code, const struct chooser_figures *first,
                      const struct chooser_figures *own);

/* What encoding a run came to; `out_bytes` 0: it did not get small enough. */
void chooser_encoded(struct chooser *chooser, unsigned code, uint64_t in_bytes, uint64_t out_bytes,
                     uint64_t cpu_ns, uint64_t wall_ns);

#endif
