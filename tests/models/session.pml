/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up and renewal: a session has transports, a buffer with slots, and devices. It is given up whole when what it waits for
 * does not come, released when nobody uses it, and made anew for the next call.
 *
 * Properties
 *   slot      A slot is taken for a piece only when nobody works on it any more, be it for a call that has failed.
 *   area      Nothing is read into memory of the user's that a thread of an earlier session may still write into.
 *   gone      Nobody writes into memory that was unmapped or freed, uses a request or a waker that are gone, or tells a call
 *             that has ended.
 *   once      A session is freed once.
 *   call      (with the mutant alone) A session is given up for the sake of a call.
 *   ends      Every call ends, and so does closing, although whatever else there is may hang for ever: the daemon, threads
 *             in pread, a device, the opening of a file, the making of a session. And no run goes on for ever.
 *   left      In the end every session is freed, but those that a thread still hangs in, and what was registered with it;
 *             buffers stay mapped where a device has stopped answering, and nowhere else; and when nothing hangs, memory and reader are
 *             freed too.
 *
 * One thread reads, one call after another; what lies between several is in drive.pml. A time-out may come at any time, also while
 * everybody answers, so that bounds need no clock. What another process or thread does happens at once but where it could
 * be overtaken. The daemon has a mapping of its own; what it does after a session was given up reaches nobody.
 *
 * Code
 *   give_up        [src/reader/engine/giveup.c: fst3fs_give_up, finish_copies, disown_slots, fail_calls]
 *   free_session   [src/reader/session/session.c: fst3fs_session_free, free_parts, free_later, fst3fs_session_new]
 *                  [src/dev/dev_host.c: host_close]
 *   turn           [src/reader/engine/engine.c: step] [src/reader/engine/deliver.c: collect_io, land, release_slot]
 *                  [src/reader/engine/timeout.c: time_out] [src/reader/engine/fill.c: start_piece]
 *   Reader         [src/reader/engine/engine.c: ensure_session] [src/reader/api/reader.c: fst3fs_release, fst3fs_close]
 *   WORK           [src/io/io_posix.c: job_run, posix_close] [src/dev/cuda_notice.c: fst3fs_cuda_notice_run]
 *   OPEN           [src/reader/engine/open_ahead.c: open_run, publish] [src/reader/engine/offload.c: offload_main, wait_for]
 *                  [src/reader/engine/renew.c: make, unmake]
 *   put_memory     [src/reader/session/area.h: fst3fs_area_put] [src/reader/api/memory_area.c: area_free]
 *
 * run calls: CALLS=2
 * ends calls: CALLS=1
 * ends calls + TIMES_OUT_IN_VAIN: ends
 * run calls + MAIN_ALONE BUFFER_IS_KEPT: slot
 * run calls + RELEASED_AND_KEPT: once
 * run calls + NOT_LOST: area
 * run calls + NOT_HELD: gone
 * run calls + UNMAPPED_BEFORE_THREADS: gone
 * run calls + UNMAPPED_UNDER_COPIES: gone
 * run calls + DEVICE_LEFT_OPEN: gone
 * run calls + OPENING_NOT_FORGOTTEN: gone
 * run calls + FREED_ALWAYS_HERE: ends
 * run calls + NOT_UNDONE: left
 * run calls + ENDED_IS_STUCK: left
 * run calls + GIVES_UP_WITH_A_CALL: call
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_gone, claim_once, claim_ends, claim_left, claim_slot, claim_area, claim_call;

#define SLOTS 2
#define PIECES(n) ((n) == 1 -> 2 : 1)
#define GENS (CALLS + 1) /* the first session, and one more for each call at most */
#define SLOT(g, i) ((g) * SLOTS + (i))
#define GEN(s) ((s) / SLOTS)
#define THREADS(g) ((with_thread[SLOT(g, 0)] > 0) + (with_thread[SLOT(g, 1)] > 0))
#define WITH_DEVICE(g) (with_device[SLOT(g, 0)] || with_device[SLOT(g, 1)])
#define IS_POSIX(s) (slot[s] == POSIX || slot[s] == DIRECT)

/* Sessions, by number; 0 is none. */
byte session, gens;
bit mapped[GENS + 1];	  /* the staging buffer */
bit alive[GENS + 1];	  /* the slots with their requests, and the waker */
bit posix_open[GENS + 1]; /* the operating system's transport may post the waker */
bit device_open[GENS + 1];
bit notice[GENS + 1];	  /* a device is about to call back */
bit freed[GENS + 1];
bit stuck[GENS + 1];	  /* copies had not ended when its devices were closed */
bit stays[GENS + 1];	  /* so that its buffer stays mapped for ever: a device has stopped answering */

/* Slots, and who works on them. */
mtype = { FREE, MAIN, POSIX, DIRECT, COPYING };
mtype slot[(GENS + 1) * SLOTS] = FREE;
byte with_daemon[(GENS + 1) * SLOTS], with_thread[(GENS + 1) * SLOTS], with_device[(GENS + 1) * SLOTS];
bit landed[(GENS + 1) * SLOTS], copied[(GENS + 1) * SLOTS], held[(GENS + 1) * SLOTS];

/* Memory that its user has from the reader, and that pieces may land in directly. */
bit lost;
byte memory_refs = 1, reader_refs = 2; /* the user's; the owner's and the memory's */

/* What somebody else works on: not at all, begun, one step further, or never to be done. */
#define BEGUN 1
#define FURTHER 2
#define HANGS 3
bit hung; /* something does */
bit over; /* the reader's thread has ended */

/* The call. */
bit in_call;
byte opening; /* the call whose file is being opened */
byte want, busy;

/* The making of a session for call n (offload.c). */
byte making[CALLS + 1];
bit is_made[CALLS + 1], alone[CALLS + 1];
byte made[CALLS + 1];
byte opener[CALLS + 1]; /* the thread that opens a file for call n */
byte ending[GENS + 1];	/* the thread that frees session g (free_later) */

/* fst3fs_engine_unref */
inline unref()
{
	CLAIM(gone, reader_refs > 0);
	reader_refs--
}

/* fst3fs_area_put, area_free */
inline put_memory()
{
	CLAIM(gone, memory_refs > 0);
	memory_refs--;
	if
	:: memory_refs == 0 -> unref()
	:: else
	fi
}

/* ------------------------------------------------------------------ the end of a session */

/* free_parts, once the threads of the operating system's transport have ended. */
inline parts(g)
{
	CLAIM(gone, THREADS(g) == 0);
#ifdef UNMAPPED_UNDER_COPIES
	mapped[g] = 0;
#else
	if
	:: stuck[g] -> stays[g] = 1
	:: else -> mapped[g] = 0
	fi;
#endif
	if
	:: held[SLOT(g, 0)] -> held[SLOT(g, 0)] = 0; put_memory()
	:: else
	fi;
	if
	:: held[SLOT(g, 1)] -> held[SLOT(g, 1)] = 0; put_memory()
	:: else
	fi;
	CLAIM(once, alive[g] && !freed[g]);
	alive[g] = 0;
	freed[g] = 1
}

/* posix_close, before it waits. */
inline close_posix(g)
{
#ifdef UNMAPPED_BEFORE_THREADS
	mapped[g] = stuck[g];
#endif
	posix_open[g] = 0
}

/* fst3fs_session_free: here, or on a thread of its own when somebody reads into it who may hang. */
inline free_session(g)
{
	/* Closing devices: the host's waits for its copies, which are sure to end, and others for none. */
	if
	:: with_device[SLOT(g, 0)] != HANGS && with_device[SLOT(g, 1)] != HANGS -> !WITH_DEVICE(g)
	:: WITH_DEVICE(g)
	fi;
	atomic {
#ifndef DEVICE_LEFT_OPEN
		device_open[g] = 0;
#endif
#ifdef ENDED_IS_STUCK
		stuck[g] = slot[SLOT(g, 0)] == COPYING || slot[SLOT(g, 1)] == COPYING;
#else
		stuck[g] = WITH_DEVICE(g);
#endif
		CLAIM(left, !stuck[g] || WITH_DEVICE(g));
#ifdef FREED_ALWAYS_HERE
		here = 1;
#else
		here = !IS_POSIX(SLOT(g, 0)) && !IS_POSIX(SLOT(g, 1));
#endif
		if
		:: here -> close_posix(g)
		:: else -> ending[g] = BEGUN
		fi
	}
	if
	:: here -> atomic { THREADS(g) == 0 -> parts(g); here = 0 }
	:: else
	fi
}

/* ------------------------------------------------------------------ everybody else */

/* Begins, perhaps never to end. */
inline begin(work)
{
	if
	:: work = BEGUN
	:: work = HANGS; hung = 1
	fi
}

/* Who works on slot s. */
#define WORK(s) \
	/* The daemon writes through a mapping of its own, and answers into a ring that nobody may read any more. */ \
	:: atomic { with_daemon[s] == BEGUN -> with_daemon[s] = 0; landed[s] = session == GEN(s) } \
	/* A thread in pread: it looks whether it is still wanted, then reads, then hands over (job_run of io_posix.c). */ \
	:: atomic { with_thread[s] == BEGUN && posix_open[GEN(s)] -> with_thread[s] = FURTHER } \
	:: atomic { with_thread[s] == BEGUN && !posix_open[GEN(s)] -> hand_over(s) } \
	:: atomic { with_thread[s] == FURTHER -> write_bytes(s); hand_over(s) } \
	/* A device reads the buffer until it is done, then calls back (cuda_notice.c). */ \
	:: atomic { with_device[s] == BEGUN -> copy_bytes(s); with_device[s] = 0; notice[GEN(s)] = 1 }

inline write_bytes(s)
{
	CLAIM(gone, slot[s] == DIRECT || mapped[GEN(s)]);
	CLAIM(gone, slot[s] != DIRECT || memory_refs > 0)
}

inline copy_bytes(s)
{
	CLAIM(gone, mapped[GEN(s)]);
	copied[s] = 1
}

/* The request and the waker are used. */
inline hand_over(s)
{
	CLAIM(gone, alive[GEN(s)]);
	landed[s] = 1;
	with_thread[s] = 0
}

/* Who works for call n. */
#define OPEN(n) \
	/* open_run: the call may have ended without it. */ \
	:: atomic { opener[n] == BEGUN && opening == n -> published(n); want = PIECES(n) } \
	:: atomic { opener[n] == BEGUN && opening == n -> published(n); in_call = 0 } \
	:: atomic { opener[n] == BEGUN && opening != n -> opener[n] = 0; unref() } \
	/* offload_main, fst3fs_session_new: something is made, or nothing. */ \
	:: atomic { making[n] == BEGUN -> new_session(); made[n] = gens; making[n] = FURTHER } \
	:: atomic { making[n] == BEGUN -> making[n] = FURTHER } \
	:: atomic { \
		making[n] == FURTHER -> \
		is_made[n] = 1; \
		making[n] = 0; \
		g = (alone[n] -> made[n] : 0); \
		undo(); \
		unref() \
	   }

inline published(n)
{
	CLAIM(gone, in_call && session > 0);
	opening = 0;
	opener[n] = 0;
	unref()
}

inline new_session()
{
	gens++;
	mapped[gens] = 1;
	alive[gens] = 1;
	posix_open[gens] = 1;
	device_open[gens] = 1
}

inline undo()
{
#ifndef NOT_UNDONE
	if
	:: g > 0 -> device_open[g] = 0; close_posix(g); parts(g)
	:: else
	fi;
#endif
	g = 0
}

inline notify(g)
{
	CLAIM(gone, !device_open[g] || alive[g]);
	notice[g] = 0
}

#define END(g) \
	:: atomic { notice[g] -> notify(g) } \
	:: atomic { ending[g] == BEGUN -> close_posix(g); ending[g] = FURTHER } \
	:: atomic { ending[g] == FURTHER && THREADS(g) == 0 -> parts(g); ending[g] = 0 }

proctype Others()
{
	byte g;

	do
	WORK(2) WORK(3) WORK(4) WORK(5)
	OPEN(1)
	END(1) END(2)
#if CALLS > 1
	WORK(6) WORK(7)
	OPEN(2)
	END(3)
#endif
	:: timeout -> break /* nothing moves any more */
	od;
	atomic {
		CLAIM(ends, over);
		do
		:: gens > 0 ->
			CLAIM(left, (freed[gens] && mapped[gens] == stays[gens]) || THREADS(gens) > 0);
			gens--
		:: else -> break
		od;
		CLAIM(left, hung || (memory_refs == 0 && reader_refs == 0))
	}
}

/* ------------------------------------------------------------------ the reader's thread */

/* fst3fs_call_fail: nothing more is requested; an opening that is under way is forgotten. */
inline fail_call()
{
	want = 0;
#ifndef OPENING_NOT_FORGOTTEN
	opening = 0;
#endif
	if
	:: busy == 0 -> in_call = 0
	:: else
	fi
}

/* release_slot */
inline release(s)
{
	slot[s] = FREE;
	busy--
}

inline collect_copy(s)
{
	if
	:: slot[s] == COPYING && copied[s] -> copied[s] = 0; release(s); moved = 1
	:: else
	fi
}

/* land: what was read into the buffer may have to be copied out of it. */
inline land(s)
{
	if
	:: landed[s] && slot[s] != COPYING ->
		landed[s] = 0;
		moved = 1;
		if
		:: release(s)
#ifndef MAIN_ALONE
		:: slot[s] != DIRECT -> slot[s] = COPYING; begin(with_device[s])
#endif
		fi
	:: else
	fi
}

/* start_piece, into a slot that is free: then nobody works on it. */
inline start(s)
{
	if
	:: want > 0 && slot[s] == FREE ->
		CLAIM(slot, !with_daemon[s] && !with_thread[s] && !with_device[s]);
		want--;
		busy++;
		moved = 1;
		if
		:: slot[s] = MAIN; begin(with_daemon[s])
#ifndef MAIN_ALONE
		:: slot[s] = POSIX; begin(with_thread[s])
		:: has_memory && !lost ->
			CLAIM(area, writers == 0); /* nobody may still write into it */
			slot[s] = DIRECT;
			begin(with_thread[s])
#endif
		fi
	:: else
	fi
}

/* disown_slots */
inline disown(s)
{
	if
	:: slot[s] != FREE -> busy--
	:: else
	fi;
	if
	:: slot[s] == DIRECT ->
		writers++;
#ifndef NOT_LOST
		lost = 1;
#endif
#ifndef NOT_HELD
		memory_refs++;
		held[s] = 1
#endif
	:: else
	fi
}

#ifdef BUFFER_IS_KEPT
inline keep(s)
{
	if
	:: slot[s] != FREE -> slot[s] = FREE; busy--
	:: else
	fi
}
#endif

/* fst3fs_give_up */
inline give_up()
{
	atomic {
		g = session;
		collect_copy(SLOT(g, 0)); /* finish_copies: those that end in time */
		collect_copy(SLOT(g, 1));
#ifdef BUFFER_IS_KEPT
		keep(SLOT(g, 0));
		keep(SLOT(g, 1));
		fail_call();
		g = 0
#else
		disown(SLOT(g, 0));
		disown(SLOT(g, 1));
#ifdef GIVES_UP_WITH_A_CALL
		CLAIM(call, in_call);
#endif
		fail_call();
		session = 0
#endif
	}
	if
	:: g > 0 -> free_session(g)
	:: else
	fi;
	g = 0
}

#define READING(g) (slot[SLOT(g, 0)] == MAIN || IS_POSIX(SLOT(g, 0)) || slot[SLOT(g, 1)] == MAIN || IS_POSIX(SLOT(g, 1)))
#define SOMETHING(s) ((landed[s] && slot[s] != COPYING) || (copied[s] && slot[s] == COPYING))

/* fst3fs_entry_settle: the call ends when nothing of it is left. */
inline settle()
{
	if
	:: in_call && !opening && want == 0 && busy == 0 -> in_call = 0
	:: else
	fi
}

/* step, and where nothing moved sleep_until. */
inline turn()
{
	atomic {
		g = session;
		moved = 0;
		collect_copy(SLOT(g, 0));
		collect_copy(SLOT(g, 1));
		settle()
	}
	/* fst3fs_collect: the daemon may have written nonsense, also behind answers that end the call. */
	if
	:: READING(g) -> broken = 1
	:: READING(g) ->
		atomic {
			land(SLOT(g, 0));
			land(SLOT(g, 1));
			settle()
		}
		if
		:: moved -> broken = 1
		:: true
		fi
	:: else
	fi;
	if
	:: broken -> broken = 0; give_up()
	:: else ->
		atomic {
			start(SLOT(g, 0));
			start(SLOT(g, 1));
			was_opening = opening
		}
		if
		:: in_call && !moved ->
			if
			:: SOMETHING(SLOT(g, 0)) || SOMETHING(SLOT(g, 1)) || opening != was_opening
			/* time_out */
			:: atomic { busy > 0 -> skip } give_up()
#ifdef TIMES_OUT_IN_VAIN
			:: busy == 0
#else
			:: atomic { busy == 0 -> fail_call() }
#endif
			fi
		:: else
		fi
	fi;
	atomic { g = 0; moved = 0; was_opening = 0 }
}

/* fst3fs_release, where it finds a session. */
inline release_session()
{
	if
	:: session > 0 ->
		atomic {
			g = session;
			CLAIM(slot, slot[SLOT(g, 0)] == FREE && slot[SLOT(g, 1)] == FREE);
#ifndef RELEASED_AND_KEPT
			session = 0
#endif
		}
		free_session(g);
		g = 0
	:: else
	fi
}

inline free_memory()
{
	if
	:: atomic { has_memory -> has_memory = 0; put_memory() }
	:: else
	fi
}

proctype Reader()
{
	byte n, g, writers, was_opening;
	bit moved, broken, here, has_memory = 1;

	do
	:: n == CALLS -> break
	:: n < CALLS ->
		atomic { n++; in_call = 1 }
		/* ensure_session */
		if
		:: session == 0 ->
			atomic { reader_refs++; begin(making[n]) }
			if
			:: atomic { is_made[n] -> session = made[n]; in_call = session > 0 }
			:: atomic { !is_made[n] -> alone[n] = 1; in_call = 0 } /* time-out, or interrupted */
			fi
		:: else
		fi;
		if
		:: in_call -> atomic { opening = n; reader_refs++; begin(opener[n]) }
		:: else
		fi;
		do
		:: !in_call -> break
		:: in_call -> turn()
		od;
		if
		:: true -> release_session()
		:: true -> free_memory()
		:: true
		fi
	od;
	/* fst3fs_close, and the memory before or after */
	if
	:: true -> free_memory()
	:: true
	fi;
	release_session();
	unref();
	free_memory();
	over = 1
}

init
{
	atomic {
		new_session();
		session = gens;
		run Reader();
		run Others()
	}
}
