"""The live table: looks when something has happened, and draws."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from eventstate.cli.live.frame import framed
from eventstate.cli.live.happenings import Happenings
from eventstate.cli.live.looking import Look, Looking
from eventstate.cli.live.sections import sections_of
from eventstate.errors import StoreUnavailableError
from eventstate.jobs.job import JOBS
from eventstate.jobs.runs.progress import RUNS
from eventstate.jobs.view.machine import ORCHESTRATIONS
from eventstate.machines.deliveries import Delivery
from eventstate.machines.persister import StateMachinePersister
from eventstate.machines.subscription import Subscription
from eventstate.runtime.blocking import drive

if TYPE_CHECKING:
    from rich.console import Console

    from eventstate.stores.base import Store
    from eventstate.stores.watching import Watch

REDRAW_SECONDS: Final = 0.25
"""Between two pictures, at least."""
TICK_SECONDS: Final = 1.0
"""Between two pictures, at most: spans of time go on where nothing happens. The store is not read for these."""
RESTS: Final = 9
"""How many times as long as a look took the next one is put off: however much there is, others have the store too."""
ENDING_SECONDS: Final = 5.0


class LiveTable:
    """The jobs, runs and orchestrations of one governor on a terminal, until interrupted."""

    def __init__(self, store: Store, governor: str, start: int | str) -> None:
        self._store = store
        self._governor = governor
        self._happened = Happenings()
        self._looking = Looking(store, governor)
        persister = StateMachinePersister(store, governor=governor, machines=[JOBS, RUNS, ORCHESTRATIONS])
        machines = [JOBS, RUNS, ORCHESTRATIONS]
        self._subscription = Subscription(persister, machines=machines, start=start)
        self._failure: BaseException | None = None
        self._silence: str | None = None

    def show(self, console: Console) -> None:
        """Draw until interrupted. The last picture stays.

        Raises:
            StoreError: the store can't work, or is unavailable for minutes.
            BrokenPipeError: the window was closed.
        """
        from rich.live import Live

        with (
            self._looking.watch() as watch,
            self._followed(watch),
            Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
        ):
            self._looking.begin()
            look, look_at, is_stale = Look(at=0), 0.0, True
            while self._failure is None:
                if not console.is_terminal:
                    raise BrokenPipeError("the terminal is gone")
                if is_stale and time.monotonic() >= look_at:
                    began = time.monotonic()
                    look, is_stale = self._looked(look)
                    look_at = time.monotonic() + max(REDRAW_SECONDS, RESTS * (time.monotonic() - began))
                live.update(self._picture(look, console), refresh=True)
                time.sleep(REDRAW_SECONDS)
                is_stale = drive(watch.wait(self._pause(look_at, is_stale=is_stale))) or is_stale
        raise self._failure

    def _pause(self, look_at: float, *, is_stale: bool) -> float:
        tick = TICK_SECONDS - REDRAW_SECONDS
        return min(tick, max(0.0, look_at - time.monotonic())) if is_stale else tick

    def _looked(self, before: Look) -> tuple[Look, bool]:
        """What there is, and whether it is still to be looked at: the store may not answer now."""
        changed = self._happened.take_orchestrations()
        try:
            look = self._looking.look(self._happened.started(), changed)
        except StoreUnavailableError as error:
            self._silence = str(error)
            self._happened.give_back(changed)
            return before, True
        self._silence = None
        return look, False

    def _picture(self, look: Look, console: Console) -> Any:
        now = self._store.runtime.now()
        title = f"jobs of {self._governor} in {self._store.url}; Ctrl-C ends"
        if self._silence is not None:
            title = f"as it was before: {self._silence}"
        # One line is the cursor's.
        return framed(title, sections_of(look, self._happened, now), console.size.height - 1)

    @contextmanager
    def _followed(self, watch: Watch) -> Generator[None]:
        """Inside, a thread of its own takes note of what happens, and wakes who draws."""

        def follow() -> None:
            try:
                for item in self._subscription.marked():
                    if isinstance(item, Delivery):
                        self._happened.note(item)
                    watch.wake()  # for the mark too: what came before it may be later than the first look
            except BaseException as error:  # noqa: BLE001 - whoever draws raises it
                self._failure = error
                watch.wake()

        thread = threading.Thread(target=follow, name="eventstate-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._subscription.stop()
            thread.join(ENDING_SECONDS)
            self._subscription.close()
