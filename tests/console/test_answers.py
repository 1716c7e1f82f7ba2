"""Rules of the shapes of answers."""

from __future__ import annotations

from console.answers import ANSWERS, SHAPES, holds, many, maybe, table
from console.calls import CALLS
from console.openapi import openapi


def test_every_call_has_its_answer_and_every_shape_is_used() -> None:
    """Each call that answers JSON says in which shape, and no shape is described that nothing answers."""
    document = str(openapi("0"))

    assert {call.name for call in CALLS if call.content_type == "application/json"} == set(ANSWERS)
    assert [name for name in SHAPES if f"#/components/schemas/{name}'" not in document] == []


def test_what_a_shape_names_is_always_there() -> None:
    """Every member of a shape is required but those marked as missing at times, and more members may stand there."""
    shape = holds(name={"type": "string"}, note_=maybe({"type": "string"}), more=many(table({"type": "integer"})))

    assert shape["required"] == ["name", "more"]
    assert set(shape["properties"]) == {"name", "note", "more"}
    assert "additionalProperties" not in shape
