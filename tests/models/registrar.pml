/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registering thread of a client: commands that may hang with the mount are queued to it; who waits for one does so for a
 * bounded time, then leaves it to the thread, which undoes it.
 *
 * Properties
 *   gone      Nobody touches a command or a client that was freed, and no probe posts a semaphore that was unmapped.
 *   once      A command is queued once at a time and freed once; a task is ended once.
 *   left      When the thread ends, nothing is registered that its user does not still have, or whose deregistration the
 *             mount has refused. In the end nothing is registered, every command is freed, the task has ended, the directory
 *             is closed and the client is freed.
 *   wake-up   Every call ends, though the mount hangs for ever; and, when it answers, by the answer, without a time-out.
 *   ends      No run goes on for ever.
 *
 * Waits may time out at any time until somebody is patient; from then on only where the thread hangs. A command fails or works as it
 * likes. Who makes buffers and rings holds the client, and may let go of them after it was closed; who has tasks run closes the
 * client after them, as the transports do. Looking at the mount for a probe ends by itself.
 *
 * Code
 *   Thread         [src/usrbio/registrar.c: registrar_main, run_next, run, reverse, look, enqueue, dequeue]
 *   call           [src/usrbio/registrar.c: usrbio_registrar_call, give_away]
 *   post           [src/usrbio/registrar.c: usrbio_registrar_post]
 *   Holder         [src/usrbio/client.c: usrbio_client_link, usrbio_client_unlink, usrbio_client_probe,
 *                  usrbio_client_unnotify] [src/usrbio/ior.c: usrbio_ior_destroy] [src/usrbio/iov.c: usrbio_iov_destroy]
 *   task           [src/usrbio/client.c: usrbio_client_run, usrbio_client_end]
 *   Owner          [src/usrbio/client.c: usrbio_client_open, usrbio_client_close]
 *
 * run links: LINKS=2
 * ends links: LINKS=1
 * ends links + LOOKS_FOR_EVER: ends
 * run links + NO_SIGNAL: wake-up
 * run links + NO_SIGNAL_ON_CLOSE: wake-up
 * run links + CALLER_FREES_TOO: once
 * run links + BEGUN_IS_FREED: gone
 * run links + NOT_HELD_BY_THREAD: gone
 * run links + STILL_NOTIFIED: gone
 * run links + NOT_REVERSED: left
 * run links + ENDS_WITH_A_QUEUE: left
 * run links + TASK_IS_DROPPED: left
 * run links + POST_IGNORES_END: left
 */

/* An assertion by its name, which the search prints. */
#define CLAIM(name, condition) assert((condition) || claim_##name)
hidden byte claim_gone, claim_once, claim_left;

/* Commands: one opens the directory, LINKS register a buffer or a ring, and one runs a task. Each is one allocation, which
 * lives on as the registration. */
#define OPEN_CMD 0
#define TASK_CMD (LINKS + 1)
#define CMDS (LINKS + 2)

mtype = { OPEN, LINK, UNLINK, RUN, END };
mtype = { IDLE, QUEUED, RUNNING, DONE };
mtype op[CMDS] = LINK, state[CMDS] = IDLE;
bit orphan[CMDS], ok[CMDS], freed[CMDS];

/* The client, under its lock. */
byte queue[CMDS], queued;
byte refs = 1;
bit closing, ended, look;
bit asleep;		 /* the thread, on `work` */
byte notify;		 /* whose semaphore a look may post; 0 = nobody's */

/* The mount. */
bit dir_open;
bit registered[CMDS];	 /* in the directory, by name */
bit unlink_failed[CMDS]; /* on a read-only mount */

/* What the properties need. */
bit wanted[CMDS];	 /* nobody has asked for its end yet */
bit semaphore[CMDS];	 /* the ring's memory is there */
bit task_ended;
bit hung;		 /* the thread hangs in the kernel for ever */
bit impatient = 1;	 /* waits may time out, but need not */

inline use(cmd)
{
	CLAIM(gone, refs > 0 && !freed[cmd])
}

inline release(cmd)
{
	CLAIM(once, !freed[cmd]);
	freed[cmd] = 1
}

inline enqueue(cmd)
{
	CLAIM(once, state[cmd] != QUEUED && state[cmd] != RUNNING);
	state[cmd] = QUEUED;
	wanted[cmd] = op[cmd] == LINK || op[cmd] == RUN;
	queue[queued] = cmd;
	queued++;
#ifndef NO_SIGNAL
	asleep = 0
#endif
}

inline dequeue(cmd)
{
	j = 0;
	do
	:: queue[j] != cmd -> j++
	:: else -> break
	od;
	queued--;
	do
	:: j < queued -> queue[j] = queue[j + 1]; j++
	:: else -> break
	od;
	queue[queued] = 0;
	j = 0
}

/* ------------------------------------------------------------------ the thread */

/* run: without the lock, and perhaps for ever. */
inline perform(cmd)
{
	if
	:: true
	:: hung = 1;
end_hangs:	false
	fi;
	atomic {
		use(cmd);
		if
		:: op[cmd] == OPEN -> dir_open = 1; ok[cmd] = 1
		:: op[cmd] == LINK -> registered[cmd] = 1; ok[cmd] = 1
		:: op[cmd] == UNLINK -> registered[cmd] = 0; ok[cmd] = 1
		:: op[cmd] == UNLINK -> unlink_failed[cmd] = 1; ok[cmd] = 0
		:: op[cmd] == RUN -> CLAIM(gone, !task_ended); registered[cmd] = 1; ok[cmd] = 1
		:: op[cmd] == RUN -> CLAIM(gone, !task_ended); registered[cmd] = 1; ok[cmd] = 0
		:: op[cmd] == END -> CLAIM(once, !task_ended); registered[cmd] = 0; task_ended = 1; ok[cmd] = 1
		:: op[cmd] == OPEN || op[cmd] == LINK -> ok[cmd] = 0
		fi
	}
}

/* The second half of run_next, and reverse. */
inline finish(cmd)
{
	use(cmd);
	if
	:: !orphan[cmd] -> state[cmd] = DONE
	:: else ->
		state[cmd] = IDLE;
		if
#ifndef NOT_REVERSED
		:: op[cmd] == LINK && ok[cmd] -> op[cmd] = UNLINK; enqueue(cmd)
#endif
		:: op[cmd] == RUN -> op[cmd] = END; enqueue(cmd)
		:: else -> release(cmd)
		fi
	fi
}

/* Closing the directory takes away what is left. Before that, only what somebody still has may be there. */
inline end()
{
	do
	:: j < CMDS ->
		CLAIM(left, !registered[j] || wanted[j] || unlink_failed[j]);
		registered[j] = 0;
		j++
	:: else -> break
	od;
	j = 0;
	dir_open = 0;
	ended = 1
}

proctype Thread()
{
	byte cmd, j;

next:	atomic {
		CLAIM(gone, refs > 0);
		if
#ifdef ENDS_WITH_A_QUEUE
		:: closing -> end(); goto last
		:: !closing && queued ->
#else
		:: queued ->
#endif
			cmd = queue[0];
			dequeue(cmd);
			state[cmd] = RUNNING;
			goto work
		:: !queued && look -> goto looks
		:: !queued && !look && closing -> end(); goto last
		:: !queued && !look && !closing -> asleep = 1
		fi
	}
	!asleep -> goto next;
work:	perform(cmd);
	atomic { finish(cmd); cmd = 0; goto next }
looks:	/* look: the daemon is there, or gone. */
	atomic {
		CLAIM(gone, refs > 0);
#ifndef LOOKS_FOR_EVER
		look = 0;
#endif
		if
		:: true
		:: notify -> CLAIM(gone, semaphore[notify])
		fi;
		goto next
	}
last:	atomic { CLAIM(gone, refs > 0); refs-- }
}

/* ------------------------------------------------------------------ those who call */

/* give_away */
inline give_away(cmd)
{
	orphan[cmd] = 1;
	wanted[cmd] = 0;
	if
#ifdef BEGUN_IS_FREED
	:: state[cmd] == RUNNING -> release(cmd)
#endif
	:: op[cmd] != UNLINK && state[cmd] == QUEUED ->
		dequeue(cmd);
		state[cmd] = IDLE;
#ifndef TASK_IS_DROPPED
		if
		:: op[cmd] == RUN -> op[cmd] = END; enqueue(cmd)
		:: else -> release(cmd)
		fi
#else
		release(cmd)
#endif
	:: else
	fi
}

/* usrbio_registrar_call: `got` = it has run, and `given` = it is the thread's now. */
inline call(cmd)
{
	atomic {
		got = 0;
		given = 0;
		CLAIM(gone, refs > 0);
		if
		:: !closing -> enqueue(cmd)
		:: else -> refused = 1 /* -ENOTCONN */
		fi
	}
	if
	:: refused
	:: atomic { !refused && state[cmd] == DONE -> got = ok[cmd] }
	:: atomic { !refused && state[cmd] != DONE && (impatient || hung) -> give_away(cmd); given = 1 } /* -ETIMEDOUT */
	fi;
	refused = 0
}

/* usrbio_registrar_post */
inline post(cmd)
{
	atomic {
		CLAIM(gone, refs > 0);
		orphan[cmd] = 1;
#ifdef POST_IGNORES_END
		enqueue(cmd)
#else
		if
		:: ended -> release(cmd)
		:: else -> enqueue(cmd)
		fi
#endif
	}
}

/* usrbio_iov_create..., usrbio_ior_create..., and their end; `cmd` may be a ring, whose semaphore a probe posts. */
proctype Holder(byte cmd)
{
	byte j;
	bit got, given, refused;

	semaphore[cmd] = 1;
	call(cmd);
	if
#ifdef CALLER_FREES_TOO
	:: given -> atomic { release(cmd) }
#else
	:: given
#endif
	:: !given && !got -> atomic { release(cmd) }
	:: else ->
		if
		:: atomic { cmd == 1 -> notify = cmd; look = 1; asleep = 0 } /* usrbio_client_probe */
		:: true
		fi;
#ifndef STILL_NOTIFIED
		atomic {
			if
			:: notify == cmd -> notify = 0 /* usrbio_client_unnotify */
			:: else
			fi
		}
#endif
		/* usrbio_client_unlink: waits, or does not. */
		if
		:: true ->
			op[cmd] = UNLINK;
			post(cmd)
		:: true ->
			atomic { op[cmd] = UNLINK; state[cmd] = IDLE }
			call(cmd);
			if
			:: given
			:: else -> atomic { release(cmd) }
			fi
		fi
	fi;
	atomic { semaphore[cmd] = 0; CLAIM(gone, refs > 0); refs-- }
}

/* usrbio_client_run, usrbio_client_end: of one who closes the client after that. */
inline task()
{
	op[TASK_CMD] = RUN;
	call(TASK_CMD);
	if
	:: given
	:: else ->
		atomic { op[TASK_CMD] = END; state[TASK_CMD] = IDLE }
		post(TASK_CMD)
	fi
}

/* usrbio_client_open ... usrbio_client_close */
proctype Owner()
{
	byte j, i;
	bit got, given, refused;

#ifndef NOT_HELD_BY_THREAD
	refs++;
#endif
	run Thread();
	op[OPEN_CMD] = OPEN;
	call(OPEN_CMD);
	if
	:: given
	:: else -> atomic { release(OPEN_CMD) }
	fi;
	if
	:: got ->
		do
		:: i < LINKS -> atomic { i++; refs++; run Holder(i) }
		:: else -> break
		od;
		task()
	:: else ->
		/* No memory was asked for these. */
		atomic {
			do
			:: i < CMDS - 1 -> i++; freed[i] = 1
			:: else -> break
			od;
			task_ended = 1
		}
	fi;
	atomic {
		closing = 1;
		notify = 0;
#ifndef NO_SIGNAL_ON_CLOSE
		asleep = 0
#endif
	}
	if
	:: ended
	:: impatient || hung
	fi;
	atomic { CLAIM(gone, refs > 0); refs-- }
}

proctype Patience()
{
	impatient = 0
}

init
{
	byte i;

	atomic { run Patience(); run Owner() }
end_hangs:
	_nr_pr == 1;
	atomic {
		/* Everybody has ended, and so the thread. */
		CLAIM(left, ended && refs == 0 && task_ended && !dir_open);
		do
		:: i < CMDS -> CLAIM(left, freed[i] && !registered[i]); i++
		:: else -> break
		od
	}
}
