package apikeyhttp

import (
	"strconv"
	"strings"
)

// maxRanges bounds the media ranges that are looked at. Clients send few.
const maxRanges = 20

// preferred returns the index of the media type that an Accept header prefers
// (RFC 9110, section 12.5.1): of those with the highest weight the first. If
// it accepts none, or is malformed, it is the first of all: an answer in some
// form serves better than 406.
func preferred(accept []string) int {
	best, weight := 0, 0.0
	for i, mediaType := range mediaTypes {
		if w := weightOf(mediaType, accept); w > weight {
			best, weight = i, w
		}
	}
	return best
}

// weightOf returns the weight that the most specific media range gives to a
// media type.
func weightOf(mediaType string, accept []string) float64 {
	major, _, _ := strings.Cut(mediaType, "/")
	weight, precision, seen := 0.0, 0, 0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			if seen++; seen > maxRanges {
				return weight
			}
			mediaRange, parameters, _ := strings.Cut(part, ";")
			p := 0
			switch strings.ToLower(strings.TrimSpace(mediaRange)) {
			case mediaType:
				p = 3
			case major + "/*":
				p = 2
			case "*/*":
				p = 1
			}
			if p > precision {
				weight, precision = quality(parameters), p
			}
		}
	}
	return weight
}

// quality returns the parameter q of a media range, 1 without one.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(0 <= q && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
