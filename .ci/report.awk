# Reads `go test -v`: a line for each package, everything of a package that
# fails, and last what was not run, why, and the count of the tests.

/^=== (RUN|NAME|CONT) / { test = $3; next }
/^=== / { next }

# The last line a test logs before it is skipped says why.
/^ +[A-Za-z0-9_]+_test\.go:[0-9]+: / {
	why[test] = $0
	sub(/^[^:]*:[0-9]+: /, "", why[test])
}
/^ *--- PASS: / { passed++; next }
/^ *--- FAIL: / { failed++; told = 1 }
/^ *--- SKIP: / { skipped[++skips] = $3 ": " (why[$3] ? why[$3] : "it does not say why"); next }

# A package may also fail before, between or after its tests.
/^FAIL\t/ && !told { failed++ }
/^FAIL\t/ { printf "%s%s\n", kept, $0; fflush(); kept = ""; packages++; told = 0; next }
/^(ok  |\?   )\t/ || /^\t[^ ]+\t+coverage: / { print; fflush(); kept = ""; packages++; next }
/^(PASS|FAIL)$/ { next }
{ kept = kept $0 "\n" }

END {
	printf "%s", kept
	print "\nNot run here:"
	if (!real) print "  real Kafka brokers: make test-real"
	print "  race detector: many times slower; make race"
	print "  fuzzing beyond its seeds: make fuzz"
	for (i = 1; i <= skips; i++) print "  " skipped[i]
	printf "\n%d passed, %d failed, %d skipped\n", passed, failed, skips
	exit failed || !packages
}
