#!/usr/bin/env bash
# check.sh: builds the extension and runs all its tests in throw-away clusters.
# Called by "make check"; ends with a non-zero status if anything fails.

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

need_packages
need_optional_packages postgresql-%-cron postgresql-%-mysql-fdw mariadb-server-core mariadb-client-core
make_scratch
trap 'rm -rf "$scratch"' EXIT
copy_source
copy_postgresql
say "building for PostgreSQL $pg_major"
build_and_install
cd "$scratch/source"

passed=0
failed=0

# A suite is a name and a command; its output is shown, its status counted.
suite() {
    local name=$1
    shift
    say "$name"
    if as_user env PATH="$bindir:$PATH" LC_ALL=C "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        for diffs in regression.diffs isolation/regression.diffs; do
            [ ! -s "$diffs" ] || cat "$diffs"
        done
    fi
}

regress=$(sed -n 's/^REGRESS = //p' Makefile)
isolation=$(sed -n 's/^ISOLATION = //p' Makefile)

suite regress "$pgxs_test/regress/pg_regress" --bindir="$bindir" --temp-instance="$scratch/regress" \
    --encoding=UTF8 --no-locale --inputdir=test --outputdir=. --temp-config=test/postgresql.conf $regress
if [ -n "$isolation" ]; then
    suite isolation env PGISOLATIONTIMEOUT=60 "$pgxs_test/isolation/pg_isolation_regress" --bindir="$bindir" \
        --temp-instance="$scratch/isolation" --encoding=UTF8 --no-locale --inputdir=test/isolation \
        --outputdir=isolation --temp-config=test/postgresql.conf $isolation
fi
suite TAP env TESTDIR="$scratch/source" PG_REGRESS="$pgxs_test/regress/pg_regress" \
    prove --timer -I "$pgxs_test/perl" test/t/*.pl

say "suites: $passed passed, $failed failed"
[ "$failed" = 0 ]
