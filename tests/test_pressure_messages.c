/* SPDX-License-Identifier: MIT */
/* A FIFO or a stream socket that tells of pressure. */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault.h"
#include "harness.h"
#include "pressure_tools.h"

#define S UINT64_C(1000000000)

#define MESSAGE       "c29tZSAyMDAwMDAgMjAwMDAwMAA="
#define MESSAGE_BYTES 20

/* A group to fall back to, whose totals are also told beside messages. */
static void begin(const char *path)
{
    static char told[RIG_PATH];

    rig_begin();
    (void)snprintf(told, sizeof(told), "%s/told", rig.root);
    rig_pure_v2();
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 1000);
    rig_put_pressure(RIG_PROC, 5000);
    rig.config.watch = path != NULL ? path : told;
    rig.config.write = MESSAGE;
}

static void fell_back(const char *reason)
{
    rig_is("cgroup", PRESSURE_POLLED, RIG_GROUP_V2 "/memory.pressure");
    rig_why("systemd: ");
    rig_why(reason);
    cr_assert(pressure_source_is_fallback(rig.source));
}

/* Messages are watched, nothing has come, and poll(2) would sleep. */
static void is_quiet(void)
{
    rig_is("systemd", PRESSURE_MESSAGES, "/told");
    cr_assert_eq(pressure_source_events(rig.source), POLLIN);
    cr_assert_eq(rig_poll(), 0);
}

/* ---- FIFO ---- */

static void begin_fifo(void)
{
    begin(NULL);
    cr_assert_eq(mkfifo(rig_path("/told"), 0600), 0);
}

static int fifo_writer(void)
{
    int fd = open(rig_path("/told"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

static void tell(int fd)
{
    cr_assert_eq(write(fd, "x", 1), 1);
}

Test(pressure_messages, fifo)
{
    int fd;

    begin_fifo();
    rig_open();
    rig_is("systemd", PRESSURE_MESSAGES, "/told");
    cr_assert_eq(pressure_source_stall_ns(rig.source), 0);
    /* what we wrote ourselves is no event */
    cr_assert_eq(rig_poll(), POLLIN);
    cr_assert(!rig_turn());
    is_quiet();
    cr_assert(rig.reading.has_memory);
    cr_assert_eq(rig.reading.memory.some.total_us, 1000);
    fd = fifo_writer();
    cr_assert(!rig_turn());
    tell(fd);
    cr_assert(rig_turn());
    cr_assert(!rig_turn());
    is_quiet();
    /* totals alone mean nothing here */
    rig_put_pressure(RIG_GROUP_V2 "/memory.pressure", 900000);
    fault_clock_advance(S);
    cr_assert(!rig_turn());
    cr_assert_eq(rig.reading.memory.some.total_us, 900000);
    cr_assert_eq(close(fd), 0);
    is_quiet(); /* no hang-up */
    fd = fifo_writer();
    tell(fd);
    cr_assert_eq(close(fd), 0);
    cr_assert(rig_turn());
    is_quiet();
    cr_assert(!pressure_source_is_fallback(rig.source));
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

/* Ours is taken out of what came with it, once. */
Test(pressure_messages, fifo_with_our_own_among_others)
{
    int fd;

    begin_fifo();
    rig_open();
    fd = fifo_writer();
    tell(fd);
    cr_assert(rig_turn());
    cr_assert_eq(write(fd, "some 200000 2000000", MESSAGE_BYTES), MESSAGE_BYTES);
    cr_assert(rig_turn()); /* somebody else's */
    is_quiet();
    cr_assert_eq(close(fd), 0);
    rig_end();
}

Test(pressure_messages, fifo_and_nothing_to_write)
{
    begin_fifo();
    rig.config.write = NULL;
    rig_open();
    is_quiet();
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    rig_end();
}

/* Which nobody reads but us, and which is full. */
Test(pressure_messages, fifo_that_is_full)
{
    char page[4096];
    int fd;

    begin_fifo();
    int reader = open(rig_path("/told"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fd = fifo_writer();
    memset(page, 'x', sizeof(page));
    while (write(fd, page, sizeof(page)) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
    rig_open();
    cr_assert_eq(pressure_source_events(rig.source), POLLIN | POLLOUT);
    cr_assert(rig_turn());
    cr_assert_eq(pressure_source_events(rig.source), POLLIN); /* it is written now */
    cr_assert(!rig_turn());
    is_quiet();
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(close(reader), 0);
    rig_end();
}

/* More than is read at once. */
Test(pressure_messages, fifo_with_much_in_it)
{
    static char much[1 << 17];
    ssize_t n;
    int fd;

    begin_fifo();
    rig.config.write = NULL;
    rig_open();
    fd = fifo_writer();
    if (fcntl(fd, F_SETPIPE_SZ, sizeof(much)) < 0)
        rig_skip("no pipe of %zu bytes", sizeof(much));
    memset(much, 'x', sizeof(much));
    n = write(fd, much, sizeof(much));
    cr_assert_gt(n, 65536);
    cr_assert(rig_turn());
    cr_assert(rig_turn());
    cr_assert(!rig_turn());
    is_quiet();
    cr_assert_eq(close(fd), 0);
    rig_end();
}

/* That we may only read: there the last writer's end is a hang-up, which must not come again and
 * again. */
Test(pressure_messages, fifo_that_is_only_read)
{
    int fd;

    begin_fifo();
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, FAULT_ALWAYS, -EACCES);
    rig_open();
    is_quiet();
    fd = fifo_writer();
    tell(fd);
    cr_assert(rig_turn());
    is_quiet();
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(rig_poll(), POLLHUP);
    cr_assert(!rig_turn());
    is_quiet();
    fd = fifo_writer();
    tell(fd);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(rig_poll(), POLLIN | POLLHUP);
    cr_assert(rig_turn());
    is_quiet();
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

Test(pressure_messages, no_descriptor_to_open_it_again)
{
    int fd;

    begin_fifo();
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, FAULT_ALWAYS, -EACCES);
    rig_open();
    fd = fifo_writer();
    tell(fd);
    cr_assert_eq(close(fd), 0);
    fault_fail_when(FAULT_OPEN, O_PATH, 0, 2, -EMFILE);
    cr_assert_eq(pressure_source_read(rig.source, rig_poll(), &rig.reading), -EMFILE);
    cr_assert_eq(pressure_source_fd(rig.source), -1);
    cr_assert_gt(pressure_source_interval_ns(rig.source), 0); /* it is tried again */
    cr_assert_eq(pressure_source_read(rig.source, 0, &rig.reading), -EMFILE);
    cr_assert(rig_read(0)); /* what had come before */
    is_quiet();
    cr_assert_eq(rig.lines, 1);
    rig_end();
}

Test(pressure_messages, fifo_that_is_removed)
{
    int fd;

    begin_fifo();
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, FAULT_ALWAYS, -EACCES);
    rig_open();
    fd = fifo_writer();
    rig_remove("/told");
    tell(fd);
    cr_assert_eq(close(fd), 0);
    cr_assert(rig_turn()); /* what came last counts, and then it is over */
    fell_back("No such file");
    cr_assert_eq(rig.lines, 2);
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.lines, 2);
    rig_end();
}

Test(pressure_messages, fifo_that_becomes_a_file)
{
    int fd;

    begin_fifo();
    fault_fail_when(FAULT_OPEN, O_RDWR, 0, FAULT_ALWAYS, -EACCES);
    rig_open();
    fd = fifo_writer();
    rig_remove("/told");
    rig_put_pressure("/told", 1);
    cr_assert_eq(close(fd), 0);
    cr_assert(!rig_turn());
    fell_back("neither");
    rig_end();
}

Test(pressure_messages, fifo_that_may_not_be_read)
{
    begin_fifo();
    fault_fail_when(FAULT_OPEN, O_NOCTTY, 0, 2, -EACCES);
    rig_open();
    fell_back("Permission denied");
    rig_end();
}

Test(pressure_messages, interrupted)
{
    int fd;

    begin_fifo();
    fault_fail(FAULT_WRITE, 0, 1, -EINTR);
    rig_open();
    cr_assert(!rig_turn());
    fd = fifo_writer();
    tell(fd);
    fault_fail(FAULT_READ, 0, 2, -EINTR);
    cr_assert(rig_turn());
    is_quiet();
    cr_assert_eq(close(fd), 0);
    rig_end();
}

/* An event is not lost when there is no descriptor for the rest of the reading. */
Test(pressure_messages, no_descriptor_for_the_rest)
{
    int fd;

    begin_fifo();
    rig_open();
    (void)rig_turn();
    fd = fifo_writer();
    tell(fd);
    cr_assert_eq(rig_poll(), POLLIN);
    fault_fail(FAULT_OPEN, 0, 1, -EMFILE);
    cr_assert_eq(pressure_source_read(rig.source, POLLIN, &rig.reading), -EMFILE);
    cr_assert_eq(rig_poll(), 0);
    cr_assert(rig_read(0));
    cr_assert(!rig_read(0));
    cr_assert_eq(close(fd), 0);
    rig_end();
}

/* Totals beside messages come from the best file that there is just now. */
Test(pressure_messages, totals_beside)
{
    uint32_t generation;

    begin_fifo();
    rig_open();
    (void)rig_turn();
    generation = rig.reading.generation;
    rig_remove(RIG_GROUP_V2 "/memory.pressure");
    cr_assert(!rig_read(0));
    cr_assert_eq(rig.reading.memory.some.total_us, 5000);
    cr_assert_gt(rig.reading.generation, generation);
    rig_put(RIG_PROC, "junk");
    cr_assert(!rig_read(0));
    cr_assert(!rig.reading.has_memory);
    rig_is("systemd", PRESSURE_MESSAGES, "/told");
    rig_end();
}

/* ---- socket ---- */

static int listener = -1, peer = -1;

static void begin_server(const char *path, int type, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    begin(path);
    if (strlen(rig.config.watch) >= sizeof(address.sun_path))
        rig_skip("no socket has a name as long as %s", rig.config.watch);
    strcpy(address.sun_path, rig.config.watch);
    listener = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_geq(listener, 0);
    cr_assert_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    if (backlog >= 0)
        cr_assert_eq(listen(listener, backlog), 0);
}

static void accept_peer(void)
{
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(peer, 0);
}

static void end_server(void)
{
    rig_end();
    if (peer >= 0)
        (void)close(peer);
    (void)close(listener);
}

static void peer_got_message(void)
{
    char text[64];

    cr_assert_eq(read(peer, text, sizeof(text)), MESSAGE_BYTES);
    cr_assert_eq(memcmp(text, "some 200000 2000000", MESSAGE_BYTES), 0);
    cr_assert_eq(read(peer, text, sizeof(text)), -1);
}

Test(pressure_messages, socket)
{
    begin_server(NULL, SOCK_STREAM, 4);
    rig_open();
    is_quiet();
    accept_peer();
    peer_got_message();
    cr_assert(!rig_turn());
    tell(peer);
    tell(peer);
    cr_assert(rig_turn());
    cr_assert(!rig_turn());
    is_quiet();
    cr_assert_eq(rig.reading.memory.some.total_us, 1000);
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    cr_assert_eq(fcntl(pressure_source_fd(rig.source), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    end_server();
}

Test(pressure_messages, socket_message_in_pieces)
{
    begin_server(NULL, SOCK_STREAM, 4);
    fault_short(FAULT_SEND, 0, 1, 5);
    fault_fail(FAULT_SEND, 1, 1, -EINTR);
    fault_fail(FAULT_SEND, 2, 1, -EAGAIN);
    rig_open();
    cr_assert_eq(pressure_source_events(rig.source), POLLIN | POLLOUT);
    accept_peer();
    cr_assert_eq(rig_poll(), POLLOUT);
    cr_assert(!rig_turn());
    peer_got_message();
    is_quiet();
    end_server();
}

/* A service manager that starts again. */
Test(pressure_messages, socket_that_is_connected_again)
{
    begin_server(NULL, SOCK_STREAM, 4);
    rig_open();
    accept_peer();
    fault_clock_advance(S);
    tell(peer);
    cr_assert_eq(close(peer), 0);
    cr_assert(rig_turn());
    is_quiet();
    accept_peer();
    peer_got_message();
    tell(peer);
    cr_assert(rig_turn());
    cr_assert_eq(rig.lines, 1);
    end_server();
}

/* One that always closes must not keep us busy. */
Test(pressure_messages, socket_that_is_closed_at_once)
{
    begin_server(NULL, SOCK_STREAM, 4);
    rig_open();
    accept_peer();
    cr_assert_eq(close(peer), 0);
    peer = -1;
    fault_clock_advance(S - 1);
    cr_assert_neq(rig_poll() & POLLHUP, 0);
    cr_assert(!rig_turn());
    fell_back("");
    cr_assert_eq(rig.lines, 2);
    end_server();
}

Test(pressure_messages, socket_whose_server_has_gone)
{
    begin_server(NULL, SOCK_STREAM, 4);
    rig_open();
    accept_peer();
    fault_clock_advance(S);
    cr_assert_eq(close(listener), 0);
    listener = -1;
    cr_assert_eq(close(peer), 0);
    peer = -1;
    cr_assert(!rig_turn());
    fell_back("Connection refused");
    end_server();
}

/* A plain write to it would end the process with SIGPIPE. */
Test(pressure_messages, socket_that_is_closed_before_it_is_told)
{
    begin_server(NULL, SOCK_STREAM, 4);
    fault_fail(FAULT_SEND, 0, 1, -EAGAIN);
    rig_open();
    accept_peer();
    cr_assert_eq(close(peer), 0);
    peer = -1;
    cr_assert(!rig_read(POLLOUT | POLLHUP));
    fell_back("the other end has closed");
    end_server();
}

static void hang_up(void *context)
{
    (void)context;
    accept_peer();
    cr_assert_eq(close(peer), 0);
    peer = -1;
}

Test(pressure_messages, socket_that_is_closed_while_it_is_told)
{
    begin_server(NULL, SOCK_STREAM, 4);
    fault_hook(FAULT_SEND, hang_up, NULL);
    rig_open();
    fell_back("the other end has closed");
    end_server();
}

Test(pressure_messages, sockets_that_are_refused)
{
    /* a full queue of connections */
    begin_server(NULL, SOCK_STREAM, 0);
    int first = os_linux.connect(rig.config.watch);
    cr_assert_geq(first, 0);
    rig_open();
    fell_back("temporarily unavailable");
    cr_assert_eq(close(first), 0);
    pressure_source_close(rig.source);
    /* nobody listens */
    cr_assert_eq(close(listener), 0);
    rig_open();
    fell_back("Connection refused");
    pressure_source_close(rig.source);
    fault_fail(FAULT_CONNECT, 0, 1, -EACCES);
    rig_open();
    fell_back("Permission denied");
    listener = -1;
    end_server();
}

Test(pressure_messages, socket_of_another_type)
{
    begin_server(NULL, SOCK_DGRAM, -1);
    rig_open();
    fell_back("wrong type");
    end_server();
}

/* Longer than an address holds. */
Test(pressure_messages, socket_with_a_long_name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[201], path[BUFSIZ], link[64];

    begin(NULL);
    memset(folder, 'd', sizeof(folder));
    folder[0] = '/';
    folder[sizeof(folder) - 1] = '\0';
    (void)snprintf(path, sizeof(path), "%s%s", rig.root, folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    int directory = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d/told", directory);
    strcpy(address.sun_path, link);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(listener, 4), 0);
    cr_assert_eq(close(directory), 0);
    strcat(path, "/told");
    cr_assert_eq(os_linux.connect(path), -ENAMETOOLONG);
    rig.config.watch = path;
    rig_open();
    cr_assert_eq(pressure_source_way(rig.source), PRESSURE_MESSAGES);
    accept_peer();
    peer_got_message();
    end_server();
}

/* The option takes whatever the variable takes; nothing is sent, since nobody said what. */
Test(pressure_messages, socket_as_the_option)
{
    char text[8];

    begin_server(NULL, SOCK_STREAM, 4);
    rig.config.explicit_path = rig.config.watch;
    rig_open();
    rig_is("option", PRESSURE_MESSAGES, "/told");
    accept_peer();
    cr_assert_eq(read(peer, text, sizeof(text)), -1);
    tell(peer);
    cr_assert(rig_turn());
    end_server();
}
