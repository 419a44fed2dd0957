/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that refuses an advice, as an old one does, or one behind a seccomp filter. */
#ifndef TEST_REFUSE_H
#define TEST_REFUSE_H

/* From now on madvise(..., advice) fails with `code` (positive) in this process and its children. 0, or what the kernel
 * said. */
int refuse_advice(int advice, int code);

#endif
