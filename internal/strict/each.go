package strict

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Each is one value for all things of a kind, or a set of their names with a value each.
type Each[T any] struct {
	All *T         // nil: there is no value for all
	By  []Named[T] // in the file's order
}

// Named is the value of one thing. Its path is that of the Each, with the name as its last part.
type Named[T any] struct {
	Name  string
	Value T
}

// decoder reads what a node says by itself.
type decoder interface {
	decode(d *Document, path string, n *yaml.Node)
}

func (e *Each[T]) decode(d *Document, path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
	case yaml.SequenceNode:
		d.Add(path, "must be one value, or a set of names with a value each, is %s", shown(n))
		return
	default:
		var x T
		if d.value(path, n, reflect.ValueOf(&x).Elem()); !d.bad[path] {
			e.All = &x
		}
		return
	}
	d.keys(path, n, "a name", func(at string, key, value *yaml.Node) {
		one := Named[T]{Name: key.Value}
		d.lines[at] = key.Line
		d.value(at, value, reflect.ValueOf(&one.Value).Elem())
		e.By = append(e.By, one)
	})
}
