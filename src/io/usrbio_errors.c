/* SPDX-License-Identifier: Apache-2.0 */
#include "usrbio_errors.h"

#include <errno.h>
#include <stddef.h>

const char *fst3fs_usrbio_explain(int code)
{
	static const struct {
		int code;
		const char *meaning;
	} meanings[] = {
		{-EREMOTEIO, "storage did not answer the daemon, which has retried for a while"},
		{-ENODATA, "a hole: this part of the file was never written"},
		{-EBADF, "the daemon does not know the file as open"},
		{-EINVAL, "the daemon does not know the buffer, or the range lies outside of it"},
		{-EOWNERDEAD, "another user has cut the daemon's semaphore short; mount the 3FS again"},
		{-ENOBUFS, "too much is under way in usrbiod; ask for less at a time"},
		{-EACCES, "the daemon could not register the buffer with its RDMA device, or it is another user's"},
	};

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].code == code)
			return meanings[i].meaning;
	return NULL;
}
