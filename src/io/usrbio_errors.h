/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon's answers mean, whichever client brings them. */
#ifndef FST3FS_USRBIO_ERRORS_H
#define FST3FS_USRBIO_ERRORS_H

/* NULL when strerror says it all. */
const char *fst3fs_usrbio_explain(int code);

#endif
