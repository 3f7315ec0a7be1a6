# cluster.sh: the throw-away cluster that benchmarks share. To be sourced.

. "$(dirname "${BASH_SOURCE[0]}")/../test/environment.sh"

# Starts it with the extension built and installed; it is removed at exit.
# Arguments: the locale, then settings, "name=value" each.
start_cluster() {
    local locale=$1 settings= setting
    shift
    for setting in max_wal_size=16GB checkpoint_timeout=1h autovacuum=off "$@"; do settings="$settings -c $setting"; done
    make_scratch
    trap 'as_user "$bindir/pg_ctl" -D "$scratch/data" -m immediate -s stop; rm -rf "$scratch"' EXIT
    copy_source
    copy_postgresql
    build_and_install
    cd "$scratch/source"
    as_user "$bindir/initdb" -D "$scratch/data" -U bench --encoding=UTF8 --locale="$locale" -A trust >/dev/null
    as_user "$bindir/pg_ctl" -D "$scratch/data" -l "$scratch/log" -s -w -o "-k '$scratch' -c listen_addresses=''$settings" start
    export PGHOST=$scratch PGUSER=bench PGDATABASE=postgres
}

sql() { as_user "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# Milliseconds that the last of some statements takes.
milliseconds() {
    printf '%s\n' '\timing on' "$@" | sql 2>/dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1
}

# Where and when: the last line of every benchmark.
machine() {
    printf '%s, %s, %s cores, %s\n' "$(date -u +%Y-%m-%d)" "$("$bindir/postgres" --version)" "$(nproc)" \
        "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
}
