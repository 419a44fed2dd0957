# SPDX-License-Identifier: Apache-2.0
"""What the ranks of a process group tell each other, and give each other, in step.

Every rank makes the same collectives in the same order, also when it fails: first a word at the start; then for each
window a word, and when everybody is well, the bytes. A rank that is not well says so in place of its next word, and
with that it is over for all of them.
"""

import contextlib
import time
from datetime import timedelta
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
import torch.distributed as dist

#: Bytes of what a rank tells the others: whether it is well, and if not, why.
_WORD_BYTES = 512
_WELL, _FAILED, _LEFT = 0, 1, 2
_STRIDE_S = 0.0002


class RankError(RuntimeError):
    """Another rank failed, left early, or has opened something else."""


class _Sent(NamedTuple):
    """A word on its way, those of the others, and when that is."""

    work: Any
    answers: torch.Tensor
    where: str


class Exchange:
    """This rank's side of it, with a bound on every wait, for one pass over the tensors."""

    def __init__(self, group: Any, device: torch.device, timeout: float) -> None:
        self.group, self.device, self.timeout = group, device, timeout
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        # gloo exchanges in host memory.
        on_gpu = device.type == "cuda" and dist.get_backend(group) == "nccl"
        self.where = device if on_gpu else torch.device("cpu")
        #: Nobody waits for this rank any more.
        self.over = False
        # What the others go on to before they listen again: a rank that stops half-way takes part in it.
        self._sent: Optional[_Sent] = None
        self._owed: Optional[Tuple[torch.Tensor, torch.Tensor]] = None

    def again(self) -> "Exchange":
        """The same for another pass, at the start."""
        return Exchange(self.group, self.device, self.timeout)

    def agree(self, digest: str) -> None:
        """RankError when another rank's is a different one."""
        others = [rank for rank, text in enumerate(self._tell(_WELL, digest, "the start")) if text != digest]
        if others:
            raise RankError(f"rank {others[0]} has opened other tensors than rank {self.rank}, or with another window")

    def window(self, number: int, whole: torch.Tensor, mine: torch.Tensor) -> None:
        """``mine`` of every rank into ``whole``, once all of them are well."""
        where = f"window {number}"
        self._owed = (whole, mine)
        self._tell(_WELL, "", where)
        self._give(where)

    def goodbye(self, failure: Optional[BaseException]) -> None:
        """Tells those who still go on that this rank does not, and why. Again is fine."""
        if self.over:
            return
        if failure is None:
            state, text = _LEFT, "left before the last tensor"
        else:
            state, text = _FAILED, f"failed: {type(failure).__name__}: {failure}"
        # There may be nobody left to be told, or they have ended, too.
        with contextlib.suppress(RankError, TimeoutError):
            self._catch_up()
            self._tell(state, text, "the end")
        self.over = True

    def _catch_up(self) -> None:
        if self._sent is not None:
            self._hear()
        if self._owed is not None:
            self._give("the end")

    def _give(self, where: str) -> None:
        assert self._owed is not None, "a window's bytes"
        (whole, mine), self._owed = self._owed, None
        self._wait(self._gather(whole, mine, where), where)

    def _tell(self, state: int, text: str, where: str) -> List[str]:
        """Tells the others how this rank is, and hears how they are; one that is not well is an error."""
        raw = bytes([state]) + text.encode(errors="replace")[: _WORD_BYTES - 1]
        word = torch.frombuffer(bytearray(raw.ljust(_WORD_BYTES, b"\0")), dtype=torch.uint8).to(self.where)
        answers = torch.empty(self.ranks * _WORD_BYTES, dtype=torch.uint8, device=self.where)
        self._sent = _Sent(self._gather(answers, word, where), answers, where)
        return self._hear()

    def _hear(self) -> List[str]:
        assert self._sent is not None, "a word on its way"
        self._wait(self._sent.work, self._sent.where)
        answers, self._sent = self._sent.answers, None
        heard = []
        for rank, answer in enumerate(answers.cpu().view(self.ranks, _WORD_BYTES)):
            word = bytes(answer.tolist())
            heard.append(word[1:].rstrip(b"\0").decode(errors="replace"))
            if rank != self.rank and word[0] != _WELL:
                self.over = True  # they know of each other
                raise RankError(f"rank {rank} {heard[-1]}")
        return heard

    def _gather(self, whole: torch.Tensor, mine: torch.Tensor, where: str) -> Any:
        # Its name before PyTorch 2.13.
        gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
        try:
            return gather(whole, mine, group=self.group, async_op=True)
        except RuntimeError as e:
            raise self._broken(where, e) from e

    def _wait(self, work: Any, where: str) -> None:
        """Bounded, and open to Ctrl-C."""
        deadline = time.monotonic() + self.timeout
        while not work.is_completed():
            if time.monotonic() > deadline:
                self.over = True
                raise TimeoutError(
                    f"rank {self.rank} waited {self.timeout:g} s at {where} for the other ranks:"
                    " one of them hangs, is gone, or takes no tensors"
                )
            time.sleep(_STRIDE_S)
        try:
            work.wait(timedelta(seconds=self.timeout))
        except RuntimeError as e:
            raise self._broken(where, e) from e

    def _broken(self, where: str, why: RuntimeError) -> RankError:
        self.over = True
        return RankError(f"rank {self.rank} at {where}: the exchange with the other ranks failed: {why}")
