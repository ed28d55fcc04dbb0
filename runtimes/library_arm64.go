package runtimes

import "embed"

const libraryFolder = "dist/executable/arm64"

//go:embed dist/executable/arm64/*.so
var library embed.FS
