-- +goose Up

-- Retention goes by age.
CREATE INDEX client_token_created ON client_token (created_at);
CREATE INDEX deployment_ended ON deployment (updated_at) WHERE status IN ('Success', 'Failure');

-- +goose Down
SELECT 1;
