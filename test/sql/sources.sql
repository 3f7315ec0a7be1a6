-- Sources: what can be one, how columns are recognised, presets, errors, undo.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA web;

-- recognised columns, and the mapping on top of them
CREATE TABLE web.events (
    ts timestamptz, usr_id text, usr_name text, usr_email text, account_id int, session_id text,
    country text, city text, browser_name text, browser_version text, campaign text, amount numeric, note text
);
INSERT INTO web.events VALUES
    ('2026-01-01 10:00Z', 'u1', 'Ada',  'ada@x.example', 1, 's1', 'GB', 'London', 'Safari', '18', 'spring', 10, ''),
    ('2026-01-02 10:00Z', 'u1', 'Ada L.', 'ada@y.example', 2, 's2', 'FR', 'Paris', 'Chrome', '141', NULL, 20, 'n'),
    ('2026-01-03 10:00Z', 'u2', NULL, NULL, 2, 's3', 'ZZ', NULL, NULL, NULL, 'autumn', NULL, NULL),
    ('2026-01-04 10:00Z', NULL, NULL, NULL, NULL, 's4', 'DE', NULL, NULL, NULL, NULL, NULL, NULL),
    (NULL, 'u3', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('infinity', 'u3', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (now() + interval '10 days', 'u4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('2026-01-05 10:00Z', 'u5', 'Internal', NULL, NULL, 's5', NULL, NULL, NULL, NULL, NULL, NULL, 'internal');
SELECT profiles.add_source('web.events',
    mapping => '{"utm.campaign": "campaign", "city.spent": "amount * 2", "browser.version": null, "name": "upper(usr_name)"}',
    filter => 'note IS DISTINCT FROM ''internal''', capture => 'none');
SELECT source, added_by = current_user AS mine, preset, filters, capture, on_change, rls, rebuild_due FROM profiles.sources;
SELECT key, value FROM profiles.sources, jsonb_each_text(mapping) ORDER BY key COLLATE "C";

CALL profiles.rebuild();
SELECT user_id, user_email, user_name, first_seen_country, last_seen_country_name, first_city, last_city,
       first_utm_campaign, last_utm_campaign, first_city_spent, last_city_spent
FROM profiles.users ORDER BY user_id;
SELECT account_id, account_name, first_seen AT TIME ZONE 'UTC' AS first_seen, last_seen_country FROM profiles.accounts ORDER BY account_id;
SELECT source, kind, folded, left_out, examples - 'no user_id' AS examples, rebuild_due FROM profiles.status ORDER BY kind;
SELECT kind, phase, done, total, percent FROM profiles.progress ORDER BY kind;
SELECT * FROM profiles.verify('user') UNION ALL SELECT * FROM profiles.verify('account');

-- verify finds what has changed since; so does a sample, of its subjects only
UPDATE web.events SET city = 'Lyon' WHERE city = 'Paris';
INSERT INTO web.events (ts, usr_id) VALUES ('2026-02-01Z', 'u9');
DELETE FROM web.events WHERE usr_id = 'u2';
SELECT key, stored IS NULL AS missing, expected IS NULL AS superfluous FROM profiles.verify('user');
SELECT count(*) BETWEEN 0 AND 3 AS within, bool_and(key IN ('u1', 'u2', 'u9')) IS NOT FALSE AS among FROM profiles.verify('user', 0.5);
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.verify('user');
SELECT count(*) AS accounts_not_rebuilt FROM profiles.verify('account');
CALL profiles.rebuild('account');
SELECT user_id, last_city FROM profiles.users ORDER BY user_id;

-- events that are held are folded once they are due
SET profiles.future_tolerance = '20d';
SELECT key, stored IS NULL AS missing FROM profiles.verify();
CALL profiles.rebuild('user');
SELECT left_out ? 'future' AS held FROM profiles.status WHERE kind = 'user';
RESET profiles.future_tolerance;
CALL profiles.rebuild('user');
SELECT left_out ->> 'future' AS held FROM profiles.status WHERE kind = 'user';

-- alter: what it says, entries added, replaced and removed
SELECT profiles.alter_source('web.events');
SELECT profiles.alter_source('web.events', filter => 'true', mapping => '{"utm.campaign": null, "referrer": "note"}');
SELECT rebuild_due, mapping ? 'utm.campaign' AS campaign, mapping ->> 'referrer' AS referrer, filters FROM profiles.sources;
CALL profiles.rebuild();
SELECT profiles.alter_source('web.events');
SELECT user_id, first_utm_campaign, last_referrer FROM profiles.users ORDER BY user_id;
-- reviving an attribute brings its column back to life, and adds none
SELECT count(*) AS columns FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 0 \gset before_
SELECT profiles.alter_source('web.events', mapping => '{"utm.campaign": "campaign"}');
CALL profiles.rebuild('user');
SELECT count(*) - :before_columns AS new_columns FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 0;
SELECT last_utm_campaign FROM profiles.users WHERE user_id = 'u1';

-- errors
SELECT profiles.add_source('web.events');
SELECT profiles.add_source('web.nothing');
SELECT profiles.add_source(NULL);
CREATE TABLE web.bad (id text, happened int8, data jsonb, data2 jsonb, t timestamptz);
SELECT profiles.add_source('web.bad');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "happend"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "happened"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "geo.country": "dta ->> ''c''"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "Geo Country": "id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "9x": "id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": 7}');
SELECT profiles.add_source('web.bad', mapping => '[1]');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "id, id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "count(*)"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "(SELECT 1)"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "unnest(ARRAY[id])"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "coalesce(jsonb_array_elements(data), data2)"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "row(id, t)"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "row(id, t)", "seen_at": "t", "x": "(row(id, t))::text"}', capture => 'none');
SELECT profiles.drop_source('web.bad');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "now()"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "current_user", "seen_at": "t"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id || random()", "seen_at": "t"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', filter => 'id');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "id AS y"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": "*"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "x": ""}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', capture => 'none', on_change => 'keep');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', filter => 'happened >');
SELECT profiles.add_source('web.bad', preset => 'rum');
SELECT profiles.add_source('web.bad', preset => 'rumm');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', capture => 'eager');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', rls => 'no');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t"}', on_change => 'forget');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "a.b": "id", "a_b": "id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "city": "id"}');
SELECT profiles.add_source('web.bad', mapping => '{"user_id": "id", "seen_at": "t", "seen": "id"}');
SELECT profiles.add_source('profiles.country');
CREATE INDEX bad_id ON web.bad (id);
SELECT profiles.add_source('web.bad_id');
SELECT profiles.drop_source('web.bad');
SELECT profiles.alter_source('web.bad');
SELECT profiles.alter_source('web.events', mapping => '{"seen_at": null}');
SELECT profiles.alter_source('web.events', mapping => '{"geo.city": "citty"}');
CALL profiles.rebuild('users');
SELECT * FROM profiles.verify('users');
SELECT * FROM profiles.verify('user', 0);
SELECT count(*) AS sources FROM profiles.sources;

-- rows whose expressions fail are left out one by one, in rebuild and verify
CREATE TABLE web.dirty (id int PRIMARY KEY, uid text, at text, plan text);
INSERT INTO web.dirty
SELECT i, 'd' || i % 7, CASE WHEN i % 500 = 3 THEN 'yesterday-ish ' || i ELSE (timestamp '2026-03-01' + i * interval '1 minute')::text END, 'p' || i % 3
FROM generate_series(1, 3000) AS i;
SELECT profiles.add_source('web.dirty', mapping => '{"user_id": "uid", "seen_at": "at", "plan": "plan", "rate": "100 / (id - 1200)"}');
CALL profiles.rebuild('user');
SELECT folded, left_out FROM profiles.status WHERE source = 'web.dirty';
SELECT count(*) FROM profiles.verify('user');
WITH good AS (
    SELECT 'd' || i % 7 AS uid, (timestamp '2026-03-01' + i * interval '1 minute') AT TIME ZONE 'UTC' AS at
    FROM generate_series(1, 3000) AS i WHERE i % 500 <> 3 AND i <> 1200)
SELECT count(*) AS users, bool_and(u.first_seen = g.first_seen AND u.last_seen = g.last_seen) AS right_times
FROM (SELECT uid, min(at) AS first_seen, max(at) AS last_seen FROM good GROUP BY uid) g
JOIN profiles.users u ON u.user_id = g.uid;
-- the source follows when the relation or its columns are renamed
ALTER TABLE web.dirty RENAME TO grubby;
ALTER TABLE web.grubby RENAME COLUMN plan TO tariff;
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.verify('user');
SELECT profiles.drop_source('web.dirty');
SELECT count(*) > 0 AS still_there FROM profiles.users WHERE user_id LIKE 'd%';
CALL profiles.rebuild('user');
SELECT count(*) AS still_there FROM profiles.users WHERE user_id LIKE 'd%';

-- a source that fails for another reason than a row's data is left out, and nothing is lost
CREATE FUNCTION web.half(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x / 2';
CREATE TABLE web.halves (ts timestamptz, user_id int);
INSERT INTO web.halves VALUES ('2026-01-01Z', 4);
SELECT profiles.add_source('web.halves', mapping => '{"half": "web.half(user_id)"}');
CALL profiles.rebuild('user');
CREATE OR REPLACE FUNCTION web.half(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT gone FROM web.nothing); END';
CALL profiles.rebuild('user');
SELECT user_id, last_half FROM profiles.users WHERE user_id = '4';
SELECT phase FROM profiles.progress WHERE kind = 'user';
SELECT profiles.drop_source('web.halves');

-- so is one whose relation has vanished
CREATE TABLE web.gone (ts timestamptz, user_id text);
SELECT profiles.add_source('web.gone');
DROP TABLE web.gone;
DROP TABLE web.gone CASCADE;
CALL profiles.rebuild('user');
SELECT source, added_by, mapping, rebuild_due FROM profiles.sources WHERE source = 'web.gone';
SELECT profiles.alter_source('web.gone', filter => 'true');
SELECT profiles.drop_source('web.gone');
CALL profiles.rebuild('user');
SELECT count(*) FROM profiles.verify('user');

-- partitioned tables, views, materialized views, foreign tables; several
-- sources feed one kind, and a key may be of any type
CREATE TABLE web.parts (ts timestamp, uid int, country text) PARTITION BY RANGE (ts);
CREATE TABLE web.parts_1 PARTITION OF web.parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE web.parts_2 PARTITION OF web.parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO web.parts VALUES ('2026-01-10', 1, 'US'), ('2026-02-10', 1, 'CA');
CREATE VIEW web.joined AS SELECT 1 AS uid, date '2026-01-01' AS seen_at, 'MX' AS country;
CREATE MATERIALIZED VIEW web.frozen AS SELECT '1'::varchar(5) AS userid, timestamptz '2026-03-05Z' AS event_time, 'AR'::char(4) AS country;
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE web.file (uid text, ts timestamptz, country text) SERVER files
    OPTIONS (program 'echo 1,2026-03-06T00:00:00Z,BR', format 'csv');
SELECT profiles.add_source('web.parts', mapping => '{"user_id": "uid"}'), profiles.add_source('web.joined', mapping => '{"user_id": "uid"}'),
       profiles.add_source('web.frozen'), profiles.add_source('web.file', mapping => '{"user_id": "uid"}');
CALL profiles.rebuild('user');
SELECT user_id, first_seen AT TIME ZONE 'UTC' AS first_seen, first_seen_country, last_seen AT TIME ZONE 'UTC' AS last_seen, last_seen_country
FROM profiles.users WHERE user_id = '1';
SELECT source, folded FROM profiles.status WHERE kind = 'user' ORDER BY source;
SELECT count(*) FROM profiles.verify();
-- neither is a table captured that has a foreign one, nor made to be
CREATE TABLE web.mixed (uid text, ts timestamptz, country text) PARTITION BY LIST (country);
CREATE TABLE web.mixed_1 PARTITION OF web.mixed FOR VALUES IN ('BR', 'AR') PARTITION BY LIST (country);
CREATE FOREIGN TABLE web.mixed_2 PARTITION OF web.mixed_1 FOR VALUES IN ('BR') SERVER files
    OPTIONS (program 'echo 2,2026-03-06T00:00:00Z,BR', format 'csv');
CREATE TABLE web.heir (uid text, ts timestamptz);
CREATE FOREIGN TABLE web.heir_1 () INHERITS (web.heir) SERVER files OPTIONS (program 'echo 3,2026-03-06T00:00:00Z', format 'csv');
SET client_min_messages = notice;
SELECT profiles.add_source('web.mixed', mapping => '{"user_id": "uid"}', on_change => 'keep'),
       profiles.add_source('web.heir', mapping => '{"user_id": "uid"}', capture => 'immediate');
SELECT profiles.alter_source('web.mixed', capture => 'deferred', on_change => 'keep');
SELECT profiles.alter_source('web.joined', capture => 'immediate');
SELECT profiles.alter_source('web.mixed', on_change => 'keep');
SELECT profiles.alter_source('web.mixed', capture => 'none');
SET client_min_messages = warning;
SELECT source, capture, on_change FROM profiles.sources WHERE source IN ('web.mixed', 'web.heir', 'web.joined') ORDER BY 1;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid IN ('web.mixed'::regclass, 'web.mixed_1'::regclass, 'web.heir'::regclass);
CALL profiles.refresh();
SELECT user_id FROM profiles.users WHERE user_id IN ('2', '3') ORDER BY 1;
-- one that came: what it has is folded
CREATE FOREIGN TABLE web.parts_3 PARTITION OF web.parts FOR VALUES FROM ('2026-03-01') TO ('2026-04-01') SERVER files
    OPTIONS (program 'echo 2026-03-06T00:00:00,4,BR', format 'csv');
SELECT profiles.alter_source('web.parts', mapping => '{"plan": "''x''"}');
SELECT capture FROM profiles.sources WHERE source = 'web.parts';
CALL profiles.refresh();
SELECT user_id FROM profiles.users WHERE user_id = '4';
DROP FOREIGN TABLE web.parts_3;
SELECT profiles.alter_source('web.parts', capture => 'deferred');
CREATE FOREIGN TABLE web.parts_3 PARTITION OF web.parts FOR VALUES FROM ('2026-03-01') TO ('2026-04-01') SERVER files
    OPTIONS (program 'echo 2026-03-06T00:00:00,5,BR', format 'csv');
CALL profiles.refresh();
SELECT profiles.alter_source('web.parts', on_change => 'keep');
SELECT user_id FROM profiles.users WHERE user_id = '5';
SELECT profiles.drop_source('web.mixed'), profiles.drop_source('web.heir');
-- what triggers will not see of what they are on
CREATE TABLE web.tree (uid text, ts timestamptz, country text) PARTITION BY LIST (country);
CREATE TABLE web.tree_1 PARTITION OF web.tree FOR VALUES IN ('BR', 'AR') PARTITION BY LIST (country);
CREATE UNLOGGED TABLE web.tree_2 PARTITION OF web.tree_1 FOR VALUES IN ('BR');
CREATE TABLE web.child () INHERITS (web.heir);
SET client_min_messages = notice;
SELECT profiles.add_source('web.tree_2', mapping => '{"user_id": "uid"}');
SELECT profiles.alter_source('web.tree_2', on_change => 'keep');
SELECT profiles.alter_source('web.tree_2', capture => 'none', on_change => 'recompute');
SELECT profiles.alter_source('web.tree_2', capture => 'immediate');
SELECT profiles.add_source('web.child', mapping => '{"user_id": "uid"}');
SELECT profiles.drop_source('web.tree_2');
SELECT profiles.add_source('web.tree', mapping => '{"user_id": "uid"}');
SET client_min_messages = warning;
SELECT profiles.drop_source('web.tree'), profiles.drop_source('web.child');

-- row-level security is never bypassed silently
CREATE TABLE web.secret (ts timestamptz, user_id text);
ALTER TABLE web.secret ENABLE ROW LEVEL SECURITY;
SELECT profiles.add_source('web.secret');
SELECT profiles.add_source('web.secret', rls => 'ignore');

-- internal functions that the extension's owner may call check what they are given
SELECT profiles._install_triggers(NULL, NULL, NULL, NULL, NULL);
SELECT profiles._install_triggers('pg_class'::regclass, -1, 'x', NULL, 'pg_class');
SELECT profiles._install_triggers('pg_class'::regclass, -1, 'x', 'x', 'pg_class');
-- whatever function in C it is, NULLs for all arguments are an error or a result
DO $$
DECLARE
    r record;
    n int := 0;
BEGIN
    FOR r IN
        SELECT p.oid::regproc AS name,
               (SELECT string_agg(format('NULL::%s', t.type::regtype), ', ' ORDER BY t.n)
                FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, n)) AS arguments
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'profiles'::regnamespace AND l.lanname = 'c' AND p.prokind = 'f'
          AND p.pronargs > 0 AND p.prorettype <> 'trigger'::regtype
        ORDER BY p.oid
    LOOP
        BEGIN
            EXECUTE format('SELECT %s(%s)', r.name, r.arguments);
        EXCEPTION WHEN others THEN
            NULL;
        END;
        n := n + 1;
    END LOOP;
    ASSERT n > 40;
END
$$;

-- presets, on tables of the shape that their loaders make
CREATE TABLE web.snowplow (app_id text, collector_tstamp timestamp, derived_tstamp timestamp, event text, event_id char(36),
    user_id text, domain_sessionid char(128), geo_country char(2), geo_city text, br_family text, br_version text, os_family text,
    dvce_type text, mkt_source text, page_urlpath text, se_action text);
INSERT INTO web.snowplow VALUES ('web', '2026-04-01', '2026-04-01 00:00:01', 'page_view', 'e1', 'sp1', 'sess', 'NL', '', 'Chrome', '141', 'Linux', 'Computer', 'ads', '/a', NULL);
-- '' is no value, whatever type of string it is
CREATE EXTENSION citext;
CREATE DOMAIN web.label AS varchar(20) CHECK (VALUE <> 'bad');
ALTER TABLE web.snowplow ADD mkt_medium citext, ADD mkt_campaign web.label, ADD refr_urlhost name;
INSERT INTO web.snowplow VALUES ('', '2026-04-01', '2026-04-02', 'page_view', '', 'sp2', '', '', '', '', '', '', '', '', '', '', '', '', '');
INSERT INTO web.snowplow VALUES ('', '2026-04-01', '2026-04-03', 'page_view', 'e3', 'sp3', 's ', 'D', '', '', '', '', '', '', '', '', 'Cpc', 'May', 'x.example');
CREATE TABLE web.segment (id text, "timestamp" timestamptz, received_at timestamptz, user_id text, anonymous_id text, event text, event_text text,
    context_app_name text, context_locale text, context_campaign_source text, context_page_path text, email text);
INSERT INTO web.segment VALUES ('1', '2026-04-02Z', '2026-04-03Z', 'sg1', 'a', 'signed_up', 'Signed Up', '', 'en-GB', 'mail', '/b', 'sg@x.example');
CREATE TABLE web.posthog (uuid uuid, event text, properties jsonb, distinct_id text, "timestamp" timestamptz);
INSERT INTO web.posthog VALUES ('00000000-0000-4000-8000-000000000001', '$pageview',
    '{"$session_id": "ps", "$geoip_country_code": "SE", "$geoip_city_name": "", "$browser": "Firefox", "$os": "Linux", "$pathname": "/c", "$set": {"email": "ph@x.example"}}',
    'ph1', '2026-04-04Z');
SELECT profiles.add_source('web.snowplow', preset => 'snowplow'), profiles.add_source('web.segment', preset => 'segment'),
       profiles.add_source('web.posthog', preset => 'posthog');
CALL profiles.rebuild('user');
SELECT key, profile FROM profiles.user_profile WHERE key IN ('sp1', 'sp2', 'sp3', 'sg1', 'ph1') ORDER BY key;
SELECT source, m.key, m.value FROM profiles.sources, jsonb_each_text(mapping) m
WHERE preset IS NOT NULL AND m.key IN ('type', 'view_id', 'page', 'action', 'event_id', 'session', 'geo.country', 'utm.medium', 'utm.campaign', 'referrer') ORDER BY source, m.key;
SELECT profiles.add_source('web.bad', preset => 'posthog');

-- what is undone is gone, and the events are as they were
SELECT profiles.uninstall();
SELECT count(*) AS sources FROM profiles.sources;
SELECT relname FROM pg_class WHERE relnamespace = 'profiles'::regnamespace AND relname ~ '^(user|account|source_[0-9])' AND relname !~ '_(pending|packed)$' ORDER BY 1;
SELECT count(*) AS events FROM web.events;
DROP EXTENSION file_fdw CASCADE;
DROP SCHEMA web CASCADE;
DROP EXTENSION citext;
