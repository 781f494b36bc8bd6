package apikey

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Digest is the stored form of an access secret, opaque bytes. It is no secret
// that could be used, but has no place in a log either: fmt shows "[digest]" of
// it, and of every value that holds it in exported fields. JSON, which stores
// may be made of, holds its bytes in base64. Only a Store sees digests: in
// what a Manager returns there are none.
type Digest string

// Format writes "[digest]" for every verb.
func (d Digest) Format(f fmt.State, _ rune) { io.WriteString(f, "[digest]") }

// LogValue returns "[digest]" for log/slog.
func (d Digest) LogValue() slog.Value { return slog.StringValue("[digest]") }

// MarshalJSON writes the bytes in base64.
func (d Digest) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(d)) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Digest) UnmarshalJSON(b []byte) error {
	var raw []byte
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*d = Digest(raw)
	return nil
}
