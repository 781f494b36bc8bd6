package apikeyhttp

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is the body of a refusal: problem details as in RFC 9457, with
// members of this package's own. It is made of constants and of what the
// server knows, never of what stands in a request.
type Problem struct {
	Type   string `json:"type"`  // "about:blank", or an IRI that is registered for it
	Title  string `json:"title"` // with "about:blank" the name of the status
	Status int    `json:"status"`

	// Code tells refusals of one status apart; the package comment lists
	// them. Detail is a sentence for people.
	Code   string `json:"code"`
	Detail string `json:"detail"`

	// Scope are the scopes that are needed, separated by spaces.
	Scope string `json:"scope,omitempty"`

	// Field is the part of the input that API refused. KeyID is the key that
	// an Idempotency-Key has made before, or that may have been changed.
	Field string `json:"field,omitempty"`
	KeyID string `json:"key_id,omitempty"`

	// ViolatedPolicies are the names of the limits that were exceeded, as in
	// draft-ietf-httpapi-ratelimit-headers-10.
	ViolatedPolicies []string `json:"violated-policies,omitempty"`
}

// answer is a refusal, written out once.
type answer struct {
	problem Problem
	bearer  string // the error in the challenge; "" = none, noChallenge = no challenge
	body    []byte // the problem in JSON
}

const noChallenge = "-"

// problemType is the media type of all refusals, whatever the request accepts.
// RFC 9110, section 12.4.1 allows that, and a client that does not know the type
// has the status.
const problemType = "application/problem+json"

func newAnswer(status int, code, bearer, detail string) *answer {
	return newProblemAnswer(Problem{Status: status, Code: code, Detail: detail}, bearer)
}

// newProblemAnswer completes the problem.
func newProblemAnswer(p Problem, bearer string) *answer {
	if p.Type == "" {
		p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	}
	// Texts and a number: Marshal does not fail.
	object, _ := json.Marshal(p)
	return &answer{problem: p, bearer: bearer, body: append(object, '\n')}
}

// ofAnotherBody are headers that a handler before may have set for the answer
// that it expected.
var ofAnotherBody = []string{
	"Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location",
	"Content-Range", "Etag", "Last-Modified", "Location", "Repr-Digest", "Trailer", "Transfer-Encoding",
}

// refuse writes an answer.
func (c *config) refuse(w http.ResponseWriter, r *http.Request, a *answer) {
	contentType, body := c.body(r, a)
	h := w.Header()
	if challenges := c.challenges(a); challenges != nil {
		h["Www-Authenticate"] = challenges
	}
	if a.problem.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	for _, name := range ofAnotherBody {
		h.Del(name)
	}
	w.WriteHeader(a.problem.Status)
	if r.Method != http.MethodHead {
		w.Write(body) // on an error the client is gone
	}
}

// body returns the body of an answer, which is the host's if it has a word in
// it.
func (c *config) body(r *http.Request, a *answer) (contentType string, body []byte) {
	if c.writeProblem != nil {
		if contentType, body = c.writeProblem(r, a.problem); contentType != "" {
			return contentType, body
		}
	}
	return problemType, a.body
}

// challenges returns the WWW-Authenticate lines of an answer, one for each
// scheme that would be accepted.
func (c *config) challenges(a *answer) []string {
	if a.bearer == noChallenge {
		return nil
	}
	var lines []string
	parameters := ""
	if a.bearer != "" {
		parameters = `, error="` + a.bearer + `"`
	}
	if a.problem.Scope != "" {
		parameters += `, scope="` + a.problem.Scope + `"`
	}
	// RFC 9110 asks for a challenge with every 401, and no scheme is
	// registered for a header or a query parameter of its own.
	switch {
	case c.carriers&Bearer != 0:
		lines = append(lines, `Bearer realm="`+c.realm+`"`+parameters)
	case c.carriers&Header != 0:
		lines = append(lines, `ApiKey realm="`+c.realm+`", header="`+c.headerName+`"`+parameters)
	case c.carriers&Query != 0:
		lines = append(lines, `ApiKey realm="`+c.realm+`", parameter="`+c.parameter+`"`+parameters)
	}
	if c.carriers&Basic != 0 && a.problem.Status == http.StatusUnauthorized {
		lines = append(lines, `Basic realm="`+c.realm+`", charset="UTF-8"`)
	}
	return lines
}
