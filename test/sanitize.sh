#!/usr/bin/env bash
# sanitize.sh: runs the regress suite with the extension built with the address
# and undefined behaviour sanitizers, inside the server as it is installed. Usage:
#   test/sanitize.sh [tests]     by default all of the Makefile's REGRESS
# A finding aborts the backend, so a test fails, and its report is shown.

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

need_packages
make_scratch
trap 'rm -rf "$scratch"' EXIT
copy_source
copy_postgresql
say "building with sanitizers"
# the optimizer would drop reads that nobody uses
build_and_install COPT="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined"

# Intercepted by the sanitizer before it is ready, the calls that set up
# translations never return: none are set up.
cat >"$scratch/nonls.c" <<'C'
char *bindtextdomain(const char *domain, const char *directory) { return (char *) directory; }
char *bind_textdomain_codeset(const char *domain, const char *codeset) { return (char *) codeset; }
C
gcc -shared -fPIC -O1 -fno-builtin "$scratch/nonls.c" -o "$scratch/nonls.so"

# the server that the tests start
reports=$scratch/reports
as_user mkdir "$reports"
mv "$bindir/postgres" "$bindir/postgres.plain"
cat >"$bindir/postgres" <<SH
#!/bin/bash
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $scratch/nonls.so"
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=0:log_path=$reports/asan
export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1:log_path=$reports/ubsan
exec -a "$bindir/postgres" "$bindir/postgres.plain" "\$@"
SH
chmod 755 "$bindir/postgres"

cd "$scratch/source"
[ $# -gt 0 ] || set -- $(sed -n 's/^REGRESS = //p' Makefile)
failed=0
as_user env PATH="$bindir:$PATH" LC_ALL=C "$pgxs_test/regress/pg_regress" --bindir="$bindir" \
    --temp-instance="$scratch/regress" --encoding=UTF8 --no-locale --inputdir=test --outputdir=. \
    --temp-config=test/postgresql.conf "$@" || failed=1
for report in "$reports"/*; do
    [ -s "$report" ] || continue
    failed=1
    cat "$report"
done
[ ! -s regression.diffs ] || head -n 400 regression.diffs
[ "$failed" = 0 ]
