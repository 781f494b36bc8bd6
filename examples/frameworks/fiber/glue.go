package main

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
)

// middleware makes a middleware of net/http, such as those of apikeyhttp, one
// of fiber. Handlers find the key in c.Context().
//
// It stands in for adaptor.HTTPMiddleware, which hands no context on to
// c.Context(), and it mends the adaptor's request in two ways. Of a header
// that is repeated the adaptor keeps the last line only, so that a request
// with two keys would look like one with one. And its texts lie in memory that
// fiber uses again for the next request, while a token may be kept for longer,
// by a stream that checks it again.
//
// The adaptor reads the whole body into memory, also with StreamRequestBody.
// A handler runs after the middleware has returned, not within it: so
// Options.Observe is called before, and of two guards on one route each
// validates the key. c.OriginalURL() stays what was sent, also behind StripCredential.
func middleware(m func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		var passed *http.Request
		sent := http.Header{}
		next := m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { passed = r }))
		err := adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range c.Request().Header.All() {
				sent.Add(string(name), string(value))
			}
			r.Header = sent
			r.URL.RawQuery = strings.Clone(r.URL.RawQuery)
			next.ServeHTTP(w, r.WithContext(c.Context()))
		})(c)
		if err != nil || passed == nil {
			return err
		}
		c.SetContext(passed.Context())
		for name := range sent { // what StripCredential takes out
			if passed.Header[name] == nil {
				c.Request().Header.Del(name)
			}
		}
		c.Request().URI().SetQueryString(passed.URL.RawQuery)
		return c.Next()
	}
}
