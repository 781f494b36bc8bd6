.PHONY: test race bench fuzz lint ci long

test:
	go test work

race:
	go test -race -shuffle=on -count=1 work

bench:
	go test -run '^$$' -bench . -benchmem work

fuzz:
	.ci/fuzz 2000000

# golangci-lint v2: https://golangci-lint.run
lint:
	set -e; for module in $$(go list -m -f '{{.Dir}}'); do (cd $$module && golangci-lint run); done

ci:
	bash .ci/run

# The same tests in their long forms, and 10 million executions of the fuzz
# targets together.
long:
	APIKEY_LONG=1 go test -race -shuffle=on -count=1 -timeout 6h -v work
	.ci/fuzz 10000000
