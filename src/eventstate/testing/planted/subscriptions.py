"""Bugs in subscriptions: each is a way to skip, double, or forget an event."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from eventstate.core.documents import Require
from eventstate.log.following import Place, Reading
from eventstate.log.following.checks import ChainChecks
from eventstate.log.following.followed import Followed
from eventstate.log.following.follower import PAGE
from eventstate.log.following.ordered import OrderedFollower
from eventstate.log.following.single import StreamFollower
from eventstate.log.positions import Positions
from eventstate.machines import progress
from eventstate.machines.deliveries import Delivery
from eventstate.machines.parked_events import ParkedEvents
from eventstate.machines.progress import Progress
from eventstate.machines.subscribing import Subscribing
from eventstate.stores import memory, watching
from eventstate.testing.conformance.subscribing import SubscriptionCases
from eventstate.testing.planted.plant import Patch, Plant

_read = OrderedFollower.read
_followed = ChainChecks._followed
_handle = Subscribing._handle
_first_before = ParkedEvents.first_before


class ImpatientSubscriptionCases(SubscriptionCases):
    """With this bug an event is waited for in vain."""

    patience: ClassVar[float] = 6.0


def _marks_the_first_page() -> list[Patch]:
    async def read(self: OrderedFollower, limit: int = PAGE) -> Reading:
        reading = await _read(self, min(limit, 2))
        self.is_caught_up = True
        return reading

    return [(OrderedFollower, "read", read)]


def _saves_inside_a_commit() -> list[Patch]:
    def position(delivery: Delivery) -> int:
        assert delivery.position is not None
        return delivery.position

    return [(progress, "_position_after", position)]


def _stays_where_nothing_is_wanted() -> list[Patch]:
    def note_all(_self: Progress, _moved: Place) -> None:
        """Nothing."""

    return [(Progress, "note_all", note_all)]


def _forgets_what_failed() -> list[Patch]:
    async def handle(self: Subscribing, delivery: Delivery, handler: Any) -> int:
        return await _handle(self, delivery, handler)

    return [(Subscribing, "_handle_or_keep", handle)]


def _drops_what_it_can_not_read() -> list[Patch]:
    async def judged(_self: ChainChecks, found: list[Any]) -> list[Any]:
        return [entry for entry in found if not isinstance(entry, Followed) or entry.problem is None]

    return [(ChainChecks, "judged", judged)]


def _begins_before_its_version() -> list[Patch]:
    begin = StreamFollower.__init__

    def init(self: StreamFollower, store: Any, selection: Any, version: int) -> None:
        begin(self, store, selection, max(version - 1, 0))

    return [(StreamFollower, "__init__", init)]


def _own_streams_wake_nobody() -> list[Patch]:
    def changed(batch: Any) -> list[Any]:
        return [operation.key for operation in batch.operations]

    return [(memory, "changed_keys", changed), (watching, "changed_keys", changed)]


def _saves_blindly() -> list[Patch]:
    save = Positions.save

    async def blindly(self: Positions, *args: Any, **options: Any) -> None:
        if self._revision is not None:
            self._revision = Require.ANY  # type: ignore[assignment]
        await save(self, *args, **options)

    return [(Positions, "save", blindly)]


def _holds_nothing_after_a_restart() -> list[Patch]:
    async def first_before(self: ParkedEvents, delivery: Delivery) -> int:
        self._held = self._held or {}
        return await _first_before(self, delivery)

    return [(ParkedEvents, "first_before", first_before)]


SUBSCRIPTION_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="marks-the-first-page",
        story="a page was read, so the past is over",
        patches=_marks_the_first_page,
        suite=SubscriptionCases,
        cases=["test_the_past_then_the_mark_then_what_is_new", "test_a_long_past_comes_in_pages"],
    ),
    Plant(
        name="saves-inside-a-commit",
        story="what was delivered was delivered",
        patches=_saves_inside_a_commit,
        suite=SubscriptionCases,
        cases=["test_events_of_one_commit_come_again_together"],
    ),
    Plant(
        name="stays-where-nothing-is-wanted",
        story="a place is that of the last event that was handled",
        patches=_stays_where_nothing_is_wanted,
        suite=SubscriptionCases,
        cases=["test_a_place_moves_over_what_is_not_wanted"],
    ),
    Plant(
        name="forgets-what-failed",
        story="an event that was taken from memory has been dealt with",
        patches=_forgets_what_failed,
        suite=SubscriptionCases,
        cases=["test_or_everything_stops_at_it"],
    ),
    Plant(
        name="holds-nothing-after-a-restart",
        story="what is held back is known from what failed in this run",
        patches=_holds_nothing_after_a_restart,
        suite=SubscriptionCases,
        cases=["test_later_events_of_its_stream_are_held_back"],
    ),
    Plant(
        name="drops-what-it-can-not-read",
        story="nobody can do anything with damaged bytes",
        patches=_drops_what_it_can_not_read,
        suite=SubscriptionCases,
        cases=["test_damage_is_told_where_it_is", "test_a_missing_entry_is_no_silence"],
    ),
    Plant(
        name="begins-before-its-version",
        story="a version is where to begin, not after what",
        patches=_begins_before_its_version,
        suite=SubscriptionCases,
        cases=["test_one_state_is_followed_alone"],
    ),
    Plant(
        name="new-streams-wake-nobody",
        story="who watches a document is woken when it changes",
        patches=_own_streams_wake_nobody,
        suite=ImpatientSubscriptionCases,
        cases=["test_the_past_then_the_mark_then_what_is_new"],
    ),
    Plant(
        name="saves-places-blindly",
        story="only one process works on a subscription, so nothing need be checked",
        patches=_saves_blindly,
        suite=SubscriptionCases,
        cases=["test_two_of_one_name_do_not_undo_each_other"],
    ),
)
