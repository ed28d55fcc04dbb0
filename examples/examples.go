// Package examples holds functions that `fescue up` deploys and that users may
// start from.
package examples

import "embed"

// Files are the example functions, one folder each.
//
//go:embed hello-python hello-shell
var Files embed.FS
