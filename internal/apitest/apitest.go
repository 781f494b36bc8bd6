// Package apitest checks apikeyrest with what other modules bring: a validator
// compares every request and every response with the OpenAPI document. In their
// long form the tests also run with a client that a generator makes of the
// document; it is part of no tree.
package apitest
