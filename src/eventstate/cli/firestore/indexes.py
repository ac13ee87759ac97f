"""``eventstate firestore indexes``: the indexes that the backend needs, and the ones that it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from eventstate.cli.firestore.running import DatabaseName, DryRun, Project
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.firestore.gcloud import Command, Database

FILE: Final = "firestore.indexes.json"


def indexes(options: Globals, project: Project = None, database: DatabaseName = None, dry_run: DryRun = False) -> None:
    """Set the indexes of a database as this release needs them, by the Google Cloud CLI.

    One composite index is made, and single-field indexes that only cost are switched off. What is so already stays;
    run it again after each upgrade. Firestore builds indexes in the background, which takes minutes.
    """
    from eventstate.cli.firestore.gcloud import database_of
    from eventstate.cli.firestore.running import show_or_run

    show_or_run(options, commands(database_of(options, project, database), declared()), dry_run=dry_run)


def declared() -> Mapping[str, Any]:
    """What the package says about indexes, in the form of Firebase's tools."""
    import orjson

    return orjson.loads(resources.files("eventstate.stores.firestore").joinpath(FILE).read_bytes())


def commands(database: Database, declared: Mapping[str, Any]) -> Sequence[Command]:
    """The commands that bring a database there."""
    return [
        *(_composite(database, index) for index in declared["indexes"]),
        *(_exemption(database, field) for field in declared["fieldOverrides"]),
    ]


def _composite(database: Database, index: Mapping[str, Any]) -> Command:
    from eventstate.cli.firestore.gcloud import PROGRAM

    scope = index["queryScope"].lower().replace("_", "-")
    fields = [
        f"--field-config=field-path={field['fieldPath']},order={field['order'].lower()}" for field in index["fields"]
    ]
    group = [f"--collection-group={index['collectionGroup']}", f"--query-scope={scope}"]
    create = [PROGRAM, "firestore", "indexes", "composite", "create"]
    return [*create, *group, *fields, "--async", *database.arguments]


def _exemption(database: Database, field: Mapping[str, Any]) -> Command:
    from eventstate.cli.firestore.gcloud import PROGRAM

    update = [PROGRAM, "firestore", "indexes", "fields", "update", field["fieldPath"]]
    group = f"--collection-group={field['collectionGroup']}"
    return [*update, group, "--disable-indexes", "--async", *database.arguments]
