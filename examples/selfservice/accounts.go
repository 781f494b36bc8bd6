package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"strings"

	"golang.org/x/crypto/argon2"
)

// account is someone who may log in, for a customer whose keys they manage.
type account struct {
	email    string
	customer string // the owner of the keys

	salt, digest []byte // of the password
}

// accounts are those that there are. A host has them in its database.
type accounts struct {
	byEmail map[string]account
	nobody  account       // stands in for an account that there is not
	hashing chan struct{} // one for each password that is hashed right now
}

// Argon2id by its name in RFC 9106, with the second of the parameters that
// OWASP's Password Storage Cheat Sheet recommends: 19 MiB, 2 passes, 1 lane.
const (
	argonPasses = 2
	argonMemory = 19 * 1024 // KiB
	argonLanes  = 1
	digestLen   = 32
)

func newAccounts() *accounts {
	// No password has random bytes for its digest.
	return &accounts{
		byEmail: map[string]account{},
		nobody:  account{salt: random(16), digest: random(digestLen)},
		hashing: make(chan struct{}, 4),
	}
}

// add makes an account, with a password of at least 128 random bits.
func (a *accounts) add(email, customer string) (password string) {
	password = rand.Text()
	salt := random(16)
	a.byEmail[email] = account{email, customer, salt, digestOf(password, salt)}
	return password
}

// check returns the account that has this password. The work is the same
// whether there is an account or not, so that the time it takes tells nobody
// who is a customer. Each takes 19 MiB: no more than a few run at a time, and
// the others wait for as long as their request lives.
func (a *accounts) check(ctx context.Context, email, password string) (account, bool, error) {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return account{}, false, ctx.Err()
	}
	found, exists := a.byEmail[strings.ToLower(strings.TrimSpace(email))]
	if !exists {
		found = a.nobody
	}
	same := subtle.ConstantTimeCompare(digestOf(password, found.salt), found.digest) == 1
	if !same || !exists {
		return account{}, false, nil
	}
	return found, true, nil
}

func digestOf(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, digestLen)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
