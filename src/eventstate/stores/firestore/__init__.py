"""Documents on Google Cloud Firestore: what one machine's disk can't hold or survive.

Importing this package loads no driver; `open_firestore` does.
"""

from __future__ import annotations

from eventstate.stores.firestore.opening import open_firestore
from eventstate.stores.firestore.url import FirestoreSettings, parse_url

__all__ = ["FirestoreSettings", "open_firestore", "parse_url"]
