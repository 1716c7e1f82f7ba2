"""Why two bodies differ: every difference with its cause and its place on both sides, and how far that is proven.

Theory: both bodies become trees that keep every byte (:mod:`shadow.tree`). The walk goes down both at once, in new's
order, and names a cause wherever legacy's bytes do not do. While it walks it *writes* the body that legacy would have
sent with exactly those causes applied. What is written comes from legacy's bytes and from rules; new's bytes are
spliced in only where the value itself differs, and there the difference says so. If in the end the written body is
new's, the explanation is proven. If not, the first byte that differs is where something stays unexplained.

Rules of this file:

1. Equal bytes are never walked into; unequal ones always give a difference or fail the proof.
2. No recursion: what is left to do stands on a list. Paths are linked, and spelled out for a difference only.
3. What the body means is the value check's answer (:mod:`shadow.json_value`), never this walk's.
4. A cosmetic cause never splices: legacy's lexeme is spelled again.
"""

from __future__ import annotations

from typing import Final

from shadow import align, framing, layout
from shadow.difference import Difference, Explanation, Proof, Span
from shadow.framing import Framed
from shadow.json_value import Meaning, check_meaning
from shadow.layout import Writer
from shadow.reason import Reason
from shadow.tree import End, Kind, Tree, parse
from shadow.walk import COSMETIC, Found, Pair, Walk

MAX_EXPLAINED: Final = 1 << 20
"""Bytes of one body that is explained; above it only the value check looks."""


def explain(legacy: bytes, new: bytes, *, max_bytes: int = MAX_EXPLAINED) -> Explanation:
    """Say why two decoded bodies differ.

    Bound: *max_bytes* each, and the limits of :mod:`shadow.json_grammar`; beyond them the cause is a limit.
    Cost: about 1 ms for two bodies of 1 KB, 100 ms for two of 100 KB; linear.
    """
    if legacy == new:
        return Explanation(meaning=Meaning.SAME, differences=(), proof=Proof.PROVEN)
    meaning = check_meaning(legacy, new).meaning
    if max(len(legacy), len(new)) > max_bytes:
        return _one(meaning, "limit.size", legacy, new)
    one, two = framing.unframe(legacy), framing.unframe(new)
    one, two = framing.from_latin(one, two), framing.from_latin(two, one)
    legacy_tree = parse(one.body, one.begin, one.stop)
    if legacy_tree.end in _LIMITS:
        return _one(meaning, _LIMITS[legacy_tree.end], legacy, new)
    new_tree = parse(two.body, two.begin, two.stop)
    if new_tree.end in _LIMITS:
        return _one(meaning, _LIMITS[new_tree.end], legacy, new)
    end = _cause_of_ends(legacy_tree, new_tree)
    found = Found()
    for cause, detail in _framing(one, two):
        found.add(_whole(cause, one.body, two.body, detail))
    if end is not None:
        found.add(_whole(end.cause, one.body, two.body, end.detail))
        if end.cause not in _STILL_WALKED or legacy_tree.root is None or new_tree.root is None:
            return Explanation(meaning=meaning, differences=tuple(found.differences), proof=Proof.NONE)
    return _walk(meaning, one, two, legacy_tree, new_tree, found)


_LIMITS: Final = {End.DEPTH: "limit.depth", End.TOKENS: "limit.size"}


def _one(meaning: Meaning, cause: str, legacy: bytes, new: bytes) -> Explanation:
    return Explanation(meaning=meaning, differences=(_whole(cause, legacy, new),), proof=Proof.NONE)


def _whole(cause: str, legacy: bytes, new: bytes, detail: str = "") -> Difference:
    """Make a difference of the whole document."""
    spans = (0, len(legacy)), (0, len(new))
    return Difference(cause=cause, legacy_path=(), new_path=(), legacy_span=spans[0], new_span=spans[1], detail=detail)


# ---- the whole body ------------------------------------------------------------------------------------------------


def _framing(legacy: Framed, new: Framed) -> list[Reason]:
    """Name what differs around the JSON texts."""
    reasons = []
    if legacy.charset != new.charset:
        reasons.append(Reason("framing.charset", f"{legacy.charset or 'utf-8'} -> {new.charset or 'utf-8'}"))
    if legacy.bom != new.bom:
        reasons.append(Reason("framing.bom", "legacy" if legacy.bom else "new"))
    if legacy.prefix != new.prefix:
        reasons.append(Reason("framing.prefix", f"{legacy.prefix!r} -> {new.prefix!r}"))
    return reasons


_STILL_WALKED: Final = frozenset({"body.truncated", "body.trailing_data"})
"""Ends that leave a part which both sides have."""


def _cause_of_ends(legacy: Tree, new: Tree) -> Reason | None:
    """Name what keeps two bodies from being two whole JSON texts."""
    ends = (legacy.end, new.end)
    if ends == (End.WHOLE, End.WHOLE):
        return None
    if End.EMPTY in ends:
        if ends[0] is ends[1]:
            return Reason("whitespace.trailing_newline")
        other = new if legacy.end is End.EMPTY else legacy
        is_null = other.end is End.WHOLE and other.root is not None and other.raw(other.root) == b"null"
        return Reason("framing.empty_body" if is_null else "body.empty", _sides(ends, End.EMPTY))
    if End.BROKEN in ends:
        if ends[0] is ends[1]:
            return Reason("body.changed")
        if _is_raw_string(legacy, new):
            return Reason("framing.raw_string", _sides(ends, End.BROKEN))
        return Reason("body.not_json", _sides(ends, End.BROKEN))
    cause, end = ("body.truncated", End.TRUNCATED) if End.TRUNCATED in ends else ("body.trailing_data", End.TRAILING)
    return Reason(cause, _sides(ends, end))


def _sides(ends: tuple[End, End], end: End) -> str:
    return "both" if ends[0] is ends[1] else "legacy" if ends[0] is end else "new"


def _is_raw_string(legacy: Tree, new: Tree) -> bool:
    """Say whether one body is the bare text of the other's JSON string."""
    bare, quoted = (legacy, new) if legacy.end is End.BROKEN else (new, legacy)
    if quoted.end is not End.WHOLE or quoted.root is None or quoted.root.kind is not Kind.STRING:
        return False
    text = align.name_of(quoted.raw(quoted.root)).encode("utf-8", "surrogatepass")
    return bare.body in (text, text + b"\n")


# ---- the walk and the proof ------------------------------------------------------------------------------------------


def _walk(meaning: Meaning, one: Framed, two: Framed, legacy: Tree, new: Tree, found: Found) -> Explanation:
    """Explain the part that both trees have, and prove it if both are whole."""
    assert legacy.root is not None
    assert new.root is not None
    learned, wanted = layout.layout_of(legacy), layout.layout_of(new)
    whitespace = layout.changes(learned, wanted)
    for change in whitespace:
        found.add(_blanks(change.cause, None, None, change.detail, change.count))
    writer = Writer(legacy, learned, wanted, keep=not whitespace)
    walk = Walk(legacy, new, writer, found, is_same=meaning is Meaning.SAME)
    walk.run(Pair(legacy.root, new.root, None, None, 0, ""))
    if legacy.end is not End.WHOLE or new.end is not End.WHOLE:
        return Explanation(
            meaning=meaning, differences=tuple(found.differences), proof=Proof.NONE, omitted=found.omitted
        )
    head, tail = _surroundings(one, two, legacy, new, found)
    written = b"".join((head, *walk.written, tail))
    residual = first_difference(written, two.body)
    if residual >= 0 and not whitespace:
        _add_irregular_blanks(written, two.body, residual, found)
    if meaning is not Meaning.SAME and found.causes <= COSMETIC:
        # Cannot happen; if it does, nobody may take it for cosmetic.
        found.add(_whole("unexplained", one.body, two.body))
    return Explanation(
        meaning=meaning,
        differences=tuple(found.differences),
        proof=Proof.PROVEN if residual < 0 else Proof.PARTLY,
        residual=residual,
        omitted=found.omitted,
    )


def _blanks(cause: str, legacy: Span | None, new: Span | None, detail: str, count: int = 1) -> Difference:
    """Make a difference in blanks: it stands at the root."""
    return Difference(
        cause=cause, legacy_path=(), new_path=(), legacy_span=legacy, new_span=new, detail=detail, count=count
    )


def _add_irregular_blanks(written: bytes, new: bytes, at: int, found: Found) -> None:
    """Name blanks that follow no rule: both sides show the same shapes, at other places."""
    ends = written[at : at + 1], new[at : at + 1]
    if any(end and end in _BLANKS for end in ends):
        cause = "whitespace.indent" if b"\n" in ends else "whitespace.separator"
        found.add(_blanks(cause, None, (at, at + 1), "irregular"))


_BLANKS: Final = b" \t\r\n"


def _surroundings(one: Framed, two: Framed, legacy: Tree, new: Tree, found: Found) -> tuple[bytes, bytes]:
    """Explain the blanks around the root, and give what is written in front of it and behind it."""
    assert legacy.root is not None
    assert new.root is not None
    has_frame = (one.bom, one.prefix) != (two.bom, two.prefix)
    head = two.body[: two.begin] if has_frame else one.body[: one.begin]
    spans = (one.begin, legacy.root.start), (two.begin, new.root.start)
    leading = one.body[slice(*spans[0])], two.body[slice(*spans[1])]
    if leading[0] != leading[1]:
        found.add(_blanks("whitespace.indent", *spans, f"{leading[0].decode()!r} -> {leading[1].decode()!r} in front"))
    spans = (legacy.root.end, one.stop), (new.root.end, two.stop)
    trailing = one.body[slice(*spans[0])], two.body[slice(*spans[1])]
    if trailing[0] != trailing[1]:
        detail = f"{trailing[0].decode()!r} -> {trailing[1].decode()!r}"
        found.add(_blanks("whitespace.trailing_newline", *spans, detail))
    end = two.body[two.stop :] if has_frame else one.body[one.stop :]
    return head + leading[1], trailing[1] + end


def first_difference(one: bytes, two: bytes) -> int:
    """Give the offset of the first byte that differs, -1 if there is none."""
    if one == two:
        return -1
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
