//go:build arm.7

package runtimes

import "embed"

const libraryFolder = "dist/executable/armv7"

//go:embed dist/executable/armv7/*.so
var library embed.FS
