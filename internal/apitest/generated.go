//go:build generated

package apitest

// The generated client of the long form imports this package.
import _ "github.com/oapi-codegen/runtime"
