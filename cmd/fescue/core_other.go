//go:build !linux

package main

import "errors"

// beContainer does nothing: containers are Linux's.
func beContainer() {}

// Run says that cores are Linux only.
func (c *coreCommand) Run(*terminal) error {
	return errors.New("a core runs on Linux only: the server and the other commands run here, too")
}
