//go:build !linux

package main

import "errors"

// Run says that up needs Linux, because its core does.
func (c *upCommand) Run(*terminal) error {
	return errors.New("up runs on Linux only, because it includes a core: start fescue server here and a core on a Linux machine")
}
