# SPDX-License-Identifier: Apache-2.0
"""The Python interface of 3FS for tests, on ctypes and whatever libhf3fs_api_shared.so this process has loaded."""
