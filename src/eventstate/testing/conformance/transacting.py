"""What transactions promise on top of a store; the cases are in the modules beside this one, by subject."""

from __future__ import annotations

from eventstate.testing.conformance.following import EffectCases, FenceCases, RecordCases
from eventstate.testing.conformance.isolation import IsolationCases
from eventstate.testing.conformance.listing import ListingCases
from eventstate.testing.conformance.operating import OperationCases
from eventstate.testing.conformance.retrying import CrowdCases, PersistenceCases
from eventstate.testing.conformance.unanswered import DoubtCases, KeyedCases


class TransactionCases(
    OperationCases,
    IsolationCases,
    ListingCases,
    PersistenceCases,
    CrowdCases,
    DoubtCases,
    KeyedCases,
    RecordCases,
    FenceCases,
    EffectCases,
):
    """Strictly serializable, once or not at all, and told afterwards."""
