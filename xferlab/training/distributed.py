"""Several processes, one run: what `fit` does under torchrun, `accelerate launch` or Accelerate's `notebook_launcher`.

Gradients are averaged here and not by a wrapper around the model, for objectives reach into its parts. Untested on several GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ArgumentError, CheckpointError, XferlabError, needs


class World:
    """The processes that share a run, and this one's place among them: 0 of 1 unless a launcher started several.

    Parameters
    ----------
    device
        This process's own: its GPU where there are GPUs.
    checkpoint
        The run's file or None, which the message about a lost process names.

    Raises
    ------
    MissingExtra
        Where a launcher started several processes and Accelerate is not installed.
    ArgumentError
        Where it started more than there are GPUs.
    """

    def __init__(self, device: str | torch.device | None = None, checkpoint: str | Path | None = None):
        self.rank, self.size, self.checkpoint = 0, 1, checkpoint
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1:
            with needs("accelerate", extra="distributed"):
                from accelerate import PartialState
            local, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
            if self.device.type == "cuda" and local > gpus:
                raise ArgumentError(
                    f"{local} processes share {gpus} GPU{'s' * (gpus > 1)} of this machine; start as many as there are GPUs, or pass "
                    "device='cpu'"
                )
            state = PartialState(cpu=self.device.type == "cpu")
            self.rank, self.size, self.device = state.process_index, state.num_processes, state.device

    def shard(self, rows: Tensor, name: str) -> Tensor:
        """This process's equal part of a batch's rows, on its device.

        Raises
        ------
        ArgumentError
            Where they do not divide.
        """
        if len(rows) % self.size:
            raise ArgumentError(
                f"a batch of {len(rows)} from {name!r} does not divide among {self.size} processes; choose a batch_size that does, "
                f"of at most {name!r}'s number of examples"
            )
        return rows[self.rank :: self.size].to(self.device, non_blocking=True)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Each floating-point tensor becomes its mean over the processes, in place: one message for each dtype.

        Raises
        ------
        XferlabError
            Where another process is gone.
        """
        tensors = [t for t in tensors if t.is_floating_point() and t.numel()] if self.size > 1 else []
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor.detach() for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            self._ask(torch.distributed.all_reduce, flat)
            flat /= self.size
            for tensor, mean in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Every process's tensors become those of process 0."""
        for tensor in tensors if self.size > 1 else ():
            self._ask(torch.distributed.broadcast, tensor, 0)

    def wait(self) -> None:
        """Until every process is here."""
        self.average([torch.zeros(1, device=self.device)])

    def agree(self, step: int) -> None:
        """

        Raises
        ------
        CheckpointError
            Unless every process starts from the same step.
        """
        own = torch.tensor([float(step)], device=self.device)
        mean = own.clone()
        self.average([mean])
        if not torch.equal(own, mean):
            raise CheckpointError(
                f"process {self.rank} of {self.size} found {self.checkpoint} at step {step}, others at another; put it where all can read it"
            )

    def _ask(self, operation, *arguments) -> None:
        try:
            operation(*arguments)
        except RuntimeError as error:
            again = f"go on from {self.checkpoint}" if self.checkpoint else "begin anew (checkpoint= would save that)"
            raise XferlabError(
                f"process {self.rank} of {self.size} lost another one, and the run ends; start the same command again to {again}"
            ) from error
