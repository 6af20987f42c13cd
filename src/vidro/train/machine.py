"""What this machine can do, measured: threads, memory, and the peak of its matrix multiplication.

The peak is the median of several 2048³ products in the precision of training, taken between the training steps,
because shared machines change speed by the second. Not here: what follows from it (`defaults`).
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import torch

PEAK_SIZE = 2048
SHARE = 0.01  # of a run, spent on measuring the peak
FIRST_S = 0.25  # what one measurement may take


class MatmulPeak:
    """Collects measurements; `flops_per_s` is their median, or None before the first."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.clock = clock
        self.samples: list[float] = []
        self.spent_s = 0.0
        self._left = self._right = torch.empty(0)

    def measure(self) -> float:
        """Time one product (0.2 to 0.5 s on two CPU cores) and return the median so far, in FLOP/s."""
        began = self.clock()
        if not self.samples:
            generator = torch.Generator().manual_seed(0)
            self._left, self._right = (
                torch.randn(PEAK_SIZE, PEAK_SIZE, generator=generator).to(self.device, self.dtype) for _ in range(2)
            )
            torch.mm(self._left[:256], self._right)  # the first product wakes the threads
        self._wait()
        started = self.clock()
        torch.mm(self._left, self._right)
        self._wait()
        ended = self.clock()
        took_s = max(ended - started, 1e-9)
        self.spent_s += ended - began
        self.samples.append(2 * PEAK_SIZE**3 / took_s)
        return statistics.median(self.samples)

    def measure_seldom(self, elapsed_s: float) -> float | None:
        """Measure when all measuring stays below a hundredth of `elapsed_s`; the median so far, if there is one."""
        if self.spent_s + FIRST_S < elapsed_s * SHARE:
            self.measure()
        return self.flops_per_s

    @property
    def flops_per_s(self) -> float | None:
        """Median of the measurements."""
        return statistics.median(self.samples) if self.samples else None

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def physical_threads() -> int:
    """CPU cores this process may use (affinity respected), the default number of threads."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False)
    return max(1, min(allowed, physical) if physical else allowed)


@contextmanager
def settled(threads: int | None) -> Iterator[int]:
    """Inside: a fixed number of threads and denormals flushed to zero, both part of what makes a run repeatable.

    Denormal numbers, near 1e-39, slow a CPU down a hundredfold and mean nothing here. Memory that one step frees is
    kept for the next (`keep_freed_memory`). Yields the number of threads.
    """
    before = torch.get_num_threads()
    chosen = physical_threads() if threads is None else threads
    torch.set_num_threads(chosen)
    torch.set_flush_denormal(True)
    keep_freed_memory(True)
    try:
        yield chosen
    finally:
        keep_freed_memory(False)
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def keep_freed_memory(keep: bool) -> bool:
    """Whether glibc's malloc, where there is one, now keeps large freed blocks instead of giving them back.

    A step frees and asks for the same large blocks over and over. By default each comes from the system anew, page by
    page, zeroed: a sixth of the time of GPT-2's 124M (`benchmarks/step_overhead.py`). mallopt(3) says what the two
    numbers mean; afterwards they are its defaults again, and what was kept is returned. Large blocks of other threads
    than the first still come from the system.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl has none
        return False
    trim_threshold, mmap_max = -1, -4
    libc.mallopt(mmap_max, 0 if keep else 65536)
    libc.mallopt(trim_threshold, 2**31 - 1 if keep else 128 * 1024)
    if not keep:
        libc.malloc_trim(0)
    return keep


def denormals_are_flushed() -> bool:
    """Whether numbers near 1e-39 count as zero now: computed, because not every processor can do it."""
    return (torch.tensor([1.2e-38]) * 0.1).item() == 0.0


def memory_bytes(device: torch.device) -> int:
    """Memory that this process holds now: on the card where there is one, else in all."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return psutil.Process().memory_info().rss


def memory_peak_bytes(device: torch.device) -> int:
    """The most memory that this process ever held: on the card where there is one, else in all (0: not told here)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return getattr(psutil.Process().memory_info(), "peak_wset", 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_free_bytes(device: torch.device) -> int:
    """Memory that training may take: on the card where there is one, else what the system can give without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def process_age_s() -> float:
    """Seconds since this process was started: a budget in minutes counts the imports too."""
    return max(0.0, time.time() - psutil.Process().create_time())
