package config

import (
	"errors"
)

// Parse reads an intent. The error joins one *strict.Problem for everything that is wrong.
func Parse(file string, data []byte) (*Intent, error) {
	return nil, errors.New("not yet")
}
