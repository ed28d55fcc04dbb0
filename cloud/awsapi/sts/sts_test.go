package sts_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/sts"
)

// keys are names by key id.
type keys map[string]string

func (k keys) KeyName(_ context.Context, id string) (string, error) {
	if id == "AKIDBROKEN" {
		return "", errors.New("database is locked")
	}
	name, ok := k[id]
	if !ok {
		return "", fescue.ErrNotFound
	}
	return name, nil
}

var named = keys{"AKIDADMIN": "admin", "AKIDODD": "Jörg/../<x>", "AKIDBLANK": ""}

func newServer(t *testing.T, k sts.Keys, keyID string) *httptest.Server {
	t.Helper()
	api := sts.New(k, slog.New(slog.DiscardHandler))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amzn-RequestId", "request-1")
		api.ServeCall(w, r, &awsapi.Call{
			Partition: fescue.Partition{AWS: "aws-cn", Account: "123456789012", Region: "cn-north-1"}, KeyID: keyID, RequestID: "request-1",
		})
	}))
	t.Cleanup(s.Close)
	return s
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, keyID, user string
		keys              sts.Keys
	}{
		{"a key with a name", "AKIDADMIN", "admin", named},
		{"an unknown key", "AKIDOTHER", "AKIDOTHER", named},
		{"a name that no user can have", "AKIDODD", "AKIDODD", named},
		{"an empty name", "AKIDBLANK", "AKIDBLANK", named},
		{"no names", "AKIDADMIN", "AKIDADMIN", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, c.keys, c.keyID)
			client := awssts.New(awssts.Options{
				Region: "cn-north-1", BaseEndpoint: &s.URL, HTTPClient: s.Client(),
				Credentials: credentials.NewStaticCredentialsProvider(c.keyID, "secret", ""),
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var ids []string
			for range 2 {
				got, err := client.GetCallerIdentity(ctx, &awssts.GetCallerIdentityInput{})
				if err != nil {
					t.Fatal(err)
				}
				if *got.Arn != "arn:aws-cn:iam::123456789012:user/"+c.user || *got.Account != "123456789012" {
					t.Errorf("%s in %s", *got.Arn, *got.Account)
				}
				ids = append(ids, *got.UserId)
			}
			if !strings.HasPrefix(ids[0], "AIDA") || len(ids[0]) != 21 || ids[0] != ids[1] {
				t.Errorf("UserId %v", ids)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("other operations", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, named, "AKIDADMIN")
		client := awssts.New(awssts.Options{
			Region: "cn-north-1", BaseEndpoint: &s.URL, HTTPClient: s.Client(),
			Credentials: credentials.NewStaticCredentialsProvider("AKIDADMIN", "secret", ""),
		})
		_, err := client.GetSessionToken(context.Background(), &awssts.GetSessionTokenInput{})
		var api interface {
			error
			ErrorCode() string
			ErrorMessage() string
		}
		if !errors.As(err, &api) || api.ErrorCode() != "InvalidAction" || !strings.Contains(api.ErrorMessage(), "GetSessionToken") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a database that fails", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, named, "AKIDBROKEN")
		resp, err := s.Client().Post(s.URL, "application/x-www-form-urlencoded", strings.NewReader("Action=GetCallerIdentity&Version=2011-06-15"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 500 || !strings.Contains(string(body), "<Code>InternalFailure</Code>") || strings.Contains(string(body), "locked") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	})
}
