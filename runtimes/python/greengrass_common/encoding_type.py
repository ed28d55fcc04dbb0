"""The two ways in which a function takes its payload."""

JSON = 'json'
BINARY = 'binary'

# The names under which the other languages' modules export the same values.
ENCODING_TYPE_JSON = JSON
ENCODING_TYPE_BINARY = BINARY
