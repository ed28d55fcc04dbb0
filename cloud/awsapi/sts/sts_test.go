package sts_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/sts"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func newServer(t *testing.T, caller identity.Caller) *httptest.Server {
	t.Helper()
	api := sts.New(nil, nil, slog.New(slog.DiscardHandler))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amzn-RequestId", "request-1")
		api.ServeCall(w, r, &awsapi.Call{
			Partition: fescue.Partition{AWS: "aws-cn", Account: "123456789012", Region: "cn-north-1"}, KeyID: "AKIDADMIN", RequestID: "request-1", Caller: caller,
		})
	}))
	t.Cleanup(s.Close)
	return s
}

func newClient(s *httptest.Server) *awssts.Client {
	return awssts.New(awssts.Options{
		Region: "cn-north-1", BaseEndpoint: &s.URL, HTTPClient: s.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDADMIN", "secret", ""),
	})
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	for who, want := range map[string]string{
		"user/admin":                   "arn:aws-cn:iam::123456789012:user/admin",
		"assumed-role/builder/session": "arn:aws-cn:sts::123456789012:assumed-role/builder/session",
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			client := newClient(newServer(t, identity.Caller{Identity: who}))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var ids []string
			for range 2 {
				got, err := client.GetCallerIdentity(ctx, &awssts.GetCallerIdentityInput{})
				if err != nil {
					t.Fatal(err)
				}
				if *got.Arn != want || *got.Account != "123456789012" {
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

func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	client := newClient(newServer(t, identity.Caller{Identity: "user/admin"}))
	_, err := client.GetFederationToken(context.Background(), &awssts.GetFederationTokenInput{Name: aws.String("n")})
	var api interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidAction" || !strings.Contains(api.ErrorMessage(), "GetFederationToken") {
		t.Errorf("error %v", err)
	}
}
