#!/usr/bin/env bash
# pg_upgrade.sh: upgrades a cluster with profiles from PostgreSQL 15 to 17 by
# pg_upgrade, and checks that every profile is the same, that verify() finds
# nothing and that capture goes on. Not part of "make check": it wants root,
# debootstrap, the network and two minutes.
#
#   test/pg_upgrade.sh [FOLDER]    FOLDER: where Debian trixie is put, or is already
#
# Debian has one major version per release. So the new one comes from trixie,
# in a folder of its own; the old one is this machine's, copied into that folder
# with the libraries that trixie has no longer.

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

old=15
new=17
[ "$(id -u)" = 0 ] || fail "This needs root, for debootstrap and chroot."
export PG_MAJOR=$old
need_packages debootstrap
make_scratch
folder=${1:-$scratch/trixie}

unmount() {
    for place in "$folder/dev/shm" "$folder/proc"; do
        ! mountpoint -q "$place" || umount "$place"
    done
}
trap 'unmount; rm -rf --one-file-system "$scratch"' EXIT

inside() { chroot "$folder" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
inside_user() { inside setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }

# ---------- Debian trixie with the new major version ----------

if [ ! -x "$folder/usr/bin/apt-get" ]; then
    say "debootstrap trixie"
    debootstrap --variant=minbase trixie "$folder" >/dev/null
fi
printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
chmod 755 "$folder/usr/sbin/policy-rc.d"
mkdir -p "$folder/dev/shm" "$folder/proc" "$folder/etc/postgresql-common"
mountpoint -q "$folder/proc" || mount -t proc proc "$folder/proc"
mountpoint -q "$folder/dev/shm" || mount -t tmpfs tmpfs "$folder/dev/shm"
echo 'create_main_cluster = false' >"$folder/etc/postgresql-common/createcluster.conf"
# both from their last minor releases: since 15.20 the catalog holds versions
# of attributes, which only the like releases of later majors can read
say "installing PostgreSQL $new"
mirror=$(awk '$1 == "deb" { print $2; exit }' "$folder/etc/apt/sources.list")
echo "deb $mirror-security trixie-security main" >"$folder/etc/apt/sources.list.d/security.list"
inside apt-get update -qq
inside apt-get install -qq --no-install-recommends "postgresql-$new" "postgresql-server-dev-$new" \
    make gcc libc6-dev >/dev/null 2>&1 || fail "PostgreSQL $new can't be installed."

# ---------- profiles for both ----------

pg_major=$old
copy_source
copy_postgresql
say "building for PostgreSQL $old"
build_and_install
rm -rf "$folder/usr/lib/postgresql/$old" "$folder/usr/share/postgresql/$old" "$folder/opt/old-libraries"
mkdir -p "$folder/opt/old-libraries"
for part in lib share; do
    cp -a "$scratch/tree/usr/$part/postgresql/$old" "$folder/usr/$part/postgresql/"
done
for library in $(ldd "/usr/lib/postgresql/$old/bin/postgres" "/usr/lib/postgresql/$old/bin/psql" "/usr/lib/postgresql/$old/bin/pg_dump" |
                 sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u); do
    inside ldconfig -p | grep -q "${library##*/} " || cp -L "$library" "$folder/opt/old-libraries/"
done

say "building for PostgreSQL $new"
rm -rf "$folder/build-upgrade"
cp -a "$scratch/source" "$folder/build-upgrade"
inside make -s -C /build-upgrade with_llvm=no PG_CONFIG="/usr/lib/postgresql/$new/bin/pg_config" clean all install ||
    fail "The build for PostgreSQL $new failed."

# ---------- the old cluster ----------

work=/srv/upgrade
rm -rf "${folder:?}$work"
inside install -d -o postgres -g postgres "$work"
bin() { echo "/usr/lib/postgresql/$1/bin"; }
with_libraries() { inside_user env LD_LIBRARY_PATH=/opt/old-libraries "$@"; }
start() {
    with_libraries "$(bin "$1")/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w \
        -o "-c unix_socket_directories=$work -c listen_addresses= -c fsync=off" start >/dev/null ||
        fail "PostgreSQL $1 does not start: $(cat "$folder$work/$1.log")"
}
stop() { with_libraries "$(bin "$1")/pg_ctl" -D "$work/$1" -w stop >/dev/null; }
sql() { with_libraries "$(bin "$1")/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -d shop; }

for major in $old $new; do
    with_libraries "$(bin $major)/initdb" -D "$work/$major" -A trust -E UTF8 --locale=C -U postgres >/dev/null
done
start $old
with_libraries "$(bin $old)/createdb" -h "$work" -U postgres shop
say "filling PostgreSQL $old"
sql $old <<'SQL'
SET client_min_messages = warning;
CREATE ROLE adder;
CREATE SCHEMA web;
CREATE TABLE web.events (id int, ts timestamptz NOT NULL, uid text, acc text, country text, plan text) PARTITION BY RANGE (ts);
CREATE TABLE web.y2023 PARTITION OF web.events FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
CREATE TABLE web.later PARTITION OF web.events DEFAULT;
CREATE TABLE web.log (id int, at text, uid text, tag text, dropped int);
ALTER TABLE web.log DROP COLUMN dropped;
GRANT USAGE ON SCHEMA web TO adder;
GRANT SELECT, TRIGGER ON web.log TO adder;
CREATE EXTENSION profiles;
GRANT EXECUTE ON FUNCTION profiles.add_source TO adder;
INSERT INTO profiles.country VALUES ('XK', 'Kosovo');
SELECT profiles.add_source('web.events', on_change => 'keep',
    mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "geo.country": "country", "plan": "plan"}') \g /dev/null
SET ROLE adder;
SELECT profiles.add_source('web.log', mapping => '{"user_id": "uid", "seen_at": "at", "tag": "upper(tag)"}', filter => 'tag <> ''noise''') \g /dev/null
RESET ROLE;
SELECT profiles.index_profiles('user', 'plan') \g /dev/null
INSERT INTO web.events SELECT i, timestamptz '2023-01-01Z' + i * interval '1 hour', 'u' || i % 997, 'a' || i % 41,
    (ARRAY['XK', 'FR', 'ZZ'])[1 + i % 3], repeat('plan ', i % 50) || i FROM generate_series(1, 20000) i;
INSERT INTO web.log SELECT i, '2023-06-01', 'u' || i % 11, CASE WHEN i % 5 = 0 THEN 'noise' ELSE 't' || i % 3 END FROM generate_series(1, 300) i;
INSERT INTO web.log VALUES (301, 'no time', 'u1', 'bad');
CALL profiles.refresh();
DELETE FROM web.events WHERE id % 7 = 0;
SELECT profiles.forget('user', 'u3', block => true) \g /dev/null
CALL profiles.refresh();
INSERT INTO web.events VALUES (30000, '2023-12-31Z', 'new', 'a1', 'DE', 'pending'), (30001, now() + interval '20 days', 'new', 'a1', 'DE', 'held');
INSERT INTO web.events SELECT 30001 + i, '2023-12-31Z', 'packed ' || i, 'a1', 'DE', 'pending' FROM generate_series(1, 100) i;
DELETE FROM web.log WHERE id = 1;
SQL

# What must be the same before and after.
state() {
    sql "$1" <<'SQL'
SET TimeZone = 'UTC';
SELECT kind, count(*), md5(string_agg(key || ' ' || text || ' ' || bytes, ',' ORDER BY key COLLATE "C"))
FROM (SELECT 'user' AS kind, key, profile::text AS text, md5(profiles.profile_send(profile)) AS bytes FROM profiles.user_profile
      UNION ALL SELECT 'account', key, profile::text, md5(profiles.profile_send(profile)) FROM profiles.account_profile) p GROUP BY kind ORDER BY kind;
SELECT md5(string_agg(u::text, ',' ORDER BY user_id COLLATE "C")) FROM profiles.users u;
SELECT md5(string_agg(p::text, ',' ORDER BY p::text COLLATE "C")) FROM profiles.user_pending p;
SELECT md5(string_agg(p::text, ',' ORDER BY p::text COLLATE "C")) FROM profiles.user_packed p;
SELECT md5(string_agg(k::text, ',' ORDER BY k::text COLLATE "C")) FROM profiles.kept k;
SELECT * FROM profiles.blocked;
SELECT source, added_by, mapping, filters, capture, on_change, rebuild_due FROM profiles.sources ORDER BY source;
SELECT source, kind, pending, folded, left_out, examples FROM profiles.status ORDER BY source, kind;
SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'profiles' ORDER BY 1;
SELECT name FROM profiles.country WHERE code = 'XK';
SELECT kind, key FROM (SELECT 'user' AS kind, key FROM profiles.verify('user') UNION ALL SELECT 'account', key FROM profiles.verify('account')) v ORDER BY 1, 2;
SQL
}
state $old >"$scratch/before"
stop $old

# ---------- pg_upgrade ----------

say "pg_upgrade $old -> $new"
inside_user env LD_LIBRARY_PATH=/opt/old-libraries sh -c "cd $work && $(bin $new)/pg_upgrade -b $(bin $old) -B $(bin $new) \
    -d $work/$old -D $work/$new -U postgres -s $work" >"$scratch/log" || { cat "$scratch/log"; fail "pg_upgrade failed."; }
start $new
state $new >"$scratch/after"

failed=0
check() {
    if [ "$2" = "$3" ]; then echo "ok - $1"; else failed=1; echo "not ok - $1: got $2, expected $3"; fi
}
if diff "$scratch/before" "$scratch/after"; then echo "ok - everything is as it was"; else failed=1; echo "not ok - something changed"; fi
check "the server's version" "$(echo 'SHOW server_version_num' | sql $new | cut -c1-2)" $new

sql $new <<'SQL'
INSERT INTO web.events VALUES (40000, '2023-12-31Z', 'after', 'a1', 'XK', 'x');
INSERT INTO web.y2023 VALUES (40001, '2023-12-30Z', 'leaf', 'a1', 'XK', 'x');
DELETE FROM web.events WHERE id = 11;
INSERT INTO web.log VALUES (400, '2023-07-01', 'after', 't'), (401, 'bad again', 'after', 't');
CALL profiles.refresh();
SQL
wrong="SELECT (SELECT count(*) FROM profiles.verify('user')) + (SELECT count(*) FROM profiles.verify('account'))"
check "verify after a refresh" "$(echo "$wrong" | sql $new)" 0
check "new events" "$(echo "SELECT string_agg(user_id || ' ' || last_seen_country_name || coalesce(' ' || last_tag, ''), ', ' ORDER BY user_id)
    FROM profiles.users WHERE user_id IN ('after', 'leaf', 'new', 'u3')" | sql $new)" "after Kosovo T, leaf Kosovo, new Germany"
echo 'CALL profiles.rebuild()' | sql $new
check "verify after a rebuild" "$(echo "$wrong" | sql $new)" 0
echo "CREATE TABLE web.third (uid text, ts timestamptz); INSERT INTO web.third VALUES ('third', '2023-01-01Z');
      SELECT profiles.add_source('web.third', mapping => '{\"user_id\": \"uid\", \"seen_at\": \"ts\"}'); CALL profiles.refresh()" | sql $new >/dev/null
check "one more source" "$(echo "SELECT count(*) FROM profiles.users WHERE user_id = 'third'" | sql $new)" 1
stop $new
rm -rf "${folder:?}$work" "$folder/build-upgrade"
[ $failed = 0 ] && say "pg_upgrade $old -> $new: passed"
exit $failed
