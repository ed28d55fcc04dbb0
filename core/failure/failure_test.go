package failure_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/failure"
)

// TestNew: a problem is a row of the table, filled in.
func TestNew(t *testing.T) {
	got := failure.New("arn:f", fescue.ManifestIncomplete, "arn:f")
	want := fescue.ManifestIncomplete.Detail("arn:f")
	if diff := cmp.Diff(failure.Problem{Function: "arn:f", Code: want.DetailedErrorCode, Message: want.DetailedErrorMessage}, got); diff != "" {
		t.Error(diff)
	}
}

// TestDisk: an error of the file system says whether the disk is full.
func TestDisk(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code fescue.FailureCode
	}{
		{"full", syscall.ENOSPC, fescue.CoreDiskFull},
		{"full, inside another error", fmt.Errorf("write: %w", &errorOf{syscall.ENOSPC}), fescue.CoreDiskFull},
		{"over the quota", syscall.EDQUOT, fescue.CoreDiskFull},
		{"broken", syscall.EIO, fescue.CoreFileSystem},
		{"of no kind", errors.New("no"), fescue.CoreFileSystem},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := failure.Of(failure.Disk("stage", tc.err))
			if diff := cmp.Diff([]failure.Problem{failure.New("", tc.code, "stage", tc.err)}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// errorOf is an error that another one is the cause of.
type errorOf struct{ cause error }

func (e *errorOf) Error() string { return "of " + e.cause.Error() }
func (e *errorOf) Unwrap() error { return e.cause }

// TestOf: problems come out of whatever an Error was wrapped in; what is none is one of
// the file system.
func TestOf(t *testing.T) {
	two := &failure.Error{Problems: []failure.Problem{{Code: "A", Message: "first"}, {Code: "B", Message: "second", Log: "line"}}}
	plain := errors.New("no")
	for _, tc := range []struct {
		name string
		err  error
		want []failure.Problem
	}{
		{"an Error", two, two.Problems},
		{"a wrapped one", fmt.Errorf("stage: %w", two), two.Problems},
		{"one of several", errors.Join(plain, two), two.Problems},
		{"another error", plain, []failure.Problem{failure.New("", fescue.CoreFileSystem, "go on with the deployment", plain)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, failure.Of(tc.err)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := two.Error(); got != "first; second" {
		t.Errorf("the error says %q", got)
	}
}
