"""Rules of what texts and small containers stand for."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from shadow import shapes


@given(st.binary(min_size=1, max_size=40))
def test_bytes_are_found_in_every_shape_that_encoders_write(data: bytes) -> None:
    """Base64, hexadecimal, Python's repr, lists of octets, signed or not, and Node's Buffer stand for their bytes."""
    octets = [str(octet) for octet in data]
    signed = [str(octet - 256 if octet > 127 else octet) for octet in data]

    assert data in shapes.bytes_of_text(base64.b64encode(data).decode()).values()
    assert data in shapes.bytes_of_text(base64.urlsafe_b64encode(data).decode()).values()
    assert data in shapes.bytes_of_text(data.hex()).values()
    assert data in shapes.bytes_of_text(repr(data)).values()
    assert shapes.bytes_of(octets) == shapes.bytes_of(signed) == data
    assert shapes.bytes_of({"type": "Buffer", "data": octets}) == data


@given(st.text(max_size=40))
def test_any_text_may_be_asked_for_its_bytes(text: str) -> None:
    """No text makes the question fail."""
    assert text.encode("utf-8", "surrogatepass") in shapes.bytes_of_text(text).values()
