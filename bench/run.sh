#!/usr/bin/env bash
# run.sh: measures profiles beside its peers on the same data in one run, and
# prints every row as a ratio. Takes minutes. Usage:
#   bench/run.sh [events] [users] | tee -a out
# Peers: Debian's postgresql-15-first-last-agg, DuckDB as the npm package
# @duckdb/node-api (left out, with a line, where it can't be had).

. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

events=${1:-5000000}
users=${2:-$((events / 20))}

need_packages
first_last_agg=postgresql-$pg_major-first-last-agg
dpkg-query -W "$first_last_agg" >/dev/null 2>&1 || as_root apt-get install -qq "$first_last_agg" >/dev/null || true
start_cluster C shared_buffers=3GB work_mem=1GB maintenance_work_mem=1GB max_parallel_workers_per_gather=0

# Seconds that a statement takes: the best of three, or of $runs.
seconds() {
    local best= t i
    for ((i = 0; i < ${runs:-3}; i++)); do
        t=$(milliseconds "$1")
        best=$(awk -v a="$t" -v b="${best:-1e12}" 'BEGIN { print (a < b ? a : b) }')
    done
    awk -v t="$best" 'BEGIN { printf "%.3f", t / 1000 }'
}

# Seconds that each of some statements takes, the best of ten rounds. They run in
# turn, each after a checkpoint, so that what is written to disk meanwhile is not one's
# own bad luck. No writer merges what is pending, which is measured as refresh; it goes as a
# refresh and a vacuum would leave it, and a later rebuild sees to it. Or, if $grow is set, the
# tables are as small as at first. $memory is work_mem, if it is not 1 GB.
in_turn() {
    local best=() i n t statement
    for ((i = 0; i < 10; i++)); do
        n=0
        for statement; do
            if [ -n "${grow:-}" ]; then sql -c "TRUNCATE profiles.user_pending, profiles.user_packed"
            else sql -c "DELETE FROM profiles.user_pending" -c "DELETE FROM profiles.user_packed" -c "VACUUM profiles.user_pending, profiles.user_packed"; fi
            sql -c CHECKPOINT
            t=$(milliseconds "SET profiles.pending_limit = -1; SET work_mem = '${memory:-1GB}';" "$statement")
            best[n]=$(awk -v a="$t" -v b="${best[n]:-1e12}" 'BEGIN { print (a < b ? a : b) }')
            n=$((n + 1))
        done
    done
    printf '%s\n' "${best[@]}" | awk '{ printf "%.3f ", $1 / 1000 }'
}

# A row: what, seconds, seconds of what it is compared with, that one's name, bar.
row() {
    awk -v what="$1" -v t="$2" -v base="$3" -v name="$4" -v bar="$5" \
        'BEGIN { printf t / base < 0.1 ? "| %s | %.3f | %s %.3f | %.4f | %s |\n" : "| %s | %.3f | %s %.3f | %.2f | %s |\n", what, t, name, base, t / base, bar }'
}

say "making $events events of $users users"
sql -v events="$events" -v users="$users" -f bench/events.sql 2>/dev/null
sql -c "CREATE EXTENSION profiles"
sql -c "CREATE EXTENSION first_last_agg SCHEMA bench" 2>/dev/null && peer=yes || peer=no

pairs="'session', session_id, 'name', usr_name, 'email', usr_email, 'application', application, 'geo.country', country, 'geo.region', region,
    'geo.city', city, 'device.type', device_type, 'os.name', os_name, 'os.version', os_version, 'browser.name', browser_name, 'browser.version', browser_version"
columns="application country region city device_type os_name os_version browser_name browser_version"
each() { # a list of expressions, % being a column
    local c list=
    for c in $columns; do list="$list, ${1//%/$c}"; done
    printf '%s' "$list"
}

echo
echo "| what | seconds | compared with | ratio | bar |"
echo "|---|---|---|---|---|"
floor=$(seconds "SELECT count(s) FROM (SELECT usr_id, min(ts), max(ts) FROM bench.events GROUP BY 1 OFFSET 0) s;")
row "floor: min(ts), max(ts) per user" "$floor" "$floor" floor "1"
agg=$(seconds "SELECT count(s) FROM (SELECT usr_id, profiles.profile_agg(ts, $pairs) AS p FROM bench.events GROUP BY 1 OFFSET 0) s;")
row "profile_agg in plain SQL, one core" "$agg" "$floor" floor "<= 2.0"
if [ $peer = yes ]; then
    t=$(runs=1 seconds "SELECT count(s) FROM (SELECT usr_id, min(ts), max(ts), bench.last(usr_name), bench.last(usr_email)$(each "bench.first(%)")$(each "bench.last(%)") FROM bench.events GROUP BY 1 OFFSET 0) s;")
    row "first_last_agg, 20 aggregates, rows in time order" "$t" "$floor" floor ""
fi
t=$(runs=1 seconds "SELECT count(s) FROM (SELECT DISTINCT ON (usr_id) * FROM bench.events ORDER BY usr_id, ts OFFSET 0) s;")
row "DISTINCT ON, one end only" "$t" "$floor" floor ""
t=$(runs=1 seconds "SELECT count(s) FROM (SELECT usr_id, (array_agg(city ORDER BY ts))[1], (array_agg(city ORDER BY ts DESC))[1] FROM bench.events GROUP BY 1 OFFSET 0) s;")
row "array_agg(city ORDER BY ts)[1], one attribute of ten" "$t" "$floor" floor ""
par=$(seconds "SET max_parallel_workers_per_gather = 1; SELECT count(s) FROM (SELECT usr_id, profiles.profile_agg(ts, $pairs) AS p FROM bench.events GROUP BY 1 OFFSET 0) s;")
row "profile_agg with one worker beside the leader" "$par" "$agg" "one process" ""

if node -e 1 2>/dev/null && (mkdir "$scratch/duckdb" && cd "$scratch/duckdb" && npm install --silent --no-fund --no-audit @duckdb/node-api >/dev/null 2>&1); then
    sql -c "COPY bench.events TO STDOUT (FORMAT csv, HEADER)" >"$scratch/duckdb/events.csv"
    for threads in 1 2; do
        t=$(cd "$scratch/duckdb" && node - "$threads" $columns <<'EOF'
const { DuckDBInstance } = require('@duckdb/node-api');
(async () => {
    const [threads, ...columns] = process.argv.slice(2);
    const c = await (await DuckDBInstance.create(':memory:', { threads })).connect();
    await c.run("CREATE TABLE events AS SELECT * FROM read_csv('events.csv', all_varchar = true)");
    await c.run('CREATE TABLE e AS SELECT * REPLACE (ts::TIMESTAMPTZ AS ts) FROM events');
    const list = columns.map(x => `arg_min(${x}, ts), arg_max(${x}, ts)`).join(', ');
    let best = Infinity;
    for (let i = 0; i < 3; i++) {
        const t = process.hrtime.bigint();
        await c.run(`CREATE OR REPLACE TABLE r AS SELECT usr_id, min(ts), max(ts), arg_max(usr_name, ts), arg_max(usr_email, ts), ${list} FROM e GROUP BY 1`);
        best = Math.min(best, Number(process.hrtime.bigint() - t) / 1e9);
    }
    console.log(best.toFixed(3));
})();
EOF
        )
        [ "$threads" = 2 ] || duckdb=$t
        if [ "$threads" = 1 ]; then row "profile_agg, one core" "$agg" "$t" "DuckDB, 1 thread" "<= 0.5"
        else row "profile_agg, two processes" "$par" "$t" "DuckDB, 2 threads" "<= 0.5"; fi
    done
    rm -rf "$scratch/duckdb"
else
    echo "| DuckDB | | not to be had here | | |"
fi

sql -c "SELECT profiles.add_source('bench.events', capture => 'none', mapping => '{\"account_id\": null}')" >/dev/null 2>&1
fold=$(seconds "SELECT count(*) FROM profiles._fold('profiles.source_1', 'user');")
row "fold of a source, one core" "$fold" "$floor" floor "<= 1.0"
[ -z "${duckdb:-}" ] || row "fold of a source, one core" "$fold" "$duckdb" "DuckDB, 1 thread" "<= 0.5"
t=$(runs=1 seconds "SET maintenance_work_mem = '16MB'; SELECT count(*) FROM profiles._fold('profiles.source_1', 'user');")
row "the same in 16 MB, in as many passes as it takes" "$t" "$fold" "in 1 GB" ""
one=$(runs=1 seconds "CALL profiles.rebuild('user');")
row "first rebuild, writing included" "$one" "$floor" floor ""
one=$(runs=2 seconds "CALL profiles.rebuild('user');")
row "rebuild again, nothing changed" "$one" "$floor" floor ""
two=$(runs=2 seconds "SET max_parallel_workers_per_gather = 1; CALL profiles.rebuild('user');")
row "rebuild with a worker allowed (the direct fold uses none)" "$two" "$one" "one process" "<= 0.65"

size=$(sql -c "SELECT round(avg(pg_column_size(profile))) || ' ' || round(avg(pg_column_size(profile::jsonb))) || ' ' || round(avg(pg_column_size(profile::text::jsonb))) FROM (SELECT profile FROM profiles.user_profile LIMIT 50000) s")
set -- $size
awk -v p="$1" -v j="$2" -v t="$3" 'BEGIN {
    printf "| mean stored profile, bytes | %d | flat jsonb %d | %.2f | <= 0.4 |\n", p, j, p / j
    printf "| mean stored profile, bytes | %d | lossless jsonb %d | %.2f | <= 0.4 |\n", p, t, p / t }'

sql -c "SELECT profiles.index_profiles('user', 'last_seen_country')" >/dev/null 2>&1
sql -c "VACUUM ANALYZE profiles.user_profile"
t=$(seconds "SELECT * FROM profiles.users WHERE last_seen_country = 'DE' ORDER BY last_seen DESC LIMIT 50;")
row "list page, newest 50 of a country, of $users" "$t" "0.005" "5 ms, absolute:" "<= 1"

# capture
sql -c "CREATE TABLE bench.extra AS SELECT * FROM bench.events LIMIT 100000; CREATE TABLE bench.plain (LIKE bench.events); CREATE TABLE bench.captured (LIKE bench.events)"
sql -c "COPY bench.extra TO STDOUT" >"$scratch/extra.copy"
chmod 644 "$scratch/extra.copy"
sql -c "SELECT profiles.add_source('bench.captured', mapping => '{\"account_id\": null}')" >/dev/null 2>&1
# what capture cannot go below: the transition table, and the partial profiles written
sql -c "CREATE TABLE bench.noticed (LIKE bench.events);
    CREATE FUNCTION bench.notice() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER noticed AFTER INSERT ON bench.noticed REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bench.notice()"
sql -c "SET profiles.pending_limit = -1; COPY bench.captured FROM '$scratch/extra.copy'"
sql -c "CREATE TABLE bench.partial AS TABLE profiles.user_packed; CREATE TABLE bench.written (LIKE bench.partial)"
set -- $(in_turn "COPY bench.plain FROM '$scratch/extra.copy';" "COPY bench.noticed FROM '$scratch/extra.copy';" \
    "COPY bench.captured FROM '$scratch/extra.copy';" "INSERT INTO bench.written TABLE bench.partial;")
row "COPY of 100,000 events of $(sql -c "SELECT count(DISTINCT usr_id) FROM bench.extra") users, deferred capture" "$3" "$1" "without" "<= 1.5"
row "the same, a trigger with a transition table that does nothing" "$2" "$1" "without" ""
row "writing these partial profiles alone" "$4" "$1" "COPY without" ""
set -- $(grow=yes in_turn "COPY bench.plain FROM '$scratch/extra.copy';" "COPY bench.captured FROM '$scratch/extra.copy';")
row "COPY with capture, where the table of pending profiles has to grow" "$2" "$1" "without" ""
set -- $(memory=4MB in_turn "COPY bench.plain FROM '$scratch/extra.copy';" "COPY bench.noticed FROM '$scratch/extra.copy';" \
    "COPY bench.captured FROM '$scratch/extra.copy';")
row "COPY of the many users with work_mem 4 MB, PostgreSQL's default" "$3" "$1" "without" ""
row "the same, a trigger with a transition table that does nothing" "$2" "$1" "without" ""
sql -c "CREATE TABLE bench.visits AS SELECT (jsonb_populate_record(e, jsonb_build_object('usr_id', 'user-' || n / 20, 'session_id', n / 20))).*
    FROM (SELECT e, row_number() OVER () AS n FROM bench.extra e) s"
sql -c "COPY bench.visits TO STDOUT" >"$scratch/visits.copy"
chmod 644 "$scratch/visits.copy"
set -- $(in_turn "COPY bench.plain FROM '$scratch/visits.copy';" "COPY bench.captured FROM '$scratch/visits.copy';")
row "COPY of 100,000 events of 5,000 users, one after the other" "$2" "$1" "without" "<= 1.5"

# both are warmed up; both run twice, in turn
for table in plain captured; do
    cat >"$scratch/$table.sql" <<EOF
\\set u random(0, 200000)
INSERT INTO bench.$table (ts, usr_id, usr_name, session_id, country, city, browser_name) VALUES (now(), 'user-' || :u, 'Name', 's' || :u, 'DE', 'Berlin', 'Firefox');
EOF
    chmod 644 "$scratch/$table.sql"
done
tps() { as_user "$bindir/pgbench" -n -f "$scratch/$1.sql" -c 8 -j 2 -T 10 postgres 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'; }
tps captured >/dev/null
a=$(tps plain) b=$(tps captured) c=$(tps plain) d=$(tps captured)
awk -v p="$a" -v q="$c" -v c="$b" -v d="$d" 'BEGIN { printf "| single-row INSERTs by 8 clients, deferred, tps | %d | without %d | %.2f | >= 0.7 |\n", (c + d) / 2, (p + q) / 2, (c + d) / (p + q) }'
# of these some merge what is pending, which a refresh would do otherwise
export PGOPTIONS="-c profiles.pending_limit=-1"
b=$(tps captured) c=$(tps plain) d=$(tps captured)
unset PGOPTIONS
awk -v p="$c" -v c="$b" -v d="$d" 'BEGIN { printf "| the same, merging left to refresh | %d | without %d | %.2f | |\n", (c + d) / 2, p, (c + d) / 2 / p }'

sql -c "SELECT profiles.drop_source('bench.captured')" >/dev/null 2>&1
sql -c "SELECT profiles.alter_source('bench.events', capture => 'deferred')" >/dev/null 2>&1
rebuild=$(runs=1 seconds "CALL profiles.rebuild('user');")
# the same users with others of their attributes and back, and each time again with the same: the best of three
sql -c "CREATE TABLE bench.first AS SELECT * FROM bench.extra LIMIT 10000;
    CREATE TABLE bench.second AS SELECT (jsonb_populate_record(e, jsonb_build_object('city', 'Town ' || (hashtext(usr_id) & 255), 'device_type', 'Watch',
        'os_version', '99', 'browser_version', '7.0.0.' || (hashtext(usr_id) & 63), 'session_id', md5(session_id)::uuid::text))).* FROM bench.first e"
t= again=
refresh_after() {
    # no writer is to do what refresh is measured for; autovacuum is off
    sql -c "VACUUM profiles.user_pending, profiles.user_packed, profiles.user_search_due, profiles.user_profile, profiles.user_search"
    sql -c "SET profiles.pending_limit = -1; INSERT INTO bench.events SELECT (jsonb_populate_record(e, jsonb_build_object('ts', now()))).* FROM bench.$1 e"
    runs=1 seconds "CALL profiles.refresh('user');"
}
for events_of in first first second second first first; do
    took=$(refresh_after $events_of)
    if [ "$events_of" = "${before:-}" ]; then
        again=$(awk -v a="$took" -v b="${again:-1e12}" 'BEGIN { print (a < b ? a : b) }') before=
    else
        t=$(awk -v a="$took" -v b="${t:-1e12}" 'BEGIN { print (a < b ? a : b) }') before=$events_of
    fi
done
sql -c "ALTER TABLE profiles.user_profile DISABLE TRIGGER USER"
searchless=$(refresh_after second)
took=$(refresh_after first)
searchless=$(awk -v a="$took" -v b="$searchless" 'BEGIN { print (a < b ? a : b) }')
# a rebuild follows, which makes up for it
sql -c "ALTER TABLE profiles.user_profile ENABLE TRIGGER USER"
row "refresh of 10,000 new events on $events, all with other attributes" "$t" "$rebuild" rebuild "<= 0.01"
row "the same, without what search needs" "$searchless" "$rebuild" rebuild ""
row "the same users again, with the same attributes" "$again" "$rebuild" rebuild "<= 0.01"
# what it cannot go below: the same rows of a table with the same columns and indexes, written by one upsert
sql -c "CREATE TABLE bench.flat AS TABLE profiles.user_profile; ALTER TABLE bench.flat ADD PRIMARY KEY (key); CREATE INDEX ON bench.flat (last_seen); CREATE INDEX ON bench.flat (last_seen_country, last_seen);
    CREATE TABLE bench.keys AS SELECT DISTINCT usr_id AS key FROM bench.first"
sql -c "VACUUM ANALYZE bench.flat"
flat=$(seconds "INSERT INTO bench.flat AS f (key, last_seen) SELECT key, clock_timestamp() FROM bench.keys ORDER BY key ON CONFLICT (key) DO UPDATE SET last_seen = EXCLUDED.last_seen;")
row "a plain upsert of the rows that refresh changes" "$flat" "$rebuild" rebuild ""
row "refresh, all with other attributes" "$t" "$flat" "that upsert" ""
row "refresh, with the same attributes" "$again" "$flat" "that upsert" ""
sql -c "SELECT count(*) || ' profiles differ from a fold from scratch' FROM profiles.verify('user')"

# one jsonb column
sql -c "SELECT profiles.drop_source('bench.events')" >/dev/null 2>&1
sql -c "CREATE TABLE bench.rum AS SELECT jsonb_build_object('type', event_type, 'date', (extract(epoch FROM ts) * 1000)::bigint,
            'session', jsonb_build_object('id', session_id, 'type', 'user'), 'application', jsonb_build_object('id', application),
            'usr', jsonb_build_object('id', usr_id, 'name', usr_name, 'email', usr_email),
            'view', jsonb_build_object('id', event_id, 'url', 'https://shop.example' || page, 'url_path', page, 'referrer', referrer),
            'geo', jsonb_build_object('country_iso_code', country, 'country_subdivision', region, 'city', city),
            'device', jsonb_build_object('type', device_type), 'os', jsonb_build_object('name', os_name, 'version', os_version),
            'browser', jsonb_build_object('name', browser_name, 'version', browser_version)) AS event
        FROM bench.events LIMIT $((events / 5))"
sql -c "VACUUM (FREEZE, ANALYZE) bench.rum"
sql -c "SELECT profiles.add_source('bench.rum', preset => 'rum', capture => 'none')" >/dev/null 2>&1
plain=$(runs=1 seconds "SELECT count(s) FROM (SELECT usr_id, min(ts), max(ts), (array_agg(usr_name ORDER BY ts DESC))[1], (array_agg(usr_email ORDER BY ts DESC))[1]$(each "(array_agg(% ORDER BY ts))[1]")$(each "(array_agg(% ORDER BY ts DESC))[1]")
    FROM (SELECT event #>> '{usr,id}' AS usr_id, to_timestamp((event ->> 'date')::float8 / 1000) AS ts, event #>> '{usr,name}' AS usr_name, event #>> '{usr,email}' AS usr_email,
          event #>> '{application,id}' AS application, event #>> '{geo,country_iso_code}' AS country, event #>> '{geo,country_subdivision}' AS region, event #>> '{geo,city}' AS city,
          event #>> '{device,type}' AS device_type, event #>> '{os,name}' AS os_name, event #>> '{os,version}' AS os_version, event #>> '{browser,name}' AS browser_name, event #>> '{browser,version}' AS browser_version
          FROM bench.rum OFFSET 0) e GROUP BY 1 OFFSET 0) s;")
t=$(runs=1 seconds "SELECT count(*) FROM profiles.source_config c, profiles._fold(to_regclass(profiles._source_view(c.id)), 'user') f WHERE c.source = 'bench.rum';")
row "fold of one jsonb column of $((events / 5)) RUM events" "$t" "$plain" "->> and array_agg" ""
t=$(runs=1 seconds "CALL profiles.rebuild('user');")
row "rebuild from one jsonb column of $((events / 5)) RUM events" "$t" "$plain" "->> and array_agg" "<= 0.25"
# both kinds of subjects are captured
sql -c "CREATE TABLE bench.rum_plain (event jsonb); CREATE TABLE bench.rum_noticed (event jsonb); CREATE TABLE bench.rum_captured (event jsonb);
    CREATE TRIGGER noticed AFTER INSERT ON bench.rum_noticed REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bench.notice()"
sql -c "COPY (SELECT event FROM bench.rum LIMIT 100000) TO STDOUT" >"$scratch/rum.copy"
chmod 644 "$scratch/rum.copy"
sql -c "SELECT profiles.add_source('bench.rum_captured', preset => 'rum')" >/dev/null 2>&1
set -- $(in_turn "COPY bench.rum_plain FROM '$scratch/rum.copy';" "COPY bench.rum_noticed FROM '$scratch/rum.copy';" "COPY bench.rum_captured FROM '$scratch/rum.copy';")
row "COPY of 100,000 RUM events, one jsonb column, deferred capture" "$3" "$1" "without" "<= 1.5"
row "the same, a trigger with a transition table that does nothing" "$2" "$1" "without" ""
sql -c "CREATE TABLE bench.failing (LIKE bench.events, number text)"
sql -c "SELECT profiles.add_source('bench.failing', mapping => '{\"account_id\": null, \"number\": \"number::int\"}')" >/dev/null 2>&1
set -- $(in_turn "INSERT INTO bench.failing SELECT *, '1' FROM bench.extra LIMIT 10000;" \
    "INSERT INTO bench.failing SELECT *, CASE WHEN row_number() OVER () % 10 = 0 THEN 'none' ELSE '1' END FROM bench.extra LIMIT 10000;")
row "INSERT of 10,000 events, a tenth of which fail and are left out" "$2" "$1" "if none fails" ""
echo
machine
