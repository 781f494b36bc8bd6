module github.com/keyturn/apikey

go 1.26.0

require (
	github.com/benbjohnson/clock v1.3.5
	github.com/google/go-cmp v0.7.0
	github.com/matryer/is v1.4.1
)
