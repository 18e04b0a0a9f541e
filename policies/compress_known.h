/* SPDX-License-Identifier: MIT */
/* What the compress policy knows, and what follows from it at once: of the device, of the codes, of
 * what came of the choices so far, of the room that is left. */
#ifndef SPILLWAY_POLICIES_COMPRESS_KNOWN_H
#define SPILLWAY_POLICIES_COMPRESS_KNOWN_H

#include "compress_choose.h"

#define MIB UINT64_C(1048576)
#define GIB UINT64_C(1073741824)

/* After a run that did not get smaller, samples are taken of so many. */
enum { SUSPICION = 64 };

/* A code is known once it has had a processor for so long. */
static const double code_least_ns = 20e6;
/* What a code must bring to be taken, and what one in use must still bring. */
static const double worth = 1.2, still_worth = 1.05;
/* So long after a change what goes out belongs to the choice before. */
static const double outcome_settle_ns = 50e6;

/* Takes in what a view tells. */
void known_look(struct chooser *chooser, const spw_coder_view *view);

/* So many bytes did not get smaller, or some did. */
void known_miss(struct chooser *chooser, uint64_t bytes);
void known_hit(struct chooser *chooser);

/* Bytes a ns; 0: not known. The second: the fastest that it was seen lately. */
double known_device(const struct chooser *chooser);
double known_device_best(const struct chooser *chooser);

/* What is going to be seen of it counts from now on. */
void known_device_doubt(struct chooser *chooser);

/* What a processor encodes, bytes a ns, if it does nothing else; how much smaller it gets. */
double known_rate(const struct chooser *chooser, const struct chooser_code *code);
double known_gain(const struct chooser *chooser, const struct chooser_code *code);

/* The part of a processor that a thread got for it. */
double known_share(const struct chooser *chooser);

/* How fast runs go out with a code, if encoders get that share of their processors. */
double known_moves(const struct chooser *chooser, const struct chooser_code *code, unsigned workers,
                   double share);

/* What went out, bytes a ns, with a code or without. */
double known_outcome(const struct chooser *chooser, bool coded);

/*
 * Whether the code in use moves no more than none did. If that is only because the device has
 * become slower since, none will show it soon.
 */
bool known_vain(const struct chooser *chooser);

/* Whether none moves clearly less than the last code did. */
bool known_worth_it(const struct chooser *chooser);

#endif
