# SPDX-License-Identifier: Apache-2.0
"""The version, from the metadata of the installed package: meson.build is the one place that states it."""

from importlib.metadata import version

__version__ = version("fastsafetensor-3fs-reader")
