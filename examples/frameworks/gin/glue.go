package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// middleware makes a middleware of net/http, such as those of apikeyhttp, one
// of gin. gin.WrapH would not do: gin calls the next handler of a chain also
// after one that has answered, unless that aborts the chain.
//
// Handlers find the key in c.Request.Context(). They answer through c.Writer:
// the middleware must not replace its ResponseWriter, and apikeyhttp's do not.
func middleware(m func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}
