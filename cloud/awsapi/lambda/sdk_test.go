package lambda_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// TestSDK makes the calls of a deployment script with AWS's own client, which
// reads answers and errors more strictly than a person does.
func TestSDK(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := awslambda.New(awslambda.Options{
		Region: "us-east-1", BaseEndpoint: &c.URL, HTTPClient: c.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
	})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := aws.String("f")
	_, err := client.CreateFunction(ctx, &awslambda.CreateFunctionInput{
		FunctionName: name, Runtime: "python2.7", Handler: aws.String("app.handler"), Role: aws.String(role), Publish: true,
		Code: &types.FunctionCode{ZipFile: plainZip(t, "code")},
	})
	check(err)
	check(awslambda.NewFunctionActiveV2Waiter(client).Wait(ctx, &awslambda.GetFunctionInput{FunctionName: name}, 10*time.Second))
	got, err := client.GetFunction(ctx, &awslambda.GetFunctionInput{FunctionName: name})
	check(err)
	if resp, body := c.fetch(t, "GET", *got.Code.Location); resp.StatusCode != 200 || int64(len(body)) != got.Configuration.CodeSize {
		t.Errorf("code: %d, %d bytes", resp.StatusCode, len(body))
	}
	updated, err := client.UpdateFunctionCode(ctx, &awslambda.UpdateFunctionCodeInput{FunctionName: name, Publish: true, ZipFile: plainZip(t, "other")})
	check(err)
	check(awslambda.NewFunctionUpdatedV2Waiter(client).Wait(ctx, &awslambda.GetFunctionInput{FunctionName: name}, 10*time.Second))
	alias, err := client.CreateAlias(ctx, &awslambda.CreateAliasInput{FunctionName: name, Name: aws.String("PROD"), FunctionVersion: updated.Version})
	check(err)
	if *alias.AliasArn != arn+":PROD" || *alias.FunctionVersion != "2" {
		t.Errorf("alias %s of %s", *alias.AliasArn, *alias.FunctionVersion)
	}
	byARN, err := client.GetFunctionConfiguration(ctx, &awslambda.GetFunctionConfigurationInput{FunctionName: alias.AliasArn})
	check(err)
	if *byARN.Version != "2" {
		t.Errorf("version %s by the alias's ARN", *byARN.Version)
	}

	var found []string
	pages := awslambda.NewListVersionsByFunctionPaginator(client, &awslambda.ListVersionsByFunctionInput{FunctionName: name, MaxItems: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		check(err)
		for _, v := range page.Versions {
			found = append(found, *v.Version)
		}
	}
	if len(found) != 3 || found[0] != "$LATEST" || found[2] != "2" {
		t.Errorf("versions %v", found)
	}

	t.Run("errors have their types", func(t *testing.T) {
		_, err := client.CreateAlias(ctx, &awslambda.CreateAliasInput{FunctionName: name, Name: aws.String("PROD"), FunctionVersion: aws.String("1")})
		var conflict *types.ResourceConflictException
		if !errors.As(err, &conflict) {
			t.Errorf("alias that exists: %v", err)
		}
		_, err = client.GetFunction(ctx, &awslambda.GetFunctionInput{FunctionName: aws.String("none")})
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Errorf("unknown function: %v", err)
		}
		_, err = client.PublishVersion(ctx, &awslambda.PublishVersionInput{FunctionName: name, RevisionId: aws.String("old")})
		var stale *types.PreconditionFailedException
		if !errors.As(err, &stale) {
			t.Errorf("old revision: %v", err)
		}
		_, err = client.UpdateFunctionCode(ctx, &awslambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: []byte("no zip")})
		var invalid *types.InvalidParameterValueException
		if !errors.As(err, &invalid) || invalid.ErrorMessage() == "" {
			t.Errorf("no zip: %v", err)
		}
	})
	_, err = client.DeleteFunction(ctx, &awslambda.DeleteFunctionInput{FunctionName: name})
	check(err)
}
