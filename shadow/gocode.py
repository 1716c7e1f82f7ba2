"""Write the Go code that makes a new service encode like the legacy one.

Rules of this file:

1. Two variants of one package with one door, ``Marshal`` and ``Write``: for Go 1.27 and newer everything is an option
   of encoding/json/v2 and no struct is touched; for older Go numbers, moments and durations need types of their own.
2. What an option can say is an option. The rest rewrites the encoded bytes, in functions of a few lines each.
3. A piece stands in the code only if the style asks for it; each says for which cause it is there.
"""

from __future__ import annotations

from typing import Final

from shadow.dialects import DURATIONS, FLOATS, GO, TIMES, FloatDialect, TimeDialect
from shadow.fixes import imports_of
from shadow.style import Style

PACKAGE: Final = "legacyjson"

_HTML: Final = "<>&"
"""What encoding/json escapes for HTML."""


def go_code(style: Style, *, modern: bool, origin: str) -> str:
    """Write one Go file.

    Shape: *modern* needs Go 1.27; *origin* says in the head where the style is from.
    """
    pieces = [_options(style) if modern else _encode_old(style)]
    pieces += _numbers(style, modern=modern)
    pieces += _moments(style, modern=modern)
    pieces += _durations(style, modern=modern)
    steps = ["b, err := encode(v)\n\tif err != nil {\n\t\treturn nil, err\n\t}"]
    if style.is_sorted:
        steps.append("if b, err = sorted(b); err != nil {\n\t\treturn nil, err\n\t}")
        pieces.append(_SORTED)
    respell = _respell(style, modern=modern)
    if respell:
        steps.append("b = respell(b)")
        pieces.append(respell)
    if not _is_spaced_by_options(style, modern=modern):
        if style.indent:
            pieces.append(_INDENTED.replace("UNIT", _go_string(style.indent)))
            steps.append("if b, err = indented(b); err != nil {\n\t\treturn nil, err\n\t}")
        elif style.comma or style.colon:
            pieces.append(_spaced(style))
            steps.append("b = spaced(b)")
    end = "return append(b, '\\n'), nil // whitespace.trailing_newline" if style.newline else "return b, nil"
    marshal = _MARSHAL.replace("STEPS", "\n\t".join((*steps, end)))
    body = "\n".join((marshal, _WRITE, *pieces)).rstrip("\n")
    head = (
        _HEAD.replace("ORIGIN", origin).replace("VERSION", "1.27" if modern else "1.19").replace("NOTES", _notes(style))
    )
    return f"{head}\npackage {PACKAGE}\n\n{imports_of('go', body)}\n\n{body}\n"


def _notes(style: Style) -> str:
    """Say in the head what no code of this file can do."""
    notes = ""
    if style.is_sorted is False:
        notes += "\n//\n// key_order: declare the fields of structs in the order in which legacy writes them."
    return notes


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
    return _ENCODE if style.html in (None, _HTML) else _ENCODE_RAW


def _options(style: Style) -> str:
    """Write the options of encoding/json/v2 on top of what encoding/json does; each stands below its cause."""
    rows = [("what is not named below is as encoding/json has it", "json.DefaultOptionsV1()")]
    if style.html is not None:
        rows.append(("escape.html", f"jsontext.EscapeForHTML({_go(style.html == _HTML)})"))
    if style.line_separator is not None or style.non_ascii == "all":
        rows.append(("escape.line_separator", f"jsontext.EscapeForJS({_go(bool(style.line_separator))})"))
    if _is_spaced_by_options(style, modern=True):
        if style.indent:
            rows.append(("whitespace.indent", f"jsontext.WithIndent({_go_string(style.indent)})"))
        elif style.comma or style.colon:
            comma, colon = _go(bool(style.comma)), _go(bool(style.colon))
            both = f"jsontext.SpaceAfterComma({comma}), jsontext.SpaceAfterColon({colon})"
            rows.append(("whitespace.separator", both))
    if style.null_slices is False:
        rows.append(("null.empty_array", "jsonv2.FormatNilSliceAsNull(false)"))
    if style.null_maps is False:
        rows.append(("null.empty_object", "jsonv2.FormatNilMapAsNull(false)"))
    marshalers = _marshalers(style)
    if marshalers:
        inner = "".join(f"\n\t\tjsonv2.MarshalToFunc({one})," for one in marshalers.values())
        rows.append((", ".join(marshalers), f"jsonv2.WithMarshalers(jsonv2.JoinMarshalers({inner}\n\t))"))
    lines = "".join(f"\n\t// {cause}\n\t{row}," for cause, row in rows)
    return (
        f"var options = jsonv2.JoinOptions({lines}\n)\n\n"
        "func encode(v any) ([]byte, error) {\n\treturn jsonv2.Marshal(v, options)\n}\n"
    )


def _marshalers(style: Style) -> dict[str, str]:
    """Name the functions that write types in another way, by their causes."""
    found = {}
    if style.floats and FLOATS[style.floats] != GO:
        found["number.*"] = "writeFloat"
    if style.times:
        found["time.*"] = "writeTime"
    if style.durations:
        found["type.duration"] = "writeDuration"
    return found


def _go(value: bool) -> str:
    return "true" if value else "false"


def _go_string(text: str) -> str:
    return '"' + text.replace("\t", "\\t") + '"'


# ---- numbers, moments, durations -----------------------------------------------------------------------------------


def _numbers(style: Style, *, modern: bool) -> list[str]:
    if not style.floats or FLOATS[style.floats] == GO:
        return []
    spell = _spell_float(FLOATS[style.floats], style.floats)
    return [_WRITE_FLOAT if modern else _FLOAT_TYPE, spell]


_WRITE_FLOAT: Final = """\
func writeFloat(enc *jsontext.Encoder, f float64) error {
	b, err := spellFloat(f)
	if err != nil {
		return err
	}
	return enc.WriteValue(b)
}
"""

_FLOAT_TYPE: Final = """\
// Float takes the place of float64 in what is encoded.
type Float float64

func (f Float) MarshalJSON() ([]byte, error) {
	return spellFloat(float64(f))
}
"""


def _spell_float(dialect: FloatDialect, name: str) -> str:
    nonfinite = (
        f"return []byte({_go_string(dialect.nonfinite)}), nil"
        if dialect.nonfinite
        else 'return nil, errors.New("JSON has no NaN and no Infinity")'
    )
    lines = [f"// spellFloat writes a number as {name} does.", "func spellFloat(f float64) ([]byte, error) {"]
    lines += ["\tif math.IsNaN(f) || math.IsInf(f, 0) {", f"\t\t{nonfinite}", "\t}"]
    if not dialect.keeps_minus_zero:
        lines += ["\tf += 0 // number.negative_zero"]
    lines += [
        "\ts := strconv.FormatFloat(f, 'e', -1, 64)",
        '\tmantissa, power, _ := strings.Cut(s, "e")',
        "\texponent, err := strconv.Atoi(power)",
        "\tif err != nil {",
        "\t\treturn nil, err",
        "\t}",
        f"\tif f == 0 || exponent >= {dialect.low} && exponent < {dialect.high} {{ // number.exponent_threshold",
        "\t\ts = strconv.FormatFloat(f, 'f', -1, 64)",
    ]
    if dialect.has_point:
        lines += ['\t\tif !strings.Contains(s, ".") {', '\t\t\ts += ".0" // number.integral_float', "\t\t}"]
    lines += ["\t\treturn []byte(s), nil", "\t}"]
    if dialect.has_mantissa_point:
        lines += ['\tif !strings.Contains(mantissa, ".") {', '\t\tmantissa += ".0"', "\t}"]
    lines += [
        f'\tsign := "{dialect.plus}"',
        "\tif exponent < 0 {",
        '\t\tsign, exponent = "-", -exponent',
        "\t}",
        f'\treturn []byte(fmt.Sprintf("%s{dialect.letter}%s%0{dialect.digits}d", mantissa, sign, exponent)), nil',
        "}",
        "",
    ]
    return "\n".join(lines)


def _moments(style: Style, *, modern: bool) -> list[str]:
    if not style.times:
        return []
    return [_WRITE_TIME if modern else _TIME_TYPE, _spell_time(TIMES[style.times], style.times)]


_WRITE_TIME: Final = """\
func writeTime(enc *jsontext.Encoder, t time.Time) error {
	return enc.WriteValue(jsontext.Value(spellTime(t)))
}
"""

_TIME_TYPE: Final = """\
// Time takes the place of time.Time in what is encoded.
type Time struct{ time.Time }

func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(spellTime(t.Time)), nil
}
"""


def _spell_time(dialect: TimeDialect, name: str) -> str:
    lines = [f"// spellTime writes a moment as JSON: {name}.", "func spellTime(t time.Time) string {"]
    if dialect.shape == "milliseconds":
        lines += ["\treturn strconv.FormatInt(t.UnixMilli(), 10)", "}", ""]
        return "\n".join(lines)
    if dialect.is_utc:
        lines.append("\tt = t.UTC()")
    if dialect.shape == "http":
        layout = whole = "Mon, 02 Jan 2006 15:04:05 GMT"
    else:
        zone = "Z07:00" if dialect.zero == "Z" else "-07:00"
        start = f"2006-01-02{dialect.gap}15:04:05"
        whole = start + zone
        layout = f"{start}.{'0' * dialect.digits}{zone}" if dialect.digits else whole
    if layout != whole and not dialect.is_always_fractional:
        lines += ["\tif t.Nanosecond()/1000 == 0 {", f'\t\treturn t.Format(`"{whole}"`)', "\t}"]
    lines += [f'\treturn t.Format(`"{layout}"`)', "}", ""]
    return "\n".join(lines)


def _durations(style: Style, *, modern: bool) -> list[str]:
    if not style.durations:
        return []
    return [_WRITE_DURATION if modern else _DURATION_TYPE, _SPELL_DURATION[DURATIONS[style.durations].shape]]


_WRITE_DURATION: Final = """\
func writeDuration(enc *jsontext.Encoder, d time.Duration) error {
	return enc.WriteValue(jsontext.Value(spellDuration(d)))
}
"""

_DURATION_TYPE: Final = """\
// Duration takes the place of time.Duration in what is encoded.
type Duration time.Duration

func (d Duration) MarshalJSON() ([]byte, error) {
	return []byte(spellDuration(time.Duration(d))), nil
}
"""

_SPELL_DURATION: Final = {
    "milliseconds": """\
func spellDuration(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10)
}
""",
    "seconds": """\
func spellDuration(d time.Duration) string {
	s := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
""",
    "iso": """\
// spellDuration writes what Django writes: P0DT01H30M00S.
func spellDuration(d time.Duration) string {
	seconds, fraction := int64(d/time.Second), ""
	if micros := d % time.Second / time.Microsecond; micros != 0 {
		fraction = fmt.Sprintf(".%06d", micros)
	}
	return fmt.Sprintf(`"P%dDT%02dH%02dM%02d%sS"`,
		seconds/86400, seconds/3600%24, seconds/60%60, seconds%60, fraction)
}
""",
}


# ---- rewriting what was encoded ------------------------------------------------------------------------------------

_SORTED: Final = """\
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


def _spaced(style: Style) -> str:
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


def _respell(style: Style, *, modern: bool) -> str:
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
    if style.html and style.html != _HTML:
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
