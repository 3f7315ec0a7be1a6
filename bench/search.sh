#!/usr/bin/env bash
# search.sh: measures search_users beside its peers on the same people in one run:
# plain full text search (GIN, configuration simple), pg_trgm, RUM, and a walk that is
# left to the planner. Prints tables, also what is over its bar. Usage:
#   bench/search.sh [people] | tee -a out
# RUM is Debian's postgresql-15-rum, left out where it can't be had.

. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

people=${1:-100000}

need_packages
rum=postgresql-$pg_major-rum
dpkg-query -W "$rum" >/dev/null 2>&1 || as_root apt-get install -qq "$rum" >/dev/null 2>&1 || true
start_cluster C.UTF-8 shared_buffers=${SHARED_BUFFERS:-3GB} maintenance_work_mem=1GB max_parallel_workers_per_gather=0 fsync=off jit=off

# seconds of a statement
seconds() { milliseconds "$1" | awk '{ printf "%.1f", $1 / 1000 }'; }

say "making $people people"
sql -c "CREATE EXTENSION profiles; CREATE EXTENSION pg_trgm"
sql -c "CREATE EXTENSION rum" 2>/dev/null || rum=
sql -v people="$people" -f bench/people.sql -f bench/search.sql >/dev/null
sql -c "CREATE TABLE bench.events AS SELECT seen AS ts, 'u' || id AS user_id, name AS user_name, email AS user_email, 's' || id AS session_id, city, browser AS browser_name, plan FROM bench.people" \
    -c "SELECT profiles.add_source('bench.events', mapping => '{\"name\": \"user_name\", \"email\": \"user_email\", \"session\": \"session_id\", \"geo.city\": \"city\", \"browser.name\": \"browser_name\", \"plan\": \"plan\"}')" >/dev/null 2>&1
rebuild=$(seconds "CALL profiles.rebuild('user');")
sql -c "ALTER TABLE bench.people ADD person tsvector, ADD doc tsvector, ADD folded text, ADD rdoc tsvector;
        UPDATE bench.people SET person = profiles.people_tsvector(name, email), doc = to_tsvector('simple', name || ' ' || email),
            folded = lower(name || ' ' || email), rdoc = to_tsvector('simple', name || ' ' || email)" \
    -c "VACUUM FULL bench.people" -c "CREATE INDEX ON bench.people (seen)"
echo
echo "| index | seconds to build | MB |"
echo "|---|---|---|"
index() { # name, definition
    local t
    t=$(seconds "CREATE INDEX $1 ON bench.people USING $2;")
    echo "| $1 | $t | $(sql -c "SELECT pg_relation_size('bench.$1') / 1048576") |"
}
index people_person "gin (person)"
index people_doc "gin (doc)"
index people_folded "gin (folded gin_trgm_ops)"
[ -z "$rum" ] || index people_rdoc "rum (rdoc rum_tsvector_ops)"
sql -F ' | ' -c "
    SELECT '| profiles: ' || i.indexrelid::regclass, CASE WHEN i.indexrelid = 'profiles.user_search_search_idx'::regclass THEN 'in the first rebuild, $rebuild' END,
           round(pg_relation_size(i.indexrelid) / 1048576.0) || ' |'
    FROM pg_index i WHERE i.indrelid = ANY (ARRAY['profiles.user_search', 'profiles.user_word', 'profiles.user_search_stat']::regclass[]) ORDER BY i.indrelid, i.indexrelid"
echo "| profiles: signatures of names in profiles.user_profile_last_seen_idx, 8 bytes each | | $(sql -c "SELECT round(8 * count(*) / 1048576.0) FROM profiles.user_profile") |"
echo "| profiles: these but primary keys; bar: 200 for a million people | | $(sql -c "SELECT round((sum(pg_relation_size(indexrelid)) + (SELECT 8 * count(*) FROM profiles.user_profile)) / 1048576) FROM pg_index WHERE indrelid = ANY (ARRAY['profiles.user_search', 'profiles.user_word', 'profiles.user_search_stat']::regclass[]) AND NOT indisprimary") |"
echo "| profiles: their tables | | $(sql -c "SELECT round(sum(pg_table_size(t)) / 1048576) FROM unnest(ARRAY['profiles.user_search', 'profiles.user_word', 'profiles.user_search_stat']) AS t") |"
# for the filters
sql -c "SELECT profiles.index_profiles('user', 'last_city')" >/dev/null 2>&1
sql -c "VACUUM ANALYZE"
# warm
sql -c "SELECT count(*), sum(length(profile::text)) FROM profiles.user_profile" -c "SELECT sum(length(search)) FROM profiles.user_search" -c "SELECT sum(length(person) + length(doc)) FROM bench.people" >/dev/null

for way in search_users 'plain walk' 'GIN simple' pg_trgm ${rum:+RUM} 'primary key'; do
    sql -c "SET statement_timeout = 0" -c "CALL bench.measure('$way')"
done
echo
echo "Milliseconds, p50 / p95, and how often who was wanted (or anybody) was found, top 20; of GIN, pg_trgm and RUM every fifth query:"
echo
sql -F ' | ' -c "
    SELECT '| ' || substr(class, 3), max(n) FILTER (WHERE way = 'search_users'),
           max(cell) FILTER (WHERE way = 'search_users'), max(cell) FILTER (WHERE way = 'plain walk'), max(cell) FILTER (WHERE way = 'GIN simple'),
           max(cell) FILTER (WHERE way = 'pg_trgm'), max(cell) FILTER (WHERE way = 'RUM'), max(cell) FILTER (WHERE way = 'primary key') || ' |'
    FROM (SELECT way, class, count(*) AS n, format('%s / %s, %s %%', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
                 round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms)::numeric, 2), round(100.0 * count(*) FILTER (WHERE found) / count(*))) AS cell
          FROM bench.result GROUP BY way, class) c
    GROUP BY class ORDER BY class" | sed '1i | class | queries | search_users | plain walk | GIN simple | pg_trgm | RUM | primary key |\n|---|---|---|---|---|---|---|---|' | sed 's/ | *$/ |/'
echo
echo "| p95 of search_users | ms | bar | compared with, p95 | ratio | bar |"
echo "|---|---|---|---|---|---|"
sql -F ' | ' -c "
    SELECT '| ' || b.what, round(o.p95, 3), '<= ' || b.ms, b.over || ' ' || round(t.p95, 3), round(o.p95 / t.p95, 2), coalesce('<= ' || b.ratio, '') || ' |'
    FROM bench.bar b
    CROSS JOIN LATERAL (SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY r.ms)::numeric FROM bench.result r WHERE r.way = 'search_users' AND r.class ~ b.class) o (p95)
    CROSS JOIN LATERAL (SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY r.ms)::numeric FROM bench.result r WHERE r.way = b.over AND r.class ~ b.class) t (p95)"
echo
echo "slowest of search_users: $(sql -c "SELECT string_agg(format('%s (%s ms)', query, round(ms::numeric, 1)), ', ') FROM (SELECT * FROM bench.result WHERE way = 'search_users' ORDER BY ms DESC LIMIT 8) r")"

# What an update of the time costs where the index is in the same table: of every
# tenth row, of at most a million.
echo
echo "| index beside primary key and btree (seen) | us per update of seen | bytes of WAL | HOT |"
echo "|---|---|---|---|"
update_seen() { # name, definition if any
    local ms from
    sql -c "DROP TABLE IF EXISTS bench.seen" \
        -c "CREATE TABLE bench.seen WITH (fillfactor = 90) AS SELECT id, seen, person, doc, folded, rdoc FROM bench.people LIMIT 1000000" \
        -c "ALTER TABLE bench.seen ADD PRIMARY KEY (id)" -c "CREATE INDEX ON bench.seen (seen)" ${2:+-c "CREATE INDEX ON bench.seen USING $2"} \
        -c "VACUUM bench.seen" -c CHECKPOINT 2>/dev/null
    from=$(sql -c "SELECT pg_current_wal_lsn()")
    ms=$(milliseconds "UPDATE bench.seen SET seen = seen + interval '1 h' WHERE id % 10 = 3;")
    sql -F ' | ' -c "SELECT '| $1', round($ms * 1000.0 / n_tup_upd, 1), round(pg_wal_lsn_diff(pg_current_wal_lsn(), '$from') / n_tup_upd), n_tup_hot_upd || ' of ' || n_tup_upd || ' |'
                     FROM pg_stat_user_tables WHERE relid = 'bench.seen'::regclass"
}
update_seen none
update_seen "GIN (person)" "gin (person)"
update_seen "GIN simple" "gin (doc)"
update_seen pg_trgm "gin (folded gin_trgm_ops)"
[ -z "$rum" ] || update_seen RUM "rum (rdoc rum_tsvector_ops)"
sql -c "DROP TABLE bench.seen"

# Users seen again in the same session, with search's triggers and without: stored
# profiles alone, in turn, then a refresh.
see_again() { # which tenth
    sql -c "VACUUM profiles.user_profile" -c CHECKPOINT
    milliseconds "UPDATE profiles.user_profile p SET profile = p.profile OPERATOR(profiles.||) (SELECT profiles.profile_agg(e.ts, 'session', e.session) FROM (VALUES (p.last_seen + interval '1 minute', 's' || substr(p.key, 2))) AS e (ts, session)) WHERE hashtext(p.key) % 10 = $1;"
}
sql -c "SELECT pg_stat_reset()" >/dev/null
with=0 without=0
for round in 1 2 3; do
    with=$(echo "$with $(see_again $round)" | awk '{ print $1 + $2 }')
    [ $round != 3 ] || sql -c "SELECT pg_stat_force_next_flush()" >/dev/null
    sql -c "ALTER TABLE profiles.user_profile DISABLE TRIGGER USER"
    without=$(echo "$without $(see_again $((round + 3)))" | awk '{ print $1 + $2 }')
    sql -c "ALTER TABLE profiles.user_profile ENABLE TRIGGER USER"
done
echo
echo "a tenth of the profiles seen again, three times: $with ms, without search's triggers $without ms, $(echo "$with $without" | awk '{ printf "%.2f", $1 / $2 }') times as much; bar: 1.3 ($(sql -c "SELECT format('profiles: %s updates; search: %s inserts, %s updates, %s of them HOT', p.n_tup_upd, s.n_tup_ins, s.n_tup_upd, s.n_tup_hot_upd) FROM pg_stat_user_tables p, pg_stat_user_tables s WHERE p.relname = 'user_profile' AND s.relname = 'user_search'"))"
sql -c "SET profiles.pending_limit = -1; INSERT INTO bench.events SELECT ts + interval '1 hour', user_id, user_name, user_email, session_id, city, browser_name, plan FROM bench.events WHERE hashtext(user_id) % 5 = 0" >/dev/null
sql -c "VACUUM profiles.user_profile" -c "VACUUM profiles.user_pending, profiles.user_packed"
sql -c "SELECT pg_stat_reset()" >/dev/null
with=$(seconds "CALL profiles.refresh('user');")
sql -c "SELECT pg_stat_force_next_flush()" >/dev/null
updated=$(sql -c "SELECT format('profiles: %s updates; search: %s inserts, %s updates, %s HOT', p.n_tup_upd, s.n_tup_ins, s.n_tup_upd, s.n_tup_hot_upd) FROM pg_stat_user_tables p, pg_stat_user_tables s WHERE p.relname = 'user_profile' AND s.relname = 'user_search'")
sql -c "ALTER TABLE profiles.user_profile DISABLE TRIGGER USER" \
    -c "SET profiles.pending_limit = -1; INSERT INTO bench.events SELECT ts + interval '2 hours', user_id, user_name, user_email, session_id, city, browser_name, plan FROM bench.events WHERE hashtext(user_id) % 5 = 0 AND ts < (SELECT max(seen) FROM bench.people)" >/dev/null
sql -c "VACUUM profiles.user_profile" -c "VACUUM profiles.user_pending, profiles.user_packed"
without=$(seconds "CALL profiles.refresh('user');")
sql -c "ALTER TABLE profiles.user_profile ENABLE TRIGGER USER"
echo
echo "refresh of a fifth of the users seen again: $with s, without search's triggers $without s ($updated)"
echo "$people people, $(machine)"
