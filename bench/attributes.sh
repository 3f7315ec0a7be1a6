#!/usr/bin/env bash
# attributes.sh: measures custom attributes beside plain SQL that does the same,
# on the same data in one run. Usage:
#   bench/attributes.sh [profiles and rows of the reference table] | tee -a out

. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

n=${1:-1000000}

need_packages
start_cluster C shared_buffers=2GB work_mem=512MB maintenance_work_mem=512MB max_parallel_workers_per_gather=0

# A row: what, milliseconds, those of what it is compared with, that one's name, bar.
row() {
    awk -v what="$1" -v t="$2" -v base="$3" -v name="$4" -v bar="$5" \
        'BEGIN { printf "| %s | %.1f | %s %.1f | %.2f | %s |\n", what, t, name, base, t / base, bar }'
}

say "making $n profiles and $n rows of reference"
sql 2>/dev/null <<SQL
CREATE EXTENSION profiles;
CREATE TABLE events (ts timestamptz, user_id text, country text);
INSERT INTO events SELECT timestamptz '2026-01-01Z' + (i * 7919::bigint % $n) * interval '1 s', 'user-' || i, 'DE' FROM generate_series(1, $n) i;
SELECT profiles.add_source('events', capture => 'none');
CALL profiles.rebuild('user');
CREATE TABLE crm AS
SELECT 'user-' || (i * 7919::bigint % $n) AS uid, (i % 1000) * 1.5 AS spent, i % 10 AS tenth, i % 100 AS hundredth, i % 1000 AS thousandth,
       date '2025-01-01' + i % 300 AS since, i % 3 = 0 AS vip
FROM generate_series(1, $n) i;
CREATE TABLE texts AS
SELECT 'user-' || (i * 7919::bigint % $n) AS uid, (ARRAY['free', 'trial', 'team', 'enterprise'])[1 + i % 4] AS tier, 'Company ' || i % 5000 AS company
FROM generate_series(1, $n) i;
CREATE TABLE ids AS
SELECT 'user-' || (i * 7919::bigint % $n) AS uid, 'CRM-' || i AS crm, md5(i::text) AS token
FROM generate_series(1, $n) i;
VACUUM ANALYZE;
SELECT profiles.add_attributes('user', 'crm', 'uid', 'user_id');
SQL
side=$(sql -c "SELECT profiles._import_table(id) FROM profiles.import_config WHERE source = 'public.crm'")

echo
echo "| | ms | compared with, ms | ratio | bar |"
echo "|---|---|---|---|---|"

create=$(milliseconds "CREATE TABLE copy AS SELECT * FROM crm")
key=$(milliseconds "ALTER TABLE copy ADD PRIMARY KEY (uid)")
first=$(milliseconds "CALL profiles.sync('crm')")
row "first sync" "$first" "$(awk -v a="$create" -v b="$key" 'BEGIN { print a + b }')" "CREATE TABLE AS and PRIMARY KEY" "<= 2"
sql -c "VACUUM ANALYZE $side" 2>/dev/null

sql -c "UPDATE crm SET spent = spent + 1 WHERE thousandth = 7; VACUUM crm" 2>/dev/null || sql -c "UPDATE crm SET spent = spent + 1 WHERE thousandth = 7"
read=$(milliseconds "SELECT count(uid), sum(spent), sum(tenth), sum(hundredth), sum(thousandth), max(since), bool_or(vip) FROM crm")
compare=$(milliseconds "SELECT count(*) FROM crm s FULL JOIN $side t ON t.key = s.uid WHERE s.uid IS NULL OR t.key IS NULL
    OR (s.spent, s.tenth, s.hundredth, s.thousandth, s.since, s.vip) IS DISTINCT FROM (t.spent, t.tenth, t.hundredth, t.thousandth, t.since, t.vip)")
changed=$(milliseconds "CALL profiles.sync('crm')")
row "sync with 0.1 % changed" "$changed" "$(awk -v a="$read" -v b="$compare" 'BEGIN { print a + b }')" "reading and comparing" "<= 1"
echo "| rows written by it | $(sql -c "SELECT inserted + updated + deleted FROM profiles.sync_runs LIMIT 1") | of $n | | 0.1 % |"

# Text is searched, too, and indexed for that.
create=$(milliseconds "CREATE TABLE copied_texts AS SELECT * FROM texts")
key=$(milliseconds "ALTER TABLE copied_texts ADD PRIMARY KEY (uid)")
both=$(awk -v a="$create" -v b="$key" 'BEGIN { print a + b }')
sql -c "SELECT profiles.add_attributes('account', 'texts', 'uid', 'account_id')" >/dev/null
row "first sync of two text attributes that nobody has" "$(milliseconds "CALL profiles.sync('texts')")" "$both" "CREATE TABLE AS and PRIMARY KEY" "<= 2"
sql -c "SELECT profiles.drop_attributes('account', 'texts')" -c "SELECT profiles.add_attributes('user', 'texts', 'uid', 'user_id')" >/dev/null
row "first sync of two text attributes that all have, and search finds" "$(milliseconds "CALL profiles.sync('texts')")" "$both" "CREATE TABLE AS and PRIMARY KEY" "<= 2"
create=$(milliseconds "CREATE TABLE copied_ids AS SELECT * FROM ids")
key=$(milliseconds "ALTER TABLE copied_ids ADD PRIMARY KEY (uid)")
sql -c "SELECT profiles.add_attributes('user', 'ids', 'uid', 'user_id')" >/dev/null
row "first sync of two text attributes that are others for everybody" "$(milliseconds "CALL profiles.sync('ids')")" "$(awk -v a="$create" -v b="$key" 'BEGIN { print a + b }')" "CREATE TABLE AS and PRIMARY KEY" "<= 2"
sql -c "SELECT profiles.drop_attributes('user', 'ids')" >/dev/null
sql -c "VACUUM ANALYZE" -c "UPDATE texts SET company = company || ' Ltd' WHERE company LIKE '% 70_'"
echo "| sync with 0.1 % of the texts changed | $(milliseconds "CALL profiles.sync('texts')") | | | |"

for attribute in tenth hundredth thousandth; do
    indexing=$(milliseconds "SELECT profiles.index_profiles('user', '$attribute')")
    sql -c "VACUUM ANALYZE profiles.user_profile" 2>/dev/null
    newest="SELECT * FROM profiles.users WHERE $attribute = 7 ORDER BY last_seen DESC LIMIT 50"
    # the first ones read what is not in memory yet
    echo "| newest 50 of one $attribute, indexed | $(for i in 1 2 3 4 5; do milliseconds "$newest" "$newest" "$newest"; done | sort -n | head -n 1) | (made in $indexing ms) | | < 5 |"
done
sql -c "UPDATE crm SET tenth = tenth + 1 WHERE thousandth = 9"
echo "| sync with 0.1 % changed, three attributes indexed | $(milliseconds "CALL profiles.sync('crm')") | | | |"
wrong=$(sql -c "SELECT count(*) FROM (SELECT user_id, spent, tenth, vip FROM profiles.users EXCEPT ALL
    SELECT p.key, c.spent, c.tenth, c.vip FROM profiles.user_profile p LEFT JOIN crm c ON c.uid = p.key) d")
echo "| profiles that differ from a LEFT JOIN | $wrong | | | 0 |"
echo
machine
