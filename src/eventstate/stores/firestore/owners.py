"""Listing governors, page by page.

Governors have no documents of their own, only documents below them, and those parents no query finds. Only a listing
does, and a listing can't begin at a name: it begins at the start or at the token of an earlier page. So the tokens of
recent pages are kept, and going on from where a caller stopped costs one request.

They stand in two collections, so there are two listings. The governors of jobs lie side by side in the common order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from eventstate.errors import InvalidInputError
from eventstate.stores.firestore.messages import owners_request
from eventstate.stores.firestore.paths import GOVERNORS, JOB_GOVERNOR, JOBS, Paths
from eventstate.stores.firestore.rpc import Message

_PAGE_SIZE: Final = 300
_KEPT_TOKENS: Final = 64

ListPage = Callable[[bytes], Awaitable[Message]]


class OwnerPages:
    """The governors of both collections, in one order."""

    def __init__(self, paths: Paths) -> None:
        self._governors = CollectionPages(paths, GOVERNORS)
        self._jobs = CollectionPages(paths, JOBS)

    async def after(self, after: str, limit: int, list_page: ListPage) -> list[str]:
        """Up to ``limit`` governors strictly after one, ascending; ``list_page`` sends a request."""
        if after.startswith(JOB_GOVERNOR) and after != JOB_GOVERNOR:
            jobs = await self._jobs.after(after, limit, list_page)
            left = limit - len(jobs)
            return [*jobs, *await self._governors.after(after, left, list_page)] if left else jobs
        governors = await self._governors.after(after, limit, list_page)
        is_below = len(governors) == limit and governors[-1] <= JOB_GOVERNOR
        if is_below or after > JOB_GOVERNOR:
            return governors
        jobs = await self._jobs.after("", limit, list_page)
        return sorted([*governors, *jobs])[:limit]  # by code points: the order of the UTF-8 bytes


class CollectionPages:
    """The governors of one collection."""

    def __init__(self, paths: Paths, collection: str) -> None:
        self._paths = paths
        self._collection = collection
        self._tokens: dict[str, str] = {}

    async def after(self, after: str, limit: int, list_page: ListPage) -> list[str]:
        """Up to ``limit`` of them strictly after one, ascending; ``list_page`` sends a request."""
        token = self._tokens.get(after, "")
        try:
            return await self._from(token, after, limit, list_page)
        except InvalidInputError:
            if not token:
                raise
        self._tokens.pop(after, None)  # the server no longer takes this token
        return await self._from("", after, limit, list_page)

    async def _from(self, token: str, after: str, limit: int, list_page: ListPage) -> list[str]:
        found: list[str] = []
        is_aligned = bool(token) or not after
        while len(found) < limit:
            size = min(_PAGE_SIZE, limit - len(found)) if is_aligned else _PAGE_SIZE
            response = await list_page(owners_request(self._paths, self._collection, size, token))
            names = [self._paths.owner(document.name) for document in response.documents]
            found += [name for name in names if name is not None and name > after]
            token = response.next_page_token
            if not token:
                break
            self._keep(names[-1] if names else None, token)
        return found[:limit]

    def _keep(self, last: str | None, token: str) -> None:
        """Remember where to go on after the last name of a page."""
        if len(self._tokens) >= _KEPT_TOKENS:
            self._tokens.clear()
        if last is not None:
            self._tokens[last] = token
