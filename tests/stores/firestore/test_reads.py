"""Gets, scans, owners and the feed against the emulator."""

from __future__ import annotations

import time

import pytest

from eventstate.core.documents import (
    CURSOR,
    ENTRY,
    HEAD,
    LOCK,
    Delete,
    Document,
    FeedPage,
    Key,
    Put,
    Require,
)
from eventstate.errors import CorruptionError, InvalidInputError
from eventstate.stores.base import PAGE_BYTES
from eventstate.stores.firestore import rpc
from eventstate.testing.grpc_proxy import GrpcProxy
from tests.stores.firestore.world import Client, World

pytestmark = pytest.mark.backend("firestore")

ODD_IDS = [
    *(
        "a",
        "a-1",
        "a/b",
        "a:b",
        "a.b",
        ".",
        "..",
        "/",
        "//",
        "%",
        "%2F",
        "a%2Fb",
        "!",
        "a!",
        "a!000000000001",
        "__x__",
        "__",
        "____",
    ),
    *(
        "__id7__",
        "\x00",
        "\n",
        "\x7f",
        "\x85",
        " ",
        "é",
        "e\u0301",
        "\ud7ff",
        "\ue000",
        "\uffff",
        "\U00010000",
        "\U0010ffff",
        "#",
        "~",
        "*",
    ),
    *("-", ",", "A", "_", "^", "x" * 1480),
]


def keys_of(client: Client, kind: str, owner: str, limit: int = 1000, **options: object) -> list[Key]:
    """All pages of a scan; each page but the last is full."""
    found: list[Key] = []
    after: Key | None = options.pop("after", None)  # type: ignore[assignment]
    while True:
        page = client.run(client.store.scan(kind, owner, after=after, limit=limit, **options))  # type: ignore[arg-type]
        found += [document.key for document in page.documents]
        if page.next is None:
            return found
        assert len(page.documents) == limit
        assert page.next == found[-1]
        after = page.next


def put_all(client: Client, keys: list[Key]) -> None:
    client.commit(*(Put(key, b'"%d"' % number, Require.ABSENT) for number, key in enumerate(keys)))


def test_odd_ids_are_kept_apart_and_in_order(client: Client) -> None:
    heads = [Key(HEAD, "shop", id) for id in ODD_IDS]
    entries = [Key(ENTRY, "shop", id, n) for id in ODD_IDS for n in (0, 1, 9, 10, 10**12 - 1)]
    put_all(client, heads)
    put_all(client, entries)
    assert client.bodies(*heads) == {key: b'"%d"' % number for number, key in enumerate(heads)}
    assert keys_of(client, HEAD, "shop") == sorted(heads, key=lambda key: key.id.encode())
    assert keys_of(client, ENTRY, "shop", limit=7) == sorted(entries, key=lambda key: (key.id.encode(), key.n))
    for id in ODD_IDS:
        assert keys_of(client, HEAD, "shop", id=id) == [Key(HEAD, "shop", id)]
        assert [key.n for key in keys_of(client, ENTRY, "shop", id=id)] == [0, 1, 9, 10, 10**12 - 1]
        expected = sorted((key for key in heads if key.id.startswith(id)), key=lambda key: key.id.encode())
        assert keys_of(client, HEAD, "shop", prefix=id) == expected
        expected = sorted((key for key in heads if key.id.encode() > id.encode()), key=lambda key: key.id.encode())
        assert keys_of(client, HEAD, "shop", after=Key(HEAD, "shop", id)) == expected


def test_odd_owners_are_kept_apart(client: Client) -> None:
    for owner in ODD_IDS:
        client.put(Key(HEAD, owner, "x"), owner.encode())
    for owner in ODD_IDS:
        page = client.run(client.store.scan(HEAD, owner))
        assert [document.body for document in page.documents] == [owner.encode()]
    assert list(client.run(client.store.owners())) == sorted(ODD_IDS, key=str.encode)


def test_a_page_goes_on_after_a_key_that_need_not_exist(client: Client) -> None:
    put_all(client, [Key(ENTRY, "shop", "a", n) for n in (1, 2, 5, 6)] + [Key(ENTRY, "shop", "b", 1)])
    assert [key.n for key in keys_of(client, ENTRY, "shop", id="a", after=Key(ENTRY, "shop", "a", 3))] == [5, 6]
    assert [key.n for key in keys_of(client, ENTRY, "shop", id="a", after=Key(ENTRY, "shop", "0", 3))] == [1, 2, 5, 6]
    assert keys_of(client, ENTRY, "shop", id="a", after=Key(ENTRY, "shop", "a", 6)) == []
    assert keys_of(client, ENTRY, "shop", id="a", after=Key(ENTRY, "shop", "b", 1)) == []
    assert keys_of(client, ENTRY, "shop", id="a", prefix="b") == []
    with pytest.raises(InvalidInputError):
        client.run(client.store.scan(ENTRY, "shop", after=Key(HEAD, "shop", "a")))
    with pytest.raises(InvalidInputError):
        client.run(client.store.scan(ENTRY, "shop", limit=0))


def test_the_last_page_says_so(client: Client) -> None:
    put_all(client, [Key(HEAD, "shop", f"{n}") for n in range(4)])
    page = client.run(client.store.scan(HEAD, "shop", limit=4))
    assert (len(page.documents), page.next) == (4, None)
    page = client.run(client.store.scan(HEAD, "shop", limit=3))
    assert (len(page.documents), page.next) == (3, Key(HEAD, "shop", "2"))
    assert client.run(client.store.scan(HEAD, "nobody")).documents == []


def test_a_page_ends_at_its_bytes(client: Client) -> None:
    body = b"x" * 800_000
    for n in range(8):
        client.put(Key(HEAD, "shop", f"{n}"), body)
    sizes: list[int] = []
    after: Key | None = None
    for _ in range(3):
        page = client.run(client.store.scan(HEAD, "shop", after=after))
        sizes.append(len(page.documents))
        after = page.next
        if after is None:
            break
    assert sizes == [PAGE_BYTES // len(body) + 1, 2]


def test_a_get_of_many_keys_is_split(client: Client) -> None:
    keys = [Key(HEAD, "shop", f"{n:04d}") for n in range(650)]
    put_all(client, keys[:400])
    fetched = client.run(client.store.get([*keys, keys[0]]))
    assert set(fetched.documents) == set(keys[:400])
    assert client.store.rpc_count["BatchGetDocuments"] == 3
    assert client.run(client.store.get([])).documents == {}


def test_the_time_of_a_read_is_the_stores(client: Client) -> None:
    client.put(Key(HEAD, "shop", "a"))
    first = client.run(client.store.get([Key(HEAD, "shop", "a")]))
    again = client.run(client.store.scan(HEAD, "shop"))
    nothing = client.run(client.store.get([Key(HEAD, "shop", "b")]))
    assert first.documents[Key(HEAD, "shop", "a")].written_at <= first.read_at <= again.read_at <= nothing.read_at


def test_owners_are_listed_page_by_page_whatever_they_own(client: Client) -> None:
    for number in range(25):
        kind = (HEAD, LOCK, CURSOR)[number % 3]
        client.put(Key(kind, f"g{number:02d}", "x"))
    wanted = [f"g{number:02d}" for number in range(25)]
    found: list[str] = []
    before = client.store.rpc_count["ListDocuments"]
    while page := client.run(client.store.owners(after=found[-1] if found else "", limit=4)):
        found += page
        assert len(page) == 4 or found[-1] == "g24"
    assert found == wanted
    # Two of them were looks at the jobs, once there were no more governors.
    assert client.store.rpc_count["ListDocuments"] - before <= 11
    assert list(client.run(client.store.owners(after="g10x", limit=3))) == wanted[11:14]
    client.commit(Delete(Key(HEAD, "g00", "x"), Require.ANY))
    assert list(client.run(client.store.owners(limit=2))) == wanted[1:3]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_governors_and_jobs_are_listed_in_one_order(client: Client, limit: int) -> None:
    wanted = sorted(["a", "jobs", "jobs/", *(f"jobs/{n}" for n in range(7)), "jobs/a/b", "jobs0", "k", "z"])
    for owner in wanted:
        client.put(Key(HEAD, owner, "x"))
    found: list[str] = []
    while page := client.run(client.store.owners(after=found[-1] if found else "", limit=limit)):
        assert len(page) == min(limit, len(wanted) - len(found))
        found += page
    assert found == wanted
    for after in ("jobs/3x", "jobs/~", "jobs.", "jobs/"):
        rest = [owner for owner in wanted if owner > after]
        assert list(client.run(client.store.owners(after=after, limit=4))) == rest[:4]


def test_the_feed_covers_governors_and_jobs(client: Client) -> None:
    for owner in ("shop", "jobs/nightly"):
        client.put(Key(ENTRY, owner, "x", 1))
    entries = [document.key for page in feed_pages(client, 10) for _, document in page.entries]
    assert sorted(entries) == [Key(ENTRY, "jobs/nightly", "x", 1), Key(ENTRY, "shop", "x", 1)]


def test_a_listing_of_owners_goes_on_where_it_stopped(world: World, emulator_host: str, project_id: str) -> None:
    with GrpcProxy(emulator_host) as proxy:
        client = Client(world, world.open(proxy.host, project_id))
        for number in range(9):
            client.put(Key(HEAD, f"g{number}", "x"))
        for after in ("", "g2", "g5"):
            assert len(client.run(client.store.owners(after=after, limit=3))) == 3
        requests = [
            rpc.ListRequest.FromString(request) for method, request in proxy.requests if method == "ListDocuments"
        ]
        assert [bool(request.page_token) for request in requests] == [False, True, True]
        assert {request.page_size for request in requests} == {3}
        client.store._owner_pages._governors._tokens["g5"] = "garbage"
        assert list(client.run(client.store.owners(after="g5", limit=2))) == ["g6", "g7"]


def feed_pages(client: Client, limit: int, after: int = 0) -> list[FeedPage]:
    pages: list[FeedPage] = []
    for _ in range(200):
        page = client.run(client.store.feed(after, limit=limit))
        if page.position == after:
            assert page.entries == []
            return pages
        assert page.position > after
        pages.append(page)
        after = page.position
    raise AssertionError("the feed does not end")


def test_the_feed_has_every_entry_once_and_each_stream_in_order(client: Client) -> None:
    written = [Key(ENTRY, f"g{n % 3}", f"s{n % 5}", n) for n in range(40)]
    for key in written:
        client.commit(Put(key, b"{}", Require.ABSENT), Put(Key(HEAD, key.owner, key.id), b"{}", Require.ANY))
    for limit in (1, 7, 1000):
        entries = [document.key for page in feed_pages(client, limit) for _, document in page.entries]
        assert sorted(entries) == sorted(written)
        for stream in {(key.owner, key.id) for key in written}:
            numbers = [key.n for key in entries if (key.owner, key.id) == stream]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("sizes", [[10, 10], [1, 10, 1], [3, 10], [4, 4, 4]])
def test_entries_of_one_commit_are_never_split(client: Client, sizes: list[int]) -> None:
    for commit, size in enumerate(sizes):
        client.commit(*(Put(Key(ENTRY, "g", f"s{n}", commit), b"{}", Require.ABSENT) for n in range(size)))
        time.sleep(0.002)  # the server's times are milliseconds
    pages = feed_pages(client, limit=4)
    entries = [document.key for page in pages for _, document in page.entries]
    assert sorted(entries) == sorted(
        Key(ENTRY, "g", f"s{n}", commit) for commit, size in enumerate(sizes) for n in range(size)
    )
    for page in pages:
        assert page.position == page.entries[-1][0]
        for _, document in page.entries:
            assert sum(other.key.n == document.key.n for _, other in page.entries) == sizes[document.key.n]


def test_the_feed_keeps_to_its_own_root(world: World, emulator_host: str, project_id: str) -> None:
    clients = {root: Client(world, world.open(emulator_host, project_id, root=root)) for root in ("", "a/b", "a/b/c/d")}
    for root, client in clients.items():
        client.put(Key(ENTRY, "g", "s", 1), root.encode())
    for root, client in clients.items():
        documents = [document for page in feed_pages(client, 10) for _, document in page.entries]
        assert [document.body for document in documents] == [root.encode()]


def test_a_copy_elsewhere_is_not_in_the_feed(client: Client, project_id: str) -> None:
    client.put(Key(ENTRY, "g", "s", 1))
    database = f"projects/{project_id}/databases/(default)"
    copy = rpc.Document(name=f"{database}/documents/backup/1/events/s!000000000001")
    copy.fields["body"].string_value = "{}"
    copy.fields["shard"].string_value = ":0"
    copy.fields["at"].timestamp_value.FromMicroseconds(1)
    write(client, database, copy)
    [page] = feed_pages(client, 10)
    assert [document.key for _, document in page.entries] == [Key(ENTRY, "g", "s", 1)]


def test_a_document_that_is_not_ours_is_reported(client: Client, project_id: str) -> None:
    database = f"projects/{project_id}/databases/(default)"
    write(client, database, rpc.Document(name=f"{database}/documents/governors/g/states/a"))
    with pytest.raises(CorruptionError, match="head g/a"):
        client.bodies(Key(HEAD, "g", "a"))
    with pytest.raises(CorruptionError, match="head g/a"):
        client.run(client.store.scan(HEAD, "g"))
    stranger = rpc.Document(name=f"{database}/documents/governors/g/events/loose")
    stranger.fields["body"].string_value = "{}"
    write(client, database, stranger)
    with pytest.raises(CorruptionError, match="events/loose"):
        client.run(client.store.scan(ENTRY, "g"))


def write(client: Client, database: str, document: object) -> None:
    request = rpc.CommitRequest(database=database, writes=[rpc.Write(update=document)])
    client.run(client.store._rpc.unary("Commit", request.SerializeToString(), 5))


def test_a_document_is_of_the_port(client: Client) -> None:
    client.put(Key(HEAD, "shop", "a"), b"1")
    [document] = client.run(client.store.scan(HEAD, "shop")).documents
    assert type(document) is Document
    assert type(document.body) is bytes
