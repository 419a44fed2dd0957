#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The drop-in defines the functions of the official library and nothing else: test_exports.sh LIBRARY
set -eu
want='hf3fs_dereg_fd hf3fs_extract_mount_point hf3fs_hardlink hf3fs_io_entries hf3fs_ior_size hf3fs_iorcreate
hf3fs_iorcreate2 hf3fs_iorcreate3 hf3fs_iorcreate4 hf3fs_iordestroy hf3fs_iovcreate hf3fs_iovdestroy hf3fs_iovopen
hf3fs_iovunlink hf3fs_iovwrap hf3fs_is_hf3fs hf3fs_prep_io hf3fs_punchhole hf3fs_reg_fd hf3fs_submit_ios
hf3fs_wait_for_ios'
want=$(printf '%s\n' $want | LC_ALL=C sort)
have=$(nm -D --defined-only "$1" | awk '{print $3}' | LC_ALL=C sort)
test "$(printf '%s\n' "$want" | wc -l)" = 21
if [ "$have" != "$want" ]; then
	printf 'defined:\n%s\nwanted:\n%s\n' "$have" "$want"
	exit 1
fi
