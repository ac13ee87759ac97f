"""What the operations of a persister share: names, rules, and the ways to its streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eventstate.core.causality import stored_clock
from eventstate.core.documents import Document, Key
from eventstate.core.fold import Fold
from eventstate.core.format import (
    Head,
    StoredEvent,
    Tip,
    decode_head,
    encode_head,
)
from eventstate.core.ids import check_id
from eventstate.core.instants import utc_of
from eventstate.core.metadata import metadata_from_plain
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
)
from eventstate.log.appending import Appender
from eventstate.log.reading import Known, StreamReader
from eventstate.machines.declared import Declared
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.stores.base import Store

if TYPE_CHECKING:
    from eventstate.log.archiving import ArchiveReader
    from eventstate.log.keyring import KeyringCore
    from eventstate.machines.protecting import Protection
    from eventstate.stores.archive import Archive


class Scope:
    """One governor of one store, and the machines declared for it."""

    def __init__(
        self,
        store: Store,
        governor: str,
        machines: Iterable[Machine[Any, Any]],
        policy: SnapshotPolicy,
        keyring: KeyringCore | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.governor = check_id("governor", governor)
        self.protection = None if keyring is None else _protection(keyring, store, self.governor)
        if self.protection is not None:
            store = self.protection.store
        self.store = store
        self.machines = Declared()
        self.machines.protection = self.protection
        for machine in machines:
            if self.machines.setdefault(machine.name, machine) is not machine:
                raise ConfigurationError(f"two machines are named {machine.name!r}")
            if machine.has_subjects and self.protection is None:
                raise ConfigurationError(
                    f"machine {machine.name!r} declares subjects: pass the keyring that has their keys as keyring="
                )
        self.policy = policy
        self.reader = StreamReader(store, self.governor)
        self.appender = Appender(store, self.governor, self.reader, policy)
        self.archived = None if archive is None else _archived(archive, store, self.governor)
        if self.archived is not None:
            self.reader.longer = self._longer
        if keyring is not None:
            self.appender.commands.digest = keyring.digest

    async def _longer(self, tip: Tip) -> tuple[Tip, StreamReader]:
        assert self.archived is not None
        view = await self.archived.view(tip)
        store = view.store if self.protection is None else self.protection.over(view.store)
        return view.tip, StreamReader(store, self.governor)

    def resolve(self, target: Machine[Any, Any] | str, id: str | None) -> str:
        """The full state id of ``(machine, id)``, ``(machine name, id)`` or a full id alone."""
        if isinstance(target, Machine):
            if self.machines.get(target.name) is not target:
                raise ConfigurationError(f"{target!r} is not among this persister's machines=[...]")
            if id is None:
                raise InvalidInputError(f"which {target.name}? Pass its id")
            return target.state_id(id)
        if id is None:
            return check_id("state id", target)
        if not isinstance(target, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"{target!r} is no machine and no state id")
        return check_id("state id", f"{target}-{check_id('id', id)}")

    def split(self, target: Machine[Any, Any] | str, rest: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """The state id and the events of ``(machine, id, *events)`` or ``(state_id, *events)``."""
        if isinstance(target, Machine):
            return self.resolve(target, rest[0] if rest else None), rest[1:]
        if len(rest) > 1 and isinstance(rest[0], str):
            return self.resolve(target, rest[0]), rest[1:]
        return self.resolve(target, None), rest

    def fold_of(self, state_id: str) -> Fold:
        """The rules for a stream: those of its machine, or plain ones."""
        return self.machines.fold_of(state_id)

    def event_of(self, state_id: str, event: StoredEvent) -> Any:
        """The typed event of a stored one, decrypted; its plain data where no machine declares it.

        `Erased` where its subject was erased, None where it has no data.
        """
        return self.machines.event_of(state_id, event, f"event {self.governor}/{state_id} version {event.version}")

    def snapshot(
        self,
        tip: Tip,
        state: Any,
        action: str,
        metadata: Mapping[str, Any],
        before: int,
        known: Known | None,
        *,
        recovered: bool = False,
        position: int | None = None,
    ) -> StateSnapshot[Any]:
        return StateSnapshot(
            id=tip.id,
            data=state,
            version=tip.version,
            timestamp=utc_of(tip.at),
            metadata=metadata_from_plain(metadata, max(before, 0)),
            causality=stored_clock(tip.clock),
            action=action,
            recovered=recovered,
            position=position,
            known=known,
        )

    def current(self, head: Head, state: Any, known: Known | None, recovered: bool) -> StateSnapshot[Any]:
        before = head.tip.version - 1
        return self.snapshot(head.tip, state, head.action, head.metadata, before, known, recovered=recovered)

    def check_there(self, tip: Tip) -> None:
        if tip.version == 0:
            raise StateNotFoundError(governor=self.governor, state_id=tip.id)
        if tip.deleted:
            raise StateDeletedError(state_id=tip.id, version=tip.version)

    async def known(self, state_id: str) -> tuple[Known, bool]:
        try:
            document = await self.reader.head_document(state_id)
        except CorruptionError:
            return await self._known_from_log(state_id), True
        if document is None:
            raise StateNotFoundError(governor=self.governor, state_id=state_id)
        return Known(document), False

    async def _known_from_log(self, state_id: str) -> Known:
        """A stand-in for a bad head, made from the entries; nothing is written."""
        tip, action, metadata = await self.reader.repaired(state_id)
        body = encode_head(tip, None, token="", action=action, metadata=metadata)
        return Known(Document(tip.key, body, "", tip.at))

    async def tip_of(self, state_id: str) -> Tip:
        """The tip of a stream that has events, from its head or else from its entries."""
        known, _ = await self.known(state_id)
        try:
            tip = decode_head(known.document)[0].tip
        except CorruptionError:
            tip = (await self.reader.repaired(state_id)).tip
        if tip.version == 0:
            raise StateNotFoundError(governor=self.governor, state_id=state_id)
        return tip

    async def has_moved(self, tip: Tip) -> bool:
        """Whether a stream begins elsewhere than when its tip was read: a prune went over what was being read."""
        return (await self.tip_of(tip.id)).base != tip.base

    def after(self, id: str) -> Key | None:
        return self.reader.key(id) if id else None


def _protection(keyring: KeyringCore, store: Store, governor: str) -> Protection:
    from eventstate.machines.protecting import Protection  # few persisters have a keyring

    return Protection(keyring, store, governor)


def _archived(archive: Archive, store: Store, governor: str) -> ArchiveReader:
    from eventstate.log.archiving import ArchiveReader  # few persisters have an archive

    return ArchiveReader(archive, store, governor)
