"""Load from all kinds of frontends and a fault a second: what must hold holds, or this says what did not.

    python tests/benchmarks/chaos.py [--minutes N] [--seed S] [--real] [--json]

Loopback only, in a home of its own. Exactly one end a request, no foreign text in any answer, and after each
round processes, descriptors and shared files back to where they were. In the second half kernel and frontend
live on, and their memory is watched. Ends with code 1 at the first violation, telling the seed and the last
events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos_clients import ask_once
from chaos_faults import FAULTS, Fault
from chaos_outcome import Outcome, Violation
from chaos_pace import measure
from chaos_rest import Memory, come_back, look, settle
from chaos_view import View
from chaos_world import World
from support import REAL, real_home

from transports.errors import MlxdError

VISION = "demo/tiny-vl"
NUM_CLIENTS = 12
WARM_UP_S = 4.0
# Between two rests.
ROUND_S = 12.0
FAULT_EVERY_S = (0.3, 1.7)
# Of the log of events, when something was violated.
NUM_LINES_TOLD = 60


@dataclass
class Run:
    """What was done and seen so far."""

    world: World
    seed: int
    total_s: float
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    memory: Memory = field(default_factory=Memory)
    num_rounds: int = 0

    def note(self, outcome: Outcome) -> None:
        """A request ended as it may."""
        self.ends[outcome.client, outcome.end] += 1
        if outcome.end in ("failed", "broken"):
            self.codes[outcome.detail.splitlines()[0]] += 1
            took_s = outcome.ended_s - outcome.began_s
            self.world.note(
                f"{outcome.client} of {outcome.model}: {outcome.end} after {took_s:.1f} s: {outcome.detail}"
            )

    def summary(self) -> dict[str, object]:
        """For a program."""
        by_client: dict[str, dict[str, int]] = {}
        for (client, end), count in sorted(self.ends.items()):
            by_client.setdefault(client, {})[end] = count
        slopes = {name: self.memory.slope_mib_per_h(name) for name in ("kernel", "frontend")}
        return {
            "seed": self.seed,
            "seconds": round(self.world.now_s(), 1),
            "rounds": self.num_rounds,
            "kernels": self.world.num_kernels,
            "requests": sum(self.ends.values()),
            "ends": by_client,
            "codes": dict(self.codes.most_common()),
            "faults": dict(self.faults.most_common()),
            "memory_slope_mib_per_h": slopes,
        }


async def torment(run: Run, view: View) -> None:
    """Rounds of load and faults, each followed by a rest.

    Raises:
        Violation: What must hold does not.
    """
    world = run.world
    chance = Random(run.seed)
    if world.more_models:
        await measure(world, NUM_CLIENTS)
    await world.start()
    try:
        # Once without faults: what is started when it is first needed belongs to the baseline.
        await _round(run, chance, [], world.now_s() + WARM_UP_S)
        await settle(world)
        baseline = await look(world, run.memory)
        world.began_s = time.monotonic()
        while world.now_s() < run.total_s:
            is_second_half = world.now_s() > run.total_s / 2
            faults = [fault for fault in FAULTS if not (fault.ends_watched and is_second_half)]
            await _round(run, chance, faults, min(world.now_s() + ROUND_S, run.total_s))
            await settle(world)
            await come_back(world, run.memory, baseline)
            run.memory.check()
            world.calmed()
            run.num_rounds += 1
            view.rested()
    except MlxdError as e:
        raise Violation(f"the kernel failed us: {e.code}: {e.message}") from e
    finally:
        await world.end()


async def _round(run: Run, chance: Random, faults: list[Fault], until_s: float) -> None:
    """Load until *until_s*, with *faults*; returns when every request has ended."""
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(NUM_CLIENTS):
                group.create_task(_client(run, number, Random(chance.random()), until_s))
            if faults:
                group.create_task(_trouble(run, faults, Random(chance.random()), until_s))
    except ExceptionGroup as errors:
        # Not `except*`: what is raised in it is a group again.
        violations, others = errors.split(Violation)
        if others or not violations:
            raise
        raise violations.exceptions[0] from None


async def _client(run: Run, number: int, chance: Random, until_s: float) -> None:
    turn = 0
    while run.world.now_s() < until_s:
        await asyncio.sleep(chance.uniform(0, 0.2))
        # Rounds never share a marker.
        turn += 1
        run.note(await ask_once(run.world, number, run.num_rounds * 10_000 + turn, chance))


async def _trouble(run: Run, faults: list[Fault], chance: Random, until_s: float) -> None:
    weights = [fault.weight for fault in faults]
    while run.world.now_s() < until_s:
        await asyncio.sleep(chance.uniform(*FAULT_EVERY_S))
        fault = chance.choices(faults, weights)[0]
        run.world.note(f"FAULT {fault.do.__name__}")
        done = await fault.do(run.world, chance)
        run.world.note(f"FAULT done: {done}")
        run.faults[fault.do.__name__] += 1


def main() -> int:
    """Torment; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None, help="of the schedule; default: a new one")
    parser.add_argument("--real", action="store_true", help="ask the demo models too")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, and no display")
    arguments = parser.parse_args()
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="mlxd-chaos-") as folder:
        home = Path(folder)
        if arguments.real:
            (home / "envs").symlink_to(real_home() / "envs")
            (home / "models").mkdir()
            (home / "models" / "demo").symlink_to(real_home() / "models" / "demo")
        world = World.make(home, (REAL, VISION) if arguments.real else ())
        run = Run(world, seed, arguments.minutes * 60)
        view = View(run, is_silent=arguments.json)
        violation = ""
        with view.shown():
            try:
                asyncio.run(torment(run, view))
            except Violation as e:
                violation = str(e)
        summary = run.summary() | {"violation": violation}
        if arguments.json:
            print(json.dumps(summary))
        else:
            view.print_summary()
        if violation:
            print(f"VIOLATION: {violation}\nseed {seed}; the last events:", file=sys.stderr)
            print("\n".join(world.log[-NUM_LINES_TOLD:]), file=sys.stderr)
            for log in sorted((home / "logs").glob("*.log")):
                print(f"--- {log.name}\n{_tail(log)}", file=sys.stderr)
    return 1 if violation else 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


if __name__ == "__main__":
    sys.exit(main())
