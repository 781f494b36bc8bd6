package apikey_test

import "hash/crc32"

// retoken appends the checksum to a text, as docs/token-format.md says. It is
// written a second time here, to keep the first true.
func retoken(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, end := crc32.ChecksumIEEE([]byte(text)), ""
	for range 6 {
		end = digits[sum%62:][:1] + end
		sum /= 62
	}
	return text + end
}
