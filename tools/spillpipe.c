/* SPDX-License-Identifier: MIT */
/*
 * spillpipe: a pipe that never fills up. Three threads: the feed (inputs to
 * queue), the drain (queue to standard output, this one), and the watch
 * (signals and progress).
 */
#include <stdlib.h>
#include <unistd.h>

#include "spillpipe_args.h"
#include "spillpipe_files.h"
#include "spillpipe_transfer.h"

int main(int argc, char **argv)
{
    static struct args args; /* static, as the feed may outlive main's frame */
    static struct console console;
    bool closed[3];
    int code = EXIT_FAILED;
    if (!files_claim_standard(closed))
        return EXIT_FAILED;
    if (args_parse(&args, argc, argv, &code)) {
        console_init(&console, args.quiet, args.progress);
        files_raise_limit();
        if (files_check(&args, closed, &console))
            code = transfer_run(&args, &console);
        if (code != EXIT_DELIVERED)
            _exit(code);
    }
    args_fini(&args);
    return code;
}
