.PHONY: test race bench table fuzz lint ci long mutants

test:
	go test work

race:
	go test -race -shuffle=on -count=1 work

bench:
	go test -run '^$$' -bench . -benchmem work

# The table of docs/performance.md.
table:
	GOWORK=off go -C internal/bench run ./table

fuzz:
	.ci/fuzz 2000000

# golangci-lint v2: https://golangci-lint.run
lint:
	set -e; for module in $$(go list -m -f '{{.Dir}}'); do (cd $$module && golangci-lint run); done

ci:
	bash .ci/run

# The long forms of the tests, 10 million executions of the fuzz targets among
# them, part by part. It needs the servers that .ci/servers starts.
long:
	bash .ci/long

# The faults of testdata/mutants, one at a time, in a copy of the tree. Each has
# to be noticed by the test that it names. Those of the databases need the
# servers that .ci/servers starts.
mutants:
	bash .ci/mutants
