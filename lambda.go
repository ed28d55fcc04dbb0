package fescue

import "time"

// LatestVersion is the version of a Lambda function that can still change.
const LatestVersion = "$LATEST"

// FunctionVersion is a Lambda function as one of its versions: $LATEST, which
// changes, or a published number, which does not.
type FunctionVersion struct {
	Name string
	// Version is "$LATEST" or a number.
	Version       string
	Runtime       string
	Role          string
	Handler       string
	Description   string
	Timeout       int // seconds
	MemorySize    int // MB, Lambda's own; cores use the group's KB instead
	Environment   map[string]string
	Architectures []string
	// CodeHash is the SHA-256 of the zip in lowercase hexadecimal, which is
	// also its name in the artifact store. CodeSize is in bytes.
	CodeHash   string
	CodeSize   int64
	RevisionID string
	UpdatedAt  time.Time
}

// FunctionAlias is a name for a version that can be moved.
type FunctionAlias struct {
	Name            string
	FunctionVersion string
	Description     string
	RevisionID      string
}
