/* SPDX-License-Identifier: MIT */
/* What --help and --version print. */
#ifndef SPILLPIPE_HELP_H
#define SPILLPIPE_HELP_H

/* Both write to standard output and return the program's exit code. */
int help_print(void);
int help_version(void);

#endif
