/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring: requests go one way and completions the other, through memory that two processes share.
 *
 * Properties
 *   slot      A slot is taken for a request only when no other request has it.
 *   whole     The daemon takes requests whole and in order: entry, arguments and number belong together.
 *   once      Every request is taken once, completed once, and reaped once, with its own result.
 *   overrun   The daemon never sees more requests queued than there is room for their completions. (The real one
 *             loses its order then; usrbiod counts a violation.)
 *   passed    The daemon never sees a head that has passed the queue's tail. (usrbiod refuses the ring then.)
 *   counted   What the reaping thread holds for outstanding is no less than the completions that it can see.
 *   wake-up   Nobody sleeps for ever: all requests come back, although no wait has a time-out here.
 *   ends      No run goes on for ever.
 *
 * Memory order: that of Arm. The memory is one (Arm is multi-copy atomic), but a thread's accesses reach it in any order
 * that the architecture allows: a load-acquire before all that follow it; a store-release after all that precede it; where
 * both are sequentially consistent accesses, a load-acquire after the store-releases that precede it; a store after the loads that its address, its value, or whether
 * it is executed depend on; accesses of one place in their order; all else as it comes. With ORDER, each loop over
 * `pending` is such a stretch: its accesses happen in every order that is left. Stretches do not overlap, for each begins with a
 * load-acquire and the one before it ends with a store-release; what may nevertheless float out of its own does: the reads of
 * later completions (`early`), and the store to `freed`, which alone is not sequentially consistent there (`late`; x86 does
 * that, too). No place that the other side writes is read by the side that wrote it, so that nothing is
 * forwarded out of a store buffer. The fields of a struct are one access, since nothing orders them among themselves. Without ORDER what
 * one thread does to the ring in one call happens at once, and waking up is what is looked at.
 *
 * The daemon works on a ring under the ring's lock, so that all its threads are one process here, which does their critical
 * sections in any order. Other clients post the submit semaphore too, so that with ORDER it looks whenever it likes. LATE
 * is what may be in the real daemon: queue tail and count of running requests move some time after the post. A
 * semaphore is zero or not zero, because whoever wakes takes all the posts there are.
 *
 * Code
 *   prep           [src/usrbio/ring.c: usrbio_ring_prep, check_room, take_slot]
 *   reap           [src/usrbio/ring.c: usrbio_ring_reap, read_completion, give_slot]
 *   Reaper         [src/usrbio/ring.c: usrbio_ring_outstanding] [src/usrbio/ior.c: may_be_held_back]
 *   Engine         [src/usrbio/ior.c: usrbio_ior_submit, usrbio_ior_reap] [src/base/waker.c: fst3fs_waker_wait]
 *                  [src/reader/engine/timeout.c: fst3fs_check_bounds]
 *   form           [usrbiod/rings/ring.c: form_one, read_queue, take_request] [usrbiod/storage/batch.c: batch_next]
 *   complete       [usrbiod/rings/ring.c: ring_complete, write_completion, retire]
 *   Daemon         [usrbiod/rings/rings.c: watch, scan, form_next] [usrbiod/rings/submit.c: submit_wait]
 *
 * run order: ORDER SLOTS=3 REQUESTS=6 IO_DEPTH=1
 * run order-batches: ORDER SLOTS=3 REQUESTS=6 IO_DEPTH=0
 * run threads: SLOTS=3 REQUESTS=4 IO_DEPTH=1
 * run threads-batches: SLOTS=3 REQUESTS=4 IO_DEPTH=0
 * run engine: ENGINE SLOTS=3 REQUESTS=5 IO_DEPTH=1
 * run engine-late: ENGINE LATE SLOTS=3 REQUESTS=4 IO_DEPTH=1
 * ends threads: SLOTS=3 REQUESTS=3 IO_DEPTH=1
 * ends engine: ENGINE SLOTS=3 REQUESTS=4 IO_DEPTH=1
 * ends engine-late: ENGINE LATE SLOTS=3 REQUESTS=3 IO_DEPTH=1
 * ends engine + WAKER_NEVER_DRAINS: ends
 * run order + HEAD_STORE_RELAXED: whole
 * run order + FULL_UNCHECKED: passed
 * run order + TAKEN_AFTER_HEAD: counted
 * run order + FREED_LOAD_RELAXED: slot
 * run order + FREED_STORE_RELAXED: slot
 * run order + SLOT_BEFORE_PLACE: overrun
 * run order + CQE_HEAD_LOAD_RELAXED: once
 * run order + D_SQE_HEAD_LOAD_RELAXED: whole
 * run order + D_TAIL_BEFORE_HEAD: overrun
 * run order + D_CQE_HEAD_STORE_RELAXED: once
 * run engine + POST_BEFORE_HEAD: wake-up
 * run engine + WAKER_DRAINS_LATE: wake-up
 * run engine + D_POST_BEFORE_HEAD: wake-up
 * run engine + D_DRAINS_AFTER_SCAN: wake-up
 * run engine-late + NO_RETRY: wake-up
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_slot, claim_once, claim_counted, claim_overrun, claim_passed, claim_whole;

#define NEXT(i) (((i) + 1) % SLOTS)
#define DISTANCE(from, to) (((to) + SLOTS - (from)) % SLOTS)

/* The shared memory. `arg`, `sqe_data` and `cqe_data` hold the number (1...) of the request that they were written for. */
byte sqe_head, sqe_tail, cqe_head, cqe_tail;
byte arg[SLOTS];
byte sqe_index[SLOTS], sqe_data[SLOTS];
byte cqe_index[SLOTS], cqe_data[SLOTS];
bit submitted, completed; /* the semaphores */

/* What the client's two threads share. A slot's record is the number of its request, 0 = not busy. */
byte free_slots[SLOTS], freed = SLOTS - 1, taken;
byte record[SLOTS];

byte under[SLOTS]; /* the request that has the slot: for the property alone */

/* ------------------------------------------------------------------ the client */

#define TAKEN 1	 /* taken = taken + 1, a store-release */
#define RECORD 2 /* the slot's record */
#define ARG 4
#define SQE 8
#define HEAD 16 /* sqe_head, a store-release */

#define MAY_COUNT(pending) ((pending) & TAKEN)
#define MAY_MOVE_HEAD(pending) ((pending) == HEAD)
#ifdef HEAD_STORE_RELAXED
#undef MAY_MOVE_HEAD
#define MAY_MOVE_HEAD(pending) ((pending) & HEAD)
#endif
#ifdef TAKEN_AFTER_HEAD
#undef MAY_COUNT
#undef MAY_MOVE_HEAD
#define MAY_COUNT(pending) ((pending) == TAKEN)
#define MAY_MOVE_HEAD(pending) ((pending) == (HEAD | TAKEN))
#endif

#ifdef ORDER
inline store_request(id)
{
	do
	:: atomic { MAY_COUNT(pending) -> taken++; pending = pending & ~TAKEN }
	:: atomic { pending & RECORD -> record[i] = id; pending = pending & ~RECORD }
	:: atomic { pending & ARG -> arg[i] = id; pending = pending & ~ARG }
	:: atomic {
		pending & SQE ->
		sqe_index[c_sqe_head] = i;
		sqe_data[c_sqe_head] = id;
		pending = pending & ~SQE
	   }
	:: atomic { MAY_MOVE_HEAD(pending) -> sqe_head = NEXT(c_sqe_head); pending = pending & ~HEAD }
	:: pending == 0 -> break
	od
}
#else
inline store_request(id)
{
	d_step {
		taken++;
		record[i] = id;
		arg[i] = id;
		sqe_index[c_sqe_head] = i;
		sqe_data[c_sqe_head] = id;
		sqe_head = NEXT(c_sqe_head);
		pending = 0
	}
}
#endif

/* usrbio_ring_prep: `got` = 1, or 0 for -EAGAIN. */
inline prep(id)
{
	atomic { got = 0; tail = sqe_tail } /* check_room: a load-acquire */
	if
#ifdef FULL_UNCHECKED
	:: false
#else
	:: NEXT(c_sqe_head) == tail
#endif
	:: else ->
#ifdef FREED_LOAD_RELAXED
		/* Nothing orders the two loads: the branch between them holds back stores alone. */
		if
		:: i = free_slots[taken % SLOTS]; seen = freed
		:: seen = freed; i = free_slots[taken % SLOTS]
		fi;
#else
		seen = freed; /* take_slot: a load-acquire */
		i = free_slots[taken % SLOTS];
#endif
		if
		:: seen == taken
		:: else ->
			atomic {
				CLAIM(slot, under[i] == 0);
				under[i] = id;
				pending = TAKEN | RECORD | ARG | SQE | HEAD
			}
			store_request(id);
			atomic { c_sqe_head = NEXT(c_sqe_head); got = 1 }
		fi;
		atomic { i = 0; seen = 0 }
	fi
}

#define PLACE 4	 /* cqe_tail, a store-release */
#define LIST 8	 /* the slot's number into the list of free ones */
#define FREED 16 /* freed = freed + 1, a store-release */

#define MAY_PLACE(pending) (((pending) & PLACE) && !((pending) & RECORD))
#define MAY_FREE(pending) ((pending) == FREED)
#ifdef FREED_STORE_RELAXED
#undef MAY_FREE
#define MAY_FREE(pending) ((pending) & FREED)
#endif
#ifdef SLOT_BEFORE_PLACE
#undef MAY_PLACE
#undef MAY_FREE
#define MAY_PLACE(pending) ((pending) == PLACE)
#define MAY_FREE(pending) ((pending) == (PLACE | FREED))
#endif

#ifdef ORDER
inline store_taken()
{
	do
	:: atomic { pending & RECORD -> result = record[index]; record[index] = 0; pending = pending & ~RECORD }
	:: atomic { MAY_PLACE(pending) -> cqe_tail = NEXT(c_cqe_tail); pending = pending & ~PLACE }
	:: atomic { pending & LIST -> free_slots[c_freed % SLOTS] = index; pending = pending & ~LIST }
	:: atomic { MAY_FREE(pending) -> under[index] = 0; freed++; pending = pending & ~FREED }
	:: atomic { pending == FREED -> late = 1; late_index = index; pending = 0 }
	:: pending == 0 -> break
	od;
	c_freed++
}
#else
inline store_taken()
{
	d_step { result = record[index]; record[index] = 0; cqe_tail = NEXT(c_cqe_tail) }
	d_step { free_slots[c_freed % SLOTS] = index; under[index] = 0; c_freed++; freed = c_freed; pending = 0 }
}
#endif

/* The store to `freed` that loads have overtaken; before the next store it has happened. */
inline store_late()
{
	if
	:: late -> atomic { under[late_index] = 0; freed++; late = 0; late_index = 0 }
	:: else
	fi
}

/* usrbio_ring_reap, two completions at a time: `n` of them. The second may be read as soon as `head` is known, before the
 * stores for the first. */
inline reap()
{
#ifdef CQE_HEAD_LOAD_RELAXED
	if
	:: atomic { early_index = cqe_index[c_cqe_tail]; early_data = cqe_data[c_cqe_tail]; early = 1 }
	:: true
	fi;
#endif
	atomic { n = 0; head = cqe_head } /* a load-acquire */
	do
	:: n == 2 || c_cqe_tail == head -> break
	:: else ->
		if
		:: early -> atomic { index = early_index; data = early_data; early = 0 }
		:: else -> atomic { index = cqe_index[c_cqe_tail]; data = cqe_data[c_cqe_tail] }
		fi;
		if
#ifdef ORDER
		:: n == 0 && NEXT(c_cqe_tail) != head ->
			atomic {
				early_index = cqe_index[NEXT(c_cqe_tail)];
				early_data = cqe_data[NEXT(c_cqe_tail)];
				early = 1
			}
#endif
		:: true
		fi;
		store_late();
		atomic {
			CLAIM(once, record[index]); /* busy, a load-acquire; else -EPROTO */
			pending = RECORD | PLACE | LIST | FREED
		}
		store_taken();
		atomic {
			c_cqe_tail = NEXT(c_cqe_tail);
			CLAIM(once, result == data && !reaped[result]);
			reaped[result] = 1;
			reaped_count++;
			n++;
			result = 0; index = 0; data = 0
		}
	od
}

#define PREPARES byte c_sqe_head, tail, seen, i, issued; bit got, queued
#define REAPS \
	byte c_freed = SLOTS - 1, c_cqe_tail, head, index, data, early_index, early_data, late_index, n, result, reaped_count; \
	bit early, late, reaped[REQUESTS + 1]

#ifdef ENGINE

/* One thread that fills a window, collects and sleeps. */
proctype Engine()
{
	PREPARES;
	REAPS;
	byte pending;
	bit moved, refused;

	do
	:: reaped_count == REQUESTS -> break
	:: else ->
		reap(); /* fst3fs_collect */
#ifdef WAKER_DRAINS_LATE
		completed = 0;
#endif
		atomic { moved = n > 0; n = 0; head = 0; refused = 0; queued = 0 }
		do
		:: !refused && issued < REQUESTS && issued - reaped_count < SLOTS - 1 ->
#ifdef POST_BEFORE_HEAD
			submitted = 1;
			prep(issued + 1);
#else
			prep(issued + 1);
			queued = queued || got;
#endif
			atomic { issued = issued + got; moved = moved || got; refused = !got }
		:: else -> break
		od;
		if
		:: queued -> submitted = 1 /* usrbio_ior_wake */
		:: else
		fi;
		if
		:: moved
		:: else ->
			if
#ifdef WAKER_NEVER_DRAINS
			:: completed
#else
			:: atomic { completed -> completed = 0 } /* fst3fs_waker_wait */
#endif
#ifndef NO_RETRY
			/* check_bounds: with nothing in flight it looks again in a while. */
			:: refused && issued == reaped_count && sqe_tail != tail
#endif
			fi
		fi
	od
}

#else

/* A thread that prepares, and posts when it likes, though not later than when it cannot go on. */
proctype Preparer()
{
	PREPARES;
	byte pending;

	do
	:: issued == REQUESTS -> break
	:: else ->
		prep(issued + 1);
		atomic { issued = issued + got; queued = queued || got }
#ifndef ORDER
		if
		:: queued -> atomic { submitted = 1; queued = 0 }
		:: got && issued < REQUESTS
		:: !got && !queued -> (NEXT(c_sqe_head) != sqe_tail && freed != taken) /* it tries again and again */
		fi
#endif
	od
}

/* A thread that reaps, and tells the daemon that there is room where it may have been short of it. */
proctype Reaper()
{
	REAPS;
	byte pending;
	short left;

	do
	:: reaped_count == REQUESTS -> break
	:: else ->
		reap();
		if
		:: n > 0 ->
			left = taken + (SLOTS - 1) - c_freed; /* usrbio_ring_outstanding */
			CLAIM(counted, left >= DISTANCE(c_cqe_tail, head));
#ifndef ORDER
			if
			:: left > 0 && left + n > (SLOTS - 1) / 2 -> submitted = 1 /* may_be_held_back */
			:: else
			fi;
#endif
			left = 0
#ifdef ORDER
		:: n == 0 -> store_late()
		:: n == 0
#else
		:: else -> atomic { completed -> completed = 0 }
#endif
		fi
	od
}

#endif

/* ------------------------------------------------------------------ the daemon */

mtype = { NONE, FORMED, POSTED, DONE };

/* form_one: `n` = requests in the job, 0 for none. */
inline form()
{
#ifdef D_SQE_HEAD_LOAD_RELAXED
	/* The entry is read before it is known to be there, and its arguments by its index. */
	atomic { early_index = sqe_index[next_sqe]; early_data = sqe_data[next_sqe] }
	early_arg = arg[early_index];
#endif
#ifdef D_TAIL_BEFORE_HEAD
	tail = cqe_tail;
	head = sqe_head;
#else
	head = sqe_head; /* read_queue: a load-acquire */
	tail = cqe_tail; /* a load-acquire */
#endif
	d_step {
		queued = DISTANCE(next_sqe, head);
		CLAIM(passed, DISTANCE(d_sqe_tail, next_sqe) + queued < SLOTS);
		room = SLOTS - 1 - running - DISTANCE(tail, d_cqe_head);
#ifndef LATE
		CLAIM(overrun, queued <= room);
#endif
		room = (queued < room -> queued : room); /* batch_next */
		n = (room <= 0 -> 0 : (IO_DEPTH == 1 -> 1 : room));
		first = next_sqe;
		queued = 0; room = 0; head = 0; tail = 0
	}
	do
	:: k == n -> break
	:: else ->
#ifdef D_SQE_HEAD_LOAD_RELAXED
		atomic {
			job_index[next_sqe] = early_index;
			job_data[next_sqe] = early_data;
			CLAIM(whole, early_arg == d_taken + 1)
		}
#else
		atomic { job_index[next_sqe] = sqe_index[next_sqe]; job_data[next_sqe] = sqe_data[next_sqe] }
		CLAIM(whole, arg[job_index[next_sqe]] == d_taken + 1);
#endif
		d_step {
			d_taken++;
			CLAIM(whole, job_data[next_sqe] == d_taken);
			next_sqe = NEXT(next_sqe);
			k++
		}
	od;
	atomic {
		running = running + n;
		if
		:: n > 0 -> CLAIM(once, job[first] == NONE);
			job[first] = FORMED; job_count[first] = n
		:: else
		fi;
		k = 0; first = 0
	}
}

/* retire: sqe_tail past the jobs that have completed with all before them. */
inline retire()
{
	atomic {
		running = running - job_count[first];
		job[first] = DONE;
		do
		:: job[d_sqe_tail] == DONE ->
			job[d_sqe_tail] = NONE;
			d_sqe_tail = (d_sqe_tail + job_count[d_sqe_tail]) % SLOTS
		:: else -> break
		od;
	}
	sqe_tail = d_sqe_tail /* a store-release */
}

inline write_completions()
{
	do
	:: k == job_count[first] -> break
	:: else ->
		atomic {
			cqe_index[(d_cqe_head + k) % SLOTS] = job_index[(first + k) % SLOTS];
			cqe_data[(d_cqe_head + k) % SLOTS] = job_data[(first + k) % SLOTS];
			k++
		}
	od;
	k = 0
}

/* ring_complete. */
inline complete()
{
#ifdef D_POST_BEFORE_HEAD
	completed = 1;
#endif
#ifdef D_CQE_HEAD_STORE_RELAXED
	cqe_head = (d_cqe_head + job_count[first]) % SLOTS;
	write_completions();
#else
	write_completions();
	cqe_head = (d_cqe_head + job_count[first]) % SLOTS; /* a store-release */
#endif
	d_cqe_head = (d_cqe_head + job_count[first]) % SLOTS;
#ifdef LATE
	completed = 1;
	job[first] = POSTED;
#else
	retire();
#if !defined(ORDER)
#ifndef D_POST_BEFORE_HEAD
	completed = 1;
#endif
	nexts++;
#endif
#endif
	first = 0
}

proctype Daemon()
{
	/* Jobs by the place of their first request in the submission queue. */
	mtype job[SLOTS] = NONE;
	byte job_count[SLOTS], job_index[SLOTS], job_data[SLOTS];
	byte next_sqe, d_sqe_tail, d_cqe_head, running, d_taken;
	byte head, tail, n, k, first, nexts;
	byte early_index, early_data, early_arg;
	short queued, room;
	bit scanning;

end:	do
#ifdef ORDER
	:: form(); n = 0
#else
	/* The watcher: awake once the semaphore was posted, until a scan finds nothing. */
#ifdef D_DRAINS_AFTER_SCAN
	:: atomic { !scanning && submitted -> scanning = 1 }
#else
	:: atomic { !scanning && submitted -> submitted = 0; scanning = 1 }
#endif
	:: scanning ->
		form();
#ifdef D_DRAINS_AFTER_SCAN
		submitted = 0;
#endif
		atomic { scanning = n > 0; n = 0 }
	/* A worker that is free again looks for the next job of the ring, or has the watcher do so. */
	:: nexts > 0 -> nexts--; form(); n = 0
	:: nexts > 0 -> nexts--; submitted = 1
#endif
	/* A worker whose job is done. */
	:: job[0] == FORMED -> first = 0; complete()
	:: job[1] == FORMED -> first = 1; complete()
	:: SLOTS == 3 && job[SLOTS - 1] == FORMED -> first = 2; complete()
#ifdef LATE
	/* The real one's bookkeeping may come some time after the post. */
	:: job[0] == POSTED -> first = 0; retire(); nexts++
	:: job[1] == POSTED -> first = 1; retire(); nexts++
	:: SLOTS == 3 && job[SLOTS - 1] == POSTED -> first = 2; retire(); nexts++
#endif
	od
}

init
{
	byte i;

	atomic {
		do
		:: i < SLOTS - 1 -> free_slots[i] = i; i++
		:: else -> break
		od;
		i = 0;
#ifdef ENGINE
		run Engine();
#else
		run Preparer();
		run Reaper();
#endif
		run Daemon()
	}
}
