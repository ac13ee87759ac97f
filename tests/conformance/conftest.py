"""Readable failures for assertions that live in the package."""

import pytest

pytest.register_assert_rewrite(
    "eventstate.testing.conformance",
    "eventstate.testing.model",
    "eventstate.testing.model_documents",
)
