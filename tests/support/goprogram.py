"""Build generated Go code and let it write values."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from shadow.dialects import FLOATS, GO
from shadow.gocode import go_code
from shadow.style import Style

ROOT = Path(__file__).resolve().parents[2]

MAIN = """package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"time"
	IMPORTS
)

type like struct {
	marshal  func(any) ([]byte, error)
	float    func(float64) any
	moment   func(time.Time) any
	duration func(time.Duration) any
}

var likes = map[string]like{
	LIKES
}

func plainFloat(f float64) any             { return f }
func plainTime(t time.Time) any            { return t }
func plainDuration(d time.Duration) any    { return d }

func build(raw json.RawMessage, as like) any {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		panic(err)
	}
	var kind, text string
	json.Unmarshal(parts[0], &kind)
	if len(parts) > 1 {
		json.Unmarshal(parts[1], &text)
	}
	switch kind {
	case "string":
		return text
	case "integer":
		return json.Number(text)
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			panic(err)
		}
		return as.float(f)
	case "moment":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			panic(err)
		}
		return as.moment(t)
	case "duration":
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		return as.duration(d)
	case "true", "false":
		return kind == "true"
	case "array":
		items := []any{}
		for _, item := range parts[1:] {
			items = append(items, build(item, as))
		}
		return items
	case "object":
		var fields []reflect.StructField
		var values []any
		for i, part := range parts[1:] {
			var member []json.RawMessage
			json.Unmarshal(part, &member)
			var name string
			json.Unmarshal(member[0], &name)
			fields = append(fields, reflect.StructField{
				Name: fmt.Sprintf("F%d", i),
				Type: reflect.TypeOf([]any{}).Elem(),
				Tag:  reflect.StructTag(fmt.Sprintf("json:%q", name)),
			})
			values = append(values, build(member[1], as))
		}
		built := reflect.New(reflect.StructOf(fields)).Elem()
		for i, value := range values {
			if value != nil {
				built.Field(i).Set(reflect.ValueOf(value))
			}
		}
		return built.Interface()
	}
	return nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var row struct {
			Like  string
			Value json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			panic(err)
		}
		as := likes[row.Like]
		b, err := as.marshal(build(row.Value, as))
		if err != nil {
			b = []byte("error: " + err.Error())
		}
		fmt.Printf("%x\\n", b)
	}
}
"""


def run_go(
    go: Path, place: Path, styles: dict[str, Style], rows: list[tuple[str, Any]], *, modern: bool
) -> list[bytes]:
    """Generate a package per style, build them into one program and let it write every row."""
    likes, imports = [], []
    for name, style in styles.items():
        (place / name).mkdir()
        code = go_code(style, modern=modern, origin=name)
        (place / name / "legacyjson.go").write_text(code, encoding="utf-8")
        imports.append(f'{name} "likes/{name}"')
        has_float = not modern and style.floats and FLOATS[style.floats[0]] != GO
        number = f"func(f float64) any {{ return {name}.Float(f) }}" if has_float else "plainFloat"
        moment = f"func(t time.Time) any {{ return {name}.Time{{t}} }}" if not modern and style.times else "plainTime"
        length = (
            f"func(d time.Duration) any {{ return {name}.Duration(d) }}"
            if not modern and style.durations
            else "plainDuration"
        )
        likes.append(f'"{name}": {{{name}.Marshal, {number}, {moment}, {length}}},')
    main = MAIN.replace("IMPORTS", "\n\t".join(imports)).replace("LIKES", "\n\t".join(likes))
    (place / "main.go").write_text(main)
    (place / "go.mod").write_text(f"module likes\n\ngo {'1.27' if modern else '1.19'}\n")
    program = build(go, place)
    lines = "".join(json.dumps({"Like": like, "Value": value}) + "\n" for like, value in rows)
    done = subprocess.run([str(program)], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [bytes.fromhex(line.decode()) for line in done.stdout.splitlines()]


def build(go: Path, place: Path) -> Path:
    """Build the program in *place*, with what the tests before have compiled.

    Shape: ``-trimpath`` leaves the temporary directory out of what is compiled, so that the same code is found again;
    scripts/parts has compiled Go's own packages like this.
    """
    program = place / "program.bin"
    environment = {**os.environ, "GOCACHE": str(ROOT / ".cache" / "go-build"), "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    subprocess.run([str(go), "build", "-trimpath", "-o", str(program), "."], cwd=place, env=environment, check=True)
    return program
