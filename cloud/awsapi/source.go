package awsapi

import "io"

// Source remembers that it was the source that failed, and not the destination of a
// copy.
type Source struct {
	io.Reader
	// Err is the error of the source, nil for its end.
	Err error
}

// Read implements io.Reader.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.Err = err
	}
	return n, err
}
