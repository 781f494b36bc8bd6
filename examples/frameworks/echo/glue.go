package main

import (
	"net/http"

	"github.com/labstack/echo/v5"
)

// middleware makes a middleware of net/http, such as those of apikeyhttp, one
// of echo. It differs from echo.WrapMiddleware in that it leaves the Response
// as it is, where that puts another one around it for each middleware.
//
// Handlers find the key in c.Request().Context(). They answer through
// c.Response(): the middleware must not replace its ResponseWriter, and
// apikeyhttp's do not.
func middleware(m func(http.Handler) http.Handler) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) (err error) {
			m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				err = next(c)
			})).ServeHTTP(c.Response(), c.Request())
			return err
		}
	}
}
