//go:build race

package apikeyhttp_test

const raceEnabled = true
