package server

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	yamlUnknown = regexp.MustCompile(`^line (\d+): field (.+) not found in type server\.(\w+)$`)
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
)

// unreadable says of a configuration that cannot be decoded what is wrong, one line a fault: file:line: fault. The decoder's
// own words name types of this program, which tell an operator nothing.
func unreadable(path string, err error) error {
	list := []string{err.Error()}
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		list = e.Errors
	}
	faults := make([]error, len(list))
	for i, text := range list {
		if m := yamlUnknown.FindStringSubmatch(text); m != nil {
			faults[i] = fmt.Errorf("%s:%s: unknown key %s; known here: %s", path, m[1], m[2], strings.Join(keysOf(m[3]), ", "))
		} else if m := yamlLine.FindStringSubmatch(text); m != nil {
			faults[i] = fmt.Errorf("%s:%s: %s", path, m[1], m[2])
		} else {
			faults[i] = fmt.Errorf("%s: %s", path, text)
		}
	}
	return errors.Join(faults...)
}

// keysOf lists the keys of a type of this package that Config is made of, in the order of its fields.
func keysOf(name string) (keys []string) {
	var find func(t reflect.Type) reflect.Type
	find = func(t reflect.Type) reflect.Type {
		for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice}, t.Kind()) {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			return nil
		}
		if t.Name() == name {
			return t
		}
		for i := range t.NumField() {
			if found := find(t.Field(i).Type); found != nil {
				return found
			}
		}
		return nil
	}
	t := find(reflect.TypeFor[Config]())
	if t == nil {
		return nil
	}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		keys = append(keys, key)
	}
	return keys
}
