# SPDX-License-Identifier: Apache-2.0
"""Many ranks that want every tensor: each reads its part of every window, and the group exchanges the parts.

While one window is exchanged the next is being read, so that two of them are in memory on each rank, and nothing else
beside the tensors.
"""

import hashlib
import time
from datetime import timedelta
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch
import torch.distributed as dist

from . import _core
from .checkpoint import Checkpoint
from .reader_c import ThreeFSFileReader

#: Bytes of a window, of which there are two.
DEFAULT_WINDOW = 256 << 20
#: Slices begin at multiples of it: no dtype is wider, and windows begin as aligned as memory does.
ALIGN = 4096
#: Bytes of what a rank tells the others before each exchange: whether it is well, and if not, why.
_WORD_BYTES = 512
_WELL, _FAILED, _LEFT = 0, 1, 2
_STRIDE_S = 0.0002


class RankError(RuntimeError):
    """Another rank failed, left early, or has opened something else."""


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
        group: Any,
        framework: Any,
        window: int,
        progress: bool,
    ) -> None:
        self._reader, self._checkpoint, self._group, self._framework = reader, checkpoint, group, framework
        self._rank, self._ranks = dist.get_rank(group), dist.get_world_size(group)
        window = max(window, self._ranks * ALIGN)
        self._share = _core.Share(checkpoint.core, None, self._ranks, window, ALIGN)
        self._window_bytes = self._ranks * self._share.window(0)[1] if len(self._share) else 0
        self._progress = progress
        # gloo exchanges in host memory.
        on_gpu = framework.torch_device.type == "cuda" and dist.get_backend(group) == "nccl"
        self._where = framework.torch_device if on_gpu else torch.device("cpu")
        self._timeout = reader.timeout
        self._word = torch.zeros(_WORD_BYTES, dtype=torch.uint8, device=self._where)
        self._buffers: List[_Buffer] = []
        self._batch: Optional[Any] = None
        self._exchanged = -1  # the window last exchanged; all of them know that everybody was well then
        self._done = False
        self._failure: Optional[BaseException] = None
        self._exchange_ns = self._read_bytes = self._memory_bytes = 0

    # ------------------------------------------------------------------ tensors

    def tensors(self) -> Iterator[Tuple[str, torch.Tensor]]:
        from .safeopen import Progress  # noqa: PLC0415 - it imports what imports this

        infos = self._checkpoint.tensors
        bar = Progress(self._progress and self._rank == 0, sum(t.nbytes for t in infos))
        made: Dict[int, Tuple[torch.Tensor, int]] = {}
        try:
            self._agree()
            yield from self._empty_ones()
            self._make_buffers()
            self._start(0)
            for window in range(len(self._share)):
                self._collect(window)
                self._exchange(window)
                self._start(window + 1)
                for number in self._take_out(window, made):
                    bar.add(infos[number].nbytes)
                    yield infos[number].name, made.pop(number)[0]
            self._done = True
        except GeneratorExit:
            raise
        except BaseException as e:
            self._failure = e
            raise
        finally:
            bar.close()
            self._end_reading()
            if self._failure is not None:
                self.close()

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

    def _agree(self) -> None:
        """Everybody has opened the same tensors, and cuts them alike."""
        digest = hashlib.sha256(repr(len(self._share)).encode())
        for tensor in self._checkpoint.tensors:
            digest.update(repr(tensor[:3] + tensor[4:]).encode())
        answers = self._tell(_WELL, digest.hexdigest(), "the start")
        others = [rank for rank, (_, text) in enumerate(answers) if text != digest.hexdigest()]
        if others:
            raise RankError(f"rank {others[0]} has opened other tensors than rank {self._rank}, or with another window")

    def _exchange(self, window: int) -> None:
        start = time.monotonic_ns()
        self._tell(_WELL, "", f"window {window}")
        _, slice_bytes = self._share.window(window)
        whole = self._buffers[window % 2].data[: self._ranks * slice_bytes]
        mine = whole[self._rank * slice_bytes : (self._rank + 1) * slice_bytes]
        self._wait(dist.all_gather_into_tensor(whole, mine, group=self._group, async_op=True), f"window {window}")
        self._exchanged = window
        self._exchange_ns += time.monotonic_ns() - start

    def _tell(self, state: int, text: str, where: str) -> List[Tuple[int, str]]:
        """Tells the others how this rank is, and hears how they are; one that is not well is an error."""
        raw = bytes([state]) + text.encode(errors="replace")[: _WORD_BYTES - 1]
        self._word.copy_(torch.frombuffer(bytearray(raw.ljust(_WORD_BYTES, b"\0")), dtype=torch.uint8))
        answers = torch.empty(self._ranks * _WORD_BYTES, dtype=torch.uint8, device=self._where)
        self._wait(dist.all_gather_into_tensor(answers, self._word, group=self._group, async_op=True), where)
        heard = []
        for rank, answer in enumerate(answers.cpu().view(self._ranks, _WORD_BYTES)):
            word = bytes(answer.tolist())
            heard.append((word[0], word[1:].rstrip(b"\0").decode(errors="replace")))
            if rank != self._rank and heard[-1][0] != _WELL:
                self._done = True  # they know of each other: nobody waits for this rank any more
                raise RankError(f"rank {rank} {heard[-1][1]}")
        return heard

    def _wait(self, work: Any, where: str) -> None:
        """Bounded, and open to Ctrl-C."""
        deadline = time.monotonic() + self._timeout
        while not work.is_completed():
            if time.monotonic() > deadline:
                self._done = True
                raise TimeoutError(
                    f"rank {self._rank} waited {self._timeout:g} s at {where} for the other ranks:"
                    " one of them hangs, is gone, or takes no tensors"
                )
            time.sleep(_STRIDE_S)
        try:
            work.wait(timedelta(seconds=self._timeout))
        except RuntimeError as e:
            self._done = True
            raise RankError(f"rank {self._rank} at {where}: the exchange with the other ranks failed: {e}") from e

    # ------------------------------------------------------------------ the end

    def close(self, failure: Optional[BaseException] = None) -> None:
        """Ends what is being read; others who still go on hear why at their next exchange. Again is fine."""
        self._failure = self._failure or failure
        self._end_reading()
        if not self._done:
            self._done = True
            self._say_goodbye()

    def _end_reading(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.cancel()
        self._buffers.clear()

    def _say_goodbye(self) -> None:
        failure = self._failure
        if failure is None:
            state, text = _LEFT, "left before the last tensor"
        else:
            state, text = _FAILED, f"failed: {type(failure).__name__}: {failure}"
        try:
            self._tell(state, text, "the end")
        except (RankError, TimeoutError):
            return  # there is nobody left to be told, or they have ended, too

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
