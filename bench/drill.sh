#!/usr/bin/env bash
# drill.sh: measures one subject's drill-down beside the number of events: two
# tables of events, users with about a hundred events and accounts with about a
# thousand in both; then the same over RUM events in one jsonb column, as they were
# captured and three times as wide. Usage:
#   bench/drill.sh [events] [more events] [RUM events]      by default 5000000, 50000000 and 200000
# 50000000 take some 30 GB and half an hour. With 0 and 0, only RUM events are measured.

. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

sizes=("${1:-5000000}" "${2:-50000000}")
rum=${3:-200000}

need_packages
start_cluster C shared_buffers=2GB work_mem=256MB maintenance_work_mem=1GB fsync=off wal_level=minimal max_wal_senders=0

calls=("user_sessions(k)" "user_pages(k)" "user_actions(k)" "user_frustrations(k)" "session_events(s)"
    "account_sessions(a)" "account_pages(a)" "account_actions(a)" "account_users(a)" "one user's page: pages, actions, sessions, frustrations")

# Milliseconds of a call: the median over 20 subjects of the fastest of thirty calls
# each, so that plans are kept, pages are in memory, and other work disturbs little.
measure() {
    local db=$1 call=$2
    case $call in
    one*) call="(SELECT count(*) FROM profiles.user_pages(k, 10)), (SELECT count(*) FROM profiles.user_actions(k, 10)),
        (SELECT count(*) FROM profiles.user_sessions(k, 10)), (SELECT count(*) FROM profiles.user_frustrations(k, 10))" ;;
    *) call="* FROM profiles.$call" ;;
    esac
    sql -d "$db" <<SQL
SET client_min_messages = warning;
CREATE TEMP TABLE took (ms float8);
DO \$\$
DECLARE
    k text;
    a text;
    s text;
    begun timestamptz;
    ms float8;
BEGIN
    FOR k, a, s IN SELECT p.usr_id, p.account_id, p.session_id FROM bench.picked p LOOP
        ms := NULL;
        FOR i IN 1..30 LOOP
            begun := clock_timestamp();
            PERFORM $call;
            ms := least(ms, extract(epoch FROM clock_timestamp() - begun) * 1000);
        END LOOP;
        INSERT INTO took VALUES (ms);
    END LOOP;
END
\$\$;
SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) FROM took;
SQL
}

compare_sizes() {
    for i in 0 1; do
        db=events_$i
        sql -d postgres -c "CREATE DATABASE $db"
        say "making ${sizes[i]} events"
        sql -d $db -v events="${sizes[i]}" -v users="$((sizes[i] / 20))" -f bench/events.sql 2>/dev/null
        sql -d $db >/dev/null 2>&1 <<SQL
CREATE EXTENSION profiles;
SELECT profiles.add_source('bench.events', capture => 'none', mapping => '{"type": "event_type", "account_id": "right(usr_id, -5)::int / 10",
    "frustration": "CASE WHEN event_type = ''action'' AND right(event_id, 1) < ''3'' THEN ''dead_click'' END"}');
SQL
        # users of about a hundred events, accounts of ten users and about a thousand
        sql -d $db <<'SQL'
CREATE TABLE bench.picked AS
SELECT u.usr_id, u.session_id, a.account_id
FROM (SELECT usr_id, min(session_id) AS session_id, row_number() OVER (ORDER BY abs(count(*) - 100), usr_id) AS n
      FROM bench.events GROUP BY usr_id ORDER BY n LIMIT 20) u
JOIN (SELECT right(usr_id, -5)::int / 10 AS account_id, row_number() OVER (ORDER BY abs(count(*) - 1000), right(usr_id, -5)::int / 10) AS n
      FROM bench.events GROUP BY 1 ORDER BY n LIMIT 20) a USING (n);
SQL
        say "making indexes"
        [ $i = 1 ] || without=$(sql -d $db -c "SET client_min_messages = warning" -c '\timing on' \
            -c "SELECT count(*) FROM profiles.user_sessions((SELECT usr_id FROM bench.picked LIMIT 1))" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1)
        sql -d $db -c "SET client_min_messages = warning" -c "SELECT count(*) FROM profiles.index_events('bench.events')" >/dev/null
    done

    echo
    echo "| what | ${sizes[0]} events, ms | ${sizes[1]} events, ms | ratio | bar |"
    echo "|---|---|---|---|---|"
    for call in "${calls[@]}"; do
        a=$(measure events_0 "$call") b=$(measure events_1 "$call")
        bar="<= 1.5, < 5 ms"
        [ "${call#account}" = "$call" ] || bar="<= 1.5"
        awk -v what="$call" -v a="$a" -v b="$b" -v bar="$bar" 'BEGIN { printf "| %s | %.2f | %.2f | %.2f | %s |\n", what, a, b, b / a, bar }'
    done
    awk -v a="$without" 'BEGIN { printf "| user_sessions(k) without indexes | %.0f | | | |\n", a }'
}

# the same calls where each event is one jsonb value
measure_rum() {
    local fields call bar kb=()
    for fields in 0 45; do
        db=rum_$fields
        sql -d postgres -c "CREATE DATABASE $db"
        say "making $rum RUM events with $fields further fields"
        sql -d $db -v events="$rum" -v fields=$fields -f bench/rum.sql
        sql -d $db >/dev/null 2>&1 <<'SQL'
CREATE EXTENSION profiles;
SELECT profiles.add_source('bench.rum', preset => 'rum', capture => 'none');
SELECT profiles.index_events('bench.rum');
CREATE TABLE bench.picked AS
SELECT u.user_id AS usr_id, u.session_id, a.account_id
FROM (SELECT user_id, min(session_id) AS session_id, row_number() OVER (ORDER BY abs(count(*) - 100), user_id) AS n
      FROM profiles.events GROUP BY user_id ORDER BY n LIMIT 20) u
JOIN (SELECT account_id, row_number() OVER (ORDER BY abs(count(*) - 1000), account_id) AS n
      FROM profiles.events GROUP BY 1 ORDER BY n LIMIT 20) a USING (n);
SQL
    done
    echo
    for fields in 0 45; do
        kb+=("$(sql -d rum_$fields -c "SELECT round(avg(length(event::text)) / 1000, 1) FROM (SELECT event FROM bench.rum LIMIT 5000) e")")
    done
    echo "| over jsonb, $rum events | of ${kb[0]} kB, ms | of ${kb[1]} kB, ms | bar |"
    echo "|---|---|---|---|"
    for call in "${calls[@]}"; do
        bar="< 5 ms"
        [ "${call#account}" = "$call" ] || bar=
        echo "| $call | $(measure rum_0 "$call") | $(measure rum_45 "$call") | $bar |"
    done
}

[ "${sizes[1]}" = 0 ] || compare_sizes
measure_rum
echo
machine
