"""What all followers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from eventstate.log.following.followed import Followed
from eventstate.log.following.places import Place
from eventstate.log.following.selection import Selection

PAGE: Final = 500
"""Entries read at once unless asked otherwise."""


class Reading(NamedTuple):
    """Some entries, in order. ``more``: whether it is worth reading on at once; otherwise nothing new is there now."""

    entries: Sequence[Followed]
    more: bool


class Follower(Protocol):
    """Reads entries after a place, page by page, for ever.

    Every entry committed after the place is read exactly once, those of a stream in their order; with order
    ``store`` all of them in the order of their commits. One caller at a time.
    """

    @property
    def selection(self) -> Selection: ...

    @property
    def order(self) -> Literal["store", "stream"]:
        """``store`` where entries of all streams come in the order of their commits."""
        ...

    @property
    def place(self) -> Place:
        """Up to where has been read; moves on over what is not wanted, too."""
        ...

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was committed before the follower was made has been read; stays True then."""
        ...

    def moved(self) -> Place:
        """The place, with the versions of those streams only that have moved since the last call."""
        ...

    def catch_up_anew(self) -> None:
        """Have `is_caught_up` be about everything that is committed by now."""
        ...

    async def read(self, limit: int = PAGE) -> Reading:
        """The next entries, at most ``limit``; perhaps none, though there are more.

        Raises:
            StoreError: nothing is lost; call again.
        """
        ...

    async def wait(self, timeout: float) -> None:
        """Return when there may be something new, at the latest after ``timeout`` seconds."""
        ...

    def wake(self) -> None:
        """End a wait; from any thread."""
        ...

    def close(self) -> None:
        """Expect no wake-ups any more. Closing twice is fine."""
        ...
