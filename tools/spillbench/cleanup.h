/* SPDX-License-Identifier: MIT */
/*
 * What must not stay behind when the program is interrupted: children, cgroups, files with a name.
 * Each is registered while it exists, and undone newest first at SIGINT, SIGTERM, SIGHUP or exit.
 */
#ifndef SPILLWAY_TOOLS_SPILLBENCH_CLEANUP_H
#define SPILLWAY_TOOLS_SPILLBENCH_CLEANUP_H

/* Runs in a signal handler as well: async-signal-safe calls only. */
typedef void cleanup_fn(void *context);

/* Handles the signals and exit(); once, at the start of the program. */
void cleanup_install(void);

/* In a forked child: the signals end it as usual, and nothing of the parent's is undone. */
void cleanup_forget(void);

/* Returns a slot; -1 when all are taken, then nothing is registered. */
int cleanup_add(cleanup_fn *undo, void *context);

/* Undoes it now, once, and frees the slot. -1 is harmless. */
void cleanup_run(int slot);

/* Frees the slot without undoing anything. */
void cleanup_drop(int slot);

#endif
