// Package bundle is the deployment document that the control plane and the core
// agree on: the signed manifest of what a deployment consists of, and group.json,
// the group as a core keeps it. It is pure: bytes in, values out. It knows
// neither how documents travel nor where they are kept.
package bundle
