# SPDX-License-Identifier: Apache-2.0
"""This package's own readers, as ways to read."""

from typing import Dict, Sequence

from ways import DEFAULT_BUFFER, Reading, Settings

from fastsafetensor_3fs_reader import create_reader


class Ours(Reading):
    """A reader of the backend that the way is named for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._reader = create_reader(
            settings.way, mount_point=settings.mount_point, buffer_size=settings.buffer or DEFAULT_BUFFER
        )

    def read(self, path: str, offset: int, length: int) -> int:
        return self._reader.read_chunked(path, self.settings.dest.address, offset, length, self.settings.chunk)

    def headers(self, paths: Sequence[str], threads: int) -> int:
        return sum(begin for _, begin, _ in self._reader.read_headers_batch(paths, threads).values())

    def info(self) -> Dict[str, object]:
        return self._reader.info()

    def close(self) -> None:
        self._reader.close()
        super().close()
