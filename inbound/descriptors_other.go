//go:build !unix

package inbound

// Descriptors is how many files and connections this process may have open: as many
// as it likes here.
func Descriptors() int { return manyDescriptors }
