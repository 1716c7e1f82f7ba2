"""The one place that knows that SQLite and PostgreSQL write some things differently.

Rules of this file:

1. Every other module of this room writes one statement, for both.
2. Nothing here imports a driver, nor PostgreSQL's dialect (0.1 s): a node on SQLite does not pay for what it has not.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Integer
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.dml import OnConflictDoNothing, OnConflictDoUpdate
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import ReturnTypeFromArgs

Number: Final = Integer().with_variant(BigInteger(), "postgresql")
"""Whole numbers of 64 bits: SQLite's INTEGER has them, PostgreSQL's ends at 2,147,483,647 requests."""

upsert: Final = insert
"""``INSERT … ON CONFLICT``: both databases understand the same words."""


class least(ReturnTypeFromArgs[Any]):  # noqa: N801 - the name of an SQL function
    """The smallest of several values of one row; as ``func.least`` too."""

    inherit_cache = True


class greatest(ReturnTypeFromArgs[Any]):  # noqa: N801 - the name of an SQL function
    """The greatest of several values of one row; as ``func.greatest`` too."""

    inherit_cache = True


@compiles(least, "sqlite")
def _least(element: least, compiler: SQLCompiler, **words: Any) -> str:
    return f"min({compiler.process(element.clauses, **words)})"


@compiles(greatest, "sqlite")
def _greatest(element: greatest, compiler: SQLCompiler, **words: Any) -> str:
    return f"max({compiler.process(element.clauses, **words)})"


# SQLAlchemy's two compilers differ in one name: PostgreSQL could point at a constraint instead of at columns.
@compiles(OnConflictDoUpdate, "postgresql")
def _do_update(element: Any, compiler: Any, **words: Any) -> str:
    element.constraint_target = None
    return str(compiler.visit_on_conflict_do_update(element, **words))


@compiles(OnConflictDoNothing, "postgresql")
def _do_nothing(element: Any, compiler: Any, **words: Any) -> str:
    element.constraint_target = None
    return str(compiler.visit_on_conflict_do_nothing(element, **words))


def storable(text: str) -> str:
    """Replace what PostgreSQL's texts cannot hold and strangers' JSON may: NUL, and halves of surrogate pairs."""
    if "\0" in text:
        text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
