"""Text for bytes, held against the standard library's."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.urlsafe import urlsafe_bytes, urlsafe_text


@given(st.binary(max_size=80))
def test_bytes_come_back_and_the_text_is_that_of_the_standard(data: bytes) -> None:
    text = urlsafe_text(data)
    assert text == urlsafe_b64encode(data).decode("ascii")
    assert urlsafe_bytes(text) == data


@pytest.mark.parametrize("text", ["a", "YQ", "é"])
def test_what_is_no_such_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        urlsafe_bytes(text)
