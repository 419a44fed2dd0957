/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many storage requests run at once, as the 3FS daemon bounds them: for each server, and for the host.
 *
 * Two semaphores, taken in this order: who waits for the host already has its place at its server. Each is first come
 * first served. Times are nominal ones, as in link.h.
 */
#ifndef USRBIOD_ADMISSION_H
#define USRBIOD_ADMISSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct admission_config {
	int host, server; /* storage requests at a time; 0 = no limit */
	int servers;	  /* at least 1 */
};

/* Embedded in a storage request. */
struct permit {
	struct permit *next; /* in a queue here */
	int server;	     /* below config.servers */
	/* On any thread, without locks. Exactly one of them is called. */
	void (*granted)(struct permit *p, uint64_t at_ns);
	void (*drop)(struct permit *p);
};

struct admission_counts {
	uint64_t requests, waited;
	int in_flight, in_flight_max;
	int server_max; /* at the server that had the most */
};

struct permit_queue {
	struct permit *first, **last;
};

struct admission {
	struct admission_config config;
	pthread_mutex_t lock; /* of what follows */
	bool stopped;
	struct admission_counts counts;
	struct permit_queue waiting; /* for the host */
	struct admission_server *servers;
};

/* 0 or -ENOMEM; admission_fini() is due either way. */
int admission_init(struct admission *a, const struct admission_config *config);
void admission_fini(struct admission *a);
/* Drops those that wait, and all that come later. */
void admission_stop(struct admission *a);

/* Is anything limited here? */
bool admission_limits(const struct admission *a);

/* Asks at `at_ns`: granted before this returns, or when others have given back theirs. */
void admission_ask(struct admission *a, struct permit *p, uint64_t at_ns);
/* The request ended at `at_ns`, which is when those who waited for it begin. */
void admission_give_back(struct admission *a, struct permit *p, uint64_t at_ns);

void admission_count(struct admission *a, struct admission_counts *out);

#endif
