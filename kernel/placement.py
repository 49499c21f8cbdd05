"""Which model gets a place in memory, who leaves for it, and who will not get one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kernel.declaration import Setting
from kernel.memory import MemoryPlans, Plan
from kernel.memory_watch import MemoryWatch
from kernel.residency import Residency, Resident
from kernel.retention import Retention
from kernel.roster import Roster
from kernel.supervisor import Supervisor
from transports.errors import CapacityError, MlxdError, ModelUnavailable
from transports.reports import MemoryEstimate, ModelInfo
from transports.settings import KernelSettings

# Retry-After while memory is short: Linux looks back ten seconds.
PRESSURE_RETRY_S = 10
KEPT_OUT = "no model is loaded now"


class Room(NamedTuple):
    """Places for models, and bytes for them."""

    num_places: int
    num_bytes: int

    def less(self, charges: Iterable[int]) -> Room:
        """What is left when models with these charges are here."""
        taken = list(charges)
        return Room(self.num_places - len(taken), self.num_bytes - sum(taken))

    def more(self, charges: Iterable[int]) -> Room:
        """What there is when models with these charges are gone."""
        given = list(charges)
        return Room(self.num_places + len(given), self.num_bytes + sum(given))

    def holds(self, plan: Plan) -> bool:
        """Whether a model fits."""
        return self.num_places >= 1 and plan.least_bytes <= self.num_bytes


class Placement:
    """Gives places within `kernel.max_models` and one budget of bytes."""

    def __init__(
        self,
        settings: KernelSettings,
        residency: Residency,
        retention: Retention,
        roster: Roster,
        plans: MemoryPlans,
        watch: MemoryWatch,
        supervisor: Supervisor,
    ) -> None:
        self._settings = settings
        self._residency = residency
        self._retention = retention
        self._roster = roster
        self._plans = plans
        self._watch = watch
        self._supervisor = supervisor

    def make_room(self, now: float) -> None:
        """Give places to those who wait for one, evicting idle models as far as needed."""
        while not self._watch.pressure and self._give_place(now):
            pass

    def relieve(self, now: float) -> None:
        """While memory is short the idle model used longest ago leaves, unless one is leaving already."""
        evictable = self._residency.evictable()
        if self._watch.pressure and evictable and not self._leaving():
            self._residency.evict(evictable[0], self._watch.pressure, now)

    def refused(self) -> list[tuple[str, MlxdError]]:
        """Models that wait for a place and could never get one, and why."""
        waiting = [self._roster.get(resident.name) for resident in self._residency.waiting()]
        found = [(model.name, self.refusal(model)) for model in waiting if model]
        return [(name, error) for name, error in found if error]

    def kept_out(self, now: float) -> list[tuple[str, MlxdError]]:
        """Models that wait for memory for longer than anybody should, and what to tell those who want them.

        All but pinned ones wait no longer.
        """
        if not self._watch.pressure:
            return []
        late = [
            resident
            for resident in self._residency.waiting()
            if now - resident.wanted_s >= self._settings.pressure_wait_s
        ]
        for resident in late:
            if not self._retention.is_pinned(resident.name):
                self._residency.unload(resident.name, now)
        told = f"{KEPT_OUT}: {self._watch.pressure}; try again later"
        return [
            (one.name, CapacityError(f"{one.name}: {told}", retry_after_s=PRESSURE_RETRY_S)) for one in late
        ]

    def hindrance(self, resident: Resident) -> str:
        """Why one that waits has no place in memory yet."""
        if self._watch.pressure:
            return f"{KEPT_OUT}: {self._watch.pressure}"
        leaving = self._leaving()
        idle = self._residency.evictable()
        placed = (one for one in self._residency.placed() if not self._retention.is_pinned(one.name))
        busy = [one for one in placed if one not in idle]
        if not (first := leaving or busy):
            return "no place in memory yet"
        names = ", ".join(one.name for one in first)
        return f"no place in memory: it waits for {names} to {'leave' if leaving else 'be done'}"

    def estimate(self, model: str, kind: str) -> MemoryEstimate:
        """What a model takes as it was placed, or would take."""
        plan, kv_bytes = self._planned(model, kind)
        return plan.estimate(kv_bytes)

    def load_settings(self, model: str, kind: str) -> dict[str, Setting]:
        """What the worker of a model is told, or would be."""
        return self._plans.load_settings(model, kind, *self._planned(model, kind))

    def refusal(self, model: ModelInfo) -> MlxdError | None:
        """Why a model without a place would get none, even when all had left that may."""
        pinned = [one for one in self._residency.placed() if self._retention.is_pinned(one.name)]
        held = {one.name: self.charge(one) for one in pinned if one.name != model.name}
        if len(held) >= self._settings.max_models:
            return ModelUnavailable(
                f"{model.name}: kernel.max_models is {self._settings.max_models}, and as many are pinned: "
                f"{', '.join(held)}; `mlxd unpin` lets one leave"
            )
        return self._plans.refusal(model.name, model.kind, self._roster.sizes(model.name), held)

    def measured_bytes(self, model: str) -> tuple[int, int]:
        """What the worker of *model* took when it was last measured, and of a GPU's memory; 0 without one."""
        resident = self._residency.get(model)
        pid = self._pid(resident) if resident else 0
        # 0 is the kernel.
        return (self._watch.bytes_of(pid), self._watch.gpu_bytes_of(pid)) if pid else (0, 0)

    def charge(self, resident: Resident) -> int:
        """What a model counts for in the budget: what it was given, or more if it takes more."""
        pid = self._pid(resident)
        measured_bytes = self._watch.charged_bytes_of(pid) if pid else 0
        return max(resident.plan.fixed_bytes + resident.kv_bytes, measured_bytes)

    def check(self) -> None:
        """Raise AssertionError if more is promised than there is, or a place is left empty."""
        placed = self._residency.placed()
        promised = sum(one.plan.fixed_bytes + one.kv_bytes for one in placed)
        if len(placed) > self._settings.max_models or promised > self._plans.budget_bytes:
            raise AssertionError(f"{len(placed)} models with {promised} bytes are more than allowed")
        line, (room, _) = self._residency.waiting(), self._rooms()
        if line and not self._watch.pressure and room.holds(self._plan(line[0])):
            raise AssertionError(f"{line[0].name} waits beside an empty place")

    def _give_place(self, now: float) -> bool:
        """Place or evict one model; False when there is nothing to do but wait."""
        room, soon = self._rooms()
        evictable = self._residency.evictable()
        for resident in self._residency.waiting():
            plan = self._plan(resident)
            if room.holds(plan) and soon.holds(plan):
                free_bytes = min(room.num_bytes, soon.num_bytes)
                self._residency.place(resident, plan, plan.grant(free_bytes))
                return True
            if not soon.holds(plan):
                # If busy models are in the way nobody leaves for it, and others may go before it.
                if not soon.more(map(self.charge, evictable)).holds(plan):
                    continue
                self._residency.evict(evictable[0], f"{resident.name} needs its place", now)
                return True
            # What leaves is for it, and not for those behind it.
            soon = soon.less([plan.least_bytes])
        return False

    def _rooms(self) -> tuple[Room, Room]:
        """What there is for further models now, and when all that leave have left."""
        placed = self._residency.placed()
        room = Room(self._settings.max_models, self._plans.budget_bytes).less(map(self.charge, placed))
        now = Room(room.num_places, room.num_bytes - self._left_bytes(placed))
        return now, room.more(map(self.charge, self._leaving()))

    def _leaving(self) -> list[Resident]:
        return [one for one in self._residency.placed() if self._residency.is_leaving(one)]

    def _left_bytes(self, placed: Iterable[Resident]) -> int:
        """What workers still have that are nobody's any more, and on their way out."""
        owned = {resident.worker_name for resident in placed}
        left = [p.pid for p in self._supervisor if p.role == "worker" and p.name not in owned]
        return sum(self._watch.charged_bytes_of(pid) for pid in left if pid)

    def _pid(self, resident: Resident) -> int:
        process = self._residency.process(resident)
        return process.pid if process else 0

    def _planned(self, model: str, kind: str) -> tuple[Plan, int]:
        """How a model was placed, or would be, and its keys and values."""
        resident = self._residency.get(model)
        if resident and resident.phase != "waiting":
            return resident.plan, resident.kv_bytes
        plan = self._plans.plan(model, kind, self._roster.sizes(model))
        return plan, plan.least_kv_bytes

    def _plan(self, resident: Resident) -> Plan:
        return self._plans.plan(resident.name, resident.kind, self._roster.sizes(resident.name))
