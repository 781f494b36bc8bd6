package apikeyui

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
)

//go:embed static/style.css
var styleContent []byte

//go:embed static/script.js
var scriptContent []byte

// asset is a file that every page loads.
type asset struct {
	name      string
	mediaType string
	content   []byte
	version   string
}

var (
	styleSheet = newAsset("style.css", "text/css; charset=utf-8", styleContent)
	script     = newAsset("script.js", "text/javascript; charset=utf-8", scriptContent)
)

func newAsset(name, mediaType string, content []byte) *asset {
	sum := sha256.Sum256(content)
	return &asset{name, mediaType, content, hex.EncodeToString(sum[:8])}
}

// address returns the file's address below the root, which changes with its
// content, so that a browser that keeps the old one asks for the new one.
func (a *asset) address() string { return a.name + "?v=" + a.version }

func (a *asset) serve(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.content)))
	w.Header().Set("Cache-Control", "public, max-age=86400")
	w.Write(a.content)
}
