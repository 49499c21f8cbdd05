"""What processes really take of the memory, and whether the system runs out of it."""

from __future__ import annotations

from collections.abc import Mapping

from kernel.actions import Emit, Log, Measure
from kernel.events import Measured
from kernel.memory import KindFacts
from kernel.supervisor import Supervisor
from transports.settings import MIB, KernelSettings

# kern.memorystatus_vm_pressure_level: 1 is normal, 2 a warning, 4 critical. With a warning macOS has begun to
# compress and swap, which on small machines is so all day.
MACOS_CRITICAL = 4


class MemoryWatch:
    """Has memory measured now and then, and remembers what was found."""

    def __init__(
        self, settings: KernelSettings, kinds: Mapping[str, KindFacts], supervisor: Supervisor, emit: Emit
    ) -> None:
        self._settings = settings
        self._gpu_kinds = frozenset(name for name, facts in kinds.items() if facts.is_on_gpu)
        self._supervisor = supervisor
        self._emit = emit
        self._last = Measured()
        self._next_s = 0.0
        # Why no model is loaded and idle ones leave; "" while there is memory enough.
        self.pressure = ""

    @property
    def available_bytes(self) -> int | None:
        """What the system could still give; None where it does not say."""
        return self._last.available_bytes

    @property
    def gpu_free_bytes(self) -> int | None:
        """What the GPU has left; None without one that has memory of its own."""
        return self._last.gpu_free_bytes

    def bytes_of(self, pid: int) -> int:
        """What a process took when it was last measured; 0 before."""
        return self._last.memory_bytes.get(pid, 0)

    def gpu_bytes_of(self, pid: int) -> int:
        """The same of the memory of a GPU."""
        return self._last.gpu_bytes.get(pid, 0)

    def charged_bytes_of(self, pid: int) -> int:
        """What counts in the budget: that of a GPU, where a model is on one, is its memory."""
        return self.gpu_bytes_of(pid) or self.bytes_of(pid)

    def measured(self, event: Measured) -> None:
        """Take in what was found."""
        self._last = event
        before, self.pressure = self.pressure, self._pressure(event)
        if self.pressure and not before:
            self._emit(Log("warning", "memory_short", {"reason": self.pressure}))
        elif before and not self.pressure:
            self._emit(Log("info", "memory_enough"))

    def tick(self, now: float) -> None:
        """Measure when it is time."""
        if now >= self._next_s:
            self._next_s = now + self._settings.memory_interval_s
            self.measure()

    def measure(self) -> None:
        """Measure all processes; Measured follows."""
        processes = [process for process in self._supervisor if process.pid]
        self._emit(
            Measure(
                tuple(process.pid for process in processes),
                tuple(process.pid for process in processes if process.kind in self._gpu_kinds),
            )
        )

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        return self._next_s

    def _pressure(self, found: Measured) -> str:
        least_bytes = self._settings.min_available_bytes
        if found.available_bytes is not None and found.available_bytes < least_bytes:
            return (
                f"the system has {found.available_bytes // MIB} MiB of memory left, less than "
                f"kernel.min_available_bytes ({least_bytes // MIB} MiB)"
            )
        if found.gpu_free_bytes is not None and found.gpu_free_bytes < least_bytes:
            return (
                f"the GPU has {found.gpu_free_bytes // MIB} MiB of memory left, less than "
                f"kernel.min_available_bytes ({least_bytes // MIB} MiB)"
            )
        most_percent = self._settings.max_stall_percent
        if found.stall_percent is not None and most_percent and found.stall_percent > most_percent:
            return (
                f"processes wait for memory {found.stall_percent:.0f} % of the time, more than "
                f"kernel.max_stall_percent ({most_percent:g})"
            )
        if found.pressure_level is not None and found.pressure_level >= MACOS_CRITICAL:
            return f"macOS says that memory is critically short (pressure level {found.pressure_level})"
        return ""
