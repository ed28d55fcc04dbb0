//go:build !amd64 && !arm64 && !arm.6

package runtimes

import "embed"

// There is no library for this processor: programs that need it do not start.
const libraryFolder = ""

var library embed.FS
