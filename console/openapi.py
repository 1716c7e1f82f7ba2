"""The table of calls as OpenAPI 3.1: parameters, bodies, every status with every kind of problem behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from console.answers import ANSWERS, SHAPES, Schema, named
from console.asks import Field, schema_of
from console.call import Call
from console.calls import CALLS
from console.problem import KINDS, PREFIX

_ANYWHERE: Final = ("no-token", "bad-token", "role", "host", "cross-site", "identity", "rate-limited", "internal")
"""What any call may be refused with."""

_WITH_A_BODY: Final = ("bad-json", "too-large", "content-type")

_ONLY_ONCE: Final = frozenset(
    ("reload", "recheck", "make_token", "rotate_token", "revoke_token", "ofrep_flag", "ofrep_flags")
)
"""Changing calls without Idempotency-Key: they change nothing the second time, or answer what is not kept."""


def openapi(version: str) -> Schema:
    """Show the table as OpenAPI 3.1."""
    paths: dict[str, Schema] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Matapalo admin API", "version": version, "license": {"name": "Apache-2.0"}},
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(SHAPES),
        },
    }


def problems_of(call: Call) -> list[str]:
    """Name every kind of problem that a call may answer, in the order of :data:`console.problem.KINDS`."""
    found = {*_ANYWHERE, "invalid-request", *call.refuses}
    if call.method != "GET":
        found |= {*_WITH_A_BODY, "database"}
    if "{name}" in call.path:
        found.add("not-found")  # a name with an escaped slash or control character
    if any(field.name == "cursor" for field in call.fields):
        found.add("bad-cursor")
    if any(field.name == "if_revision" for field in call.fields):
        found.add("stale-revision")
    return [kind for kind in KINDS if kind in found]


def _operation(call: Call) -> Schema:
    parameters: list[Schema] = []
    if "{name}" in call.path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    done = {"content": {call.content_type: {"schema": ANSWERS.get(call.name, {"type": "string"})}}}
    operation: Schema = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"Needs the role {call.role} or higher.",
        "parameters": parameters,
        "responses": {"200": {"description": "Done.", **done}},
    }
    if call.partly:
        operation["responses"]["202"] = {
            "description": "Done and durable, but not every worker has acknowledged it yet.",
            **done,
        }
    if call.may_be_unchanged:
        operation["responses"]["304"] = {"description": "As the answer whose ETag stands in If-None-Match."}
    operation["responses"] |= dict(_refusals(call))
    if call.method == "GET":
        parameters += [
            {"name": field.name, "in": "query", "required": field.required, "schema": _query_schema(field)}
            for field in call.fields
        ]
        return operation
    if call.method == "POST" and call.name not in _ONLY_ONCE:
        key = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[\\x21-\\x7e]+$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key})
    operation["requestBody"] = {
        # Also where every field may be missing: the content type is what a page of another site cannot send.
        "required": True,
        "content": {"application/json": {"schema": _body_schema(call)}},
    }
    return operation


def _refusals(call: Call) -> Iterator[tuple[str, Schema]]:
    """Describe every status of a problem, with the kinds behind it."""
    kinds: dict[int, list[str]] = {}
    for kind in problems_of(call):
        kinds.setdefault(KINDS[kind][0], []).append(kind)
    for status, found in sorted(kinds.items()):
        only = {"properties": {"type": {"enum": [PREFIX + kind for kind in found]}, "status": {"const": status}}}
        answer: Schema = {
            "description": "; ".join(KINDS[kind][1] for kind in found) + ".",
            "content": {"application/problem+json": {"schema": {"allOf": [named("Problem"), only]}}},
        }
        if status == 429:
            answer["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}
        if status == 401:
            answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
        yield str(status), answer


def _query_schema(field: Field) -> Schema:
    schema = schema_of(field)
    if isinstance(schema.get("type"), list):  # a query has no null
        schema["type"] = schema["type"][0]
    if "oneOf" in schema:
        schema["oneOf"] = [one for one in schema["oneOf"] if one != {"type": "null"}]
    if "enum" in schema:
        schema["enum"] = [word for word in schema["enum"] if word is not None]
    return schema


def _body_schema(call: Call) -> Schema:
    return {
        "type": "object",
        "properties": {field.name: schema_of(field) for field in call.fields},
        "required": [field.name for field in call.fields if field.required],
        "additionalProperties": False,
    }
