# SPDX-License-Identifier: Apache-2.0
"""The open files of a reader without the C library, by name."""

import contextlib
import errno
import os
import stat
import threading
from typing import Callable, Dict, Optional

from .interface import PathType

#: Is told of a file after it was opened, and gives back whom to tell before it is closed, if anybody.
Opened = Callable[["OpenFile"], Optional[Callable[[], None]]]


class OpenFile:
    """An open file. Its fd is closed when the last thread that uses it lets go."""

    def __init__(self, path: PathType, opened: Optional[Opened] = None) -> None:
        self.path = os.fsdecode(path)
        self._closing: Optional[Callable[[], None]] = None
        # Non-blocking, so that a FIFO cannot hang the open.
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self.fd)
        self.device = status.st_dev
        self._identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
        if opened is not None:
            self._closing = opened(self)

    def __del__(self) -> None:
        if self._closing is not None:
            self._closing()
        # A file system may refuse even this, when its daemon is gone; the fd is closed all the same.
        if hasattr(self, "fd"):
            with contextlib.suppress(OSError):
                os.close(self.fd)

    def is_at(self, path: PathType) -> bool:
        """Is this still the file of that name?"""
        status = os.stat(path)
        return self._identity == (status.st_dev, status.st_ino)

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self.fd, size, offset)


class OpenFiles:
    """Files stay open until the end, or until another one has taken their name."""

    def __init__(self, opened: Optional[Opened] = None) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._files: Dict[bytes, OpenFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    def get(self, path: PathType) -> OpenFile:
        key = os.fsencode(path)
        with self._lock:
            file = self._files.get(key)
        if file is not None and file.is_at(path):
            return file
        # Without the lock: opening takes a while, and others open other files meanwhile.
        file = OpenFile(path, self._opened)
        with self._lock:
            self._files[key] = file
        return file

    def has(self, path: PathType) -> bool:
        with self._lock:
            return os.fsencode(path) in self._files

    def take_all(self) -> Dict[bytes, OpenFile]:
        """Empties the table. The files are closed when what it gives goes."""
        with self._lock:
            files, self._files = self._files, {}
            return files
