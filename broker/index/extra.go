package index

import (
	"encoding/json"
	"reflect"
	"strings"
)

// The schema is walked by reflection, so that a new type only needs a field Extra for its
// unknown fields to be kept.

type extra = map[string]json.RawMessage

// capture puts every field of data that the schema doesn't have into the Extra of its
// object in ix, which was decoded from the same data.
func capture(data []byte, ix *Index) error { return captureInto(reflect.ValueOf(ix), data) }

func captureInto(v reflect.Value, data json.RawMessage) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return captureInto(v.Elem(), data)
	case reflect.Slice:
		var elements []json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return err
		}
		for i := range min(len(elements), v.Len()) {
			if err := captureInto(v.Index(i), elements[i]); err != nil {
				return err
			}
		}
	case reflect.Map:
		var elements map[string]json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return err
		}
		for key, raw := range elements {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(reflect.ValueOf(key)))
			if err := captureInto(element, raw); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key), element)
		}
	case reflect.Struct:
		var fields, unknown extra
		if err := json.Unmarshal(data, &fields); err != nil {
			return err
		}
		for name, raw := range fields {
			i, known := fieldNamed(v.Type(), name)
			switch {
			case !known:
				if unknown == nil {
					unknown = extra{}
				}
				unknown[name] = raw
			case keeps(v.Type().Field(i).Type):
				if err := captureInto(v.Field(i), raw); err != nil {
					return err
				}
			}
		}
		v.FieldByName("Extra").Set(reflect.ValueOf(unknown))
	}
	return nil
}

// join returns data, which is ix encoded, with the contents of its Extra fields added.
func join(data []byte, ix *Index) ([]byte, error) {
	v := reflect.ValueOf(ix)
	if !extended(v) {
		return data, nil
	}
	return joined(v, data)
}

func joined(v reflect.Value, data json.RawMessage) (json.RawMessage, error) {
	switch v.Kind() {
	case reflect.Pointer:
		return joined(v.Elem(), data)
	case reflect.Slice:
		var elements []json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return nil, err
		}
		for i := range elements {
			if err := joinElement(v.Index(i), &elements[i]); err != nil {
				return nil, err
			}
		}
		return marshal(elements)
	case reflect.Map:
		var elements map[string]json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return nil, err
		}
		for key, raw := range elements {
			if err := joinElement(v.MapIndex(reflect.ValueOf(key)), &raw); err != nil {
				return nil, err
			}
			elements[key] = raw
		}
		return marshal(elements)
	default:
		var fields extra
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, err
		}
		for name, raw := range fields {
			i, _ := fieldNamed(v.Type(), name)
			if !keeps(v.Type().Field(i).Type) {
				continue
			}
			if err := joinElement(v.Field(i), &raw); err != nil {
				return nil, err
			}
			fields[name] = raw
		}
		for name, raw := range v.FieldByName("Extra").Interface().(extra) {
			if _, known := fieldNamed(v.Type(), name); !known {
				fields[name] = raw
			}
		}
		return marshal(fields)
	}
}

func joinElement(v reflect.Value, data *json.RawMessage) (err error) {
	if extended(v) {
		*data, err = joined(v, *data)
	}
	return err
}

// extended reports whether anything in v has unknown fields.
func extended(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && extended(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if extended(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if extended(v.MapIndex(key)) {
				return true
			}
		}
	case reflect.Struct:
		if v.FieldByName("Extra").Len() > 0 {
			return true
		}
		for i := range v.NumField() {
			if keeps(v.Type().Field(i).Type) && extended(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// keeps reports whether t is a type of the schema, or a pointer, list or map of one.
func keeps(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keeps(t.Elem())
	case reflect.Struct:
		_, ok := t.FieldByName("Extra")
		return ok
	}
	return false
}

// fieldNamed finds a field by its JSON name, ignoring case as encoding/json does.
func fieldNamed(t reflect.Type, name string) (index int, ok bool) {
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag != "-" && strings.EqualFold(tag, name) {
			return i, true
		}
	}
	return 0, false
}
