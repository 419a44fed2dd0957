# SPDX-License-Identifier: Apache-2.0
"""Safetensors files on DeepSeek's 3FS, into host or GPU memory at the speed of the link.

from fastsafetensor_3fs_reader import ThreeFSFileReader, extract_mount_point

with ThreeFSFileReader(extract_mount_point(path)) as reader:
    headers = reader.read_headers_batch([path])
    reader.read_chunked(path, address, file_offset, length)
"""

from .backend import create_reader, extract_mount_point, get_backend, is_available, reader_class
from .hf3fs_lib import get_hf3fs_lib_path
from .interface import FileReaderInterface
from .mock import MockFileReader
from .version import __version__

#: The reader of the active backend.
ThreeFSFileReader = reader_class()

__all__ = [
    "FileReaderInterface",
    "MockFileReader",
    "ThreeFSFileReader",
    "__version__",
    "create_reader",
    "extract_mount_point",
    "get_backend",
    "get_hf3fs_lib_path",
    "is_available",
]
