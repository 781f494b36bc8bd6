module github.com/keyturn/apikey/internal/uitest

go 1.26.0

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/google/go-cmp v0.7.0
	github.com/keyturn/apikey v0.0.0
	github.com/matryer/is v1.4.1
)

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect

replace github.com/keyturn/apikey => ../..
