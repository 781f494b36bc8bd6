package apikeylimit_test

import (
	"log"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

var _ = recommended

// recommended is the code of docs/http.md.
func recommended(keys *apikey.Manager) *apikeyhttp.Guard {
	limiter, err := apikeylimit.New(&apikeylimit.Options{
		Default: apikey.Rate{Requests: 100, Period: time.Minute}, // of keys without a rate of their own
		Invalid: &apikey.Rate{Requests: 60, Period: time.Minute}, // bad keys per address; larger IPv6 networks have 4 and 16 times that
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := apikeyhttp.New(keys, &apikeyhttp.Options{Limiter: limiter})
	if err != nil {
		log.Fatal(err)
	}
	return guard
}
