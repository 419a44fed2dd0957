/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory made resident ahead of its bytes: stretches that calls hand over, the pool of threads that take them, copiers that
 * are about to write there, and the end of a call and of the reader while work waits.
 *
 * Properties
 *   gone      Nobody touches a stretch, the populator or the pool after it was freed.
 *   once      A stretch is made resident by one thread alone, and once.
 *   forgot    When a call's stretches were forgotten, none of its memory is made resident any more, unless its faults hang.
 *   settled   Who was told that a place is settled writes where nobody makes pages any more, unless they hang.
 *   left      In the end every stretch, the populator and the pool are freed, but where a fault hangs.
 *   wake-up   Nobody sleeps for ever, although no wait has a time-out here but for what hangs.
 *   ends      No run goes on for ever.
 *
 * One call hands over a stretch or two and has a copier, which ends before the call does; another hands over one; the reader
 * ends when both have. A fault may hang for ever; from then on the waits that have a bound may end by it. A thread may be
 * refused. With TASKS nobody makes resident what is queued but the pool, and the calls wait for it, as others who use a pool do.
 *
 * Code
 *   add            [src/base/populator.c: fst3fs_populator_add]
 *   make           [src/base/populator.c: make_resident, allowed]
 *   Worker         [src/base/pool.c: pool_thread] [src/base/populator.c: stretch_run, unlink_stretch, unref]
 *   pool_run       [src/base/pool.c: fst3fs_pool_run]
 *   Copier         [src/base/populator.c: fst3fs_populator_settle, find] [src/dev/dev_host.c: copy_bytes]
 *   Call           [src/base/populator.c: fst3fs_populator_forget, has_begun]
 *                  [src/reader/engine/look_ahead.c: fst3fs_look_ahead] [src/reader/engine/engine.c: fst3fs_engine_run]
 *   End            [src/base/populator.c: fst3fs_populator_end] [src/base/pool.c: fst3fs_pool_leave]
 *                  [src/reader/engine/life.c: fst3fs_engine_fini] [src/dev/dev_host.c: host_close]
 *
 * run one: THREADS=1 STRETCHES=3
 * run two: THREADS=2 STRETCHES=2
 * run waits: THREADS=2 STRETCHES=2 WAITS
 * run tasks: THREADS=2 STRETCHES=3 TASKS
 * ends two: THREADS=2 STRETCHES=2
 * ends two + REFUSED_STAYS_QUEUED: ends
 * run tasks + NO_WORK_SIGNAL: wake-up
 * run two + NO_TELL: wake-up
 * run waits + NO_TELL_OF_LAST: wake-up
 * run two + FORGETS_NOT_BEGUN: forgot
 * run two + FORGETS_NOT_QUEUED: forgot
 * run two + SETTLES_NOT_BEGUN: settled
 * run two + TAKES_WHAT_BEGAN: once
 * run two + FREED_UNDER_COPIER: gone
 * run two + NOT_REFERRED: gone
 * run two + POOL_FREED_BY_OWNER: gone
 * run two + QUEUE_IS_DROPPED: left
 * run two + NOT_ABANDONED: left
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_gone, claim_once, claim_forgot, claim_settled, claim_left;

#define CALLS 2
#define OWNER(s) ((s) == 1) /* 1 is of call 1, the others of call 0 */

/* The populator, under its lock. */
mtype = { NONE, QUEUED, BEGUN, OVER, FREED };
mtype state[STRETCHES] = NONE;
byte refs = 1;
bit populator_freed;
bit moved_asleep[THREADS + 1 + CALLS]; /* on `moved`: workers, the copier, calls */

/* The pool, under its lock. */
byte queue[STRETCHES], queued, idle, threads;
byte begun_threads; /* how many there ever were */
bit pool_left, abandoned, pool_freed;
bit work_asleep[THREADS];
bit gone_asleep;

/* What the properties need. */
byte makers[STRETCHES];	 /* threads that make it resident right now */
bit forgotten[CALLS];
bit hung;
bit copied, ended[CALLS];

inline use_populator()
{
	CLAIM(gone, !populator_freed)
}

inline use_pool()
{
	CLAIM(gone, !pool_freed)
}

inline tell()
{
#ifdef NO_TELL
	skip
#else
	i = 0;
	do
	:: i < THREADS + 1 + CALLS -> moved_asleep[i] = 0; i++
	:: else -> break
	od;
	i = 0
#endif
}

/* Waits on `moved`; what does so without a bound waits for ever for what hangs. */
#define SLEEP(who) \
	if \
	:: !moved_asleep[who] \
	:: hung -> goto stuck \
	fi

/* unref, under the lock */
inline unref()
{
	use_populator();
	refs--;
	if
	:: refs == 0 -> populator_freed = 1
	:: else
	fi
}

/* make_resident, of a stretch that is queued: its beginning, under the lock. */
inline begin(s)
{
	use_populator();
	CLAIM(once, state[s] == QUEUED);
	if
	:: state[s] = BEGUN; makers[s]++
	:: true -> /* not allowed */
#ifndef REFUSED_STAYS_QUEUED
		state[s] = OVER;
		tell()
#else
		skip
#endif
	fi
}

/* ... the faults, without the lock. */
inline fault(s)
{
	if
	:: atomic { CLAIM(forgot, !forgotten[OWNER(s)]); CLAIM(once, makers[s] == 1) }
	:: hung = 1; goto stuck
	fi
}

/* ... and its end. */
inline made(s)
{
	CLAIM(gone, state[s] != FREED);
	use_populator();
	makers[s]--;
	state[s] = OVER;
	tell()
}

/* ------------------------------------------------------------------ the pool */

proctype Worker(byte me)
{
	byte s, i;

next:	atomic {
		use_pool();
		if
#ifdef QUEUE_IS_DROPPED
		:: pool_left -> goto leave
		:: queued > 0 && !pool_left ->
#else
		:: queued > 0 ->
#endif
			s = queue[0];
			queued--;
			for (i : 1 .. STRETCHES - 1) {
				queue[i - 1] = queue[i]
			}
			queue[STRETCHES - 1] = 0;
			i = 0;
			goto work
		:: queued == 0 && pool_left -> goto leave
		:: queued == 0 && !pool_left -> idle++; work_asleep[me] = 1
		fi
	}
	atomic { !work_asleep[me] -> use_pool(); idle--; goto next }

	/* stretch_run */
work:	atomic {
		CLAIM(gone, state[s] != FREED);
		if
#ifdef TAKES_WHAT_BEGAN
		:: state[s] != OVER -> begin(s)
#else
		:: state[s] == QUEUED -> begin(s)
#endif
		:: else -> goto wait
		fi;
		if
		:: state[s] == BEGUN
		:: else -> goto wait
		fi
	}
	fault(s);
	atomic { made(s) }
wait:	atomic {
		use_populator();
		if
#ifndef FREED_UNDER_COPIER
		:: state[s] == BEGUN -> moved_asleep[me] = 1
		:: else ->
#else
		:: true ->
#endif
			CLAIM(gone, state[s] != FREED);
			state[s] = FREED;
#ifndef NOT_REFERRED
			unref();
#endif
			s = 0;
			goto next
		fi
	}
	SLEEP(me);
	goto wait;

leave:	atomic {
		use_pool();
		threads--;
		if
		:: threads == 0 && abandoned -> pool_freed = 1
		:: threads == 0 && !abandoned ->
#ifndef NO_TELL_OF_LAST
			gone_asleep = 0
#else
			skip
#endif
		:: else
		fi;
		goto done
	}
stuck:
end_stuck:
	false;
done:	skip
}

/* fst3fs_pool_run: `taken` says whether there is a thread for it. */
inline pool_run(s)
{
	use_pool();
	if
	:: idle <= queued && begun_threads < THREADS ->
		threads++;
		begun_threads++;
		run Worker(begun_threads - 1)
	:: true /* there are enough, or none is to be had */
	fi;
	taken = threads > 0;
	if
	:: taken ->
		queue[queued] = s;
		queued++;
#ifndef NO_WORK_SIGNAL
		if
		:: work_asleep[0] -> work_asleep[0] = 0
#if THREADS > 1
		:: work_asleep[1] -> work_asleep[1] = 0
#endif
		:: else
		fi
#endif
	:: else
	fi
}

/* ------------------------------------------------------------------ who copies */

/* Is about to write where the first stretch lies. */
proctype Copier()
{
	byte i;

settle:	atomic {
		use_populator();
		if
		:: state[0] == QUEUED -> begin(0)
#ifndef SETTLES_NOT_BEGUN
		:: state[0] == BEGUN -> moved_asleep[THREADS] = 1; goto doze
#endif
		:: else -> goto write
		fi;
		if
		:: state[0] == BEGUN
		:: else -> goto settle
		fi
	}
	fault(0);
	atomic { made(0); goto settle }
doze:	if
	:: !moved_asleep[THREADS] -> goto settle
	:: hung -> moved_asleep[THREADS] = 0 /* A_WHILE_NS */
	fi;
write:	atomic { CLAIM(settled, hung || makers[0] == 0); copied = 1; goto done }
stuck:
end_stuck:
	false;
done:	skip
}

/* ------------------------------------------------------------------ calls, and the end of the reader */

/* fst3fs_populator_add */
inline add(s)
{
	atomic {
		use_populator();
		pool_run(s);
		if
		:: taken ->
			state[s] = QUEUED;
#ifndef NOT_REFERRED
			refs++;
#endif
			taken = 0
		:: else
		fi
	}
}

#define IS(s, owner, what) ((s) < STRETCHES && OWNER(s) == (owner) && state[s] == what)
#define ANY(owner, what) (IS(0, owner, what) || IS(1, owner, what) || IS(STRETCHES - 1, owner, what))

proctype Call(byte me)
{
	byte i;
	bit taken;

	add(me);
#if STRETCHES > 2
	if
	:: me == 0 -> add(2)
	:: else
	fi;
#endif
#ifdef TASKS
	!ANY(me, QUEUED) && !ANY(me, BEGUN) || hung;
#else
	if
	:: me == 0 -> run Copier(); copied || hung /* given up: a copier hangs where its memory does */
	:: else
	fi;
	/* fst3fs_populator_forget */
	atomic {
		use_populator();
#ifndef FORGETS_NOT_QUEUED
		do
		:: i < STRETCHES ->
			if
			:: IS(i, me, QUEUED) -> state[i] = OVER
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
#endif
	}
look:	atomic {
		use_populator();
		if
#ifndef FORGETS_NOT_BEGUN
		:: ANY(me, BEGUN) -> moved_asleep[THREADS + 1 + me] = 1
#endif
		:: else -> goto out
		fi
	}
	if
	:: !moved_asleep[THREADS + 1 + me] -> goto look
	:: hung -> moved_asleep[THREADS + 1 + me] = 0 /* PATIENCE_NS */
	fi;
out:	atomic { forgotten[me] = !hung };
#endif
	ended[me] = 1
}

/* fst3fs_pool_leave; with WAITS, for as long as it takes, as where a session's copiers end. */
proctype End()
{
	byte i;

	ended[0] && ended[1];
	atomic {
		use_pool();
		pool_left = 1;
		work_asleep[0] = 0;
#if THREADS > 1
		work_asleep[1] = 0
#endif
	}
check:	atomic {
		if
#ifdef WAITS
		:: threads > 0 -> gone_asleep = 1; goto doze
#endif
#ifdef POOL_FREED_BY_OWNER
		:: true -> pool_freed = 1
#else
		:: threads == 0 -> pool_freed = 1
#ifndef WAITS
		:: threads > 0 ->
#ifndef NOT_ABANDONED
			abandoned = 1
#else
			skip
#endif
#endif
#endif
		fi;
		goto last
	}
doze:	if
	:: !gone_asleep -> goto check
	:: hung -> gone_asleep = 0 /* this one alone would wait for ever */
		goto stuck
	fi;
last:	atomic { unref() }
	/* Everything is over when nothing moves any more, unless somebody sleeps. */
	timeout;
	atomic {
		do
		:: i < THREADS + 1 + CALLS && (hung || !moved_asleep[i]) -> i++
		:: i == THREADS + 1 + CALLS -> break
		od
	}
	CLAIM(left, hung || (populator_freed && pool_freed));
	CLAIM(left, hung || (!ANY(0, QUEUED) && !ANY(0, OVER) && !ANY(1, QUEUED) && !ANY(1, OVER)));
	goto done;
stuck:
end_stuck:
	false;
done:	skip
}

init
{
	atomic {
		run Call(0);
		run Call(1);
		run End()
	}
}
