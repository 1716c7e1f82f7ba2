"""Write the Go code that makes a new service encode like the legacy one.

Rules of this file:

1. Two variants of one package with one door, ``Marshal`` and ``Write``: for Go 1.27 and newer everything is an option
   of encoding/json/v2 and no struct is touched; for older Go numbers, moments and durations need types of their own.
2. What an option can say is an option. The rest rewrites the encoded bytes, in functions of a few lines each.
3. A piece stands in the code only if the style asks for it; each says for which cause it is there.
"""

from __future__ import annotations

from typing import Final

from shadow import gobytes, gotypes
from shadow.fixes import imports_of
from shadow.gobytes import HTML
from shadow.gotypes import go_string
from shadow.style import Style

PACKAGE: Final = "legacyjson"


def go_code(style: Style, *, modern: bool, origin: str) -> str:
    """Write one Go file.

    Shape: *modern* needs Go 1.27; *origin* says in the head where the style is from.
    """
    pieces = [_options(style) if modern else _encode_old(style)]
    pieces += gotypes.numbers(style, modern=modern)
    pieces += gotypes.moments(style, modern=modern)
    pieces += gotypes.durations(style, modern=modern)
    steps = ["b, err := encode(v)\n\tif err != nil {\n\t\treturn nil, err\n\t}"]
    if style.is_sorted:
        steps.append("if b, err = sorted(b); err != nil {\n\t\treturn nil, err\n\t}")
        pieces.append(gobytes.SORTED)
    respell = gobytes.respell(style, modern=modern)
    if respell:
        steps.append("b = respell(b)")
        pieces.append(respell)
    if not _is_spaced_by_options(style, modern=modern):
        if style.indent:
            pieces.append(gobytes.indented(style))
            steps.append("if b, err = indented(b); err != nil {\n\t\treturn nil, err\n\t}")
        elif style.comma or style.colon:
            pieces.append(gobytes.spaced(style))
            steps.append("b = spaced(b)")
    end = "return append(b, '\\n'), nil // whitespace.trailing_newline" if style.newline else "return b, nil"
    marshal = _MARSHAL.replace("STEPS", "\n\t".join((*steps, end)))
    body = "\n".join((marshal, _WRITE, *pieces)).rstrip("\n")
    version, notes = "1.27" if modern else "1.19", _notes(style, modern=modern)
    head = _HEAD.replace("ORIGIN", origin).replace("VERSION", version).replace("NOTES", notes)
    return f"{head}\npackage {PACKAGE}\n\n{imports_of('go', body)}\n\n{body}\n"


def _notes(style: Style, *, modern: bool) -> str:
    """Say in the head what no code of this file can do."""
    notes = []
    if style.is_sorted is False:
        notes.append("key_order: declare the fields of structs in the order in which legacy writes them.")
    for kind, cause, is_null in (("slice", "array", style.null_slices), ("map", "object", style.null_maps)):
        if is_null or (is_null is False and not modern):
            wanted = "nil" if is_null else "empty, not nil,"
            notes.append(f"null.empty_{cause}: keep a {kind} that holds nothing {wanted} before it is encoded.")
    return "".join(f"\n//\n// {note}" for note in notes)


def _is_spaced_by_options(style: Style, *, modern: bool) -> bool:
    """Say whether the encoder itself writes the blanks; sorting must come first, and works on compact JSON."""
    return modern and not style.is_sorted


# ---- the door ------------------------------------------------------------------------------------------------------

_HEAD: Final = """\
// Package legacyjson writes JSON as the legacy service does: ORIGIN.
// It needs Go VERSION or newer.NOTES"""

_MARSHAL: Final = """\
// Marshal encodes v as the legacy service would.
func Marshal(v any) ([]byte, error) {
	STEPS
}
"""

_WRITE: Final = """\
// Write answers with v. It encodes first, so that an error is a 500 and never an empty or cut answer.
func Write(w http.ResponseWriter, status int, v any) {
	b, err := Marshal(v)
	if err != nil {
		http.Error(w, `{"error":"internal"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}
"""

_ENCODE: Final = """\
func encode(v any) ([]byte, error) {
	return json.Marshal(v)
}
"""

_ENCODE_RAW: Final = """\
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // escape.html
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\\n")), nil
}
"""


def _encode_old(style: Style) -> str:
    """Take encoding/json's own escapes where legacy has the same, or nothing was seen of them."""
    return _ENCODE if style.html in (None, HTML) else _ENCODE_RAW


def _options(style: Style) -> str:
    """Write the options of encoding/json/v2 on top of what encoding/json does; each stands below its cause."""
    rows = [("what is not named below is as encoding/json has it", "json.DefaultOptionsV1()")]
    if style.html is not None:
        rows.append(("escape.html", f"jsontext.EscapeForHTML({_go(style.html == HTML)})"))
    if style.line_separator is not None or style.non_ascii == "all":
        rows.append(("escape.line_separator", f"jsontext.EscapeForJS({_go(bool(style.line_separator))})"))
    if _is_spaced_by_options(style, modern=True):
        if style.indent:
            rows.append(("whitespace.indent", f"jsontext.WithIndent({go_string(style.indent)})"))
        elif style.comma or style.colon:
            comma, colon = _go(bool(style.comma)), _go(bool(style.colon))
            both = f"jsontext.SpaceAfterComma({comma}), jsontext.SpaceAfterColon({colon})"
            rows.append(("whitespace.separator", both))
    if style.null_slices is False:
        rows.append(("null.empty_array", "jsonv2.FormatNilSliceAsNull(false)"))
    if style.null_maps is False:
        rows.append(("null.empty_object", "jsonv2.FormatNilMapAsNull(false)"))
    marshalers = gotypes.marshalers(style)
    if marshalers:
        inner = "".join(f"\n\t\tjsonv2.MarshalToFunc({one})," for one in marshalers.values())
        rows.append((", ".join(marshalers), f"jsonv2.WithMarshalers(jsonv2.JoinMarshalers({inner}\n\t))"))
    lines = "".join(f"\n\t// {cause}\n\t{row}," for cause, row in rows)
    return (
        f"var options = jsonv2.JoinOptions({lines}\n)\n\n"
        "func encode(v any) ([]byte, error) {\n\treturn jsonv2.Marshal(v, options)\n}\n"
    )


def _go(value: bool) -> str:
    return "true" if value else "false"
