/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver: of the threads that read through one reader, one runs the loop for all, and hands it over when its own call
 * has ended. With BACKGROUND one of the calls grows while it runs, and is cancelled from outside.
 *
 * Properties
 *   rule      A call ends only when none of its pieces is in flight: what lands belongs to a call that is served.
 *   gone      Nobody touches a call before it is set up or after it has returned, nor a session after it was taken away.
 *   once      A call ends once.
 *   paused    While a release has the reader to itself nobody is in the loop, and no call comes in.
 *   wake-up   Nobody sleeps for ever, although no wait has a time-out here: the storage answers every request, and in the end
 *             nobody is interrupted any more. So the loop is always handed over, and what the glance every 100 ms
 *             finds is nothing but interruptions.
 *   stopped   Nothing begins for a call that was cancelled.
 *   ends      No run goes on for ever; nor does a call that grows, while somebody waits for it to end.
 *
 * A critical section happens at once; between two of them the lock may be let go, also where the code holds it. Which call is
 * served first, which heir is woken, and when files are open is left open. Pieces are with the storage, answered or not yet
 * sent; what is copied after that is in session.pml, as are time-outs and giving up.
 *
 * Code
 *   engine_run     [src/reader/engine/engine.c: fst3fs_engine_run, enter, ride, drive, ensure_session, sleep_until, hand_over,
 *                  nudge, must_end] [src/reader/engine/life.c: fst3fs_engine_doze] [src/base/waker.c: fst3fs_waker_wait]
 *   one turn       [src/reader/engine/engine.c: step, admit] [src/reader/engine/deliver.c: fst3fs_collect]
 *                  [src/reader/engine/open_ahead.c: fst3fs_open_ahead, publish]
 *                  [src/reader/engine/fill.c: fst3fs_fill_window]
 *   finish, fail   [src/reader/engine/call.c: finish_call, fst3fs_call_fail, fst3fs_call_interrupt]
 *   Releaser       [src/reader/engine/engine.c: fst3fs_engine_pause, fst3fs_engine_resume]
 *                  [src/reader/api/reader.c: fst3fs_release]
 *   Background     [src/reader/api/background.c: background_main, run, feed] [src/reader/engine/engine.c: fst3fs_engine_append]
 *                  [src/reader/api/run.c: fst3fs_reader_run, end_stale_session] [src/reader/engine/call.c: fst3fs_call_rewind]
 *   User           [src/reader/api/background.c: fst3fs_background_add_run, fst3fs_background_end, cancel]
 *                  [src/reader/engine/engine.c: fst3fs_engine_cancel]
 *
 * run calls: SLOTS=2 PIECES=2 RELEASERS=1 FIRST_CALLER=0 EXCLUSIVE=2
 * run slow: SLOW=0 SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=0
 * run slow-background: SLOW=2 BACKGROUND SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=2 RUNS=2
 * run interrupts: INTERRUPTS SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=0 EXCLUSIVE=2
 * run background: BACKGROUND SLOTS=2 PIECES=1 RELEASERS=1 FIRST_CALLER=2 RUNS=2
 * run replaced: BACKGROUND REPLACED SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=2 RUNS=2
 * ends calls: SLOTS=2 PIECES=1 RELEASERS=1 FIRST_CALLER=0 EXCLUSIVE=2
 * ends background: BACKGROUND SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=2 RUNS=2
 * ends growing: BACKGROUND GROWING SLOTS=2 PIECES=1 RELEASERS=1 FIRST_CALLER=3 RUNS=2
 * ends growing-exclusive: BACKGROUND GROWING SLOTS=2 PIECES=1 RELEASERS=0 FIRST_CALLER=2 RUNS=2 EXCLUSIVE=2
 * ends calls + WAKER_NEVER_DRAINS: ends
 * ends growing + GROWS_DESPITE_RELEASE: ends
 * ends growing-exclusive + GROWS_DESPITE_EXCLUSIVE: ends
 * run calls + NO_HAND_OVER: wake-up
 * run slow + NO_NUDGE_ON_ENTRY: wake-up
 * run calls + NO_POST_ON_OPEN: wake-up
 * run calls + DRAINED_AFTER_STEP: wake-up
 * run calls + PAUSED_DESPITE_DRIVER: paused
 * run calls + ENTERS_DESPITE_RELEASE: paused
 * run interrupts + NO_NUDGE_ON_INTERRUPT: wake-up
 * run interrupts + INTERRUPTS_WHAT_ENDED: once
 * run interrupts + ENDS_IN_FLIGHT: rule
 * run background + SET_UP_LATE: gone
 * run replaced + CANCELS_WHAT_RUNS: stopped
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_gone, claim_once, claim_rule, claim_paused, claim_stopped;

#define CALLS 3
#define BIT(c) (1 << (c))
#define IS_SERVED(c) (served & BIT(c))
#ifndef EXCLUSIVE
#define EXCLUSIVE CALLS /* the call that needs the whole buffer: none */
#endif

/* Calls. */
byte served;		/* r->active: a set; in which order they are served has no part in this */
byte waiting[CALLS];	/* in order of arrival */
byte nwaiting;
bit set_up[CALLS];	/* the record can be used by others */
bit done[CALLS], interrupted[CALLS];
byte unopened[CALLS];	/* ranges whose file has not begun to be opened */
byte opening[CALLS];	/* ... is being opened */
byte want[CALLS];	/* pieces to be requested */
byte flight[CALLS];	/* ... with the daemon */
byte landed[CALLS];	/* ... answered, not yet collected */
bit asleep[CALLS];	/* on the call's `wake` */

/* The engine. */
bit driving;
byte releasing;
bit session;
bit posted; /* the waker's semaphore: zero or not, for who wakes takes all its posts */
byte free_slots;
bit idle_asleep[CALLS + RELEASERS];

#ifdef BACKGROUND
/* A call that grows while it runs: call 0, of a thread that reads what its user adds. */
byte fresh;	   /* ranges that no call has taken */
bit running;	   /* the call is in the engine */
bit closed, stop, ended;
bit work_asleep;   /* the thread, on `work` */
bit stale;	   /* a range of the call was missed, because the mount was replaced: then it is run again, once */
byte missed;	   /* such ranges */
bit replaced;
bit cancelled;	   /* the call that runs */
#define CANCELLED(c) ((c) == 0 && cancelled)
#else
#define CANCELLED(c) 0
#endif

/* What the properties need. */
bit driver_asleep;
bit impatient = 1; /* callers may be interrupted, but need not */

/* Call SLOW is answered only when the others have ended: nobody waits for somebody else's storage. */
#ifdef SLOW
#define HELD_BACK(c) ((c) == SLOW && !OTHERS_ENDED)
#else
#define HELD_BACK(c) 0
#endif
#ifdef BACKGROUND
#define OTHERS_ENDED ended
#else
#define OTHERS_ENDED (done[1] && done[2])
#endif

#define LEFT(c) (unopened[c] + opening[c] + want[c] + flight[c] + landed[c])
#define MAY_INTERRUPT(c) (impatient && !interrupted[c])

inline nudge()
{
	if
	:: driving && session -> posted = 1
	:: else
	fi
}

inline unlink_waiting(c)
{
	j = 0;
	do
	:: j < nwaiting && waiting[j] != c -> j++
	:: else -> break
	od;
	if
	:: j < nwaiting ->
		nwaiting--;
		do
		:: j < nwaiting -> waiting[j] = waiting[j + 1]; j++
		:: else -> break
		od;
		waiting[nwaiting] = 0
	:: else
	fi;
	j = 0
}

/* finish_call */
inline finish(c)
{
	CLAIM(gone, set_up[c]);
	CLAIM(once, !done[c]);
	served = served & ~BIT(c);
	unlink_waiting(c);
	done[c] = 1;
	asleep[c] = 0
}

/* fst3fs_call_fail: what is not in flight ends now. An opening that is under way is forgotten. */
inline fail(c)
{
	CLAIM(gone, set_up[c]);
	unopened[c] = 0;
	opening[c] = 0;
	want[c] = 0;
	if
#ifdef ENDS_IN_FLIGHT
	:: !done[c] -> finish(c)
#else
#ifdef INTERRUPTS_WHAT_ENDED
	:: LEFT(c) == 0 -> finish(c)
#else
	:: !done[c] && LEFT(c) == 0 -> finish(c)
#endif
#endif
	:: else
	fi
}

/* fst3fs_call_interrupt */
inline interrupt(c)
{
	if
	:: !interrupted[c] -> interrupted[c] = 1; fail(c)
	:: else
	fi
}

inline wake_idle()
{
	j = 0;
	do
	:: j < CALLS + RELEASERS -> idle_asleep[j] = 0; j++
	:: else -> break
	od;
	j = 0
}

inline hand_over()
{
#ifndef NO_HAND_OVER
	if
	:: IS_SERVED(0) -> asleep[0] = 0
	:: IS_SERVED(1) -> asleep[1] = 0
	:: IS_SERVED(2) -> asleep[2] = 0
	:: !served && nwaiting > 0 -> asleep[waiting[0]] = 0
	:: !served && nwaiting == 0 -> wake_idle()
	fi
#else
	if
	:: !served && nwaiting == 0 -> wake_idle()
	:: else
	fi
#endif
}

/* ------------------------------------------------------------------ one turn of the loop */

inline admit()
{
	do
	:: nwaiting > 0 && (!served || (!IS_SERVED(EXCLUSIVE) && waiting[0] != EXCLUSIVE)) ->
		c = waiting[0];
		unlink_waiting(c);
		served = served | BIT(c);
		moved = 1
	:: else -> break
	od;
	c = 0
}

/* fst3fs_collect */
inline collect()
{
	do
	:: c < CALLS ->
		if
		:: landed[c] > 0 ->
			CLAIM(rule, IS_SERVED(c));
			free_slots = free_slots + landed[c];
			landed[c] = 0;
			moved = 1;
			if
			:: LEFT(c) == 0 -> finish(c)
			:: else
			fi
		:: else
		fi;
		c++
	:: else -> break
	od;
	c = 0
}

/* fst3fs_open_ahead, for every call that is served */
inline open_ahead()
{
	do
	:: c < CALLS ->
		if
		:: IS_SERVED(c) && unopened[c] ->
			CLAIM(stopped, !CANCELLED(c));
			opening[c] = opening[c] + unopened[c];
			unopened[c] = 0;
			moved = 1
		:: else
		fi;
		c++
	:: else -> break
	od;
	c = 0
}

/* fst3fs_fill_window */
inline fill()
{
	do
	:: free_slots > 0 && IS_SERVED(0) && want[0] -> want[0]--; flight[0]++; free_slots--; moved = 1
	:: free_slots > 0 && IS_SERVED(1) && want[1] -> want[1]--; flight[1]++; free_slots--; moved = 1
	:: free_slots > 0 && IS_SERVED(2) && want[2] -> want[2]--; flight[2]++; free_slots--; moved = 1
	:: else -> break
	od
}

/* ------------------------------------------------------------------ fst3fs_engine_run */

inline engine_run(me)
{
#ifdef SET_UP_LATE
	set_up[me] = 1;
#else
	CLAIM(gone, set_up[me]);
#endif
enter:	atomic {
		if
		:: done[me]
#ifndef ENTERS_DESPITE_RELEASE
		:: !done[me] && releasing -> idle_asleep[me] = 1; goto doze
#endif
		:: else ->
			waiting[nwaiting] = me;
			nwaiting++;
#ifndef NO_NUDGE_ON_ENTRY
			nudge()
#endif
		fi
	}
	goto loop;
doze:	if
	:: !idle_asleep[me] -> goto enter
	:: atomic { idle_asleep[me] && MAY_INTERRUPT(me) -> idle_asleep[me] = 0 }
		atomic { interrupt(me); goto loop }
	fi;
loop:	atomic {
		if
		:: done[me] -> goto out
		:: !done[me] && driving -> asleep[me] = 1
		:: else -> driving = 1; goto drive
		fi
	}
	/* ride */
	if
	:: !asleep[me] -> goto loop
	:: atomic { asleep[me] && MAY_INTERRUPT(me) -> asleep[me] = 0 }
		atomic {
			if
#ifdef INTERRUPTS_WHAT_ENDED
			:: true ->
				interrupt(me);
				nudge()
#endif
			:: !done[me] ->
				interrupt(me);
#ifndef NO_NUDGE_ON_INTERRUPT
				nudge()
#endif
			:: else
			fi;
			goto loop
		}
	fi;
drive:	atomic {
		if
		:: done[me] -> driving = 0; goto loop
		:: !done[me] && session -> goto step
		:: else
		fi
	}
	/* ensure_session, without the lock while it is made. */
	if
	:: atomic { CLAIM(gone, !session); session = 1; posted = 0; free_slots = SLOTS; goto drive }
	:: atomic { fail(me); do :: nwaiting > 0 -> c = waiting[0]; fail(c) :: else -> break od; c = 0; goto drive }
	fi;
step:	atomic {
		moved = 0;
		admit();
		collect();
		open_ahead();
		fill();
		if
		:: done[me] || moved -> goto drive
		:: else -> driver_asleep = 1
		fi
	}
#ifdef DRAINED_AFTER_STEP
	posted = 0;
#endif
	/* sleep_until: fst3fs_waker_wait */
	if
#ifdef WAKER_NEVER_DRAINS
	:: atomic { posted -> driver_asleep = 0; goto drive }
#else
	:: atomic { posted -> posted = 0; driver_asleep = 0; goto drive }
#endif
	:: atomic { MAY_INTERRUPT(me) -> driver_asleep = 0 }
		atomic { interrupt(me); goto drive }
	fi;
out:	atomic {
		if
		:: !driving -> hand_over()
		:: else
		fi
	}
}

proctype Caller(byte me)
{
	byte c, j;
	bit moved;

	atomic { unopened[me] = 1; set_up[me] = 1 } /* fst3fs_call_begin */
	engine_run(me);
	set_up[me] = 0 /* fst3fs_call_end */
}

/* ------------------------------------------------------------------ the others */

/* The storage: every request is answered some time, in any order. The post comes after the answer, and is for the session
 * that sent the request; when that has ended nobody can hear it. */
proctype Daemon()
{
end:	do
	:: atomic { flight[0] > 0 && !HELD_BACK(0) -> flight[0]--; landed[0]++ } if :: session -> posted = 1 :: else fi
	:: atomic { flight[1] > 0 && !HELD_BACK(1) -> flight[1]--; landed[1]++ } if :: session -> posted = 1 :: else fi
	:: atomic { flight[2] > 0 && !HELD_BACK(2) -> flight[2]--; landed[2]++ } if :: session -> posted = 1 :: else fi
	od
}

/* publish: a file is open and has pieces to be read, or the range ends here: nothing to read, or an error. */
inline publish(c)
{
	CLAIM(gone, IS_SERVED(c) && session);
	opening[c]--;
	if
	:: want[c] = want[c] + PIECES
	:: true
#ifdef REPLACED
	:: c == 0 && !replaced -> replaced = 1; stale = 1; missed++
#endif
	fi;
	if
	:: LEFT(c) == 0 -> finish(c)
	:: else
	fi;
#ifndef NO_POST_ON_OPEN
	posted = 1
#endif
}

proctype Opener()
{
	byte j;

end:	do
	:: atomic { opening[0] > 0 && !HELD_BACK(0) -> publish(0) }
	:: atomic { opening[1] > 0 && !HELD_BACK(1) -> publish(1) }
	:: atomic { opening[2] > 0 && !HELD_BACK(2) -> publish(2) }
	od
}

/* fst3fs_release: fst3fs_engine_pause, the end of the session, fst3fs_engine_resume. */
proctype Releaser(byte me)
{
	byte j;

	atomic { releasing++; goto check }
check:	atomic {
		if
#ifdef PAUSED_DESPITE_DRIVER
		:: served || nwaiting -> idle_asleep[me] = 1; goto doze
#else
		:: driving || served || nwaiting -> idle_asleep[me] = 1; goto doze
#endif
		:: else -> 
			CLAIM(gone, !driver_asleep && flight[0] + landed[0] + flight[1] + landed[1] + flight[2] + landed[2] == 0);
			session = 0
		fi
	}
	atomic { CLAIM(paused, !driving && !served && !nwaiting); goto resume }
doze:	if
	:: !idle_asleep[me] -> goto check
	:: impatient -> goto resume
	fi;
resume:	atomic { releasing--; idle_asleep[me] = 0; wake_idle() }
}

/* From some moment on nobody is interrupted any more, so that nothing can count on it. */
proctype Patience()
{
	impatient = 0
}

#ifdef BACKGROUND

/* must_end */
#ifdef GROWS_DESPITE_RELEASE
#define RELEASE_WAITS 0
#else
#define RELEASE_WAITS releasing
#endif
#ifdef GROWS_DESPITE_EXCLUSIVE
#define EXCLUSIVE_WAITS 0
#else
#define EXCLUSIVE_WAITS (nwaiting && waiting[0] == EXCLUSIVE)
#endif

/* feed: fst3fs_engine_append */
inline feed()
{
	if
	:: fresh && !done[0] && !interrupted[0] && !stale && !RELEASE_WAITS && !EXCLUSIVE_WAITS ->
		unopened[0] = unopened[0] + fresh;
		fresh = 0;
		CLAIM(gone, set_up[0]);
		nudge()
	:: else
	fi
}

proctype Background()
{
	byte c, j;
	bit moved;

next:	atomic {
		if
		:: stop || (!fresh && closed) -> goto finished
		:: !stop && fresh ->
			done[0] = 0;
			interrupted[0] = 0;
			unopened[0] = 1;
			fresh--;
#ifndef SET_UP_LATE
			set_up[0] = 1;
#endif
			running = 1;
			feed();
			goto start
		:: else -> work_asleep = 1
		fi
	}
	!work_asleep -> goto next;
start:	engine_run(0);
#ifdef REPLACED
	/* fst3fs_reader_run: a second time, when those that wait have had their turn; it must not count on its doze. */
	atomic {
		if
		:: stale && !interrupted[0] -> releasing++
		:: else -> goto ran
		fi
	}
pause:	atomic {
		if
		:: driving || served || nwaiting -> idle_asleep[0] = 1; goto dozes
		:: else -> session = 0; goto resume
		fi
	}
dozes:	!idle_asleep[0] -> goto pause;
resume:	atomic { releasing--; wake_idle() }
	atomic {
		if
		:: !interrupted[0] -> /* fst3fs_call_rewind */
			done[0] = 0;
			stale = 0;
			unopened[0] = missed;
			missed = 0;
			goto start
		:: else
		fi
	}
ran:	stale = 0;
#endif
	atomic { running = 0; set_up[0] = 0; cancelled = 0; goto next }
finished:
	atomic { fresh = 0; ended = 1 }
}

/* fst3fs_background_add_run, fst3fs_background_end */
proctype User()
{
	byte n, j;

	do
	:: n < RUNS ->
		atomic {
			n++;
			fresh++;
			closed = n == RUNS;
			if
			:: ended -> fresh = 0
			:: !ended && running -> feed()
			:: else
			fi;
			work_asleep = 0
		}
#ifdef GROWING
	/* There is always more as long as somebody waits for the reader. */
	:: atomic {
		n < RUNS && (releasing || (nwaiting && waiting[0] == EXCLUSIVE)) && !ended && fresh + LEFT(0) < 2 ->
		fresh++;
		if
		:: running -> feed()
		:: else
		fi;
		work_asleep = 0
	   }
#endif
	:: n <= RUNS -> break
	od;
	atomic {
		closed = 1;
		if
		:: /* at once */
			stop = 1;
			if
			:: running ->
				cancelled = 1;
#ifdef CANCELS_WHAT_RUNS
				if
				:: !done[0] -> interrupt(0)
				:: else
				fi;
#else
				interrupt(0); /* fst3fs_engine_cancel */
#endif
				nudge()
			:: else
			fi
		:: true
		fi;
		work_asleep = 0
	}
	ended
}

#endif

init
{
	byte i = FIRST_CALLER;

	atomic {
		session = 1;
		free_slots = SLOTS;
		do
		:: i < CALLS -> run Caller(i); i++
		:: else -> break
		od;
		do
		:: i < CALLS + RELEASERS -> run Releaser(i); i++
		:: else -> break
		od;
		i = 0;
		run Daemon();
		run Opener();
#ifdef BACKGROUND
		run Background();
		run User();
#endif
#ifdef INTERRUPTS
		run Patience()
#else
		impatient = 0
#endif
	}
}
