# SPDX-License-Identifier: Apache-2.0
"""The main job, end to end: a checkpoint on a 3FS mount, read through USRBIO, compared tensor by tensor."""
