// Package recovery is a group with everything that it refers to, apart from any
// server: as it is read from the folder of a V1 core, and as fescue export
// writes it. It is pure: it reads through an fs.FS that it is given, and talks to
// nobody. What the folder does not contain is reported, never guessed in silence.
package recovery
