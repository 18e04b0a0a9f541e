/* SPDX-License-Identifier: MIT */
/*
 * What was set up on the system (swap, devices, files) is undone also when this process is killed,
 * by whatever signal: where it cannot do so itself (cleanup.h), a guard that waits for its end
 * does.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_UNDO_H
#define SPILLWAY_TOOLS_SPILLBENCH_UNDO_H

struct undo;

/*
 * From now on `fn` runs at the latest when this process is gone, then in one that has the context
 * as it is now. Async-signal-safe calls only; it must not mind that something was never set up, or
 * is undone already. The caller must have one thread, and arms before it sets up. Returns NULL with
 * *err set to -errno.
 */
struct undo *undo_arm(void (*fn)(void *context), void *context, int *err);

/* Runs `fn` here and now, and ends the guard. NULL is harmless. */
void undo_now(struct undo *undo);

#endif
