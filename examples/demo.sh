#!/usr/bin/env bash
# demo.sh: profiles of real events in a throw-away cluster.
# Called by "make demo" and "make demo-stop".

. "$(dirname "${BASH_SOURCE[0]}")/../test/environment.sh"

demo=${TMPDIR:-/tmp}/profiles-demo-$(id -un)

# Stops and removes what an earlier run left, if it is ours.
stop_demo() {
    [ -e "$demo" ] || return 0
    local owner=$(id -un)
    [ "$owner" != root ] || owner=postgres
    [ "$(stat -c %U "$demo")" = "$owner" ] || fail "$demo belongs to somebody else."
    if [ -s "$demo/data/postmaster.pid" ]; then
        as_user "$demo"/tree/usr/lib/postgresql/*/bin/pg_ctl -D "$demo/data" -m fast -s stop || true
    fi
    rm -rf "$demo"
}

stop_demo
if [ "${1:-}" = stop ]; then
    say "the demo is stopped and removed"
    exit 0
fi

need_packages
scratch=$demo
mkdir -m 755 "$scratch"
[ "$(id -u)" != 0 ] || chown postgres "$scratch"
copy_source
copy_postgresql
say "building for PostgreSQL $pg_major"
build_and_install

say "starting a throw-away cluster in $demo"
as_user "$bindir/initdb" -D "$demo/data" -U demo --encoding=UTF8 --locale=C -A trust >/dev/null
as_user "$bindir/pg_ctl" -D "$demo/data" -l "$demo/log" -s -w \
    -o "-k '$demo' -c listen_addresses='' -c port=5432 -c fsync=off" start
as_user "$bindir/createdb" -h "$demo" -U demo demo
(cd "$scratch/source" &&
    as_user "$bindir/psql" -X -q -h "$demo" -U demo -d demo -v ON_ERROR_STOP=1 -f examples/demo.sql)

cat <<EOF

The cluster is still running. Look around:

    psql -h $demo -U demo demo

    \\d+ profiles.users
    TABLE profiles.status;
    SELECT * FROM profiles.verify();

and remove it with: make demo-stop
EOF
