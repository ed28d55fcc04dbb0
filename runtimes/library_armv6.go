//go:build arm.6 && !arm.7

package runtimes

import "embed"

const libraryFolder = "dist/executable/armv6"

//go:embed dist/executable/armv6/*.so
var library embed.FS
