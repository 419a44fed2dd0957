# SPDX-License-Identifier: Apache-2.0
"""What every reader does, whatever is below it."""

import os
from abc import ABC, abstractmethod
from typing import Dict, Iterable, List, NoReturn, Sequence, Tuple, TypeVar, Union

PathType = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: (JSON of the header, file offset at which tensor data begins, size of the file)
Header = Tuple[str, int, int]
#: (path, dev_ptr, file_offset, total_length)
ReadRequest = Tuple[PathType, int, int, int]
Self = TypeVar("Self", bound="FileReaderInterface")


class FileReaderInterface(ABC):
    """A reader of files, most of them safetensors, into memory given by address.

    Any number of threads may use one reader. It is a context manager; one that is dropped without ``close()`` releases
    what it holds as well. After ``fork()`` it belongs to the parent: in the child its methods raise RuntimeError.

    Errors name the file: OSError (the subclass of its errno) for what the system, 3FS or its daemon reports,
    ValueError for an argument or file contents that are not acceptable, RuntimeError for a failed copy to a GPU.

    The readers of this package have ``_read`` and ``_read_headers``, and with them the public methods, whose arguments
    are written down here alone. A reader from elsewhere may have the public methods themselves.
    """

    def read_headers_batch(self, paths: Iterable[PathType], num_threads: int = 8) -> Dict[PathType, Header]:
        """Reads the safetensors headers of many files, at least ``num_threads`` at a time, and leaves the files open.

        When a file fails, the error names it and carries its place among the paths as ``index``.
        """
        wanted = list(paths)
        return dict(zip(wanted, self._read_headers(wanted, num_threads)))

    def read_chunked(
        self,
        path: PathType,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = True,
    ) -> int:
        """Reads a range of a file to an address, and says how many bytes: fewer only at the end of the file.

        ``dev_ptr`` is the address of host memory or of a GPU's, an address inside the reader's own buffer (the bytes
        are then valid until the next read), or 0 to deliver nowhere. It is trusted. ``chunk_size`` caps one request, 0
        = the reader chooses. ``pipelined=False`` reads a bufferful, then copies it, in turn.
        """
        return self._read((path, dev_ptr, file_offset, total_length), chunk_size, pipelined)

    def read_many(self, requests: Sequence[ReadRequest], chunk_size: int = 0, pipelined: bool = True) -> List[int]:
        """Reads many ranges; results in their order.

        When one fails the others are complete, and the error of the first carries its place as ``index``.
        """
        results, failure = [], None
        for index, (path, dev_ptr, file_offset, total_length) in enumerate(requests):
            try:
                results.append(self.read_chunked(path, dev_ptr, file_offset, total_length, chunk_size, pipelined))
            except (OSError, ValueError) as e:
                e.index = index  # type: ignore[union-attr]
                failure = failure or e
        if failure is not None:
            raise failure
        return results

    def _read_headers(self, paths: List[PathType], num_threads: int) -> List[Header]:
        """The headers, in the order of the paths."""
        self._lacks("read_headers_batch")

    def _read(self, request: ReadRequest, chunk_size: int, pipelined: bool) -> int:
        self._lacks("read_chunked")

    def _lacks(self, method: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} has no {method}")

    @abstractmethod
    def has_fd(self, path: PathType) -> bool:
        """Is the file open in this reader?"""

    def info(self) -> Dict[str, object]:
        """What is really in use, and what was done so far."""
        return {"mount_point": self.mount_point, "iov_base": self.iov_base, "iov_length": self.iov_length}

    @abstractmethod
    def close(self) -> None:
        """Releases everything the reader holds. Closing twice is fine; a later read opens what it needs again."""

    @property
    @abstractmethod
    def mount_point(self) -> str:
        """The mount point that the reader was made for, "" for none."""

    @property
    @abstractmethod
    def iov_base(self) -> int:
        """Address of the reader's own buffer."""

    @property
    @abstractmethod
    def iov_length(self) -> int:
        """Length of the reader's own buffer."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
