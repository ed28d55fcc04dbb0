package sandbox

import "path/filepath"

// HostPath is an absolute path as the core sees it, InsidePath as a process does:
// without a container the same, in one not.
type (
	HostPath   string
	InsidePath string
)

// Join adds names to a path.
func (p HostPath) Join(names ...string) HostPath {
	return HostPath(filepath.Join(append([]string{string(p)}, names...)...))
}

// Join adds names to a path.
func (p InsidePath) Join(names ...string) InsidePath {
	return InsidePath(filepath.Join(append([]string{string(p)}, names...)...))
}

// Plain is the path for a process without a container.
func (p HostPath) Plain() InsidePath { return InsidePath(p) }
