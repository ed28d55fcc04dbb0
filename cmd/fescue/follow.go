package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud/awsapi"
)

const (
	// followOverlap is how far back is read again for what came late: of two things that
	// are kept at almost the same time the later one may be seen first.
	followOverlap = 10 * time.Second
	followPoll    = time.Second
)

// following reads lists that grow at their end, as logs and audit records do.
type following[T any] struct {
	api *client.Client
	// operation and path are those of the list, query what is asked for beside the time.
	operation, path string
	query           url.Values
	// page takes the list and the next token out of an answer's body, which it makes.
	page func() (body any, list func() ([]T, string))
	// key names one and says when it came.
	key func(T) (id, at string)
	// show prints some; with whole it is given all pages of one reading together.
	show  func([]T) error
	whole bool
}

// read shows everything from a time on, and with follow what comes after until ctx
// ends. It returns how many it showed.
func (f following[T]) read(ctx context.Context, from time.Time, follow bool) (shown int, err error) {
	seen := make(map[string]time.Time)
	for {
		latest := from
		var kept []T
		err := f.pages(ctx, from, func(list []T) error {
			var fresh []T
			for _, one := range list {
				id, text := f.key(one)
				at, err := time.Parse(time.RFC3339, text)
				if err != nil {
					return fmt.Errorf("the time of %s: %w", id, err)
				}
				latest = at
				if _, ok := seen[id]; ok {
					continue
				}
				fresh = append(fresh, one)
				if follow {
					seen[id] = at
				}
			}
			shown += len(fresh)
			if f.whole {
				kept = append(kept, fresh...)
				return nil
			}
			return f.show(fresh)
		})
		if err == nil && f.whole {
			err = f.show(kept)
		}
		if err != nil || !follow {
			return shown, err
		}
		if begin := latest.Add(-followOverlap); begin.After(from) {
			from = begin
		}
		for id, at := range seen {
			if at.Before(from) {
				delete(seen, id)
			}
		}
		select {
		case <-ctx.Done():
			return shown, ctx.Err()
		case <-time.After(followPoll):
		}
	}
}

// pages reads all pages from a time on.
func (f following[T]) pages(ctx context.Context, from time.Time, each func([]T) error) error {
	f.query.Set("From", from.UTC().Format(time.RFC3339Nano))
	f.query.Del("NextToken")
	for {
		body, list := f.page()
		if err := f.api.Call(ctx, "greengrass", f.operation, http.MethodGet, awsapi.OwnPath+f.path+"?"+f.query.Encode(), nil, body); err != nil {
			return err
		}
		some, next := list()
		if err := each(some); err != nil || next == "" {
			return err
		}
		f.query.Set("NextToken", next)
	}
}

// jsonLines prints a line of JSON for each.
func jsonLines[T any](w io.Writer) func([]T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(list []T) error {
		for _, one := range list {
			if err := enc.Encode(one); err != nil {
				return err
			}
		}
		return nil
	}
}
