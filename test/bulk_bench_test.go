//go:build linux

package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"golang.org/x/sync/errgroup"
)

// BenchmarkBulk deploys to many groups, each with its own core, and asks for the
// run's status meanwhile, every 20 ms.
func BenchmarkBulk(b *testing.B) {
	for _, groups := range []int{1000, 3000, 10_000} {
		b.Run(fmt.Sprintf("%d groups", groups), func(b *testing.B) { benchmarkBulk(b, groups) })
	}
}

func benchmarkBulk(b *testing.B, groups int) {
	h := startServer(b, "--bulk-rate", "10000").site(region)
	content := h.fleet(b, groups)
	for b.Loop() {
		start, before := time.Now(), cpuOf(b, h.process.Process.Pid)
		id := h.startBulk(b, content)
		var took []time.Duration
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			asked := time.Now()
			out, err := h.bulkStatus(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(asked))
			if out.BulkDeploymentStatus == types.BulkDeploymentStatusCompleted {
				if n := *out.BulkDeploymentMetrics.RecordsProcessed; int(n) != groups || *out.BulkDeploymentMetrics.InvalidInputRecords != 0 {
					b.Fatalf("%d of %d processed", n, groups)
				}
				break
			}
			if out.BulkDeploymentStatus == types.BulkDeploymentStatusFailed {
				b.Fatal(aws.ToString(out.ErrorMessage))
			}
			<-tick.C
		}
		slices.Sort(took)
		b.ReportMetric(float64(groups)/time.Since(start).Seconds(), "records/s")
		b.ReportMetric(float64((cpuOf(b, h.process.Process.Pid)-before).Microseconds())/1e3/float64(groups), "server-ms/record")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "status-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "status-p99-ms")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1e3, "status-max-ms")
	}
}

// fleet makes groups that can be deployed, each with a thing of its own, and the
// input that deploys them.
func (h *site) fleet(b *testing.B, n int) string {
	b.Helper()
	ctx := b.Context()
	lines := make([]string, n)
	var all errgroup.Group
	all.SetLimit(8)
	for i := range n {
		all.Go(func() error {
			thing := fmt.Sprintf("Core_%d", i)
			registered, err := h.iot.RegisterCertificateWithoutCA(ctx, &iot.RegisterCertificateWithoutCAInput{
				CertificatePem: aws.String(selfSigned(b)), Status: iottypes.CertificateStatusActive,
			})
			if err != nil {
				return err
			}
			if _, err := h.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &thing}); err != nil {
				return err
			}
			if _, err := h.iot.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing, Principal: registered.CertificateArn}); err != nil {
				return err
			}
			core, err := h.greengrass.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{
				InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{
					Id: aws.String("core"), CertificateArn: registered.CertificateArn,
					ThingArn: aws.String("arn:aws:iot:" + h.region + ":" + account + ":thing/" + thing),
				}}},
			})
			if err != nil {
				return err
			}
			g, err := h.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{
				Name: &thing, InitialVersion: &types.GroupVersion{CoreDefinitionVersionArn: core.LatestVersionArn},
			})
			if err == nil {
				lines[i] = bulkLine(*g.Id, *g.LatestVersion)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	return strings.Join(lines, "")
}

func selfSigned(b *testing.B) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
