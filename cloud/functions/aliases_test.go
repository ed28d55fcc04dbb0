package functions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/functions"
)

func TestAliasesAndDeletion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	alias := func(name, version string) functions.AliasChange {
		return functions.AliasChange{Function: "f", Name: name, FunctionVersion: &version}
	}

	t.Run("an alias is made, read, moved and removed", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		publish(t, s, "f")
		upload(t, s, "f", "other")
		publish(t, s, "f")
		made, err := s.CreateAlias(ctx, home, alias("PROD", "1"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Alias(ctx, home, "f", "PROD")
		if err != nil || got != made {
			t.Errorf("read %+v, %v", got, err)
		}
		change := alias("PROD", "2")
		change.RevisionID = made.RevisionID
		moved, err := s.UpdateAlias(ctx, home, change)
		if err != nil || moved.FunctionVersion != "2" || moved.RevisionID == made.RevisionID {
			t.Errorf("moved %+v, %v", moved, err)
		}
		_, err = s.UpdateAlias(ctx, home, change)
		wantErr(t, err, functions.ErrPrecondition, "Revision Id")
		described, err := s.UpdateAlias(ctx, home, functions.AliasChange{Function: "f", Name: "PROD", Description: ptr("live")})
		if err != nil || described.FunctionVersion != "2" || described.Description != "live" {
			t.Errorf("described %+v, %v", described, err)
		}
		for range 2 { // the second time it is gone, which is no error
			if err := s.DeleteAlias(ctx, home, "f", "PROD"); err != nil {
				t.Error(err)
			}
		}
		_, err = s.Alias(ctx, home, "f", "PROD")
		wantErr(t, err, fescue.ErrNotFound, "Cannot find alias arn: arn:aws:lambda:us-east-1:123456789012:function:f:PROD")
	})
	t.Run("refusals", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		publish(t, s, "f")
		if _, err := s.CreateAlias(ctx, home, alias("PROD", "1")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			change functions.AliasChange
			kind   error
			text   string
		}{
			{alias("PROD", "1"), fescue.ErrExists, "Alias already exists: arn:aws:lambda:us-east-1:123456789012:function:f:PROD"},
			{alias("NEXT", "2"), fescue.ErrNotFound, "Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:2"},
			{functions.AliasChange{Function: "none", Name: "A", FunctionVersion: ptr("1")}, fescue.ErrNotFound, "function:none"},
			{alias("12", "1"), functions.ErrShape, "'name'"},
			{alias("", "1"), functions.ErrShape, "'name'"},
			{alias("a/b", "1"), functions.ErrShape, "'name'"},
			{alias("a\x00", "1"), functions.ErrShape, "'name'"},
			{alias(strings.Repeat("a", 129), "1"), functions.ErrShape, "'name'"},
			{alias("A", "PROD"), functions.ErrShape, "'functionVersion'"},
			{alias("A", "-1"), functions.ErrShape, "'functionVersion'"},
			{alias("A", "99999999999999999999"), functions.ErrShape, "'functionVersion'"},
			{functions.AliasChange{Function: "f", Name: "A"}, functions.ErrShape, "'functionVersion'"},
			{functions.AliasChange{Function: "f:1", Name: "A", FunctionVersion: ptr("1")}, functions.ErrInvalid, "qualifier"},
		} {
			_, err := s.CreateAlias(ctx, home, c.change)
			wantErr(t, err, c.kind, c.text)
		}
		_, err := s.UpdateAlias(ctx, home, alias("PROD", "7"))
		wantErr(t, err, fescue.ErrNotFound, "function:f:7")
		_, err = s.UpdateAlias(ctx, home, alias("NONE", "1"))
		wantErr(t, err, fescue.ErrNotFound, "Cannot find alias arn")
		wantErr(t, s.DeleteAlias(ctx, home, "none", "PROD"), fescue.ErrNotFound, "Function not found")
	})
	t.Run("deleting", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		publish(t, s, "f")
		if _, err := s.CreateAlias(ctx, home, alias("PROD", "1")); err != nil {
			t.Fatal(err)
		}
		f := func(qualifier string) functions.Reference {
			return functions.Reference{Name: "f", Qualifier: qualifier}
		}
		wantErr(t, s.Delete(ctx, home, f("1")), fescue.ErrInUse, "[PROD]")
		wantErr(t, s.Delete(ctx, home, f("$LATEST")), functions.ErrInvalid, "$LATEST version cannot be deleted")
		wantErr(t, s.Delete(ctx, home, f("PROD")), functions.ErrInvalid, "Deletion of aliases")
		wantErr(t, s.Delete(ctx, elsewhere, f("")), fescue.ErrNotFound, "Function not found")
		wantErr(t, s.Delete(ctx, home, functions.Reference{Name: "none", Qualifier: "1"}), fescue.ErrNotFound, "function:none")
		if err := s.Delete(ctx, home, f("99999999999999999999")); err != nil {
			t.Errorf("a version that is not there: %v", err)
		}
		if err := s.Delete(ctx, home, f("")); err != nil {
			t.Fatal(err)
		}
		wantErr(t, s.Delete(ctx, home, f("")), fescue.ErrNotFound, "Function not found")
		_, err := s.Alias(ctx, home, "f", "PROD")
		wantErr(t, err, fescue.ErrNotFound, "")
	})
}

func TestResolve(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newService(t)
	create(t, s, "f")
	publish(t, s, "f")
	for name, version := range map[string]string{"PROD": "1", "EDGE": "$LATEST"} {
		if _, err := s.CreateAlias(ctx, home, functions.AliasChange{Function: "f", Name: name, FunctionVersion: &version}); err != nil {
			t.Fatal(err)
		}
	}
	const arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
	for _, c := range []struct {
		arn  string
		want error
	}{
		{arn + ":1", nil}, {arn + ":PROD", nil},
		{arn + ":EDGE", functions.ErrLatest}, {arn + ":$LATEST", functions.ErrLatest},
		{arn, functions.ErrUnqualified},
		{arn + ":2", fescue.ErrNotFound}, {arn + ":TEST", fescue.ErrNotFound}, {arn + ":99999999999999999999", fescue.ErrNotFound},
		{"arn:aws:lambda:us-east-1:123456789012:function:g:1", fescue.ErrNotFound},
		{"arn:aws:lambda:eu-west-1:123456789012:function:f:1", fescue.ErrNotFound},
		{"arn:aws:lambda:us-east-1:210987654321:function:f:1", fescue.ErrNotFound},
		{"arn:aws-cn:lambda:us-east-1:123456789012:function:f:1", fescue.ErrNotFound},
		{"arn:aws:lambda:::function:GGIPDetector:1", fescue.ErrNotFound},
		{"f:1", fescue.ErrARN}, {"", fescue.ErrARN}, {arn + ":", fescue.ErrARN}, {arn + ":1:2", fescue.ErrARN}, {arn + ":\x00", fescue.ErrARN},
		{"arn:aws:lambda:us-east-1:123456789012:function:../f:1", fescue.ErrARN},
		{"arn:aws:s3:::bucket/key", fescue.ErrARN},
	} {
		t.Run(c.arn, func(t *testing.T) {
			t.Parallel()
			v, version, err := s.Resolve(ctx, home, c.arn)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && (version != arn+":1" || v.Version != "1" || v.CodeHash == "") {
				t.Errorf("%+v, %s", v, version)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", c.arn)) {
				t.Errorf("error %q does not name the ARN", err)
			}
		})
	}
}
