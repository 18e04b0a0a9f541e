/* SPDX-License-Identifier: MIT */
/* poolstat: what pools do, seen from outside. */
#include "poolstat/args.h"

int main(int argc, char **argv)
{
    struct args args;
    int code;

    if (!command_line_parse(&args, argc, argv, &code))
        return code == EXIT_USAGE && (args.check_count > 0 || args.command->judges) ? CHECK_UNKNOWN
                                                                                    : code;
    return args.command->run(&args);
}
