-- +goose Up

-- Cores hear of a change of their client devices' certificates.
CREATE INDEX client_device_certificate ON client_device (partition, certificate_arn);

-- +goose Down
SELECT 1;
