"""One run over all streams of a governor: against its seals, page by page, to be gone on with after a break."""

from __future__ import annotations

from dataclasses import replace

from eventstate.core.seals import Seal
from eventstate.errors import CorruptionError, InvalidInputError
from eventstate.log.sealing.files import SealFile
from eventstate.log.sealing.lists import FiledPages, SealedList, StoredPages
from eventstate.log.sealing.taking import Sealer
from eventstate.log.verify import ConsistencyReport, Finding, FoldOf, Verifier
from eventstate.stores.base import Store


class Verification:
    """Verifies the streams of one governor.

    Args:
        against: a seal that was exported, or None for the newest one in the store.
        earlier: the report of a run that came to no end, to go on from; it stays as it is.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        fold_of: FoldOf,
        *,
        against: SealFile | None = None,
        earlier: ConsistencyReport | None = None,
    ) -> None:
        if against is not None and against.seal.governor != owner:
            raise InvalidInputError(f"{against.path} seals governor {against.seal.governor!r}, not {owner!r}")
        self._store = store
        self._owner = owner
        self._against = against
        self._verifier = Verifier(store, owner, fold_of)
        self._listed: SealedList | None = None
        self._begun = False
        self.report = replace(earlier, findings=list(earlier.findings)) if earlier is not None else ConsistencyReport()

    async def page(self) -> bool:
        """Verify some streams, adding to the report; whether there are more."""
        if self.report.is_complete:
            return False
        if not self._begun:
            await self._begin()
            self._begun = True
        after = await self._verifier.page(self.report.position, self.report, listed=self._listed)
        self.report.is_complete = after is None
        if after is not None:
            self.report.position = after
        return after is not None

    async def _begin(self) -> None:
        """Verify the seals, and find the one to hold the streams against."""
        newest = await self._newest()
        sealed = self._against.seal if self._against is not None else newest
        if sealed is None:
            return
        listed = await self._checked(sealed)
        if listed is None:
            return
        self.report.seal = sealed.number
        self._listed = listed
        if self.report.position:
            await listed.skip(self.report.position)

    async def _newest(self) -> Seal | None:
        """The newest seal in the store, as far as they can be followed."""
        sealer = Sealer(self._store, self._owner)
        file = self._against
        newest: Seal | None = None
        same: Seal | None = None
        more = True
        try:
            while more:
                found, more = await sealer.page(newest)
                for newest in found:
                    if file is not None and newest.number == file.seal.number:
                        same = newest
        except CorruptionError as error:
            self._found(error)
            return newest
        # A full export needs nothing of the store, which may be a copy without the seals.
        if file is not None and not (same is None and file.is_full) and same != file.seal:
            problem = "it is missing in the store" if same is None else f"it is not the one in {file.path}"
            self._found(CorruptionError(where=str(file.seal.key), problem=problem))
        return newest

    async def _checked(self, sealed: Seal) -> SealedList | None:
        """The list of a seal, if it is the one that was sealed."""
        file = self._against
        if file is not None and file.is_full:
            pages = FiledPages(self._store.runtime, file.path, file.begin)
        else:
            pages = StoredPages(self._store, sealed)
        listed = SealedList(sealed, pages)
        try:
            await listed.check()
        except CorruptionError as error:
            self._found(error)
            return None
        return listed

    def _found(self, error: CorruptionError) -> None:
        finding = Finding(state_id="", where=error.where, problem=error.problem)
        if finding not in self.report.findings:  # as it is where a run is gone on with
            self.report.add(finding)
