package runtimes

import "embed"

const libraryFolder = "dist/executable/amd64"

//go:embed dist/executable/amd64/*.so
var library embed.FS
