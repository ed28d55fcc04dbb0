package fescue

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// OpenAPI describes the operations in OpenAPI 3.1, for consoles and clients in other
// languages. Those that are lent are described by the services that they belong to.
func (a *API) OpenAPI() ([]byte, error) {
	paths := make(object)
	for _, op := range append(a.Described(), unsigned...) {
		described := object{
			"operationId": op.Name, "summary": op.Summary, "parameters": parameters(op),
			"responses": object{
				"200":     object{"description": "It is done.", "content": content(op.Answers)},
				"default": object{"description": "It is refused; x-amzn-ErrorType has the error's name.", "content": content(reflect.TypeFor[struct{ Message string }]())},
			},
		}
		if op.Takes != nil {
			described["requestBody"] = object{"content": content(op.Takes)}
		}
		at, ok := paths[op.Path].(object)
		if !ok {
			at = make(object)
			paths[op.Path] = at
		}
		at[strings.ToLower(op.Method)] = described
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Fescue's own operations", "version": "1",
			"description": "Requests are signed with AWS Signature Version 4 for greengrass, but for DescribeSignIn and SignIn.",
		},
		"paths": paths,
	}, "", "  ")
}

type object = map[string]any

func parameters(op Operation) []object {
	list := []object{}
	for segment := range strings.SplitSeq(op.Path, "/") {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(segment, "}"), "{"); ok {
			list = append(list, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range op.Query {
		list = append(list, object{"name": p.Name, "in": "query", "description": p.Says, "schema": p.Schema})
	}
	return list
}

func content(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[restjson.Raw]():
		return object{"text/plain": object{"schema": object{"type": "string"}}}
	case reflect.TypeFor[restjson.File]():
		return object{bundleType: object{"schema": object{"type": "string", "format": "binary"}}}
	case reflect.TypeFor[restjson.Stream]():
		return object{"application/x-ndjson": object{"schema": schema(reflect.TypeFor[StreamedMessage]())}}
	}
	return object{"application/json": object{"schema": schema(t)}}
}

// schema is what a value of a Go type looks like as encoding/json writes it.
func schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schema(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schema(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Struct:
		return structSchema(t)
	}
	return object{"type": "integer"}
}

func structSchema(t reflect.Type) object {
	members, required := make(object), []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || f.Anonymous || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if members[name] = schema(f.Type); !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "properties": members}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}
