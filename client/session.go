package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// Session is what a temporary key has beside its id and secret.
type Session struct {
	Token string
	// Person is who signed in for it, and Ends when it is over.
	Person string
	Ends   time.Time
}

// What a profile says of a session, beside the token. The AWS SDKs do not know these.
const (
	sessionToken  = "aws_session_token"
	sessionPerson = "fescue_person"
	sessionEnds   = "fescue_session_ends"
)

func (s Session) lines() [][2]string {
	return [][2]string{
		{sessionToken, s.Token},
		{sessionPerson, url.PathEscape(s.Person)}, // without white space
		{sessionEnds, s.Ends.UTC().Format(time.RFC3339)},
	}
}

// readSession reads the session of a profile, without its token.
func readSession(profile string) (s Session) {
	for line := range strings.Lines(profile) {
		name, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case sessionPerson:
			s.Person, _ = url.PathUnescape(value)
		case sessionEnds:
			s.Ends, _ = time.Parse(time.RFC3339, value)
		}
	}
	return s
}

// EndedError means that the session has ended that a profile keeps.
type EndedError struct {
	Person string
	Ends   time.Time
	// Again is the command that begins another one.
	Again string
}

// Error says whose session it was, and what to do.
func (e *EndedError) Error() string {
	return fmt.Sprintf("the session of %s ended: %s signs in again", e.Person, e.Again)
}

// ended is the error for the end of the session of a profile.
func (s Session) ended(profile string) *EndedError {
	again := "fescue login"
	if profile != DefaultProfile {
		again += " --profile " + profile
	}
	return &EndedError{s.Person, s.Ends, again}
}

// sessionCredentials are a session's, as long as it is not over.
type sessionCredentials struct {
	aws.CredentialsProvider
	ended *EndedError
}

// Retrieve implements aws.CredentialsProvider.
func (s sessionCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if !s.ended.Ends.IsZero() && !time.Now().Before(s.ended.Ends) {
		return aws.Credentials{}, s.ended
	}
	return s.CredentialsProvider.Retrieve(ctx)
}

// ended is the error of a call after the end of the profile's session, whoever noticed;
// nil for any other.
func (c *Client) ended(err error) error {
	if ended := (*EndedError)(nil); errors.As(err, &ended) {
		return ended
	}
	code := ""
	if e, ok := AsError(err); ok {
		code = e.Code
	} else if refused := smithy.APIError(nil); errors.As(err, &refused) {
		code = refused.ErrorCode()
	}
	session, ok := c.cfg.Credentials.(sessionCredentials)
	if !ok || !strings.HasPrefix(code, "ExpiredToken") { // with Exception at its end, or without
		return nil
	}
	return session.ended
}
