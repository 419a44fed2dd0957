/* SPDX-License-Identifier: Apache-2.0 */
#include "tuner.h"

#define MIB (1ull << 20)
/* A window that fits the caches anyway has nothing to gain. */
#define SMALL (16 * MIB)
/* Before the first trial, and between one and the next: trials take a few per mille of what lies between. */
#define FIRST (1024 * MIB)
#define AGAIN (16 * 1024 * MIB)
#define MEASURE (96 * MIB)
/* Shorter naps than the kernel's timers can tell apart save nothing; longer ones would show when a read ends. */
#define NAP_MIN_NS (100 * 1000ull)
#define NAP_MAX_NS (1000 * 1000ull)
/* Clearly faster: by a twentieth. */
#define CLEARLY(ns) ((ns) - (ns) / 20)

static void steady(struct fst3fs_tuner *t, uint32_t limit, uint64_t bytes)
{
	t->state = FST3FS_TUNER_STEADY;
	t->limit = limit;
	t->left = bytes;
}

/* The requests that were in flight under the other limit have to land first. */
static void settle(struct fst3fs_tuner *t)
{
	t->state = FST3FS_TUNER_SETTLING;
	t->limit = t->trial % 2 ? t->quarter : t->whole;
	t->left = t->whole * t->piece;
}

static void decide(struct fst3fs_tuner *t)
{
	const uint64_t *ns = t->trial_ns;

	if (t->trial % 2 && ns[t->trial] > CLEARLY(ns[t->trial - 1])) {
		steady(t, t->whole, AGAIN);
	} else if (t->trial == 3) {
		steady(t, t->quarter, AGAIN);
	} else {
		t->trial++;
		settle(t);
	}
}

void fst3fs_tuner_init(struct fst3fs_tuner *t, uint32_t window, uint64_t piece)
{
	*t = (struct fst3fs_tuner){.whole = window, .piece = piece};
	if (window * piece > SMALL)
		t->quarter = window / 4;
	steady(t, window, FIRST);
}

static void keep_pace(struct fst3fs_tuner *t, uint32_t requests, uint64_t now_ns)
{
	uint64_t sample = ((now_ns - t->landed_ns) << 20) / requests;

	/* A moving average over the last eight or so; the first sample counts whole. */
	if (t->landed_ns)
		t->request_ns_q20 = t->request_ns_q20 ? (7 * t->request_ns_q20 + sample) / 8 : sample;
	t->landed_ns = now_ns;
}

uint64_t fst3fs_tuner_nap_ns(const struct fst3fs_tuner *t)
{
	uint64_t ns = (t->limit / 8 * t->request_ns_q20) >> 20;

	return ns < NAP_MIN_NS ? 0 : ns < NAP_MAX_NS ? ns : NAP_MAX_NS;
}

void fst3fs_tuner_landed(struct fst3fs_tuner *t, uint32_t requests, uint64_t bytes, uint64_t now_ns)
{
	keep_pace(t, requests, now_ns);
	if (t->quarter == 0)
		return;
	if (bytes < t->left) {
		t->left -= bytes;
		return;
	}
	switch (t->state) {
	case FST3FS_TUNER_STEADY:
		t->trial = 0;
		settle(t);
		break;
	case FST3FS_TUNER_SETTLING:
		t->state = FST3FS_TUNER_MEASURING;
		t->left = MEASURE;
		t->start_ns = now_ns;
		break;
	case FST3FS_TUNER_MEASURING:
		t->trial_ns[t->trial] = now_ns - t->start_ns;
		decide(t);
		break;
	}
}

void fst3fs_tuner_idle(struct fst3fs_tuner *t)
{
	t->landed_ns = 0;
	if (t->state != FST3FS_TUNER_STEADY)
		settle(t);
}
