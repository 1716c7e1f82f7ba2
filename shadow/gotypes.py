"""Go code that spells numbers, moments and durations as legacy does.

For Go 1.27 a function per type, which encoding/json/v2 calls wherever such a value is encoded; for older Go a type
that takes the place of Go's own.
"""

from __future__ import annotations

from typing import Final

from shadow.dialects import DURATIONS, FLOATS, GO, TIMES, FloatDialect, TimeDialect
from shadow.style import Style


def marshalers(style: Style) -> dict[str, str]:
    """Name the functions that write types in another way, by their causes."""
    found = {}
    if style.floats and FLOATS[style.floats[0]] != GO:
        found["number.*"] = "writeFloat"
    if style.times:
        found["time.*"] = "writeTime"
    if style.durations:
        found["type.duration"] = "writeDuration"
    return found


def numbers(style: Style, *, modern: bool) -> list[str]:
    """Write what spells floats; empty: they are as Go writes them."""
    if not style.floats or FLOATS[style.floats[0]] == GO:
        return []
    spell = _spell_float(FLOATS[style.floats[0]], style.floats[0])
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
        f"return []byte({go_string(dialect.nonfinite)}), nil"
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


def moments(style: Style, *, modern: bool) -> list[str]:
    """Write what spells moments; empty: they are as Go writes them."""
    if not style.times:
        return []
    return [_WRITE_TIME if modern else _TIME_TYPE, _spell_time(TIMES[style.times[0]], style.times[0])]


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


def durations(style: Style, *, modern: bool) -> list[str]:
    """Write what spells durations; empty: they are as Go writes them."""
    if not style.durations:
        return []
    return [_WRITE_DURATION if modern else _DURATION_TYPE, _SPELL_DURATION[DURATIONS[style.durations[0]].shape]]


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


def go_string(text: str) -> str:
    """Write a Go string that holds nothing to escape but tabs."""
    return '"' + text.replace("\t", "\\t") + '"'
