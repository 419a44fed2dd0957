/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of tensors: its user gives addresses ahead, as far as a bound allows, takes tensors in order, and may leave at any
 * moment; a thread of the library reads what has its addresses. A batch is the same with all addresses given, and with
 * others that wait.
 *
 * Properties
 *   wake-up   Nobody sleeps for ever, although no wait has a time-out here: who takes a tensor is told when it is over, be it
 *             read, failed, missed by a call that is not run again, or dropped at the end; and the thread when there is work.
 *   whole     A tensor is handed over only when all its bytes have arrived.
 *   freed     Nothing is written into a tensor's memory after it was handed over, nor after the end has returned.
 *   gone      Nor does anybody touch what belongs to the stream then: ranges, targets, conditions.
 *   given     A range is read only when all its tensors have addresses.
 *   bound     The bytes under way are no more than the bound (it grows to that when reading had to wait, here at any time), or than the next tensor needs.
 *   asked     Whoever gives as long as addresses are wanted is never refused the next tensor for want of one.
 *   ends      No run goes on for ever.
 *
 * The engine delivers the pieces of the call that runs in any order, fails a range, misses one because its mount was replaced,
 * gives up, or is not let in, and is never asleep: that is in drive.pml. A piece is what a run has of a tensor. What a failed
 * range still has in flight lands where it was to, as it does without a copy.
 *
 * Code
 *   User           [src/reader/api/stream.c: fst3fs_stream_wants, fst3fs_stream_give, fst3fs_stream_next, fst3fs_stream_close,
 *                  can_complete_next, add_runs, look_further, fits, find_last_runs] [src/reader/api/batch.c: fst3fs_batch_wait,
 *                  fst3fs_batch_finish]
 *   add_run, wait  [src/reader/api/background.c: fst3fs_background_add_run, fst3fs_background_wait, is_over, outcome]
 *   leave          [src/reader/api/background.c: fst3fs_background_end, cancel]
 *   Thread         [src/reader/api/background.c: background_main, run, call_init, feed, end_stale, drop_fresh]
 *                  [src/reader/api/run.c: fst3fs_reader_run]
 *   Engine         [src/reader/engine/deliver.c: count_delivered] [src/reader/engine/call.c: fst3fs_entry_settle,
 *                  fst3fs_entry_end_targets, fst3fs_entry_fail]
 *   rewind         [src/reader/engine/call.c: fst3fs_call_rewind, stays_over, rewind_segments]
 *
 * run stream: STEP=1 AHEAD=2
 * run batch: STEP=4 AHEAD=4 WAITER
 * run missed: STEP=1 AHEAD=2 MISSES=1
 * run missed-batch: STEP=4 AHEAD=4 MISSES=1
 * ends stream: STEP=1 AHEAD=2
 * ends missed: STEP=1 AHEAD=2 MISSES=1
 * ends missed + RUN_AGAIN_FOR_EVER: ends
 * run stream + NO_TELL_ON_END: wake-up
 * run stream + NO_TELL_AT_THE_END: wake-up
 * run stream + NO_WORK_SIGNAL: wake-up
 * run missed + MISSED_IS_UNTOLD: wake-up
 * run missed-batch + COUNTED_AGAIN: whole
 * run missed + WHOLE_IS_READ_AGAIN: freed
 * run stream + LEAVES_AT_ONCE: gone
 * run stream + LEAVES_WITH_THE_CALL: gone
 * run stream + RUN_BEFORE_ADDRESSES: given
 * run stream + WANTS_FOR_EVER: bound
 * run stream + WANTS_UP_TO_BOUND: asked
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_whole, claim_freed, claim_gone, claim_given, claim_bound, claim_asked;

/* Three tensors in two runs: pieces 0 and 1 are run 0's, 2 and 3 run 1's, and tensor 1 lies in both. */
#define TENSORS 3
#define RUNS 2
#define PIECES 4
#define TENSOR(p) (((p) + 1) / 2)
#define RUN(p) ((p) / 2)
#define BYTES(t) ((t) == 1 -> 2 : 1)
#define RUNS_NEEDED(t) ((t) == 0 -> 1 : 2)
#define LAST_TENSOR(r) ((r) + 1)
#ifdef WAITER
bit waiter_ended;
#endif
#ifndef MISSES
#define MISSES 0
#endif

/* The user's own. */
byte given, taken, under_way, added, allowed = STEP; /* how far ahead, which grows */

/* Under the engine's lock. */
mtype = { NONE, FRESH, IN_CALL, OVER };
mtype state[RUNS] = NONE;
bit failed[RUNS], missed[RUNS], told[RUNS]; /* what became of it; its targets know that it has ended */
bit requested[PIECES], flight[PIECES], delivered[PIECES], nowhere[PIECES];
byte left[TENSORS], pending[TENSORS];
bit error[TENSORS];
bit running, done, stale, interrupted, closed, stop, ended;
bit work_asleep, moved_asleep[2];

/* What the properties need. */
byte misses;
bit arrived[PIECES], handed_over[TENSORS], gone;
bit impatient = 1; /* who waits may be interrupted, but need not */

inline touch()
{
	CLAIM(gone, !gone)
}

/* pthread_cond_broadcast(&moved) */
inline tell()
{
	touch();
	moved_asleep[0] = 0;
	moved_asleep[1] = 0
}

/* fst3fs_entry_end_targets, of run r */
inline end_targets(r, bad)
{
	if
	:: !told[r] ->
		told[r] = 1;
		end_target(LAST_TENSOR(r) - 1, bad);
		end_target(LAST_TENSOR(r), bad)
	:: else
	fi;
#ifndef NO_TELL_ON_END
	tell()
#else
	touch()
#endif
}

inline end_target(t, bad)
{
	pending[t]--;
	if
	:: left[t] > 0 && bad -> error[t] = 1
	:: else
	fi
}

/* ------------------------------------------------------------------ the engine, in the call that runs */

#define FLIES(r) (flight[2 * (r)] || flight[2 * (r) + 1])
#define ALL_REQUESTED(r) (requested[2 * (r)] && requested[2 * (r) + 1])

/* fst3fs_entry_settle, and finish_call with the last range of the call. */
inline settle(r)
{
	if
	:: state[r] == IN_CALL && !FLIES(r) && (failed[r] || ALL_REQUESTED(r)) ->
		state[r] = OVER;
		if
		:: !stale -> end_targets(r, failed[r])
		:: else
		fi;
		done = state[0] != IN_CALL && state[1] != IN_CALL
	:: else
	fi
}

/* fst3fs_entry_fail */
inline fail(r)
{
	touch();
	if
	:: state[r] == IN_CALL -> failed[r] = 1; settle(r)
	:: else
	fi
}

/* fst3fs_engine_cancel */
inline cancel()
{
	stop = 1;
	if
	:: running && !interrupted ->
		interrupted = 1;
		fail(0);
		fail(1)
	:: else
	fi;
	work_asleep = 0
}

inline request(p)
{
	CLAIM(given, TENSOR(p) < given);
	touch();
	requested[p] = 1;
	flight[p] = 1
}

/* release_slot, count_delivered */
inline land(p)
{
	touch();
	CLAIM(freed, nowhere[p] || !handed_over[TENSOR(p)]);
	flight[p] = 0;
	if
	:: !failed[RUN(p)] ->
		arrived[p] = 1;
		if
#ifdef COUNTED_AGAIN
		:: left[TENSOR(p)] > 0 ->
#else
		:: !delivered[p] ->
#endif
			delivered[p] = 1;
			left[TENSOR(p)]--;
			if
			:: left[TENSOR(p)] == 0 -> tell()
			:: else
			fi
		:: else
		fi
	:: else
	fi;
	settle(RUN(p))
}

#define PIECE(p) \
	:: atomic { running && !done && state[RUN(p)] == IN_CALL && !failed[RUN(p)] && !requested[p] -> request(p) } \
	:: atomic { running && !done && flight[p] -> land(p) } \
	:: atomic { running && !done && flight[p] -> failed[RUN(p)] = 1; land(p) }

#define RANGE(r) \
	:: atomic { running && !done && state[r] == IN_CALL && !failed[r] -> fail(r) } \
	:: atomic { \
		running && !done && state[r] == IN_CALL && !failed[r] && !requested[2 * r] && !requested[2 * r + 1] && \
			misses < MISSES -> \
		misses++; \
		stale = 1; \
		missed[r] = 1; \
		fail(r) \
	   }

proctype Engine()
{
end:	do
	PIECE(0) PIECE(1) PIECE(2) PIECE(3)
	RANGE(0) RANGE(1)
	od
}

/* ------------------------------------------------------------------ the thread */

/* feed: fst3fs_engine_append refuses a call that is ending, and at times one that others wait for. */
inline feed()
{
	if
	:: !done && !interrupted && !stale ->
		if
		:: state[0] == FRESH -> state[0] = IN_CALL
		:: else
		fi;
		if
		:: state[1] == FRESH -> state[1] = IN_CALL
		:: else
		fi
	:: true
	fi
}

/* drop_fresh */
inline drop_fresh()
{
	if
	:: state[0] == FRESH -> state[0] = OVER; end_targets(0, 1)
	:: else
	fi;
	if
	:: state[1] == FRESH -> state[1] = OVER; end_targets(1, 1)
	:: else
	fi
}

/* fst3fs_call_rewind of run r, which is in the call: what was read, or had failed before, stays over. */
inline rewind(r)
{
	if
	:: state[r] == OVER && in_call[r] && !failed[r] -> end_targets(r, 0)
	:: state[r] == OVER && in_call[r] && failed[r] && !told[r] ->
		state[r] = IN_CALL;
		failed[r] = 0;
		missed[r] = 0;
		requested[2 * r] = 0;
		requested[2 * r + 1] = 0;
		rewind_piece(2 * r);
		rewind_piece(2 * r + 1);
		done = 0
	:: else
	fi
}

/* rewind_segments: a piece is a segment, whole or not delivered. */
inline rewind_piece(p)
{
#ifndef WHOLE_IS_READ_AGAIN
	nowhere[p] = delivered[p]
#else
	skip
#endif
}

/* end_stale */
inline end_stale(r)
{
#ifdef MISSED_IS_UNTOLD
	skip
#else
	if
	:: stale && in_call[r] -> end_targets(r, failed[r])
	:: else
	fi
#endif
}

proctype Thread()
{
	bit in_call[RUNS], again;

next:	atomic {
		touch();
		if
		:: stop || (closed && state[0] != FRESH && state[1] != FRESH) -> goto finished
		:: !stop && (state[0] == FRESH || state[1] == FRESH) ->
			/* call_init */
			done = 0;
			stale = 0;
			interrupted = 0;
			if
			:: state[0] == FRESH -> state[0] = IN_CALL
			:: else -> state[1] = IN_CALL
			fi;
			running = 1;
			feed();
			goto wait
		:: else -> work_asleep = 1
		fi
	}
	!work_asleep -> goto next;
	/* fst3fs_reader_run, where the mount was replaced a second time; or not, when it was given up or cannot wait. */
wait:	atomic {
		done ->
		in_call[0] = in_call[0] || (state[0] != NONE && state[0] != FRESH && !told[0]);
		in_call[1] = in_call[1] || (state[1] != NONE && state[1] != FRESH && !told[1]);
		if
#ifdef RUN_AGAIN_FOR_EVER
		:: stale && !interrupted -> misses = 0 /* the mount is replaced each time */
#else
		:: stale && !interrupted && !again -> again = 1
#endif
		:: true -> goto ran
		fi
	}
	/* Between the two runs others add and cancel. */
	atomic {
		if
		:: !interrupted ->
			stale = 0;
			rewind(0);
			rewind(1);
			goto wait
		:: else
		fi
	}
ran:	atomic {
		touch();
		running = 0;
		end_stale(0);
		end_stale(1);
		in_call[0] = 0;
		in_call[1] = 0;
		again = 0;
		goto next
	}
finished:
	atomic {
		drop_fresh();
		ended = 1;
#ifndef NO_TELL_AT_THE_END
		tell()
#endif
	}
}

/* ------------------------------------------------------------------ the user */

#define IS_OVER(t) (left[t] == 0 || pending[t] == 0 || error[t] || ended)
#define CAN_COMPLETE_NEXT (taken < given && RUNS_NEEDED(taken) <= added)
#define FITS (under_way + BYTES(given) <= allowed)

/* The bytes that are under way when the next tensor has what it needs. */
#define NEXT_NEEDS (taken == 0 -> 3 : (taken == 1 -> 3 : 1))

/* fst3fs_background_add_run */
inline add_run()
{
	atomic {
		touch();
		state[added] = FRESH;
		added++;
		closed = added == RUNS;
		if
		:: ended -> drop_fresh()
		:: !ended && running -> feed()
		:: else
		fi;
#ifndef NO_WORK_SIGNAL
		work_asleep = 0
#endif
	}
}

/* fst3fs_stream_give */
inline give()
{
	under_way = under_way + BYTES(given);
	given++;
	CLAIM(bound, under_way <= AHEAD || under_way <= NEXT_NEEDS);
#ifdef RUN_BEFORE_ADDRESSES
	if
	:: added < RUNS && LAST_TENSOR(added) - 1 < given -> add_run()
#else
	if
	:: added < RUNS && LAST_TENSOR(added) < given -> add_run()
#endif
	:: else
	fi
}

/* fst3fs_background_wait: of `who`, for tensor t. */
#define WAIT(who, t, over, interrupted_at) \
	do \
	:: atomic { IS_OVER(t) -> touch(); goto over } \
	:: atomic { !IS_OVER(t) -> touch(); moved_asleep[who] = 1 } \
		if \
		:: !moved_asleep[who] \
		:: atomic { moved_asleep[who] && impatient -> moved_asleep[who] = 0; goto interrupted_at } \
		fi \
	od

proctype User()
{
more:	do
	/* fst3fs_stream_wants */
#ifdef WANTS_FOR_EVER
	:: given < TENSORS -> give()
	:: given == TENSORS -> break
#else
#ifdef WANTS_UP_TO_BOUND
	:: given < TENSORS && FITS -> give()
	:: given == TENSORS || !FITS -> break
#else
	:: given < TENSORS && (FITS || !CAN_COMPLETE_NEXT) -> give()
	:: given < TENSORS && !FITS && CAN_COMPLETE_NEXT && allowed < AHEAD -> allowed = allowed + STEP /* look_further */
	:: given == TENSORS || (!FITS && CAN_COMPLETE_NEXT) -> break
#endif
#endif
	od;
	if
	:: taken == TENSORS -> goto leave
	:: taken < TENSORS -> CLAIM(asked, CAN_COMPLETE_NEXT)
	:: goto leave /* early */
	fi;
	WAIT(0, taken, over, leave);
over:	atomic {
		if
		:: left[taken] == 0 ->
			CLAIM(whole, (TENSOR(0) != taken || arrived[0]) && (TENSOR(1) != taken || arrived[1]) &&
					     (TENSOR(2) != taken || arrived[2]) && (TENSOR(3) != taken || arrived[3]));
			handed_over[taken] = 1;
			under_way = under_way - BYTES(taken);
			taken++;
			goto more
		:: else
		fi
	}
	/* fst3fs_background_end: at once, or first when everything was read, and then at once where it is interrupted. */
leave:
#ifdef WAITER
	waiter_ended;
#endif
	atomic {
		closed = 1;
		if
		:: cancel()
		:: added == RUNS -> work_asleep = 0
		fi
	}
#ifdef LEAVES_AT_ONCE
	goto out;
#endif
#ifdef LEAVES_WITH_THE_CALL
	!running -> goto out;
#endif
ending:	do
	:: atomic { ended -> goto out }
	:: atomic { !ended -> moved_asleep[0] = 1 }
		if
		:: !moved_asleep[0]
		:: atomic { moved_asleep[0] && impatient && !stop -> moved_asleep[0] = 0; cancel() }
		fi
	od;
out:	atomic {
		handed_over[0] = 1;
		handed_over[1] = 1;
		handed_over[2] = 1;
		gone = 1
	}
}

#ifdef WAITER
/* Another thread, which waits for the last. */
proctype Waiter()
{
	added == RUNS;
	WAIT(1, TENSORS - 1, over, over);
over:	waiter_ended = 1
}
#endif

/* From some moment on nobody is interrupted any more, so that nothing can count on it. */
proctype Patience()
{
	impatient = 0
}

init
{
	byte p;

	atomic {
		for (p : 0 .. PIECES - 1) {
			left[TENSOR(p)]++;
			pending[TENSOR(p)]++
		}
		p = 0;
		run Engine();
		run Thread();
		run User();
#ifdef WAITER
		run Waiter();
#endif
		run Patience()
	}
}
