"""Go code that rewrites encoded JSON where no option of the encoder can say what legacy does: a function per matter."""

from __future__ import annotations

from typing import Final

from shadow.gotypes import go_string
from shadow.style import Style

HTML: Final = "<>&"
"""What encoding/json escapes for HTML."""

SORTED: Final = """\
// sorted orders the members of every object by name (key_order). Leave it out where only maps are encoded, which
// Go sorts, or where every struct declares its fields in that order.
func sorted(b []byte) ([]byte, error) {
	switch b[0] {
	case '{':
		var members map[string]json.RawMessage
		if err := json.Unmarshal(b, &members); err != nil {
			return nil, err
		}
		names := make([]string, 0, len(members))
		for name := range members {
			names = append(names, name)
		}
		sort.Strings(names)
		out := []byte{'{'}
		for i, name := range names {
			if i > 0 {
				out = append(out, ',')
			}
			quoted, err := encode(name)
			if err != nil {
				return nil, err
			}
			value, err := sorted(members[name])
			if err != nil {
				return nil, err
			}
			out = append(append(append(out, quoted...), ':'), value...)
		}
		return append(out, '}'), nil
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(b, &items); err != nil {
			return nil, err
		}
		out := []byte{'['}
		for i, item := range items {
			if i > 0 {
				out = append(out, ',')
			}
			value, err := sorted(item)
			if err != nil {
				return nil, err
			}
			out = append(out, value...)
		}
		return append(out, ']'), nil
	}
	return b, nil
}
"""

_INDENTED: Final = """\
// indented prints one member or item per line (whitespace.indent).
func indented(b []byte) ([]byte, error) {
	var out bytes.Buffer
	err := json.Indent(&out, b, "", UNIT)
	return out.Bytes(), err
}
"""


def indented(style: Style) -> str:
    """Write the function that prints one member or item per line."""
    assert style.indent
    return _INDENTED.replace("UNIT", go_string(style.indent))


def spaced(style: Style) -> str:
    """Write the function that puts blanks behind commas and colons."""
    spots = " || ".join(f"c == '{mark}'" for mark, is_spaced in ((",", style.comma), (":", style.colon)) if is_spaced)
    return _SPACED.replace("SPOTS", f"({spots})" if " || " in spots else spots)


_SPACED: Final = """\
// spaced writes a blank behind commas and colons that stand outside of strings (whitespace.separator).
func spaced(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/8)
	inString := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		out = append(out, c)
		switch {
		case inString && c == '\\\\':
			i++
			out = append(out, b[i])
		case c == '"':
			inString = !inString
		case !inString && SPOTS:
			out = append(out, ' ')
		}
	}
	return out
}
"""


def respell(style: Style, *, modern: bool) -> str:
    """Write the function that spells characters as legacy does; empty: the options say it all.

    encoding/json writes as escapes what JSON demands, and, before 1.27's options, U+2028 and U+2029.
    """
    escapes = _escape_cases(style, modern=modern)
    plain = _plain_cases(style)
    if not escapes and not plain:
        return ""
    lines = [
        "// respell writes characters as legacy does. JSON has no backslash and none of these outside of strings.",
        "func respell(b []byte) []byte {",
        "\tout := make([]byte, 0, len(b)+len(b)/8)",
        "\tfor i := 0; i < len(b); {",
        "\t\tc, size := rune(b[i]), 1",
        "\t\tif c >= utf8.RuneSelf {",
        "\t\t\tc, size = utf8.DecodeRune(b[i:])",
        "\t\t}",
        "\t\tswitch {",
        "\t\tcase c == '\\\\' && b[i+1] == 'u':",
        "\t\t\tsize = 6",
        *(f"\t\t\t{line}" for line in escapes or ["out = append(out, b[i:i+size]...)"]),
        "\t\tcase c == '\\\\':",
        "\t\t\tsize = 2",
        "\t\t\tout = append(out, b[i:i+size]...)",
        *(f"\t\t{line}" for line in plain),
        "\t\tdefault:",
        "\t\t\tout = append(out, b[i:i+size]...)",
        "\t\t}",
        "\t\ti += size",
        "\t}",
        "\treturn out",
        "}",
        "",
    ]
    return "\n".join(lines)


def _hex(style: Style) -> str:
    return "%04X" if style.upper_hex else "%04x"


def _escape_cases(style: Style, *, modern: bool) -> list[str]:
    """Write what becomes of a ``\\uXXXX`` that encoding/json wrote; empty: it stays as it is."""
    rows = []
    if style.short_control:
        rows += ["case `\\u0008`: // escape.control, Go before 1.22", "\tout = append(out, `\\b`...)"]
        rows += ["case `\\u000c`:", "\tout = append(out, `\\f`...)"]
    if not modern and style.line_separator is False and style.non_ascii != "all":
        rows += ["case `\\u2028`: // escape.line_separator", '\tout = append(out, "\\u2028"...)']
        rows += ["case `\\u2029`:", '\tout = append(out, "\\u2029"...)']
    keep = "out = append(out, b[i:i+size]...)"
    if style.upper_hex:
        keep = "out = append(append(out, `\\u`...), bytes.ToUpper(b[i+2:i+6])...) // escape.hex_case"
    elif not rows:
        return []
    return ["switch string(b[i : i+size]) {", *rows, "default:", f"\t{keep}", "}"] if rows else [keep]


def _plain_cases(style: Style) -> list[str]:
    """Write what becomes of characters that encoding/json wrote as they are."""
    rows = []
    if style.solidus:
        rows += ["case c == '/': // escape.solidus", "\tout = append(out, `\\/`...)"]
    if style.html and style.html != HTML:
        spots = " || ".join(f"c == {_go_rune(one)}" for one in style.html)
        rows += [f"case {spots}: // escape.html", f"\tout = append(out, fmt.Sprintf(`\\u{_hex(style)}`, c)...)"]
    if style.non_ascii == "all":
        first = "0x7f" if style.delete else "0x80"
        rows += [f"case c >= {first} && c < 0x10000: // escape.non_ascii"]
        rows += [f"\tout = append(out, fmt.Sprintf(`\\u{_hex(style)}`, c)...)"]
    elif style.delete:
        rows += ["case c == 0x7f: // escape.control", "\tout = append(out, `\\u007f`...)"]
    if style.non_ascii in ("all", "astral"):
        rows += ["case c >= 0x10000: // escape.non_ascii", "\thigh, low := utf16.EncodeRune(c)"]
        rows += [f"\tout = append(out, fmt.Sprintf(`\\u{_hex(style)}\\u{_hex(style)}`, high, low)...)"]
    return rows


def _go_rune(one: str) -> str:
    return "'\\''" if one == "'" else f"'{one}'"
