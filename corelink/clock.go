package corelink

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ClockOffset is by how much this machine's clock is ahead of the control
// plane's, by its last answer, to about a second; negative is behind. It is
// not known before the first answer.
func (c *Client) ClockOffset() (offset time.Duration, known bool) {
	if o := c.offset.Load(); o != nil {
		return *o, true
	}
	return 0, false
}

// noticeClock compares the clocks by an answer's Date.
func (c *Client) noticeClock(resp *http.Response) {
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		offset := time.Since(date)
		c.offset.Store(&offset)
	}
}

// withClock names the clock as a possible cause where a certificate looks expired
// or not yet valid.
func withClock(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w; this machine's clock says %s: if that is wrong, set it, else renew the control plane's certificate", err, time.Now().UTC().Format(time.RFC3339))
	}
	return err
}
