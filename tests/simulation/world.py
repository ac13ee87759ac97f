"""What the scenarios share: processes with bad lines to one store, a network that delivers late, and bad luck."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from eventstate.core.documents import Batch, Committed, Document, Key, Page, Refused
from eventstate.errors import StoreUnavailableError
from eventstate.stores.memory import MemoryStore
from eventstate.testing.faults import UNANSWERED, Fault, FaultyStore, flaky
from eventstate.testing.simulation import Crashed, Process, Simulation, Task

DAY = 86_400.0
OUTAGE = float("inf")
"""The end of an outage that has not begun."""
Rule = Callable[[Batch], None]


class Disk(MemoryStore):
    """The store itself, with rules that are looked at after every commit.

    Attributes:
        page_limit: how many documents a page has at most, as if they were large.
        says_why: whether a refusal names the preconditions that did not hold.
    """

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation.runtime)
        self._simulation = simulation
        self.rules: list[Rule] = []
        self.page_limit = 1000
        self.says_why = True

    async def scan(self, kind: str, owner: str, **options: Any) -> Page:
        options["limit"] = min(options.get("limit", 1000), self.page_limit)
        return await super().scan(kind, owner, **options)

    async def commit(self, batch: Batch) -> Any:
        result = await super().commit(batch)
        if isinstance(result, Refused):
            return result if self.says_why else Refused(None)
        if isinstance(result, Committed):
            try:
                for rule in self.rules:
                    rule(batch)
            except AssertionError as error:
                self._simulation.fail(error)  # whatever the one who committed makes of it
                raise
        return result

    def document(self, key: Key) -> Document | None:
        return self._documents.get(key)

    def keys(self, kind: str, governor: str) -> list[Key]:
        return [Key(kind, governor, *place) for place in self._places.get((kind, governor), ())]

    def now(self) -> int:
        return self._now()


class Weather(NamedTuple):
    """What goes wrong in one run, and how often. Not everything in every run: some bugs need calm around them.

    In an outage, which begins where a scenario has a moment for it, a process hears nothing for so long that it gives
    up; what it sends may arrive.
    """

    faults: Sequence[Fault] = UNANSWERED
    rate: float = 0.0
    cut_off: float = 0.0
    unread: float = 0.0
    crashes: int = 0
    pauses: int = 0
    cancels: int = 0
    outages: int = 0
    slowness: float = 0.0

    @property
    def is_fair(self) -> bool:
        """Everybody is served, and in time."""
        return self == Weather(faults=self.faults)

    @property
    def only_answers_are_lost(self) -> bool:
        """Whatever is sent arrives at once."""
        is_any_lost = self.rate and self.faults != (Fault.LOST_ANSWER,)
        return not (is_any_lost or self.cut_off or self.unread or self.outages)


def any_weather(chance: random.Random, *, unread: bool = True) -> Weather:
    """Fair at times; else with some of what can go wrong."""
    if chance.random() < 0.2:
        return Weather(slowness=chance.choice((0.0, 0.1)))
    return Weather(
        faults=chance.choice((UNANSWERED, UNANSWERED, (Fault.LOST_ANSWER,), (Fault.DELAYED,), (Fault.UNAVAILABLE,))),
        rate=chance.choice((0.0, 0.1, 0.3, 0.5)),
        cut_off=chance.choice((0.0, 0.0, 0.05, 0.15)),
        unread=0.05 if unread and chance.random() < 0.2 else 0.0,
        crashes=chance.choice((0, 0, 1, 2)),
        pauses=chance.choice((0, 0, 1, 2)),
        cancels=chance.choice((0, 0, 0, 1, 2)),
        slowness=chance.choice((0.0, 0.1, 0.3)),
    )


class World:
    """One store, some processes with a line to it each, and what the weather makes of them.

    Attributes:
        disk: the store as it is, for checks that take no step.
        steps: about how many a run takes; bad luck strikes within them.
        lines: each process's own way to the store.
    """

    def __init__(
        self, simulation: Simulation, processes: int, weather: Weather, *, steps: int, longest_pause: float = 10.0
    ) -> None:
        self.simulation = simulation
        self.weather = weather
        self.disk = Disk(simulation)
        self.processes = [simulation.process(f"process {number}") for number in range(processes)]
        self._network = simulation.process("network")
        self._on_the_way: list[Task[None]] = []
        # As different as backends are.
        chance = simulation.random
        self.disk.says_why = chance.random() < 0.5
        self.disk.page_limit = chance.choice((1, 1000, 1000))
        store = simulation.store(self.disk, reads_apart=chance.random() < 0.3)
        self._outages = weather.outages
        self._out_until = dict.fromkeys(self.processes, 0.0)
        self.lines = [self._line(store, process) for process in self.processes]
        self._steps = steps
        simulation.slowness = weather.slowness
        self._plan(longest_pause)

    def _plan(self, longest_pause: float) -> None:
        simulation, chance = self.simulation, self.simulation.random
        for process in chance.sample(self.processes, min(self.weather.crashes, len(self.processes) - 1)):
            simulation.at_step(chance.randrange(2, self._steps), _call(simulation.crash, process))
        for _ in range(self.weather.pauses):
            process = chance.choice(self.processes)
            seconds = chance.random() * longest_pause
            simulation.at_step(chance.randrange(2, self._steps), _call(process.pause, seconds))
        if simulation.has_wall_clock_jumps:
            # By a chance of its own: with and without them a run must be the same.
            jumps = random.Random(f"wall clock {simulation.seed}")
            for runtime in (simulation.runtime, *(process.runtime for process in self.processes)):
                seconds = jumps.choice((-2 * DAY, -3600.0, -10.0, 10.0, 3600.0, 2 * DAY))
                simulation.at_step(jumps.randrange(1, self._steps), _call(runtime.turn_wall_clock, seconds))

    def lose_sight(self, process: Process) -> None:
        """Have an outage of a process begin with its next commit, if the weather has one more."""
        if self._outages and not self._is_out(process):
            self._outages -= 1
            self._out_until[process] = OUTAGE

    def _is_out(self, process: Process) -> bool:
        return self.simulation.elapsed < self._out_until[process]

    def _line(self, store: Any, process: Process) -> FaultyStore:
        chance, weather = self.simulation.random, self.weather
        fault_of = flaky(chance, weather.rate, weather.faults, cut_off=weather.cut_off)

        def script(batch: Batch) -> Fault:
            if self._out_until[process] == OUTAGE:
                self._out_until[process] = self.simulation.elapsed + 20 + 40 * chance.random()
            if self._is_out(process):
                return chance.choice((Fault.LOST_ANSWER, Fault.LOST_ANSWER, Fault.LOST_REQUEST))
            fault = fault_of(batch)
            if fault is Fault.DELAYED:
                late = self._deliver(line, batch)
                self._on_the_way.append(self.simulation.spawn(late, "late copy", process=self._network))
            return fault

        async def unread(_keys: object) -> None:
            if self._out_until[process] == OUTAGE:
                return
            if self._is_out(process) or (weather.unread and chance.random() < weather.unread):
                raise StoreUnavailableError(store=line.url, detail="no answer to a read")

        line = FaultyStore(store, script, runtime=process.runtime)
        if weather.unread or weather.outages:
            line.before_get = unread
        return line

    async def _deliver(self, line: FaultyStore, batch: Batch) -> None:
        chance = self.simulation.random
        await self.simulation.runtime.sleep(chance.random() * chance.choice((0.05, 1, 30)))
        await line.deliver(next(index for index, held in enumerate(line.held) if held is batch))

    async def run(self, clients: Sequence[tuple[int, Coroutine[Any, Any, None]]]) -> None:
        """Run clients, each in the process of its number, until all have ended, crashed or been cancelled."""
        simulation = self.simulation
        tasks = [
            simulation.spawn(client, f"client {number}", process=self.processes[process])
            for number, (process, client) in enumerate(clients)
        ]
        for task in simulation.random.sample(tasks, min(self.weather.cancels, len(tasks))):
            simulation.at_step(simulation.random.randrange(2, self._steps), task.cancel)
        for task in tasks:
            await simulation.ended(task)
            if task.error is not None and not isinstance(task.error, Crashed | asyncio.CancelledError):
                raise task.error
        simulation.slowness = 0.0

    async def all_delivered(self) -> bool:
        """Wait until no copy is on its way any more; whether there was one."""
        await self.simulation.all_ended(self._on_the_way)
        return bool(self._on_the_way)

    def is_disturbed(self, process: Process) -> bool:
        """Whether it has crashed or stood still."""
        return process.is_crashed or process.paused_until > 0


def _call(function: Callable[..., None], argument: Any) -> Callable[[], None]:
    return lambda: function(argument)
