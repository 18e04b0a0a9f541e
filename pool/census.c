/* SPDX-License-Identifier: MIT */
#include "census.h"

#include "../lib/govern.h"

enum { BEFORE, BEHIND };

int census_init(struct census *census)
{
    return -pthread_mutex_init(&census->lock, NULL);
}

void census_fini(struct census *census)
{
    pthread_mutex_destroy(&census->lock);
}

void census_add(struct census *census, struct queue *queue)
{
    pthread_mutex_lock(&census->lock);
    queue->others[BEFORE] = census->last;
    queue->others[BEHIND] = NULL;
    *(census->last ? &census->last->others[BEHIND] : &census->first) = queue;
    census->last = queue;
    census->count++;
    pthread_mutex_unlock(&census->lock);
}

void census_remove(struct census *census, struct queue *queue)
{
    pthread_mutex_lock(&census->lock);
    struct queue *before = queue->others[BEFORE], *behind = queue->others[BEHIND];
    *(before ? &before->others[BEHIND] : &census->first) = behind;
    *(behind ? &behind->others[BEFORE] : &census->last) = before;
    census->count--;
    pthread_mutex_unlock(&census->lock);
}

unsigned census_count(struct census *census)
{
    pthread_mutex_lock(&census->lock);
    unsigned count = census->count;
    pthread_mutex_unlock(&census->lock);
    return count;
}

unsigned census_take(struct census *census, struct queue **out, unsigned most)
{
    unsigned count = 0;
    pthread_mutex_lock(&census->lock);
    for (struct queue *queue = census->first; queue && count < most; queue = queue->others[BEHIND])
        if (queue_try_acquire(queue))
            out[count++] = queue;
    pthread_mutex_unlock(&census->lock);
    return count;
}
