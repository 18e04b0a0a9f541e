/* SPDX-License-Identifier: MIT */
/*
 * Spillway keeps queues of bytes inside a memory budget. See spillway(7).
 */
#ifndef SPILLWAY_SPILLWAY_H
#define SPILLWAY_SPILLWAY_H

#include "alloc.h"    /* IWYU pragma: export */
#include "bytes.h"    /* IWYU pragma: export */
#include "chunks.h"   /* IWYU pragma: export */
#include "coder.h"    /* IWYU pragma: export */
#include "errors.h"   /* IWYU pragma: export */
#include "governor.h" /* IWYU pragma: export */
#include "log.h"      /* IWYU pragma: export */
#include "mock.h"     /* IWYU pragma: export */
#include "options.h"  /* IWYU pragma: export */
#include "policies.h" /* IWYU pragma: export */
#include "policy.h"   /* IWYU pragma: export */
#include "pool.h"     /* IWYU pragma: export */
#include "queue.h"    /* IWYU pragma: export */
#include "stats.h"    /* IWYU pragma: export */
#include "strategy.h" /* IWYU pragma: export */
#include "version.h"  /* IWYU pragma: export */

#endif
