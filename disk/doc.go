// Package disk keeps files that survive a power cut: it writes beside, flushes, and
// renames. FS is the part of a file system that this takes, small enough that a test
// can make each step fail. The package knows nothing of what lies in the files.
package disk
