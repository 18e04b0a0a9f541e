/* SPDX-License-Identifier: MIT */
/* nonblock COMMAND [ARGUMENT]...: runs a command with standard input and output non-blocking. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: nonblock COMMAND [ARGUMENT]...\n");
        return 2;
    }
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++) {
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
            perror("nonblock");
            return 1;
        }
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
