/* SPDX-License-Identifier: Apache-2.0 */
#include "inject.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "got.h"
#include "held.h"
#include "hooks.h"

enum how {
	NEVER,		 /* only watched */
	NULL_ERRNO,	 /* NULL, with errno */
	ZERO_ERRNO,	 /* the same for a count */
	MINUS_ERRNO,	 /* -1, with errno */
	CODE,		 /* the errno itself */
	DONE_ERRNO,	 /* -1, with errno, but it is done: as the kernel and the C library close */
	NO_LIBRARY,	 /* as for a library that is not there */
	NO_MEMORY,	 /* NULL, with MemoryError */
	NO_MEMORY_MINUS, /* -1, with MemoryError */
	INTERRUPT,	 /* -1, with KeyboardInterrupt */
};

/* Any function whose arguments are integers and pointers: in registers, and behind them on the caller's stack, where
 * reading more than there are is harmless. */
#define PARAMETERS                                                                                                     \
	long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l, long m,        \
		long n, long o, long p, long q, long r, long s, long t
#define ARGUMENTS a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t
typedef long (*any_fn)(PARAMETERS);
typedef const long arguments[20];

enum hook_id {
#define X(name, how, code, other) HOOK_##name,
	INJECT_HOOKS(X)
#undef X
		HOOKS
};

struct hook {
	const char *name;
	enum how how;
	int code, other;
	any_fn wrapper, real;
};

enum { CALLS = 1 << 16 };

struct call {
	enum hook_id id;
	void *site;
};

static atomic_long counted_there, victim;
static _Atomic(size_t) victims_place;
static atomic_bool armed, second_code;
static _Atomic(const struct hook *) failed;

/* Calls since the last inject_arm, and the first of them; one that is counted is also written down. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counted;
static struct call calls[CALLS];

static long watched(enum hook_id id, void *site, arguments args);

#define X(name, how, code, other)                                                                                      \
	static long wrap_##name(PARAMETERS)                                                                            \
	{                                                                                                              \
		return watched(HOOK_##name, __builtin_return_address(0), (arguments){ARGUMENTS});                      \
	}
INJECT_HOOKS(X)
#undef X

static struct hook hooks[HOOKS] = {
#define X(name, how, code, other) {#name, how, code, other, wrap_##name, NULL},
	INJECT_HOOKS(X)
#undef X
};

static long call(any_fn fn, arguments v)
{
	return fn(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15],
		  v[16], v[17], v[18], v[19]);
}

/* ------------------------------------------------------------------ failing */

/* Python's own, which a C program does not have. */
static void raise_in_python(const char *exception)
{
	void (*set_none)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "PyErr_SetNone");
	void **type = dlsym(RTLD_DEFAULT, exception);

	set_none(*type);
}

static int code_of(const struct hook *hook)
{
	return atomic_load(&second_code) && hook->other ? hook->other : hook->code;
}

static long fail(const struct hook *hook, arguments args)
{
	const int code = code_of(hook);

	switch (hook->how) {
	case CODE:
		return code;
	case DONE_ERRNO:
		call(hook->real, args);
		break;
	case NO_LIBRARY:
		return (long)(intptr_t)dlopen("/there/is/no/such/library", RTLD_NOW);
	case NO_MEMORY:
	case NO_MEMORY_MINUS:
		raise_in_python("PyExc_MemoryError");
		return hook->how == NO_MEMORY ? 0 : -1;
	case INTERRUPT:
		raise_in_python("PyExc_KeyboardInterrupt");
		return -1;
	default:
		break;
	}
	errno = code;
	return hook->how == NULL_ERRNO || hook->how == ZERO_ERRNO ? 0 : -1;
}

static void count(enum hook_id id, void *site)
{
	pthread_mutex_lock(&lock);
	if (counted < CALLS)
		calls[counted] = (struct call){.id = id, .site = site};
	counted++;
	pthread_mutex_unlock(&lock);
}

static long count_so_far(void)
{
	long n;

	pthread_mutex_lock(&lock);
	n = counted;
	pthread_mutex_unlock(&lock);
	return n;
}

static void count_anew(void)
{
	pthread_mutex_lock(&lock);
	counted = 0;
	pthread_mutex_unlock(&lock);
}

/* Is it this call's turn? */
static bool is_victim(enum hook_id id, void *site)
{
	if (!atomic_load(&armed) || hooks[id].how == NEVER)
		return false;
	count(id, site);
	return (size_t)(uintptr_t)site == atomic_load(&victims_place) &&
	       atomic_fetch_add(&counted_there, 1) + 1 == atomic_load(&victim);
}

/* ------------------------------------------------------------------ what it holds */

/* Before the call, because another thread may get the same address as soon as it is free. */
static void note_release(enum hook_id id, arguments args)
{
	switch (id) {
	case HOOK_free:
	case HOOK_fclose:
	case HOOK_closedir:
	case HOOK_realloc:
	case HOOK_reallocarray:
		held_remove((void *)args[0]);
		break;
	case HOOK___getdelim:
		held_remove(*(void **)args[0]);
		break;
	default:
		break;
	}
}

static void note_scandir(void *site, int n, void **entries)
{
	for (int i = 0; i < n; i++)
		held_add(entries[i], site);
	held_add(entries, site);
}

static void note_made(enum hook_id id, void *site, arguments args, long result)
{
	switch (id) {
	case HOOK_realpath: /* but not into a buffer that the caller brought */
		held_add(args[1] ? NULL : (void *)result, site);
		break;
	case HOOK_realloc:
	case HOOK_reallocarray: /* one that fails leaves what there was */
		held_add((void *)(result ? result : args[0]), site);
		break;
	case HOOK_malloc:
	case HOOK_calloc:
	case HOOK_strdup:
	case HOOK_strndup:
	case HOOK_fopen64:
	case HOOK_opendir:
		held_add((void *)result, site);
		break;
	case HOOK_asprintf:
		held_add((int)result < 0 ? NULL : *(void **)args[0], site);
		break;
	case HOOK___getdelim:
		held_add(*(void **)args[0], site);
		break;
	case HOOK_scandir64:
		if ((int)result >= 0)
			note_scandir(site, (int)result, *(void ***)args[1]);
		break;
	case HOOK_mmap64: /* in the place of another, it is no more than there was */
		held_map(result == -1 || (args[3] & MAP_FIXED) ? 0 : args[1]);
		break;
	case HOOK_munmap:
		held_map((int)result == 0 ? -args[1] : 0);
		break;
	default:
		break;
	}
}

static long watched(enum hook_id id, void *site, arguments args)
{
	const struct hook *hook = &hooks[id];
	long result;
	int code;

	if (is_victim(id, site)) {
		atomic_store(&failed, hook);
		if (hook->how == DONE_ERRNO)
			note_release(id, args);
		return fail(hook, args);
	}
	note_release(id, args);
	result = call(hook->real, args);
	code = errno;
	note_made(id, site, args, result);
	errno = code;
	return result;
}

/* ------------------------------------------------------------------ from outside */

static void *wrapper_of(const char *name)
{
	for (int i = 0; i < HOOKS; i++) {
		if (strcmp(hooks[i].name, name) != 0)
			continue;
		hooks[i].real = (any_fn)dlsym(RTLD_DEFAULT, name);
		return hooks[i].real ? (void *)hooks[i].wrapper : NULL;
	}
	return NULL;
}

int inject_hook(const char *name)
{
	return got_replace(name, wrapper_of);
}

void inject_arm(size_t place, long nth, int second)
{
	atomic_store(&victims_place, place);
	atomic_store(&counted_there, 0);
	atomic_store(&second_code, second != 0);
	count_anew();
	atomic_store(&failed, NULL);
	atomic_store(&victim, nth);
	atomic_store(&armed, true);
}

long inject_disarm(void)
{
	atomic_store(&armed, false);
	return count_so_far();
}

const char *inject_failed(int *code)
{
	const struct hook *hook = atomic_load(&failed);

	*code = hook ? code_of(hook) : 0;
	return hook ? hook->name : "";
}

int inject_has_second(const char *function)
{
	for (int i = 0; i < HOOKS; i++)
		if (strcmp(hooks[i].name, function) == 0)
			return hooks[i].other != 0;
	return 0;
}

const char *inject_call(long nth, size_t *place)
{
	struct call c;

	if (nth < 1 || nth > CALLS || nth > count_so_far())
		return NULL;
	pthread_mutex_lock(&lock);
	c = calls[nth - 1];
	pthread_mutex_unlock(&lock);
	*place = (size_t)(uintptr_t)c.site;
	return hooks[c.id].name;
}

const char *inject_where(size_t place, size_t *address)
{
	Dl_info info;

	*address = place;
	if (!dladdr((void *)(uintptr_t)place, &info))
		return "";
	/* That of the call, not of what follows it. */
	*address -= (size_t)(uintptr_t)info.dli_fbase + 1;
	return info.dli_fname;
}

size_t inject_holder(long i)
{
	return (size_t)(uintptr_t)held_site(i);
}

long inject_held(void)
{
	return held_count();
}

long inject_mapped(void)
{
	return held_mapped();
}
