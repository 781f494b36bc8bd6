module github.com/keyturn/apikey/apikeylimit

go 1.26.0

require (
	github.com/dunglas/httpsfv v1.1.2
	github.com/google/go-cmp v0.7.0
	github.com/keyturn/apikey v0.0.0-20261121132335-9b0a7df1e90c
	github.com/matryer/is v1.4.1
	golang.org/x/time v0.16.0
)

replace github.com/keyturn/apikey => ..
