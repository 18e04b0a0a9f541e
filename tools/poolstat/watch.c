/* SPDX-License-Identifier: MIT */
/* --watch: all pools on a screen, with the details of one. */
#define _GNU_SOURCE 1

#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "screen.h"
#include "show.h"
#include "watch_view.h"

#define WATCH_INTERVAL_NS UINT64_C(1000000000)

struct watch {
    struct args args;
    struct session session;
    struct histories histories;
    struct canvas canvas;
    struct columns columns;
    size_t selected;
    dev_t selected_dev; /* which pool that is: others come and go */
    ino_t selected_ino;
    const char *first_sort; /* as --sort says */
    unsigned order;         /* of `orders` */
    bool paused;
};

/* What the lines can be sorted by, in turns; the first: as they were found, or as --sort says. */
static const char *const orders[] = {NULL, "resident", "spill", "fetch", "disk", "queues"};

/* ---- what is on the screen ---- */

/* "some" of a pressure file: the share of time that some task waited in the last 10 s. */
static bool pressure_of(const char *name, double *some, double *full)
{
    char path[64], text[256];
    const char *at;
    ssize_t got;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/pressure/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    at = strstr(text, "full avg10=");
    *full = at != NULL ? strtod(at + strlen("full avg10="), NULL) : 0;
    at = strstr(text, "some avg10=");
    *some = at != NULL ? strtod(at + strlen("some avg10="), NULL) : 0;
    return at != NULL;
}

static void tell_pressure(char *out, size_t capacity)
{
    static const char *const names[] = {"memory", "io"};
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < 2; i++) {
        double some, full;

        if (!pressure_of(names[i], &some, &full))
            continue;
        used +=
            (size_t)snprintf(out + used, capacity - used, "%s%s some %.1f%% full %.1f%%",
                             used > 0 ? ", " : "pressure of the last 10 s: ", names[i], some, full);
    }
}

static bool draw(struct watch *watch)
{
    char clock[32], pressure[128], unseen[UNSEEN_BYTES];
    time_t now = time(NULL);
    struct tm local;
    unsigned columns, rows;
    struct watch_look look = {.pools = &watch->session.pools,
                              .histories = &watch->histories,
                              .selected = watch->selected,
                              .columns = &watch->columns,
                              .clock = clock,
                              .pressure = pressure,
                              .unseen = session_unseen(&watch->session, unseen),
                              .interval_ns = watch->args.interval_ns,
                              .paused = watch->paused,
                              .exact = watch->args.bytes};

    if (localtime_r(&now, &local) == NULL || strftime(clock, sizeof(clock), "%T", &local) == 0)
        clock[0] = '\0';
    tell_pressure(pressure, sizeof(pressure));
    screen_size(&columns, &rows);
    canvas_begin(&watch->canvas, columns, rows);
    watch_draw(&watch->canvas, &look);
    return screen_write("\033[H", 3) && screen_write(watch->canvas.bytes, watch->canvas.used) &&
           screen_write("\033[J", 3);
}

/* ---- what changes it ---- */

static void select_at(struct watch *watch, size_t index)
{
    const struct pools *pools = &watch->session.pools;

    watch->selected = index;
    if (index >= pools->count)
        return;
    watch->selected_dev = pools->items[index].dev;
    watch->selected_ino = pools->items[index].ino;
}

/* The pool that was chosen stays so, wherever it is in the list now. */
static void select_again(struct watch *watch)
{
    const struct pools *pools = &watch->session.pools;
    size_t last = pools->count > 0 ? pools->count - 1 : 0;

    for (size_t i = 0; i < pools->count; i++) {
        if (pools->items[i].dev == watch->selected_dev &&
            pools->items[i].ino == watch->selected_ino) {
            watch->selected = i;
            return;
        }
    }
    select_at(watch, watch->selected < last ? watch->selected : last);
}

static void arrange(struct watch *watch)
{
    watch->args.sort = watch->order > 0 ? orders[watch->order] : watch->first_sort;
    (void)session_sort(&watch->session);
    select_again(watch);
}

static void look_again(struct watch *watch)
{
    session_look(&watch->session);
    arrange(watch);
    histories_add(&watch->histories, &watch->session.pools);
    session_forget_gone(&watch->session);
    select_again(watch);
}

/* Returns whether to go on. */
static bool obey(struct watch *watch, enum screen_event event)
{
    switch (event) {
    case SCREEN_UP:
        select_at(watch, watch->selected > 0 ? watch->selected - 1 : 0);
        break;
    case SCREEN_DOWN:
        if (watch->selected + 1 < watch->session.pools.count)
            select_at(watch, watch->selected + 1);
        break;
    case SCREEN_SORT:
        watch->order = (watch->order + 1) % (sizeof(orders) / sizeof(orders[0]));
        arrange(watch);
        break;
    case SCREEN_PAUSE:
        watch->paused = !watch->paused;
        break;
    case SCREEN_QUIT:
        return false;
    case SCREEN_TIME:
        session_tick(&watch->session);
        if (!watch->paused)
            look_again(watch);
        break;
    case SCREEN_RESIZE:
    case SCREEN_OTHER:
        break;
    }
    return true;
}

static int run(struct watch *watch)
{
    int err;

    if (!screen_possible()) {
        fputs("poolstat: --watch needs a terminal: give an interval instead\n", stderr);
        return EXIT_USAGE;
    }
    err = screen_open();
    if (err) {
        fprintf(stderr, "poolstat: the terminal cannot be used: %s\n", strerror(-err));
        return EXIT_NOT_FOUND;
    }
    session_tick(&watch->session);
    select_at(watch, 0);
    while (draw(watch) && obey(watch, screen_wait(watch->session.next_ns)) &&
           (watch->args.count == 0 || watch->session.rounds <= watch->args.count))
        ;
    screen_close();
    if (screen_signal() != 0 && screen_signal() != SIGINT) {
        signal(screen_signal(), SIG_DFL);
        raise(screen_signal());
    }
    return EXIT_FINE;
}

static void open_canvas(struct canvas *canvas)
{
    const char *no_colour = getenv("NO_COLOR");

    (void)setlocale(LC_CTYPE, "");
    canvas->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    canvas->colour = no_colour == NULL || *no_colour == '\0';
}

int show_watch(const struct args *args)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    char bad[PAGE_NAME_BYTES];
    int code;

    if (watch == NULL) {
        fputs("poolstat: no memory\n", stderr);
        return EXIT_NOT_FOUND;
    }
    watch->args = *args;
    watch->first_sort = args->sort;
    if (watch->args.interval_ns == 0)
        watch->args.interval_ns = WATCH_INTERVAL_NS;
    open_canvas(&watch->canvas);
    code = session_open(&watch->session, &watch->args, true);
    if (code == EXIT_FINE && columns_parse(args->columns ? args->columns : watch_columns,
                                           &watch->session.pools, &watch->columns, bad) != 0)
        code = command_line_refuse("--columns", bad,
                                   "columns with commas between: poolstat(1) lists them");
    if (code == EXIT_FINE)
        code = session_sort(&watch->session);
    if (code == EXIT_FINE)
        code = run(watch);
    histories_close(&watch->histories);
    canvas_free(&watch->canvas);
    session_close(&watch->session);
    free(watch);
    return code;
}
