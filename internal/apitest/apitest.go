// Package apitest holds what the tests of apikeyhttp.API need from outside of
// this module: a client that a generator made from the document that the API
// serves, and a validator that holds every request and answer against it.
package apitest

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml -o client_gen.go ../../apikeyhttp/openapi.json
