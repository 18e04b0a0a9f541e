/* SPDX-License-Identifier: MIT */
/* A merge queue from the inside: what the two ends and the waking share. */
#ifndef SPILLWAY_LIB_QUEUE_H
#define SPILLWAY_LIB_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "account.h"
#include "os.h"
#include "stopwatch.h"
#include "view.h"

/* How a reader wants to hear of news; bits. */
enum {
    ARM_WAIT = 1,     /* it sleeps in drain_wait */
    ARM_CALLBACK = 2, /* spw_reader_arm() */
    ARM_EVENT = 4,    /* its event descriptor */
};

/* A callback under way; lies on the stack of the thread that makes it. */
struct firing {
    struct firing *next;
    pthread_t thread;
};

/* How far a queue had come at some time. */
struct queue_mark {
    uint64_t time_ns, extended_bytes_total;
};

enum { QUEUE_MARKS = 16 };

/* What the governor of a pool remembers of a queue; its thread's own. */
struct queue_memory {
    uint64_t looked_ns;                   /* when its rate was last seen; 0: never */
    uint64_t gone_bytes_total;            /* at that time */
    double rate;                          /* of late, in bytes a second, that leave at its head */
    struct queue_mark marks[QUEUE_MARKS]; /* a ring, so that what is old is known */
    unsigned mark_count;                  /* ever made */
    bool guided;                          /* it was told what to keep */
};

struct queue {
    spw_waker waker; /* first: handles at the head wake the reader through it */
    const struct os *os;
    const spw_allocator *allocator;
    struct spw_account *account; /* may be NULL */
    char *name;                  /* may be NULL */
    struct queue_row *row;       /* of the account's; may be NULL */
    spw_policy *writer_policy, *reader_policy;
    _Atomic unsigned refs;          /* the two ends, and whoever stores the waker */
    const volatile unsigned *alive; /* 0 in a forked child; never NULL */
    const spw_epoch *account_epoch; /* never NULL */

    struct stopwatch writer_watch, reader_watch; /* each end's own, not guarded */

    struct queue *others[2]; /* before and behind, among the account's; its owner's to guard */
    uint64_t opened_ns;      /* 0: nobody wants to know */
    struct queue_memory memory;

    pthread_mutex_t lock;
    pthread_cond_t news;  /* for a reader in drain_wait */
    pthread_cond_t quiet; /* a callback has returned */

    /* All below is guarded by the lock. */
    struct spw_view view;
    struct rest writer_rest, reader_rest; /* while they hold, the policies are not called */
    uint64_t account_seen;                /* the epoch at the last look at the account */
    uint64_t reported_bytes;              /* foreign, to the account; not less than there are */
    uint64_t slack_bytes;                 /* and at most so many more */
    bool writer_open, reader_open;
    int writer_error, reader_error; /* of an unclean close, else 0 */
    bool head_failed;               /* the last fetch at the head failed for a reason to tell */
    unsigned failed_changes;        /* the view's head_changes then: later it is another head */
    unsigned armed;
    spw_ready_fn *ready;
    void *ready_context;
    int event_fd; /* -1: not asked for */
    bool event_set;
    struct firing *firing; /* callbacks under way; they can nest, and overlap on several threads */
};

struct spw_writer {
    struct queue *queue;
};

struct spw_reader {
    struct queue *queue;
};

/* As spw_queue_open(), over a given operating system. */
int queue_open_with(const struct os *os, const spw_queue_options *options, spw_writer **writer,
                    spw_reader **reader);

/* Gives the lock up, then does what had to wait for that. */
static inline void queue_unlock_untimed(struct queue *queue)
{
    bool corked = queue->view.corked;
    queue->view.corked = false;
    queue->view.acted_ns = 0;
    pthread_mutex_unlock(&queue->lock);
    if (corked)
        queue->account->uncork(queue->account);
}

/* The lock, for calls that are timed. */
static inline void queue_lock(struct queue *queue, struct stopwatch *watch)
{
    pthread_mutex_lock(&queue->lock);
    stopwatch_locked(watch);
}

static inline void queue_unlock(struct queue *queue, struct stopwatch *watch)
{
    stopwatch_unlocking(watch, &queue->view);
    queue_unlock_untimed(queue);
}

/* The same where nothing was put in motion since the lock was taken. */
static inline void queue_unlock_quiet(struct queue *queue, struct stopwatch *watch)
{
    stopwatch_unlocking(watch, &queue->view);
    pthread_mutex_unlock(&queue->lock);
}

void queue_acquire(struct queue *queue);

/* Drops a reference; the last one frees the queue. Without the lock. */
void queue_release(struct queue *queue);

/* Wakes the reader in every way that it armed, once. Takes and leaves the lock unlocked. */
void queue_fire(struct queue *queue);

/* With the lock held: makes the event descriptor readable. */
void queue_set_event(struct queue *queue);

/*
 * With the lock held: arms `bits`, or returns 1 when draining would bring something
 * now; 0 when armed; -errno when the head's handle could not be armed.
 */
int queue_arm(struct queue *queue, unsigned bits);

/* With the lock held: waits until no other thread calls back any more. */
void queue_wait_quiet(struct queue *queue);

/* Fills in the info; takes the lock. */
int queue_info(struct queue *queue, spw_queue_info *info);

/* With the lock held: moves all entries to `*out`, for releasing them without the lock. */
void queue_take_all(struct queue *queue, struct spw_view *out);

/* Lets a policy look, and notes for how long that will do; returns whether it had to pause. With
 * the lock held. */
bool queue_apply(struct queue *queue, spw_policy *policy, struct rest *rest);

/* Reports the foreign bytes anew. With the lock held. */
void queue_report_anew(struct queue *queue);

/* Looks at the account again after its epoch has passed; true when somebody waits for memory to be
 * given up, and account_relieved() must be called without the lock. With the lock held. */
bool queue_look_at_account(struct queue *queue);

/* Whether to keep so many foreign bytes must be reported. With the lock held. */
static inline bool queue_must_report(const struct queue *queue, uint64_t foreign_bytes)
{
    return queue->reported_bytes - foreign_bytes > queue->slack_bytes;
}

/* Reports a change of resident foreign bytes, if it is more than the slack takes. With the lock
 * held. */
static inline void queue_report(struct queue *queue)
{
    if (queue_must_report(queue, queue->view.foreign_bytes))
        queue_report_anew(queue);
}

/* Whether a policy, NULL for none, need not look now. With the lock held. */
static inline bool queue_rests(const struct queue *queue, const struct rest *rest)
{
    return rest_holds(rest, queue->view.sums->resident_bytes, queue->view.sums->paged_entries);
}

/* Whether this is a forked child of the process that opened the pool behind the queue. */
static inline bool queue_in_child(const struct queue *queue)
{
    return *queue->alive == 0;
}

#endif
