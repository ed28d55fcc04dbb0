//go:build unix

package main

import "syscall"

// filesOfOwnUser has every file that the process makes be for its user alone, those
// of libraries among them.
func filesOfOwnUser() { syscall.Umask(0o077) }
