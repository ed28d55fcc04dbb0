// Package transfer moves what a server keeps through its API: a group with everything
// that it refers to, exported, imported and recovered from a V1 core's folder, and the
// identity of a core, provisioned into its folder. It knows nothing of command lines.
package transfer
