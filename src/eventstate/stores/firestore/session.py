"""One stream of changes from its opening to its end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from eventstate.core.documents import Key
from eventstate.runtime.base import Runtime
from eventstate.stores.firestore.listening import Answer, ListenStream
from eventstate.stores.watching import Watches

SILENT_SECONDS: Final = 120.0
"""The service says something every 30 seconds: a stream without a word for so long is dead."""
ANSWER_SECONDS: Final = 20.0
"""How long a new target may stay without its first answer, and a refused one unlistened."""
PROBE_SECONDS: Final = 0.5
"""After so long a silence a stream of the emulator is asked whether it still works."""


class Session:
    """Which target stands for which document, which of them were answered, and the thread that reads the answers.

    A target's first answer wakes its watchers too: a change may have come between their last look and the target.

    The emulator has no heartbeats, and now and then sends bytes that are no message when a change meets a first answer;
    what comes after them may never be heard. So with it, once news are followed by silence, another document is asked
    for: ``probe`` is its name, and empty for the service.
    """

    def __init__(
        self,
        stream: ListenStream,
        name: Callable[[Key], str],
        watches: Watches,
        runtime: Runtime,
        on_end: Callable[[], None],
        probe: str,
    ) -> None:
        self._stream = stream
        self._name = name
        self._watches = watches
        self._clock = runtime.monotonic
        self._on_end = on_end
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._targets: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._unanswered: set[int] = set()
        self._asked_at = self._heard_at = self._clock()
        self._probe = probe
        self._probe_number = 0
        self._is_probed = False
        self._has_worked = False
        self.has_ended = False
        self.problem = ""
        """What ended the stream, or why the server gave a target up."""
        self._reader = threading.Thread(target=self._read, name="eventstate-firestore-listen", daemon=True)
        self._reader.start()

    @property
    def is_answered(self) -> bool:
        """Whether the server listens to every document that it was asked for."""
        return self._has_worked and not self._unanswered

    @property
    def is_overdue(self) -> bool:
        """Whether an answer is due for so long that another stream is the better way to it."""
        if self._unanswered:
            return self._clock() - self._asked_at > ANSWER_SECONDS
        return self._clock() - self._heard_at > SILENT_SECONDS

    def ask(self) -> None:
        """Send the probe, where one is due."""
        with self._lock:
            silent = self._clock() - self._heard_at
            if not self._probe or self._is_probed or self._unanswered or silent < PROBE_SECONDS:
                return
            self._is_probed = True
            self._probe_number = self._add(self._probe)

    def follow(self, keys: AbstractSet[Key]) -> None:
        """Listen to these documents and no others."""
        with self._lock:
            for key in self._targets.keys() - keys:
                number = self._targets.pop(key)
                del self._keys[number]
                self._unanswered.discard(number)
                self._stream.remove(number)
            for key in keys - self._targets.keys():
                number = self._targets[key] = self._add(self._name(key))
                self._keys[number] = key

    def _add(self, name: str) -> int:
        number = next(self._numbers)
        self._unanswered.add(number)
        self._asked_at = self._clock()
        self._stream.add(number, name)
        return number

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the reader of a closed stream."""
        self._reader.join(timeout)

    def _read(self) -> None:
        try:
            for answer in self._stream.answers():
                self._watches.wake(self._hear(answer))
        except Exception as error:  # noqa: BLE001 - told to whoever looks after this session
            self.problem = str(error)
        finally:
            self.has_ended = True
            self._on_end()

    def _hear(self, answer: Answer) -> list[Key]:
        """Note what a message says; the documents that may have changed."""
        self._heard_at = self._clock()
        with self._lock:
            numbers = (answer.targets or self._keys.keys()) & self._keys.keys()
            if answer.is_current:
                self._unanswered -= answer.targets or set(self._unanswered)
                self._has_worked = True
                if self._probe_number in answer.targets:
                    self._stream.remove(self._probe_number)
            if numbers and answer.is_news:
                self._is_probed = False
            if answer.refusal and numbers:
                self._unanswered |= numbers
                self.problem = answer.refusal
            return [self._keys[number] for number in numbers] if answer.is_news else []
