/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread and a heap: calls functions at absolute times of CLOCK_MONOTONIC, in the order of those times.
 */
#ifndef USRBIOD_TIMER_H
#define USRBIOD_TIMER_H

#include <stdint.h>

struct timer;

/* Embedded in what it is about. After `fire` or `drop` was called the timer does not touch it any more. */
struct timer_event {
	uint64_t at_ns;
	uint64_t serial;		      /* set by timer_add: equal times fire in the order they were added */
	void (*fire)(struct timer_event *ev); /* on the timer's thread; may add events, this one too; must not block */
	void (*drop)(struct timer_event *ev); /* instead of `fire`, when the timer is stopped; NULL = nothing to do */
};

/* 0 or a negative errno. */
int timer_start(struct timer **out);
/* Takes `ev` until it fires. It cannot fail: without memory the event fires at once, on this thread. */
void timer_add(struct timer *t, struct timer_event *ev);
/* Ends the thread and drops all events, those of later timer_add calls too. */
void timer_stop(struct timer *t);
void timer_free(struct timer *t);

#endif
