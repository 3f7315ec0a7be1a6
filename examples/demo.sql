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

\echo The same user: top pages, top actions, sessions, frustrations.
\echo
SELECT page, visits FROM profiles.user_pages('u-1003', max => 5);
SELECT action, count FROM profiles.user_actions('u-1003', max => 5);
SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS started_at, duration, views, actions, frustrations, entry_page, exit_page,
       country, device_type FROM profiles.user_sessions('u-1003');
SELECT type, page, action, to_char(seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS seen_at FROM profiles.user_frustrations('u-1003', max => 5);

\echo The user held against all: more sessions and more frustrations than how many of them.
\echo
SELECT user_id, sessions, frustrations, round(100 * more_sessions) AS more_sessions_than_percent,
       round(100 * more_frustrated) AS more_frustrated_than_percent
FROM (SELECT user_id, count(*) AS sessions, sum(frustrations) AS frustrations,
             percent_rank() OVER (ORDER BY count(*)) AS more_sessions,
             percent_rank() OVER (ORDER BY sum(frustrations)) AS more_frustrated
      FROM profiles.sessions WHERE user_id IS NOT NULL GROUP BY user_id) compared
WHERE user_id = 'u-1003';

\echo Where users were last seen, and how many are still there three months after their first session.
\echo
SELECT value AS last_seen_country, count AS users FROM profiles.facet('user', 'last_seen_country', max => 5);
SELECT count(*) AS users, count(*) FILTER (WHERE last_seen >= first_seen + interval '3 months') AS three_months_later FROM profiles.users;

\echo The accounts.
\echo
SELECT account_id, account_name, first_seen, last_seen FROM profiles.accounts ORDER BY last_seen DESC;

\echo What was left out, and why; and the proof that stored profiles are right.
\echo
SELECT source, kind, folded, left_out FROM profiles.status ORDER BY kind DESC;
SELECT count(*) AS users_that_differ_from_a_fold_from_scratch FROM profiles.verify('user');
