"""200 traffic lights, each written by a task of its own; then all of them are recovered and verified."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from eventstate import AsyncStateMachinePersister, open_async_store

LIGHTS = 200
CHANGES = 10
NEXT = {"red": "green", "green": "yellow", "yellow": "red"}


async def run_light(city: AsyncStateMachinePersister, number: int) -> None:
    light = await city.save_state(f"light-{number:03}", {"colour": "red"}, expected=0)
    for _ in range(CHANGES):
        colour = NEXT[light.data["colour"]]
        light = await city.update_state(light.id, {"colour": colour}, expected=light, action=f"turned {colour}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_async_store(f"sqlite:///{Path(folder) / 'city.db'}") as store:
            city = AsyncStateMachinePersister(store, governor="city")
            started = time.perf_counter()
            await asyncio.gather(*(run_light(city, number) for number in range(LIGHTS)))
            seconds = time.perf_counter() - started
            stats = await city.get_stats()
            print(f"{stats.total_events} events of {stats.total_states} lights, each durable, in {seconds:.1f} s")

            report = await city.recover_all()
            print(f"recovered: {report.current} current, {report.rebuilt} rebuilt, {report.lost} lost")
            print(f"consistent: {(await city.validate_consistency()).is_consistent}")
            async for event in city.history("light-007", from_version=CHANGES):
                print(event.version, event.action, event.from_state, "->", event.to_state)


if __name__ == "__main__":
    asyncio.run(main())
