-- +goose Up

-- What was found at a step that fails nothing: a list of fescue.ErrorDetail.
ALTER TABLE deployment_step ADD COLUMN warnings_json TEXT NOT NULL DEFAULT '';

-- +goose Down
SELECT 1;
