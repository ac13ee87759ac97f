"""One Firestore emulator for a whole test run, the workers of xdist included."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventstate.testing.emulator import Emulator

HOST = "EVENTSTATE_EMULATOR_HOST"
"""``host:port`` of a running emulator: set by the caller, or for the workers by the controller of xdist."""
MISSING = "EVENTSTATE_EMULATOR_MISSING"
"""Why the controller could not start one."""


class NoEmulator(Exception):
    """This run has no emulator; the message says why."""


class RunEmulator:
    """Finds the run's emulator, starting it where nobody has; `stop` ends only what was started here."""

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed
        self._started: Emulator | None = None

    def host(self) -> str:
        """The emulator's ``host:port``.

        Raises:
            NoEmulator: it can't be started here, or the run was told not to.
        """
        if HOST in os.environ:
            return os.environ[HOST]
        if MISSING in os.environ:
            raise NoEmulator(os.environ[MISSING])
        if not self._allowed:
            raise NoEmulator("no Firestore emulator: --no-emulator was given")
        if self._started is None:
            self._started = _start()
        return self._started.host

    def export(self) -> None:
        """Start it and tell the processes that are started from now on."""
        try:
            host = self.host()
        except NoEmulator as missing:
            if is_required():
                raise pytest.UsageError(f"EVENTSTATE_REQUIRE=emulator, but {missing}") from missing
            os.environ[MISSING] = str(missing)
        else:
            os.environ[HOST] = host

    def stop(self) -> None:
        if self._started is not None:
            self._started.stop()
            self._started = None
            os.environ.pop(HOST, None)


def is_required() -> bool:
    """True where the run must not pass without an emulator."""
    return "emulator" in os.environ.get("EVENTSTATE_REQUIRE", "").split(",")


def _start() -> Emulator:
    try:
        # Here, so that a package that can't be imported fails the tests that import it, not the whole run.
        from eventstate.testing.emulator import EmulatorMissing, start_emulator
    except ImportError as error:
        raise NoEmulator(f"no Firestore emulator: {error}") from error
    try:
        return start_emulator()
    except EmulatorMissing as missing:
        raise NoEmulator(str(missing)) from missing
