/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1

#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Another screen, without a cursor; and back. */
static const char enter[] = "\033[?1049h\033[?25l\033[2J";
static const char leave[] = "\033[0m\033[?25h\033[?1049l";

enum { PATIENCE_MS = 50 }; /* for the rest of a key that is several bytes */

static struct {
    struct termios before;
    sigset_t signals, mask_before;
    int signal_fd; /* -1: closed */
    int ended_by;
} screen = {.signal_fd = -1};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

bool screen_possible(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != NULL && *kind != '\0' &&
           strcmp(kind, "dumb") != 0;
}

bool screen_write(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t put = write(STDOUT_FILENO, bytes, len);

        if (put < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        len -= (size_t)put;
    }
    return true;
}

static int take_over(void)
{
    struct termios now = screen.before;

    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    now.c_cc[VMIN] = 0;
    now.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &now) != 0)
        return -errno;
    return screen_write(enter, sizeof(enter) - 1) ? 0 : -EIO;
}

static void give_back(void)
{
    (void)screen_write(leave, sizeof(leave) - 1);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

int screen_open(void)
{
    static const int wanted[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT};
    int err;

    if (tcgetattr(STDIN_FILENO, &screen.before) != 0)
        return -errno;
    sigemptyset(&screen.signals);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        sigaddset(&screen.signals, wanted[i]);
    sigprocmask(SIG_BLOCK, &screen.signals, &screen.mask_before);
    screen.signal_fd = signalfd(-1, &screen.signals, SFD_CLOEXEC | SFD_NONBLOCK);
    err = screen.signal_fd < 0 ? -errno : take_over();
    if (err)
        screen_close();
    return err;
}

void screen_close(void)
{
    give_back();
    if (screen.signal_fd >= 0)
        close(screen.signal_fd);
    screen.signal_fd = -1;
    sigprocmask(SIG_SETMASK, &screen.mask_before, NULL);
}

int screen_signal(void)
{
    return screen.ended_by;
}

void screen_size(unsigned *columns, unsigned *rows)
{
    struct winsize size;

    *columns = 80;
    *rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return;
    if (size.ws_col > 0)
        *columns = size.ws_col;
    if (size.ws_row > 0)
        *rows = size.ws_row;
}

/* Put aside with Ctrl-Z: the terminal belongs to others until we are called back. */
static void step_aside(void)
{
    sigset_t stop;

    give_back();
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP); /* pending, since it is blocked */
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    (void)take_over();
}

static enum screen_event take_signal(void)
{
    struct signalfd_siginfo info;

    if (read(screen.signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return SCREEN_OTHER;
    if (info.ssi_signo == SIGTSTP)
        step_aside();
    if (info.ssi_signo == SIGTSTP || info.ssi_signo == SIGCONT || info.ssi_signo == SIGWINCH)
        return SCREEN_RESIZE;
    screen.ended_by = (int)info.ssi_signo;
    return SCREEN_QUIT;
}

static int read_byte(int patience_ms)
{
    struct pollfd news = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned char byte;

    if (poll(&news, 1, patience_ms) <= 0)
        return -1;
    return read(STDIN_FILENO, &byte, 1) == 1 ? byte : -1;
}

/* An arrow is ESC [ A or ESC O A; other keys that begin so are passed over whole. */
static enum screen_event take_sequence(void)
{
    int byte = read_byte(PATIENCE_MS);

    if (byte != '[' && byte != 'O')
        return byte < 0 ? SCREEN_QUIT : SCREEN_OTHER; /* the key Esc alone */
    do
        byte = read_byte(PATIENCE_MS);
    while (byte >= 0 && (byte < 0x40 || byte > 0x7e));
    return byte == 'A' ? SCREEN_UP : byte == 'B' ? SCREEN_DOWN : SCREEN_OTHER;
}

static enum screen_event take_key(void)
{
    int byte = read_byte(0);

    switch (byte) {
    case -1: /* the terminal is gone */
    case 'q':
    case 'Q':
    case 4: /* Ctrl-D */
        return SCREEN_QUIT;
    case 'k':
        return SCREEN_UP;
    case 'j':
        return SCREEN_DOWN;
    case 's':
        return SCREEN_SORT;
    case ' ':
        return SCREEN_PAUSE;
    case '\033':
        return take_sequence();
    default:
        return SCREEN_OTHER;
    }
}

enum screen_event screen_wait(uint64_t until_ns)
{
    struct pollfd news[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = screen.signal_fd, .events = POLLIN}};
    uint64_t now = now_ns(), left_ns = until_ns > now ? until_ns - now : 0;
    struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000),
                            .tv_nsec = (long)(left_ns % 1000000000)};
    int got = ppoll(news, 2, &left, NULL);

    if (got <= 0)
        return got == 0 ? SCREEN_TIME : SCREEN_OTHER;
    if (news[1].revents != 0)
        return take_signal();
    return take_key();
}
