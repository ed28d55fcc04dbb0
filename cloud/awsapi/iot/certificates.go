package iot

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

func (a *API) certificateOperations() []restjson.Operation {
	const certificate = "/certificates/{certificateId}"
	return []restjson.Operation{
		{Name: "CreateKeysAndCertificate", Method: http.MethodPost, Path: "/keys-and-certificate", Handle: a.createKeysAndCertificate},
		{Name: "CreateCertificateFromCsr", Method: http.MethodPost, Path: "/certificates", Handle: a.createCertificateFromCSR},
		{Name: "RegisterCertificate", Method: http.MethodPost, Path: "/certificate/register", Handle: a.registerCertificate},
		{Name: "RegisterCertificateWithoutCA", Method: http.MethodPost, Path: "/certificate/register-no-ca", Handle: a.registerCertificateWithoutCA},
		{Name: "DescribeCertificate", Method: http.MethodGet, Path: certificate, Handle: a.describeCertificate},
		{Name: "UpdateCertificate", Method: http.MethodPut, Path: certificate, Handle: a.updateCertificate},
		{Name: "DeleteCertificate", Method: http.MethodDelete, Path: certificate, Handle: a.deleteCertificate},
		{Name: "ListCertificates", Method: http.MethodGet, Path: "/certificates", Handle: a.listCertificates},
	}
}

// named is a certificate in the answers that make one.
type named struct {
	CertificateArn string `json:"certificateArn"`
	CertificateID  string `json:"certificateId"`
}

func nameOf(p fescue.Partition, c fescue.Certificate) named {
	return named{p.CertificateARN(c.ID), c.ID}
}

func (a *API) createKeysAndCertificate(ctx context.Context, r *restjson.Request) (any, error) {
	active, err := flag(r, "setAsActive")
	if err != nil {
		return nil, err
	}
	c, keys, err := a.registry.CreateKeysAndCertificate(ctx, r.Partition, active)
	if err != nil {
		return nil, err
	}
	type keyPair struct{ PublicKey, PrivateKey string }
	return struct {
		named
		CertificatePem string  `json:"certificatePem"`
		KeyPair        keyPair `json:"keyPair"`
	}{nameOf(r.Partition, c), c.PEM, keyPair{string(keys.Public), string(keys.Private)}}, nil
}

func (a *API) createCertificateFromCSR(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		CertificateSigningRequest string `json:"certificateSigningRequest"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	active, err := flag(r, "setAsActive")
	if err != nil {
		return nil, err
	}
	c, err := a.registry.CreateCertificateFromCSR(ctx, r.Partition, in.CertificateSigningRequest, active)
	if err != nil {
		return nil, err
	}
	return struct {
		named
		CertificatePem string `json:"certificatePem"`
	}{nameOf(r.Partition, c), c.PEM}, nil
}

func (a *API) registerCertificate(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		CertificatePem   string                   `json:"certificatePem"`
		CACertificatePem string                   `json:"caCertificatePem"`
		Status           fescue.CertificateStatus `json:"status"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	active, err := flag(r, "setAsActive")
	if err != nil {
		return nil, err
	}
	if in.Status == "" && active {
		in.Status = fescue.CertificateActive
	}
	c, err := a.registry.RegisterCertificate(ctx, r.Partition, in.CertificatePem, in.CACertificatePem, orInactive(in.Status))
	if err != nil {
		return nil, err
	}
	return nameOf(r.Partition, c), nil
}

func (a *API) registerCertificateWithoutCA(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		CertificatePem string                   `json:"certificatePem"`
		Status         fescue.CertificateStatus `json:"status"`
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	c, err := a.registry.RegisterCertificateWithoutCA(ctx, r.Partition, in.CertificatePem, orInactive(in.Status))
	if err != nil {
		return nil, err
	}
	return nameOf(r.Partition, c), nil
}

func orInactive(status fescue.CertificateStatus) fescue.CertificateStatus {
	if status == "" {
		return fescue.CertificateInactive
	}
	return status
}

// generation is an id that changes whenever a record does.
func generation(arn string, at time.Time) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(arn+" "+fescue.Timestamp(at))).String()
}

func (a *API) describeCertificate(ctx context.Context, r *restjson.Request) (any, error) {
	c, err := a.registry.Certificate(ctx, r.Partition, r.Label("certificateId"))
	if err != nil {
		return nil, err
	}
	type validity struct {
		NotBefore seconds `json:"notBefore"`
		NotAfter  seconds `json:"notAfter"`
	}
	type description struct {
		named
		Status           fescue.CertificateStatus `json:"status"`
		CertificatePem   string                   `json:"certificatePem"`
		OwnedBy          string                   `json:"ownedBy"`
		CreationDate     seconds                  `json:"creationDate"`
		LastModifiedDate seconds                  `json:"lastModifiedDate"`
		CustomerVersion  int                      `json:"customerVersion"`
		GenerationID     string                   `json:"generationId"`
		Validity         validity                 `json:"validity"`
		CertificateMode  string                   `json:"certificateMode"`
	}
	name := nameOf(r.Partition, c)
	return struct {
		CertificateDescription description `json:"certificateDescription"`
	}{description{
		named: name, Status: c.Status, CertificatePem: c.PEM, OwnedBy: r.Partition.Account,
		CreationDate: seconds(c.CreatedAt), LastModifiedDate: seconds(c.UpdatedAt),
		CustomerVersion: 1, GenerationID: generation(name.CertificateArn, c.UpdatedAt),
		Validity:        validity{seconds(c.NotBefore), seconds(c.NotAfter)},
		CertificateMode: c.Mode,
	}}, nil
}

func (a *API) updateCertificate(ctx context.Context, r *restjson.Request) (any, error) {
	return nil, a.registry.SetCertificateStatus(ctx, r.Partition, r.Label("certificateId"), fescue.CertificateStatus(r.Query.Get("newStatus")))
}

func (a *API) deleteCertificate(ctx context.Context, r *restjson.Request) (any, error) {
	force, err := flag(r, "forceDelete")
	if err != nil {
		return nil, err
	}
	return nil, a.registry.DeleteCertificate(ctx, r.Partition, r.Label("certificateId"), force)
}

func (a *API) listCertificates(ctx context.Context, r *restjson.Request) (any, error) {
	list, next, err := byAge(r, func(after position, ascending bool, limit int) ([]fescue.Certificate, error) {
		return a.registry.Certificates(ctx, r.Partition, fescue.Certificate{ID: after.Key, CreatedAt: after.time()}, ascending, limit)
	}, func(c fescue.Certificate) position { return position{c.ID, c.CreatedAt.UnixMilli()} })
	if err != nil {
		return nil, err
	}
	type item struct {
		named
		Status          fescue.CertificateStatus `json:"status"`
		CertificateMode string                   `json:"certificateMode"`
		CreationDate    seconds                  `json:"creationDate"`
	}
	return struct {
		Certificates []item `json:"certificates"`
		NextMarker   string `json:"nextMarker,omitempty"`
	}{
		listed(list, func(c fescue.Certificate) item {
			return item{nameOf(r.Partition, c), c.Status, c.Mode, seconds(c.CreatedAt)}
		}),
		next,
	}, nil
}
