// Package strictjson decodes JSON objects on which decisions about trust depend: whatever
// a reader may understand in another way than the writer is an error that names the member.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Unmarshal decodes a JSON object into the struct that into points to, whose fields all
// have a name in a json tag. Members that the object does not have keep their value.
//
// Encoding/json ignores a member that it does not know, finds names in any case, takes
// the last one of two, and skips null. Unmarshal refuses all of these, text that is not
// UTF-8, and anything after the object. Bytes are a string in base64 only, without line
// breaks: encoding/json takes an array of numbers for them as well. A member that is itself
// an object, or an array of a fixed length, must be decoded by a type with its own
// UnmarshalJSON or UnmarshalText.
func Unmarshal(text []byte, into any) error {
	fields := fieldsOf(reflect.ValueOf(into).Elem())
	return each(text, func(name string, value json.RawMessage) error {
		field, known := fields[name]
		if !known {
			return unknown(name, fields)
		}
		if err := checkNotNull(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := checkForm(field.Type(), value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := json.Unmarshal(value, field.Addr().Interface()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// maxMembers bounds the members of an object whose kind is not known: strangers send it, and
// members take longer than other text.
const maxMembers = 256

// Members returns the members of a JSON object by name, for objects whose kind follows from
// their members. Members given twice, more than maxMembers, text that is not UTF-8, and
// anything after the object are errors. Values are valid JSON and otherwise unchecked; they may
// be null.
func Members(text []byte) (map[string]json.RawMessage, error) {
	members := make(map[string]json.RawMessage)
	err := each(text, func(name string, value json.RawMessage) error {
		if len(members) == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		members[name] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// each calls f for each member of a JSON object, until an error.
func each(text []byte, f func(name string, value json.RawMessage) error) error {
	if !utf8.Valid(text) {
		return errors.New("the text is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return err
	}
	if first := bytes.TrimLeft(whole, " \t\r\n"); first[0] != '{' {
		return fmt.Errorf("want a JSON object, not %.20q", first)
	}
	decoder := json.NewDecoder(bytes.NewReader(text)) // the syntax is valid
	if _, err := decoder.Token(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("duplicate member %q", name)
		}
		seen[name] = true
		if err := f(name, value); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf returns the fields of a struct and of those embedded in it, by the names in
// their tags.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = v.FieldByIndex(f.Index)
		}
	}
	return fields
}

// UnknownMemberError is the error for a member that a struct does not have.
type UnknownMemberError struct {
	Name    string
	Similar string // a member that the struct has and that may be meant, or ""
}

func (e *UnknownMemberError) Error() string {
	if e.Similar != "" {
		return fmt.Sprintf("unknown member %q: did you mean %q?", e.Name, e.Similar)
	}
	return fmt.Sprintf("unknown member %q", e.Name)
}

// unknown returns the error of a member that a struct does not have.
func unknown(name string, fields map[string]reflect.Value) error {
	letters := func(name string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) }
	for field := range fields {
		if letters(field) == letters(name) {
			return &UnknownMemberError{name, field}
		}
	}
	return &UnknownMemberError{Name: name}
}

// checkForm checks that a type reads a value in one form only.
func checkForm(t reflect.Type, value json.RawMessage) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if into := reflect.PointerTo(t); into.Implements(reflect.TypeFor[json.Unmarshaler]()) || into.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Interface, reflect.Array:
		return fmt.Errorf("cannot read a %s strictly: please report this bug", t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return checkBase64(value)
		}
		var elements []json.RawMessage
		if err := json.Unmarshal(value, &elements); err != nil {
			return err
		}
		for _, element := range elements {
			if err := checkForm(t.Elem(), element); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkBase64 checks that a value is a string in base64, in the one form that its bytes have.
func checkBase64(value json.RawMessage) error {
	if value[0] != '"' {
		return errors.New("want a string in base64")
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	if strings.ContainsAny(text, "\r\n") {
		return errors.New("base64 with line breaks")
	}
	_, err := base64.StdEncoding.Strict().DecodeString(text)
	return err
}

// checkNotNull checks that a value is not null and contains no null.
func checkNotNull(value json.RawMessage) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	for {
		switch token, err := decoder.Token(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case token == nil:
			return errors.New("null is not a value: leave it out")
		}
	}
}
