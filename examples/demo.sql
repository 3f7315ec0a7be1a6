-- Profiles of 1,581 events that real browsers sent: see test/data/README.md.

\set QUIET on
\set SHOW_CONTEXT never
SET client_min_messages = warning;

\echo
\echo A table of events: one jsonb column, as the browser SDK sends them.
\echo
\set QUIET off
CREATE EXTENSION profiles;
CREATE SCHEMA web;
CREATE TABLE web.rum (event jsonb);
\copy web.rum from 'test/data/rum_enriched.ndjson' with (format csv, quote e'\x01', delimiter e'\x02')

\echo
\echo Make it a source, and fold what is there.
\echo
SELECT profiles.add_source('web.rum', preset => 'rum');
CALL profiles.rebuild();

\echo
\echo The users, newest first.
\echo
SELECT user_id, user_name, user_email, to_char(last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS last_seen,
       last_seen_country_name AS country, last_browser_name AS browser
FROM profiles.users ORDER BY profiles.users.last_seen DESC;

\echo One user in full, with the evidence of each attribute.
\echo
SELECT a.attribute, a.first_value, to_char(a.first_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS first_at,
       a.last_value, to_char(a.last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS last_at
FROM profiles.user_profile p, profiles.profile_attributes(p.profile) a
WHERE p.key = 'u-1003' ORDER BY a.attribute;

\echo The accounts.
\echo
SELECT account_id, account_name, first_seen, last_seen FROM profiles.accounts ORDER BY last_seen DESC;

\echo What was left out, and why; and the proof that stored profiles are right.
\echo
SELECT source, kind, folded, left_out FROM profiles.status ORDER BY kind DESC;
SELECT count(*) AS users_that_differ_from_a_fold_from_scratch FROM profiles.verify('user');
