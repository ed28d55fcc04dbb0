package logship

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/logs"
)

// CloudWatch is an endpoint that speaks CloudWatch Logs, version 2014-03-28 in JSON
// 1.1 (Amazon CloudWatch Logs API reference). Each log has a log group,
// /aws/greengrass/GreengrassSystem/<component> or
// /aws/greengrass/Lambda/<region>/<account>/<function>, and in it a stream for each
// day, <date>/<account>/<group-id>/<core> (AWS IoT Greengrass V1 developer guide,
// "Monitoring with AWS IoT Greengrass logs").
type CloudWatch struct {
	// Endpoint is a URL, such as https://logs.eu-west-1.amazonaws.com.
	Endpoint *url.URL
	// Partition is the core's, Thing its name.
	Partition fescue.Partition
	Thing     string
	// Credentials sign lines of a group. ErrRefused of it ends what is left of the group.
	Credentials func(ctx context.Context, groupID string) (aws.Credentials, error)
	HTTP        *http.Client
	Now         func() time.Time
}

// Bounds of PutLogEvents (same reference).
const (
	mostEvents     = 10_000
	mostEventBytes = 1 << 20
	eventCost      = 26
	eventSpan      = 24 * time.Hour
)

// String implements Destination.
func (c *CloudWatch) String() string { return c.Endpoint.Redacted() }

// Send implements Destination. A log that is refused, or that the key may not write yet,
// does not keep others back.
func (c *CloudWatch) Send(ctx context.Context, batch *Batch) error {
	var refused []Log
	var refusal error
	for len(batch.Logs) > 0 {
		l := &batch.Logs[0]
		switch err := c.sendLog(ctx, batch.GroupID, l); {
		case errors.Is(err, errDenied):
			batch.Denied, batch.Denial = append(batch.Denied, *l), err
		case errors.Is(err, ErrRefused):
			refused = append(refused, *l)
			refusal = err
		case err != nil:
			batch.Logs = append(batch.Logs, refused...)
			return err
		}
		batch.Logs = batch.Logs[1:]
	}
	batch.Logs = refused
	return refusal
}

// sendLog sends lines of one log, and takes from it those that are sent.
func (c *CloudWatch) sendLog(ctx context.Context, groupID string, l *Log) error {
	if l.Lost > 0 {
		at := c.Now()
		if len(l.Lines) > 0 {
			at = l.Lines[0].At
		}
		l.Lines = slices.Insert(l.Lines, 0, logs.Line{At: at, Level: logs.Warn, Text: fmt.Sprintf("core:0,Lines of this log were lost before this one. {\"lines\": %d}", l.Lost)})
		l.Lost = 0
	}
	for len(l.Lines) > 0 {
		n, err := c.put(ctx, groupID, *l)
		if err != nil {
			return err
		}
		l.Lines = l.Lines[n:]
	}
	return nil
}

// event is one of PutLogEvents.
type event struct {
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message"`
}

// events are the first lines of a log, as many as one call takes, in the order of
// their times, which the API wants.
func events(lines []logs.Line) (list []event, n int) {
	size := 0
	first, last := lines[0].At, lines[0].At
	for _, line := range lines {
		first, last = earlier(first, line.At), later(last, line.At)
		message := strings.TrimSuffix(line.String(), "\n")
		if size += len(message) + eventCost; len(list) == mostEvents || size > mostEventBytes && n > 0 || last.Sub(first) >= eventSpan {
			break
		}
		list = append(list, event{line.At.UnixMilli(), message})
		n++
	}
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	return list, n
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// putEvents is the body of PutLogEvents.
type putEvents struct {
	LogGroupName  string  `json:"logGroupName"`
	LogStreamName string  `json:"logStreamName"`
	LogEvents     []event `json:"logEvents"`
	SequenceToken string  `json:"sequenceToken,omitempty"`
}

// put sends the first lines of a log, and says how many.
func (c *CloudWatch) put(ctx context.Context, groupID string, l Log) (int, error) {
	list, n := events(l.Lines)
	in := putEvents{
		LogGroupName:  logGroup(l.Source),
		LogStreamName: fmt.Sprintf("%s/%s/%s/%s", c.Now().UTC().Format("2006/01/02"), c.Partition.Account, groupID, strings.ReplaceAll(c.Thing, ":", "_")),
		LogEvents:     list,
	}
	for range 3 {
		err := c.call(ctx, groupID, "PutLogEvents", in)
		var refusal *cloudWatchError
		if !errors.As(err, &refusal) {
			return n, err
		}
		switch refusal.code() {
		case "DataAlreadyAcceptedException":
			return n, nil
		case "InvalidSequenceTokenException": // of endpoints that still want one
			in.SequenceToken = refusal.ExpectedSequenceToken
		case "ResourceNotFoundException":
			if err := c.create(ctx, groupID, in.LogGroupName, in.LogStreamName); err != nil {
				return 0, err
			}
		default:
			return 0, err
		}
	}
	return 0, fmt.Errorf("PutLogEvents to %s: the endpoint goes on to ask for a stream or a token that it was given", in.LogGroupName)
}

// create makes group and stream, whichever is missing.
func (c *CloudWatch) create(ctx context.Context, groupID, group, stream string) error {
	for _, call := range []struct {
		operation string
		in        any
	}{
		{"CreateLogGroup", map[string]string{"logGroupName": group}},
		{"CreateLogStream", map[string]string{"logGroupName": group, "logStreamName": stream}},
	} {
		err := c.call(ctx, groupID, call.operation, call.in)
		var refusal *cloudWatchError
		if err != nil && !(errors.As(err, &refusal) && refusal.code() == "ResourceAlreadyExistsException") {
			return err
		}
	}
	return nil
}

func logGroup(s logs.Source) string {
	if s.Component == logs.SystemComponent {
		return "/aws/greengrass/GreengrassSystem/" + s.Name
	}
	return "/aws/greengrass/Lambda/" + s.Region + "/" + s.Account + "/" + s.Name
}

// cloudWatchError is a refusal of the API.
type cloudWatchError struct {
	operation string
	status    int
	Type      string `json:"__type"`
	Message   string `json:"message"`
	// ExpectedSequenceToken comes with InvalidSequenceTokenException.
	ExpectedSequenceToken string `json:"expectedSequenceToken"`
}

// Error is the operation, the code and the message.
func (e *cloudWatchError) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", e.operation, e.status, e.code(), e.Message)
}

// code is the name of the error without what may stand before it.
func (e *cloudWatchError) code() string { return e.Type[strings.LastIndexByte(e.Type, '#')+1:] }

// passing are the refusals after which a call may succeed: when put has done what is
// missing, when the service has time again, when the credentials are renewed. All
// others are for good.
var passing = []string{
	"ResourceNotFoundException", "ResourceAlreadyExistsException", "InvalidSequenceTokenException", "DataAlreadyAcceptedException",
	"ThrottlingException", "LimitExceededException", "OperationAbortedException", "ServiceUnavailableException",
	"ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "RequestExpired",
}

// errDenied means that the key may not write a log, as it is for a while after a policy
// was attached to its role.
var errDenied = errors.New("not allowed")

const callTimeout = 30 * time.Second

func (c *CloudWatch) call(ctx context.Context, groupID, operation string, in any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint.JoinPath("/").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	credentials, err := c.Credentials(ctx, groupID)
	if err != nil {
		return fmt.Errorf("%s: credentials: %w", operation, err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "logs", c.Partition.Region, c.Now()); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	refusal := &cloudWatchError{operation: operation, status: resp.StatusCode}
	if json.Unmarshal(text, refusal) != nil || refusal.Type == "" {
		refusal.Type, refusal.Message = "Unknown", fmt.Sprintf("%.200q", text)
	}
	if refusal.code() == "AccessDeniedException" {
		return fmt.Errorf("%w: %w", errDenied, refusal)
	}
	if resp.StatusCode < http.StatusInternalServerError && !slices.Contains(passing, refusal.code()) {
		return fmt.Errorf("%w: %w", ErrRefused, refusal)
	}
	return refusal
}
