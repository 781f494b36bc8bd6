package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/keyturn/apikey"
)

// client is a program of the customer's. All that it knows is the address of
// the server and what keys it is given.
type client struct {
	url string
}

// credential puts a key into a request.
type credential func(*http.Request)

func nothing(*http.Request) {}

func bearer(token apikey.Secret) credential {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Reveal()) }
}

func apiKeyHeader(token apikey.Secret) credential {
	return func(r *http.Request) { r.Header.Set("X-API-Key", token.Reveal()) }
}

func basic(accessKey string, accessSecret apikey.Secret) credential {
	return func(r *http.Request) { r.SetBasicAuth(accessKey, accessSecret.Reveal()) }
}

// call makes a request and returns the status with the code of the refusal,
// or else with the text of the body.
func (c client) call(ctx context.Context, method, path string, key credential) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, nil)
	if err != nil {
		return "", err
	}
	key(request)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if response.Header.Get("Content-Type") == "application/problem+json" {
		var problem struct{ Code string }
		if err := json.Unmarshal(body, &problem); err != nil {
			return "", err
		}
		text = problem.Code
	}
	return fmt.Sprintf("%d %s", response.StatusCode, text), nil
}
