package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// writeJSON answers as most Go services do.
//
// DIVERGES whitespace.trailing_newline: Encoder.Encode ends with "\n".
// DIVERGES escape.html: & < > become \u0026 \u003c \u003e.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// writeLikeLegacy answers byte for byte as Starlette's JSONResponse does: no newline at
// the end, no HTML escapes. Floats must be pyFloat.
func writeLikeLegacy(w http.ResponseWriter, status int, value any) {
	body, err := likeLegacy(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func likeLegacy(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

// pyFloat writes a float as Python does: 12.0, not 12. Our prices and weights stay far
// below 1e16 and above 1e-4, where Python would change to an exponent.
type pyFloat float64

// MarshalJSON implements json.Marshaler.
func (f pyFloat) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

type problem struct {
	Detail string `json:"detail"`
}
