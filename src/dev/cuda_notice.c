/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_notice.h"

#include <pthread.h>
#include <stdlib.h>

struct fst3fs_cuda_notice {
	pthread_mutex_t lock;
	struct fst3fs_waker *waker; /* NULL = the device is closed */
	bool armed;		    /* the driver holds a pointer to this */
};

struct fst3fs_cuda_notice *fst3fs_cuda_notice_new(struct fst3fs_waker *waker)
{
	struct fst3fs_cuda_notice *notice = calloc(1, sizeof(*notice));

	if (!notice)
		return NULL;
	pthread_mutex_init(&notice->lock, NULL);
	notice->waker = waker;
	return notice;
}

static void notice_free(struct fst3fs_cuda_notice *notice)
{
	pthread_mutex_destroy(&notice->lock);
	free(notice);
}

void fst3fs_cuda_notice_close(struct fst3fs_cuda_notice *notice)
{
	bool armed;

	if (!notice)
		return;
	pthread_mutex_lock(&notice->lock);
	notice->waker = NULL;
	armed = notice->armed;
	pthread_mutex_unlock(&notice->lock);
	if (!armed)
		notice_free(notice);
}

bool fst3fs_cuda_notice_arm(struct fst3fs_cuda_notice *notice)
{
	bool first;

	pthread_mutex_lock(&notice->lock);
	first = !notice->armed;
	notice->armed = true;
	pthread_mutex_unlock(&notice->lock);
	return first;
}

void fst3fs_cuda_notice_disarm(struct fst3fs_cuda_notice *notice)
{
	pthread_mutex_lock(&notice->lock);
	notice->armed = false;
	pthread_mutex_unlock(&notice->lock);
}

/* Modelled in tests/models/session.pml (DEVICE_LEFT_OPEN). */
void fst3fs_cuda_notice_run(void *arg)
{
	struct fst3fs_cuda_notice *notice = arg;
	bool closed;

	pthread_mutex_lock(&notice->lock);
	notice->armed = false;
	closed = !notice->waker;
	/* Under the lock: once close has returned, the waker may be gone. */
	if (!closed)
		fst3fs_waker_post(notice->waker);
	pthread_mutex_unlock(&notice->lock);
	if (closed)
		notice_free(notice);
}
