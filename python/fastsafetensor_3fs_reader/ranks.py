# SPDX-License-Identifier: Apache-2.0
"""Many ranks that want every tensor: each reads its part of every window, and the group exchanges the parts.

While one window is exchanged the next is being read, so that two of them are in memory on each rank. Beside these and
the tensors there are the reader's own buffer and, while it exchanges, gloo's copy of a window.
"""

import hashlib
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch

from . import _core
from .checkpoint import Checkpoint
from .exchange import Exchange
from .reader_c import ThreeFSFileReader

#: Bytes of a window, of which there are two.
DEFAULT_WINDOW = 256 << 20
#: Slices begin at multiples of it: no dtype is wider, and windows begin as aligned as memory does.
ALIGN = 4096


class _Buffer(NamedTuple):
    """Room for one window: where it is read to, and what is exchanged."""

    data: torch.Tensor
    address: int


class SharedReading:
    """One pass over all tensors of a checkpoint, in step with the other ranks of a process group."""

    def __init__(
        self,
        reader: ThreeFSFileReader,
        checkpoint: Checkpoint,
        exchange: Exchange,
        framework: Any,
        window: int,
        progress: bool,
    ) -> None:
        self._reader, self._checkpoint, self._exchange, self._framework = reader, checkpoint, exchange, framework
        self._rank, self._ranks, self._where = exchange.rank, exchange.ranks, exchange.where
        window = max(window, self._ranks * ALIGN)
        self._share = _core.Share(checkpoint.core, None, self._ranks, window, ALIGN)
        self._window_bytes = self._ranks * self._share.window(0)[1] if len(self._share) else 0
        self._progress = progress
        self._buffers: List[_Buffer] = []
        self._batch: Optional[Any] = None
        self._closed = False
        self._exchange_ns = self._read_bytes = self._memory_bytes = 0

    # ------------------------------------------------------------------ tensors

    def tensors(self) -> Iterator[Tuple[str, torch.Tensor]]:
        from .safeopen import Progress  # noqa: PLC0415 - it imports what imports this

        infos = self._checkpoint.tensors
        bar = Progress(self._progress and self._rank == 0, sum(t.nbytes for t in infos))
        made: Dict[int, Tuple[torch.Tensor, int]] = {}
        try:
            self._check_open()
            self._exchange.agree(self._digest())
            self._exchange.over = len(self._share) == 0
            yield from self._empty_ones()
            self._make_buffers()
            self._start(0)
            for window in range(len(self._share)):
                self._collect(window)
                self._swap(window)
                self._start(window + 1)
                for number in self._take_out(window, made):
                    bar.add(infos[number].nbytes)
                    yield infos[number].name, made.pop(number)[0]
                    self._check_open()
        except GeneratorExit:
            raise
        except BaseException as e:
            self.close(e)
            raise
        finally:
            bar.close()
            self._end_reading()
            self._framework.release()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("safe_open was closed, or asked for its tensors again")

    def _empty_ones(self) -> Iterator[Tuple[str, torch.Tensor]]:
        """Tensors without bytes are in no window."""
        for tensor in self._checkpoint.tensors:
            if tensor.nbytes == 0:
                yield tensor.name, self._framework.empty(tensor)[0]

    def _make_buffers(self) -> None:
        """Memory that the daemon writes to where it is the host's."""
        if len(self._share) == 0:
            return
        size = self._window_bytes
        for _ in range(min(2, len(self._share))):
            if self._where.type == "cpu":
                memory = self._reader.alloc(size)
                data = torch.frombuffer(memory, dtype=torch.uint8)
            else:
                data = torch.empty(size, dtype=torch.uint8, device=self._where)
            self._buffers.append(_Buffer(data, data.data_ptr()))
        self._memory_bytes = len(self._buffers) * size

    def _start(self, window: int) -> None:
        """Begins to read this rank's slice of a window."""
        if window >= len(self._share):
            return
        buffer = self._buffers[window % 2]
        # What was taken out of this buffer is out, before it is written to again.
        if self._where.type == "cuda":
            torch.cuda.current_stream(self._where).synchronize()
        requests = self._share.requests(window, self._rank, buffer.address)
        self._read_bytes += sum(request[3] for request in requests)
        self._batch = self._reader.core.start_many(requests, 0)
        self._lengths = [request[3] for request in requests]

    def _collect(self, window: int) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None, f"window {window} was started"
        try:
            for i, length in enumerate(self._lengths):
                got = batch.wait(i)
                if got != length:
                    path = self._share.requests(window, self._rank, 0)[i][0]
                    raise ValueError(f"{path}: truncated: {got} of {length} bytes")
            batch.finish()
        except BaseException:
            batch.cancel()
            raise

    def _take_out(self, window: int, made: Dict[int, Tuple[torch.Tensor, int]]) -> List[int]:
        """Copies a window's bytes to their tensors, and gives the numbers of those that are whole now."""
        infos, data, whole = self._checkpoint.tensors, self._buffers[window % 2].data, []
        for number, offset, at, length in self._share.copies(window):
            if number not in made:
                made[number] = (self._framework.empty(infos[number])[0], 0)
            tensor, have = made[number]
            raw = tensor.view(-1) if tensor.dim() == 0 else tensor.flatten()
            raw.view(torch.uint8)[offset : offset + length].copy_(data[at : at + length])
            made[number] = (tensor, have + length)
            if have + length == infos[number].nbytes:
                whole.append(number)
        return whole

    # ------------------------------------------------------------------ the others

    def _digest(self) -> str:
        """Of what all ranks have to have opened, and cut alike."""
        digest = hashlib.sha256(repr(len(self._share)).encode())
        for tensor in self._checkpoint.tensors:
            digest.update(repr(tensor[:3] + tensor[4:]).encode())
        return digest.hexdigest()

    def _swap(self, window: int) -> None:
        start = time.monotonic_ns()
        _, slice_bytes = self._share.window(window)
        whole = self._buffers[window % 2].data[: self._ranks * slice_bytes]
        self._exchange.window(window, whole, whole[self._rank * slice_bytes : (self._rank + 1) * slice_bytes])
        # Behind the last one nobody waits for anybody.
        self._exchange.over = window == len(self._share) - 1
        self._exchange_ns += time.monotonic_ns() - start

    # ------------------------------------------------------------------ the end

    def close(self, failure: Optional[BaseException] = None) -> None:
        """Ends what is being read; others who still go on hear why at their next exchange. Again is fine."""
        self._closed = True
        self._end_reading()
        self._exchange.goodbye(failure)

    def _end_reading(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.cancel()
        self._buffers.clear()

    def info(self) -> Dict[str, object]:
        return {
            "rank": self._rank,
            "ranks": self._ranks,
            "windows": len(self._share),
            "window": self._window_bytes,
            "window_bytes": self._memory_bytes,
            "exchange_ns": self._exchange_ns,
            "bytes_requested": self._read_bytes,
        }
