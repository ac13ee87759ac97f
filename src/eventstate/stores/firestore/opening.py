"""Opening a store: settings checked, driver loaded, channel made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eventstate.errors import ConfigurationError
from eventstate.runtime.base import Runtime
from eventstate.stores.firestore.url import DEFAULT_DATABASE, DEFAULT_TIMEOUT, FirestoreSettings

if TYPE_CHECKING:
    from eventstate.stores.firestore.store import FirestoreStore

EMULATOR_VARIABLE = "FIRESTORE_EMULATOR_HOST"


def open_firestore(
    project: str,
    *,
    runtime: Runtime,
    database: str = DEFAULT_DATABASE,
    root: str = "",
    timeout: float = DEFAULT_TIMEOUT,
    epoch: int = 1,
    emulator_host: str | None = None,
    credentials: object = None,
) -> FirestoreStore:
    """A store on one Firestore database. Nothing is sent until its first call.

    Args:
        project: Google Cloud project id.
        runtime: a `BlockingRuntime`, or an `AsyncioRuntime` inside its running loop.
        database: database id.
        root: path of the document that everything lives below, an even number of segments.
        timeout: seconds until a call that gets no answer gives up.
        epoch: how often the database was restored from an export, plus 1.
        emulator_host: ``host:port`` of an emulator; by default what FIRESTORE_EMULATOR_HOST says.
        credentials: a google.auth credentials object; by default the environment's own.

    Raises:
        ConfigurationError: a setting is not valid, or the extra ``firestore`` is not installed.
        StorePermissionError: there are no usable credentials.
    """
    settings = FirestoreSettings(project=project, database=database, root=root, timeout=timeout, epoch=epoch)
    try:
        from eventstate.stores.firestore.store import FirestoreStore  # loads the driver
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{settings.url} needs google-cloud-firestore: pip install 'eventstate[firestore]' ({error})"
        ) from error
    emulator = emulator_host or os.environ.get(EMULATOR_VARIABLE) or None
    return FirestoreStore(settings, runtime, emulator=emulator, credentials=credentials)
