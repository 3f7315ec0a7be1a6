-- The type: text and binary form, accessors, union, order, storage.

\set SHOW_CONTEXT never
\pset null '(null)'

CREATE SCHEMA test_type;
SET search_path = test_type, profiles, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

-- What a statement says when it fails: SQLSTATE, message, DETAIL, HINT.
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', state, message, nullif(detail, ''), nullif(hint, ''));
END
$$;

-- Does the plan of a query have a node of this type?
CREATE FUNCTION plan_has(query text, node text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO plan;
    RETURN plan::text LIKE format('%%"Node Type": "%s"%%', node);
END
$$;

--
-- Profiles of all sorts, folded and made by hand
--

CREATE TABLE sample (id text PRIMARY KEY, p profile);

-- events by arithmetic: uneven times, gaps in every column, ties
CREATE VIEW event AS
SELECT s AS subject,
       '2026-01-01 00:00:00Z'::timestamptz + ((s * 7919 + n * n * 104729) % 1000) * interval '1 day 1 minute 1.000007 seconds' AS ts,
       CASE WHEN (s + n) % 3 <> 0 THEN 'session ' || (s * n) % 11 END AS session,
       CASE WHEN n % 5 = s % 5 THEN 'Name "' || n % 7 || E'" \\ \t ' || s END AS name,
       CASE WHEN n % 4 <> 0 THEN chr(65 + n % 26) || chr(233) || chr(128512) || s % 3 END AS city,
       CASE WHEN n % 4 <> 1 THEN chr(65 + (n * s) % 26) || 'X' END AS country,
       CASE WHEN n % 6 = 0 THEN '' END AS plan
FROM generate_series(1, 40) s, generate_series(1, 1 + s % 13) n;

INSERT INTO sample
SELECT 'fold ' || subject, profile_agg(ts, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan)
FROM event GROUP BY subject;

-- the text form itself, complete
INSERT INTO sample VALUES
('empty', '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-01T00:00:00.000000Z", "groups": {}}'),
('widest', '{"first_seen": "4714-11-24T00:00:00.000000Z BC", "last_seen": "294276-12-31T23:59:59.999999Z", "groups": {}}'),
('oldest', '{"first_seen": "4714-11-24T00:00:00.000000Z BC", "last_seen": "4714-11-24T00:00:00.000000Z BC", "groups": {}}'),
('newest', '{"first_seen": "294276-12-31T23:59:59.999999Z", "last_seen": "294276-12-31T23:59:59.999999Z", "groups": {}}'),
('around year 1', '{"first_seen": "0001-02-29T23:59:59.999999Z BC", "last_seen": "0001-01-01T00:00:00.000001Z", "groups": {}}'),
('five digits', '{"first_seen": "10000-01-01T00:00:00.000000Z", "last_seen": "99999-12-31T12:34:56.789012Z", "groups": {}}'),
('leap day', '{"first_seen": "2000-02-29T00:00:00.000000Z", "last_seen": "2024-02-29T00:00:00.000000Z", "groups": {}}'),
('at the epoch', '{"first_seen": "1999-12-31T23:59:59.999999Z", "last_seen": "2000-01-01T00:00:00.000000Z", "groups": {}}'),
('sessions', '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-09T00:00:00.000000Z",
  "session": {"first": {"at": "2026-01-02T00:00:00.000000Z", "id": "s1"}, "last": {"at": "2026-01-08T00:00:00.000000Z", "id": "s9"}},
  "groups": {
    "geo": {"first": {"at": "2026-01-03T00:00:00.000001Z", "session": "s1", "values": {"geo.city": "Paris", "geo.country": "FR"}},
            "last": {"at": "2026-01-07T00:00:00.000000Z", "session": "s9", "values": {"geo.country": "DE"}}},
    "os": {"first": {"at": "2026-01-04T00:00:00.000000Z", "session": "s2", "values": {"os.name": "Linux"}},
           "last": {"at": "2026-01-05T00:00:00.000000Z", "session": "s3", "values": {"os.name": "BSD", "os.version": ""}}},
    "plan": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"plan": "free"}},
             "last": {"at": "2026-01-09T00:00:00.000000Z", "values": {"plan": "pro"}}},
    "session": {"first": {"at": "2026-01-06T00:00:00.000000Z", "values": {"session.kind": "web"}},
                "last": {"at": "2026-01-06T00:00:00.000000Z", "values": {"session.kind": "web"}}}}}'),
('uuid', '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-01T00:00:00.000000Z",
  "session": {"first": {"at": "2026-01-01T00:00:00.000000Z", "id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
              "last": {"at": "2026-01-01T00:00:00.000000Z", "id": "0f8fad5b-d9cb-469f-a165-70867728950e"}},
  "groups": {"x": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"x.a": "0F8FAD5B-D9CB-469F-A165-70867728950E",
     "x.b": "0f8fad5b-d9cb-469f-a165-70867728950", "x.c": "0f8fad5b-d9cb-469f-a165-70867728950e", "x.d": "0f8fad5bd9cb469fa16570867728950e", "x.e": "0f8fad5b+d9cb-469f-a165-70867728950e"}},
     "last": {"at": "2026-01-01T00:00:00.000000Z", "values": {"x.a": "0F8FAD5B-D9CB-469F-A165-70867728950E",
     "x.b": "0f8fad5b-d9cb-469f-a165-70867728950", "x.c": "0f8fad5b-d9cb-469f-a165-70867728950e", "x.d": "0f8fad5bd9cb469fa16570867728950e", "x.e": "0f8fad5b+d9cb-469f-a165-70867728950e"}}}}}'),
('strings', '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-01T00:00:00.000000Z",
  "groups": {"a": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"a": "", "a.b": "\"\\\b\f\n\r\t\u0001\u001f", "a.c": "Z\u00fcrich \ud83d\ude00", "a.d": "null"}},
                   "last": {"at": "2026-01-01T00:00:00.000000Z", "values": {"a": "", "a.b": "\"\\\b\f\n\r\t\u0001\u001f", "a.c": "Z\u00fcrich \ud83d\ude00", "a.d": "null"}}}}}'),
('longest name', format('{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-01T00:00:00.000000Z",
  "groups": {"%1$s": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"%1$s": "x"}}, "last": {"at": "2026-01-01T00:00:00.000000Z", "values": {"%1$s": "x"}}}}}',
  'a' || repeat('_', 54) || '9')::profile);

\pset format unaligned
SELECT id, p FROM sample WHERE id !~ '^fold' ORDER BY id COLLATE "C";
SELECT p FROM sample WHERE id = 'fold 2';
\pset format aligned

-- in and out again gives the same bytes; jsonb's order of keys or other white space makes no difference
SELECT count(*) AS profiles, count(*) FILTER (WHERE p::text::profile <> p) AS changed,
       count(*) FILTER (WHERE profile_send(p::text::profile) <> profile_send(p)) AS changed_binary,
       count(*) FILTER (WHERE p::text::profile::text <> p::text) AS changed_text,
       count(*) FILTER (WHERE p::text::jsonb::text::profile <> p) AS changed_by_jsonb,
       count(*) FILTER (WHERE jsonb_pretty(p::text::jsonb)::profile <> p) AS changed_by_white_space
FROM sample;

-- the text form is independent of the session
BEGIN;
CREATE TEMP TABLE text_form AS SELECT id, p::text AS t, p::jsonb AS j FROM sample;
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL DateStyle = 'German, DMY';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL search_path = pg_temp;
SELECT count(*) AS profiles, count(*) FILTER (WHERE s.p::text <> f.t) AS text_differs,
       count(*) FILTER (WHERE f.t::profiles.profile OPERATOR(profiles.<>) s.p) AS input_differs,
       count(*) FILTER (WHERE s.p::jsonb <> f.j) AS cast_differs
FROM test_type.sample s JOIN text_form f USING (id);
ROLLBACK;

-- all that jsonb may say of times, PostgreSQL itself reads as the same times
SELECT count(*) AS profiles, count(*) FILTER (WHERE first_seen(p) <> regexp_replace(p::text::json ->> 'first_seen', 'T(.*)Z', ' \1+00')::timestamptz
                           OR last_seen(p) <> regexp_replace(p::text::json ->> 'last_seen', 'T(.*)Z', ' \1+00')::timestamptz) AS wrong
FROM sample;

-- equal to what the aggregate makes of the same events
SELECT p = (SELECT profile_agg(ts, 'plan', plan, 'os.name', os, 'os.version', os_version, 'geo.city', city, 'geo.country', country, 'session', session, 'session.kind', kind)
  FROM (VALUES ('2026-01-02 00:00:00Z'::timestamptz, 's1', NULL, NULL, NULL, NULL, NULL, NULL),
               ('2026-01-08 00:00:00Z', 's9', NULL, NULL, NULL, NULL, NULL, NULL),
               ('2026-01-03 00:00:00.000001Z', 's1', 'Paris', 'FR', NULL, NULL, NULL, NULL),
               ('2026-01-07 00:00:00Z', 's9', NULL, 'DE', NULL, NULL, NULL, NULL),
               ('2026-01-04 00:00:00Z', 's2', NULL, NULL, 'Linux', NULL, NULL, NULL),
               ('2026-01-05 00:00:00Z', 's3', NULL, NULL, 'BSD', '', NULL, NULL),
               ('2026-01-06 00:00:00Z', NULL, NULL, NULL, NULL, NULL, 'web', NULL),
               ('2026-01-01 00:00:00Z', NULL, NULL, NULL, NULL, NULL, NULL, 'free'),
               ('2026-01-09 00:00:00Z', NULL, NULL, NULL, NULL, NULL, NULL, 'pro')) v(ts, session, city, country, os, os_version, kind, plan)) AS same
FROM sample WHERE id = 'sessions';

--
-- Text that is no profile
--

CREATE TABLE good (t text);
INSERT INTO good VALUES ('{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-09T00:00:00.000000Z", '
  '"session": {"first": {"at": "2026-01-02T00:00:00.000000Z", "id": "s1"}, "last": {"at": "2026-01-08T00:00:00.000000Z", "id": "s9"}}, '
  '"groups": {"geo": {"first": {"at": "2026-01-03T00:00:00.000000Z", "session": "s1", "values": {"geo.city": "Paris", "geo.country": "FR"}}, '
  '"last": {"at": "2026-01-07T00:00:00.000000Z", "session": "s9", "values": {"geo.city": "Bonn", "geo.country": "DE"}}}}}');

SELECT error_of(format('SELECT %L::profile', t)), t::profile::text = t AS same FROM good;

-- each replaces a piece of the good one, which must be there
CREATE TABLE bad (n serial, what text, old text, new text);
INSERT INTO bad (what, old, new) VALUES
('empty text', '^.*$', ''),
('no JSON', '^.*$', 'profile'),
('half a JSON', '}$', ''),
('more than a JSON', '$', ' {}'),
('null', '^.*$', 'null'),
('number', '^.*$', '1'),
('string', '^.*$', '"profile"'),
('array', '^.*$', '[]'),
('empty object', '^.*$', '{}'),
('zero byte', 'Paris', '\u0000'),
('half a surrogate pair', 'Paris', '\ud83d'),
('unknown key', '"groups"', '"version": 1, "groups"'),
('unknown key in session', '"session": {', '"session": {"x": {}, '),
('unknown key in evidence of sessions', '"id": "s1"', '"id": "s1", "x": null'),
('unknown key in group', '"geo": {', '"geo": {"middle": {}, '),
('unknown key in evidence', '"values"', '"value": {}, "values"'),
('key in capitals', '"groups"', '"Groups"'),
('first_seen missing', '"first_seen": "[^"]*", ', ''),
('last_seen missing', '"last_seen": "[^"]*", ', ''),
('groups missing', ', "groups.*$', '}'),
('first session missing', '"first": {"at": "[^"]*", "id": "s1"}, ', ''),
('last session missing', ', "last": {"at": "[^"]*", "id": "s9"}', ''),
('session without id', ', "id": "s1"', ''),
('session without time', '"at": "[^"]*", "id": "s9"', '"id": "s9"'),
('first evidence missing', '"geo": {"first": .*}, "last"', '"geo": {"last"'),
('last evidence missing', ', "last": [^L]*$', '}}}'),
('evidence without time', '"at": "2026-01-07[^"]*", ', ''),
('evidence without values', ', "values": {[^}]*}', ''),
('first_seen twice', '^{', '{"first_seen": "2026-01-01T00:00:00.000000Z", '),
('session twice', '"groups"', '"session": {}, "groups"'),
('group twice', '"groups": {', '"groups": {"geo": {}, '),
('first evidence twice', '"geo": {', '"geo": {"first": {}, '),
('time of evidence twice', '"geo": {"first": {', '"geo": {"first": {"at": "", '),
('attribute twice', '"geo.city": "Paris"', '"geo.city": "Paris", "geo.city": "Lyon"'),
('first_seen null', '"first_seen": "[^"]*"', '"first_seen": null'),
('first_seen a number', '"first_seen": "[^"]*"', '"first_seen": 0'),
('session a string', '"session": {.*}}, "groups"', '"session": "s1", "groups"'),
('session null', '"session": {.*}}, "groups"', '"session": null, "groups"'),
('id a number', '"s1"}', '1}'),
('id null', '"s1"}', 'null}'),
('first session a string', '{"at": "[^"]*", "id": "s1"}', '"s1"'),
('groups an array', '"groups": .*$', '"groups": []}'),
('group a string', '"geo": .*$', '"geo": ""}}'),
('group empty', '"geo": .*$', '"geo": {}}}'),
('evidence an array', '"geo": {"first": {.*}, "last"', '"geo": {"first": [], "last"'),
('session of evidence an object', '"session": "s1"', '"session": {}'),
('session of evidence null', '"session": "s1"', '"session": null'),
('values an array', '{"geo.city": "Paris", "geo.country": "FR"}', '["Paris"]'),
('value a number', '"Paris"', '1'),
('value null', '"Paris"', 'null'),
('value true', '"Bonn"', 'true'),
('value an object', '"Paris"', '{}'),
('attribute of another group', '"geo.city": "Paris"', '"os.name": "Paris"'),
('attribute of another group behind', '"geo.country": "DE"', '"os.name": "Linux"'),
('label of another group', '"geo": {', '"os": {'),
('label is the attribute', '"geo": {', '"geo.city": {'),
('label is empty', '"geo": {', '"": {'),
('prefix is longer', '"geo": {', '"ge": {'),
('bad name: capitals', '"geo.city"', '"geo.City"'),
('bad name: empty part', '"geo.city"', '"geo..city"'),
('bad name: ends in a dot', '"geo.city"', '"geo."'),
('bad name: starts with a digit', '"geo.city"', '"geo.1"'),
('bad name: starts with _', '"geo.city"', '"geo._x"'),
('bad name: space', '"geo.city"', '"geo.ci ty"'),
('bad name: not ASCII', '"geo.city"', '"geo.cité"'),
('bad name: 57 bytes', '"geo.city"', '"geo.' || repeat('x', 53) || '"'),
('session inside groups', '"groups": {', '"groups": {"session": {"first": {"at": "2026-01-02T00:00:00.000000Z", "session": "s1", "values": {"session": "s1"}}, "last": {"at": "2026-01-08T00:00:00.000000Z", "session": "s9", "values": {"session": "s9"}}}, '),
('no values at first', '{"geo.city": "Paris", "geo.country": "FR"}', '{}'),
('no values at last', '{"geo.city": "Bonn", "geo.country": "DE"}', '{}'),
('no values at all', '("values": ){[^}]*}(.*"values": ){[^}]*}', '\1{}\2{}'),
('first_seen after last_seen', '"first_seen": "2026-01-01', '"first_seen": "2026-01-10'),
('evidence before first_seen', '"first_seen": "2026-01-01', '"first_seen": "2026-01-04'),
('evidence after last_seen', '"last_seen": "2026-01-09', '"last_seen": "2026-01-06'),
('sessions before first_seen', '2026-01-02T', '2025-12-31T'),
('sessions after last_seen', '2026-01-08T', '2026-01-10T'),
('first evidence after the last', '2026-01-03T(.*)"session": "s1"(.*)2026-01-07T(.*)"session": "s9"', '2026-01-07T\1"session": "s9"\22026-01-03T\3"session": "s1"'),
('first session after the last', '2026-01-02T(.*)2026-01-08T', '2026-01-08T\12026-01-02T'),
('ends tie, smaller bytes last', '2026-01-03T(.*)"session": "s1"(.*)2026-01-07T(.*)"session": "s9"', '2026-01-05T\1"session": "s4"\22026-01-05T\3"session": "s4"'),
('ends tie, fewer values first', '2026-01-03T(.*)"session": "s1"(.*)"geo.city": "Paris", (.*)2026-01-07T(.*)"session": "s9"', '2026-01-05T\1"session": "s4"\2\32026-01-05T\4"session": "s4"'),
('evidence''s session, but no sessions', '"session": {.*}}, "groups"', '"groups"'),
('evidence''s session before the first', '2026-01-02T', '2026-01-04T'),
('evidence''s session after the last', '2026-01-08T', '2026-01-06T'),
('evidence''s session beside the first', '2026-01-02T00:00:00.000000Z", "id": "s1"', '2026-01-03T00:00:00.000000Z", "id": "s2"'),
('evidence''s session beside the last', '2026-01-08T00:00:00.000000Z", "id": "s9"', '2026-01-07T00:00:00.000000Z", "id": "s8"'),
('time: date only', '2026-01-01T00:00:00.000000Z', '2026-01-01'),
('time: word', '2026-01-01T00:00:00.000000Z', 'tomorrow'),
('time: infinite', '2026-01-01T00:00:00.000000Z', '-infinity'),
('time: empty', '2026-01-01T00:00:00.000000Z', ''),
('time: February 30', '2026-01-01T', '2024-02-30T'),
('time: February 29 in a common year', '2026-01-01T', '2025-02-29T'),
('time: February 29, 1900', '2026-01-01T', '1900-02-29T'),
('time: February 29, 2 BC', '2026-01-01T00:00:00.000000Z', '0002-02-29T00:00:00.000000Z BC'),
('time: April 31', '2026-01-01T', '2025-04-31T'),
('time: month 0', '2026-01-01T', '2025-00-01T'),
('time: month 13', '2026-01-01T', '2025-13-01T'),
('time: day 0', '2026-01-01T', '2025-01-00T'),
('time: year 0', '2026-01-01T', '0000-01-01T'),
('time: year 0 BC', '2026-01-01T00:00:00.000000Z', '0000-01-01T00:00:00.000000Z BC'),
('time: three digits of year', '2026-01-01T', '999-01-01T'),
('time: seven digits of year', '2026-01-01T', '0002026-01-01T'),
('time: hour 24', '01T00:00:00.000000Z', '01T24:00:00.000000Z'),
('time: minute 60', '01T00:00:00.000000Z', '01T00:60:00.000000Z'),
('time: second 60', '01T00:00:00.000000Z', '01T00:00:60.000000Z'),
('time: no fraction', '01T00:00:00.000000Z', '01T00:00:00Z'),
('time: five digits of fraction', '01T00:00:00.000000Z', '01T00:00:00.00000Z'),
('time: seven digits of fraction', '01T00:00:00.000000Z', '01T00:00:00.0000000Z'),
('time: no Z', '01T00:00:00.000000Z', '01T00:00:00.000000'),
('time: offset', '01T00:00:00.000000Z', '01T00:00:00.000000+00'),
('time: space for T', '01T00:00:00.000000Z', '01 00:00:00.000000Z'),
('time: small t and z', '01T00:00:00.000000Z', '01t00:00:00.000000z'),
('time: sign', '2026-01-01T', '+2026-01-01T'),
('time: negative year', '2026-01-01T', '-2026-01-01T'),
('time: negative second', '01T00:00:00.000000Z', '01T00:00:-1.000000Z'),
('time: AD', '01T00:00:00.000000Z', '01T00:00:00.000000Z AD'),
('time: BC without its space', '01T00:00:00.000000Z', '01T00:00:00.000000ZBC'),
('time: more behind', '01T00:00:00.000000Z', '01T00:00:00.000000Z '),
('time: before the first', '2026-01-01T00:00:00.000000Z', '4714-11-23T23:59:59.999999Z BC'),
('time: after the last', '2026-01-09T', '294277-01-01T'),
('time: far out', '2026-01-09T', '999999-01-01T'),
('time: far out BC', '2026-01-01T00:00:00.000000Z', '999999-01-01T00:00:00.000000Z BC');

CREATE VIEW bad_text AS
SELECT n, what, t ~ old AS applies, regexp_replace(t, old, new) AS t FROM bad, good;

SELECT n, what FROM bad_text WHERE NOT applies;
\pset format unaligned
SELECT what, error_of(format('SELECT %L::profile', t)) FROM bad_text WHERE what !~ ' twice$' ORDER BY n;
\pset format aligned

-- a zero byte is refused by the JSON parser with a state of its own, all else with one
SELECT what, left(error_of(format('SELECT %L::profile', t)), 5) AS state FROM bad_text
WHERE error_of(format('SELECT %L::profile', t)) !~ '^22P02 ' AND what !~ ' twice$' ORDER BY n;

-- one of two equal keys would be lost silently
SELECT what, error_of(format('SELECT %L::profile', t)) ~ '^22P02 .* \| .' AS refused FROM bad_text WHERE what ~ ' twice$' ORDER BY n;

-- the message as a user sees it
SELECT '{"first_seen": "2026-01-01T24:00:00.000000Z", "last_seen": "2026-01-09T00:00:00.000000Z", "groups": {}}'::profile;

-- limits
CREATE FUNCTION text_of(names text[]) RETURNS text LANGUAGE sql AS $$
SELECT format('{"first_seen": "%1$s", "last_seen": "%1$s", "groups": {%2$s}}', '2026-01-01T00:00:00.000000Z',
    string_agg(format('"%1$s": {"first": {"at": "%2$s", "values": %3$s}, "last": {"at": "%2$s", "values": %3$s}}',
                      label, '2026-01-01T00:00:00.000000Z', members), ', '))
FROM (SELECT split_part(name, '.', 1) AS label, json_object_agg(name, 'x')::text AS members
      FROM unnest(names) AS name GROUP BY label) g
$$;
SELECT error_of(format('SELECT %L::profile', text_of(array_agg('a' || i)))) AS groups_1024 FROM generate_series(1, 1024) i;
SELECT error_of(format('SELECT %L::profile', text_of(array_agg('a' || i)))) AS groups_1025 FROM generate_series(1, 1025) i;
SELECT error_of(format('SELECT %L::profile', text_of(array_agg('a.a' || i)))) AS members_1024 FROM generate_series(1, 1024) i;
SELECT error_of(format('SELECT %L::profile', text_of(array_agg('a.a' || i)))) AS members_1025 FROM generate_series(1, 1025) i;
SELECT error_of(format('SELECT %L::profile', text_of(array_agg('a' || i % 2 || '.a' || i)))) AS both_1025 FROM generate_series(1, 1025) i;
SELECT error_of(format('SELECT %L::profile', repeat('[', 100000))) LIKE '54001 | stack depth limit exceeded%' AS too_deep;

-- the order of groups and keys is free
\pset format unaligned
SELECT '{"groups": {"b": {"last": {"values": {"b": "2"}, "at": "2026-01-01T00:00:00.000000Z"}, "first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"b": "2"}}},
  "a": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"a.y": "3", "a": "1"}}, "last": {"at": "2026-01-01T00:00:00.000000Z", "values": {"a": "1", "a.y": "3"}}}},
  "last_seen": "2026-01-01T00:00:00.000000Z", "first_seen": "2026-01-01T00:00:00.000000Z"}'::profile;
\pset format aligned

--
-- Binary form
--

\getenv abs_builddir PG_ABS_BUILDDIR
\set file :abs_builddir '/results/type.data'
SELECT set_config('test.file', :'file', false) <> '' AS file_set;

-- to a file and back
COPY (SELECT id, p FROM sample) TO :'file' (FORMAT binary);
CREATE TABLE copied (LIKE sample);
COPY copied FROM :'file' (FORMAT binary);
SELECT count(*) FROM copied;
(TABLE sample EXCEPT ALL TABLE copied) UNION ALL (TABLE copied EXCEPT ALL TABLE sample);

-- the same in a client's encoding that has the characters, and a clean error in one that has not
CREATE TABLE latin (p profile);
INSERT INTO latin SELECT profile_agg('2026-01-01 00:00:00Z', 'name', chr(252) || 'x', 'geo.city', 'Orl' || chr(233) || 'ans');
SELECT octet_length(profile_send(p)) AS utf8_bytes FROM latin;
SET client_encoding = 'LATIN1';
SELECT octet_length(profile_send(p)) AS latin1_bytes FROM latin;
COPY latin TO :'file' (FORMAT binary);
COPY latin FROM :'file' (FORMAT binary);
SELECT count(*) AS profiles, count(DISTINCT p) AS different FROM latin;
SELECT profile_send(p) FROM sample WHERE id = 'strings';
RESET client_encoding;

-- Any bytes to the input function: the binary form of bytea is its bytes.
-- Gives '' if they were refused with one of the expected states, 'same' if a
-- profile came of it that has just these bytes, else what went wrong.
CREATE TABLE fed (p profile);
CREATE FUNCTION feed(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    file text := current_setting('test.file');
    result text;
BEGIN
    EXECUTE format('COPY (SELECT %L::bytea) TO %L (FORMAT binary)', bytes, file);
    BEGIN
        EXECUTE format('COPY fed FROM %L (FORMAT binary)', file);
    EXCEPTION WHEN invalid_binary_representation OR character_not_in_repertoire THEN
        RETURN '';
    WHEN OTHERS THEN
        RETURN SQLSTATE || ' ' || SQLERRM;
    END;
    SELECT CASE WHEN profile_send(p) <> bytes THEN 'other bytes'
                WHEN p::text::profile <> p THEN 'text differs'
                ELSE 'same' END INTO result FROM fed;
    DELETE FROM fed;
    RETURN result;
END
$$;

CREATE FUNCTION feed_error(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COPY (SELECT %L::bytea) TO %L (FORMAT binary)', bytes, current_setting('test.file'));
    RETURN error_of(format('COPY fed FROM %L (FORMAT binary)', current_setting('test.file')));
END
$$;

-- the drawn form, put together by hand
CREATE FUNCTION b(t text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN t IS NULL THEN int4send(-1) ELSE int4send(octet_length(convert_to(t, 'UTF8'))) || convert_to(t, 'UTF8') END $$;
CREATE FUNCTION b(t timestamptz) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz_send(t) $$;
CREATE FUNCTION b(n integer) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT int4send(n) $$;
CREATE TABLE piece (n integer PRIMARY KEY, what text, bytes bytea);
INSERT INTO piece VALUES
(1, 'version', '\x01'),
(2, 'first_seen', b('2026-01-01 00:00:00Z'::timestamptz)), (3, 'last_seen', b('2026-01-09 00:00:00Z'::timestamptz)),
(4, 'groups', b(2)),
(5, 'members', b(2)), (6, 'name 1', b('geo.city')), (7, 'name 2', b('geo.country')),
(8, 'first at', b('2026-01-03 00:00:00Z'::timestamptz)), (9, 'first session', b('s1')), (10, 'first value 1', b('Orléans')), (11, 'first value 2', b('FR')),
(12, 'last at', b('2026-01-07 00:00:00Z'::timestamptz)), (13, 'last session', b(NULL::text)), (14, 'last value 1', b(NULL::text)), (15, 'last value 2', b('')),
(16, 'session members', b(1)), (17, 'session', b('session')),
(18, 'first session at', b('2026-01-02 00:00:00Z'::timestamptz)), (19, 'first session id', b('s1')), (20, 'first session value', b('s1')),
(21, 'last session at', b('2026-01-08 00:00:00Z'::timestamptz)), (22, 'last session id', b('s9')), (23, 'last session value', b('s9'));
INSERT INTO sample VALUES ('binary', '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-09T00:00:00.000000Z",
  "session": {"first": {"at": "2026-01-02T00:00:00.000000Z", "id": "s1"}, "last": {"at": "2026-01-08T00:00:00.000000Z", "id": "s9"}},
  "groups": {"geo": {"first": {"at": "2026-01-03T00:00:00.000000Z", "session": "s1", "values": {"geo.city": "Orl\u00e9ans", "geo.country": "FR"}},
                     "last": {"at": "2026-01-07T00:00:00.000000Z", "values": {"geo.country": ""}}}}}');
SELECT profile_send(p) = (SELECT string_agg(bytes, '' ORDER BY n) FROM piece) AS as_drawn FROM sample WHERE id = 'binary';
SELECT feed(string_agg(bytes, '' ORDER BY n)) FROM piece;

-- one piece replaced by something that is not allowed there
CREATE TABLE bad_piece (n serial, piece integer, what text, bytes bytea);
INSERT INTO bad_piece (piece, what, bytes) VALUES
(1, 'version 0', '\x00'), (1, 'version 2', '\x02'), (1, 'version 255', '\xff'),
(2, 'first_seen -infinity', b('-infinity'::timestamptz)), (3, 'last_seen infinity', b('infinity'::timestamptz)),
(2, 'first_seen before any time', int8send(-9223372036854775807)), (3, 'last_seen after any time', int8send(9223372036854775806)),
(2, 'first_seen after last_seen', b('2026-01-10 00:00:00Z'::timestamptz)), (2, 'evidence before first_seen', b('2026-01-04 00:00:00Z'::timestamptz)),
(3, 'evidence after last_seen', b('2026-01-06 00:00:00Z'::timestamptz)),
(4, 'no groups, but more bytes', b(0)), (4, 'one group, but more bytes', b(1)), (4, 'three groups', b(3)),
(4, '1025 groups', b(1025)), (4, 'most groups', b(2147483647)), (4, '-1 groups', b(-1)), (4, 'least groups', b(-2147483647)),
(5, 'no members', b(0)), (5, 'one member', b(1)), (5, 'three members', b(3)), (5, '1025 members', b(1025)), (5, 'most members', b(2147483647)), (5, '-1 members', b(-1)),
(5, 'members for an overflow', b(1431655766)),
(6, 'name NULL', b(NULL::text)), (6, 'name empty', b('')), (6, 'name in capitals', b('geo.City')), (6, 'name of another group', b('age')),
(6, 'name too long', b('geo.' || repeat('x', 53))), (6, 'names out of order', b('geo.d')), (6, 'name twice', b('geo.country')),
(6, 'name of negative length', b(-2)), (6, 'name of most bytes', b(2147483647)), (6, 'name with a zero byte', b(3) || '\x610062'), (6, 'name not UTF8', b(2) || '\xc328'),
(7, 'second name of another group', b('os.name')), (7, 'session in a group', b('session')),
(8, 'first evidence before first_seen', b('2025-12-31 00:00:00Z'::timestamptz)), (8, 'first evidence after last', b('2026-01-07 00:00:00.000001Z'::timestamptz)),
(9, 'session of negative length', b(-2)), (9, 'session of most bytes', b(2147483647)),
(10, 'value of negative length', b(-3)), (10, 'value not UTF8', b(1) || '\xe9'), (10, 'value with a zero byte', b(1) || '\x00'), (10, 'value cut in a character', b(4) || '\x4f726cc3'),
(10, 'value overlong', b(2) || '\xc080'), (10, 'value a surrogate', b(3) || '\xeda080'),
(11, 'value longer than all', b(1000)),
(12, 'last evidence after last_seen', b('2026-01-09 00:00:00.000001Z'::timestamptz)), (12, 'last evidence before first', b('2026-01-02 00:00:00Z'::timestamptz)),
(15, 'evidence without value', b(NULL::text)),
(16, 'session with two members', b(2)), (17, 'groups out of order', b('a')), (17, 'group twice', b('geo')),
(18, 'first session after the evidence''s', b('2026-01-04 00:00:00Z'::timestamptz)), (18, 'first session after last', b('2026-01-08 00:00:00.000001Z'::timestamptz)),
(19, 'session''s value is another', b('s0')), (19, 'session''s evidence without session', b(NULL::text)), (20, 'session without value', b(NULL::text)),
(22, 'last session''s value is another', b('s8')), (23, 'extra bytes', b('s9') || '\x00'), (23, 'many extra bytes', b('s9') || decode(repeat('00', 5000), 'hex'));
\pset format unaligned
SELECT what, feed_error((SELECT string_agg(CASE WHEN p.n = b.piece THEN b.bytes ELSE p.bytes END, '' ORDER BY p.n) FROM piece p))
FROM bad_piece b ORDER BY b.n;
\pset format aligned

-- both ends lack an attribute
SELECT feed_error(string_agg(CASE p.n WHEN 10 THEN b(NULL::text) ELSE p.bytes END, '' ORDER BY p.n)) FROM piece p;

-- of every prefix of a value, and of every value with one byte changed, none
-- crashes the server, and none is taken for something else
CREATE TABLE victim AS SELECT id, profile_send(p) AS bytes FROM sample WHERE id IN ('binary', 'empty', 'uuid');
SELECT id, count(*) = max(octet_length(bytes)) AS all_tried, count(*) FILTER (WHERE feed(substr(bytes, 1, n)) <> '') AS not_refused
FROM victim, generate_series(0, octet_length(bytes) - 1) n GROUP BY id ORDER BY id;

WITH tried AS (
    SELECT feed(set_byte(bytes, n, get_byte(bytes, n) # mask)) AS result
    FROM victim, generate_series(0, octet_length(bytes) - 1) n, unnest(ARRAY[1, 128, 255, 32, 5]) mask
    WHERE id IN ('binary', 'empty'))
SELECT count(*) > 800 AS many, count(*) FILTER (WHERE result = '') > 500 AS refused, count(*) FILTER (WHERE result = 'same') > 100 AS valid,
       count(*) FILTER (WHERE result NOT IN ('', 'same')) AS wrong
FROM tried;

-- two bytes swapped, four bytes replaced by extreme numbers, a byte left out or doubled
WITH tried AS (
    SELECT feed(change) AS result
    FROM victim, generate_series(0, octet_length(bytes) - 5) n,
         unnest(ARRAY[overlay(bytes PLACING '\xffffffff' FROM n + 1), overlay(bytes PLACING '\x7fffffff' FROM n + 1), overlay(bytes PLACING '\x80000000' FROM n + 1),
                      overlay(bytes PLACING '\x00000000' FROM n + 1), overlay(bytes PLACING '\x00000400' FROM n + 1),
                      overlay(bytes PLACING substr(bytes, n + 2, 1) || substr(bytes, n + 1, 1) FROM n + 1),
                      overlay(bytes PLACING '\x' FROM n + 1 FOR 1), overlay(bytes PLACING substr(bytes, n + 1, 1) FROM n + 1 FOR 0)]) change
    WHERE id = 'binary')
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE result NOT IN ('', 'same')) AS wrong FROM tried;

-- the limits of the text form are those of the binary form
CREATE FUNCTION binary_of(names text[]) RETURNS bytea LANGUAGE sql AS $$
SELECT '\x01'::bytea || b(t) || b(t) || b(cardinality(names)) ||
       string_agg(b(1) || b(name) || b(t) || b(NULL::text) || b('') || b(t) || b(NULL::text) || b(''), '' ORDER BY name COLLATE "C")
FROM unnest(names) AS name, (VALUES ('2026-01-01 00:00:00Z'::timestamptz)) v(t) GROUP BY t
$$;
SELECT feed(binary_of(array_agg('a' || i))) AS groups_1024 FROM generate_series(1, 1024) i;
SELECT feed_error(binary_of(array_agg('a' || i))) AS groups_1025 FROM generate_series(1, 1025) i;

DROP TABLE fed, copied, latin;

--
-- Stored bytes: damage is found, and nothing outside of the value is read
--

CREATE CAST (profile AS bytea) WITHOUT FUNCTION;
CREATE CAST (bytea AS profile) WITHOUT FUNCTION;
-- version, flags, first_seen with its sign bit flipped, last_seen - first_seen; no strings; no groups
SELECT p::bytea = '\x0100'::bytea || overlay(timestamptz_send(first_seen(p)) PLACING set_byte(substr(timestamptz_send(first_seen(p)), 1, 1), 0, get_byte(timestamptz_send(first_seen(p)), 0) # 128) FROM 1) || '\x000000' AS as_drawn
FROM sample WHERE id = 'empty';
-- a session that is a UUID takes 17 bytes, once
SELECT (octet_length(r.p::bytea) - octet_length(s.p::bytea)) AS bytes
FROM (SELECT profile_agg('2026-01-01 00:00:00Z', 'session', '0f8fad5b-d9cb-469f-a165-70867728950e') AS p) r, (SELECT profile_agg('2026-01-01 00:00:00Z', 'session', '') AS p) s;
CREATE FUNCTION use_damaged(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM bytes::profile::text;
    PERFORM last_known(bytes::profile, 'geo.country'), first_attribute(bytes::profile, 'zzz'), bytes::profile || bytes::profile, profile_send(bytes::profile);
    PERFORM FROM profile_attributes(bytes::profile);
    PERFORM profile_hash(bytes::profile), bytes::profile = bytes::profile;
    RETURN 'used';
EXCEPTION WHEN data_corrupted THEN
    RETURN 'refused';
WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT what, error_of(format('SELECT %L::bytea::profile::text', bytes))
FROM (SELECT p::bytea AS b FROM sample WHERE id = 'binary') x,
     LATERAL (VALUES (1, 'nothing', ''::bytea), (2, 'half a header', substr(b, 1, 9)), (3, 'version 2', set_byte(b, 0, 2)), (4, 'a reserved bit', set_byte(b, 1, 1)), (5, 'all reserved bits', set_byte(b, 1, 255)),
                     (6, 'the greatest reserved bit', set_byte(b, 1, 128)), (7, 'more at the end', b || '\x00'), (8, 'less at the end', substr(b, 1, octet_length(b) - 1))) v(n, what, bytes) ORDER BY n;
SELECT id, count(*) > 10 AS many, count(*) FILTER (WHERE use_damaged(substr(p::bytea, 1, n)) <> 'refused') AS not_refused
FROM sample, generate_series(0, octet_length(p::bytea) - 1) n WHERE id IN ('binary', 'empty', 'uuid', 'sessions', 'fold 12') GROUP BY id ORDER BY id;
-- with a byte changed it is refused, or is another value that can be used, or one that its text or encoding refuses
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE r = 'refused') > 300 AS refused, string_agg(DISTINCT r, ' ') FILTER (WHERE r NOT IN ('used', 'refused')) AS other_states
FROM (SELECT use_damaged(set_byte(p::bytea, n, get_byte(p::bytea, n) # mask)) AS r
      FROM sample, generate_series(0, octet_length(p::bytea) - 1) n, unnest(ARRAY[1, 2, 128, 255, 64]) mask WHERE id IN ('binary', 'uuid', 'sessions')) x;
DROP CAST (profile AS bytea);
DROP CAST (bytea AS profile);

--
-- Accessors
--

SELECT first_seen(p), last_seen(p) FROM sample WHERE id = 'sessions';
SELECT a AS attribute, first_known(p, a), first_attribute(p, a), first_known_at(p, a), last_known(p, a), last_attribute(p, a), last_known_at(p, a)
FROM sample, unnest(ARRAY['session', 'geo.city', 'geo.country', 'geo.region', 'os.name', 'os.version', 'plan', 'session.kind', 'name', 'geo', 'never.heard.of']) WITH ORDINALITY u(a, n)
WHERE id = 'sessions' ORDER BY n;

-- the text form as oracle
CREATE FUNCTION expected(p profile, attribute text, ending text) RETURNS TABLE (value text, at timestamptz, session text, of_session boolean)
LANGUAGE sql STABLE AS $$
WITH e AS (
    SELECT CASE WHEN attribute = 'session'
                THEN json_build_object('at', j #> ARRAY['session', ending, 'at'], 'session', j #> ARRAY['session', ending, 'id'],
                                       'values', json_build_object('session', j #> ARRAY['session', ending, 'id']))
                ELSE j #> ARRAY['groups', split_part(attribute, '.', 1), ending] END AS e,
           j #>> ARRAY['session', ending, 'id'] AS of_subject
    FROM (SELECT p::text::json AS j) x)
SELECT e -> 'values' ->> attribute,
       CASE WHEN e -> 'values' ->> attribute IS NOT NULL THEN (e ->> 'at')::timestamptz END,
       e ->> 'session', coalesce(e ->> 'session' = of_subject, true)
FROM e
$$;
CREATE VIEW asked AS
SELECT id, p, a FROM sample, unnest(ARRAY['session', 'name', 'geo.city', 'geo.country', 'plan', 'os.name', 'os.version', 'session.kind', 'x.c', 'a', 'zzz']) a
WHERE id NOT IN ('widest', 'oldest', 'around year 1');
SELECT count(*) AS asked, count(first_known(p, a)) > 100 AS first_known, count(last_known(p, a)) > 100 AS last_known,
       count(first_attribute(p, a)) < count(first_known(p, a)) AS of_other_sessions,
       count(*) FILTER (WHERE (first_known(p, a), first_known_at(p, a), last_known(p, a), last_known_at(p, a))
                              IS DISTINCT FROM (f.value, f.at, l.value, l.at)) AS wrong_known,
       count(*) FILTER (WHERE first_attribute(p, a) IS DISTINCT FROM CASE WHEN f.of_session THEN f.value END
                           OR last_attribute(p, a) IS DISTINCT FROM CASE WHEN l.of_session THEN l.value END) AS wrong_attribute
FROM asked, expected(p, a, 'first') f, expected(p, a, 'last') l;

-- evidence as rows
SELECT a.* FROM sample, profile_attributes(p) WITH ORDINALITY a WHERE id = 'sessions' ORDER BY ordinality;
SELECT count(*) AS rows FROM sample, profile_attributes(p) WHERE id = 'empty';
CREATE VIEW told AS SELECT s.id, t.* FROM (SELECT id, p FROM sample WHERE id ~ '^fold|^sessions$') s, profile_attributes(p) t;
CREATE VIEW in_text AS
SELECT s.id, a AS attribute, f.value, f.at, f.session, l.value AS last_value, l.at AS last_at, l.session AS last_session
FROM asked s,
     LATERAL (SELECT e.value, coalesce(e.at, (p::text::json #>> ARRAY['groups', split_part(a, '.', 1), 'first', 'at'])::timestamptz) AS at, e.session FROM expected(p, a, 'first') e) f,
     LATERAL (SELECT e.value, coalesce(e.at, (p::text::json #>> ARRAY['groups', split_part(a, '.', 1), 'last', 'at'])::timestamptz) AS at, e.session FROM expected(p, a, 'last') e) l
WHERE id ~ '^fold|^sessions$' AND (f.value IS NOT NULL OR l.value IS NOT NULL);
SELECT count(*) > 100 AS many FROM told;
SELECT count(*) AS different FROM ((TABLE told EXCEPT ALL TABLE in_text) UNION ALL (TABLE in_text EXCEPT ALL TABLE told)) d;

-- names
\pset format unaligned
SELECT f AS accessor, name, error_of(format('SELECT %s(p, %L) FROM test_type.sample WHERE id = ''empty''', f, name))
FROM unnest(ARRAY['first_known', 'last_attribute', 'first_known_at']) f,
     unnest(ARRAY['Geo Country', '', 'geo.', '1st', 'a' || repeat('b', 60), 'prénom', 'geo..city', '__', '.a', 'UTM-Source', 'a.2']) name
WHERE f = 'first_known' OR name = 'Geo Country'
ORDER BY f, name COLLATE "C";
\pset format aligned
-- what the HINT proposes is a name
SELECT name, substring(error_of(format('SELECT first_known(p, %L) FROM test_type.sample WHERE id = ''empty''', name)) FROM 'Try "([^"]*)"') AS proposal,
       error_of(format('SELECT first_known(p, %L) FROM test_type.sample WHERE id = ''empty''',
                       substring(error_of(format('SELECT first_known(p, %L) FROM test_type.sample WHERE id = ''empty''', name)) FROM 'Try "([^"]*)"'))) AS its_error
FROM unnest(ARRAY['Geo Country', '', 'geo.', '1st', 'A' || repeat('b', 60), repeat('ab.', 30), 'geo..city', '__', '.a', 'UTM-Source', 'a.2', '2', '...', 'a' || repeat('.9', 40), '数']) name ORDER BY name COLLATE "C";
-- a name that was right stays right, one that is wrong stays wrong, in one query
SELECT count(first_known(p, n)) FROM sample, unnest(ARRAY['name', 'plan', 'zzz']) n;
SELECT first_known(p, n) FROM sample, unnest(ARRAY['name', 'plan', 'No']) n;

-- strict
SELECT first_seen(NULL), last_seen(NULL), first_known(NULL, 'name'), last_known(NULL, 'name'), first_known(p, NULL), last_attribute(p, NULL), first_known_at(NULL, NULL), p || NULL AS union, p = NULL AS eq, NULL::profile::jsonb AS jsonb,
       (SELECT count(*) FROM profile_attributes(NULL)) AS rows
FROM sample WHERE id = 'empty';
-- NULL with a bad name is NULL, not an error
SELECT first_known(NULL, 'Not a name');

-- all are immutable, strict and parallel safe, but aggregates' functions are not strict
SELECT p.proname, p.provolatile, p.proisstrict, p.proparallel
FROM pg_proc p
WHERE p.pronamespace = 'profiles'::regnamespace AND p.proname ~ '^(profile_|first_|last_|bookend_)' AND p.prokind = 'f'
  AND (p.provolatile, p.proisstrict, p.proparallel) <> ('i', true, 's')
ORDER BY p.proname;
\pset format unaligned
SELECT string_agg(p.proname, ' ' ORDER BY p.proname) AS immutable_strict_parallel_safe
FROM pg_proc p
WHERE p.pronamespace = 'profiles'::regnamespace AND p.proname ~ '^(profile_|first_|last_|bookend_)' AND p.prokind = 'f'
  AND (p.provolatile, p.proisstrict, p.proparallel) = ('i', true, 's');
\pset format aligned
SELECT p.proname, p.proparallel FROM pg_proc p WHERE p.pronamespace = 'profiles'::regnamespace AND p.prokind = 'a' ORDER BY p.proname;

--
-- Cast to jsonb
--

SELECT jsonb_pretty(p::jsonb) FROM sample WHERE id = 'sessions';
\pset format unaligned
SELECT p::jsonb FROM sample WHERE id = 'strings';
SELECT p::jsonb FROM sample WHERE id = 'around year 1';
\pset format aligned
-- against the accessors
SELECT count(*) AS wrong FROM sample WHERE id ~ '^fold' AND p::jsonb IS DISTINCT FROM
    (SELECT jsonb_strip_nulls(jsonb_build_object(
        'first_seen', p::text::json -> 'first_seen', 'last_seen', p::text::json -> 'last_seen', 'name', last_known(p, 'name'),
        'first_geo_city', first_known(p, 'geo.city'), 'last_geo_city', last_known(p, 'geo.city'),
        'first_geo_country', first_known(p, 'geo.country'), 'last_geo_country', last_known(p, 'geo.country'),
        'first_plan', first_known(p, 'plan'), 'last_plan', last_known(p, 'plan'),
        'first_session', first_known(p, 'session'), 'last_session', last_known(p, 'session'))));
-- explicit only
SELECT error_of('INSERT INTO test_type.good SELECT jsonb_typeof(p) FROM test_type.sample') ~ '^42883' AS not_implicit;

--
-- Union
--

-- of the parts of a fold: the fold of all
WITH part AS (
    SELECT subject, extract(epoch FROM ts)::bigint % 3 AS part, profile_agg(ts, 'session', session, 'name', name, 'geo.city', city, 'geo.country', country, 'plan', plan) AS p
    FROM event GROUP BY subject, part)
SELECT count(*) AS wrong
FROM (SELECT subject, max(p::text) FILTER (WHERE part = 0) AS a, max(p::text) FILTER (WHERE part = 1) AS b, max(p::text) FILTER (WHERE part = 2) AS c FROM part GROUP BY subject) x
JOIN sample s ON s.id = 'fold ' || subject
WHERE a IS NOT NULL AND b IS NOT NULL AND c IS NOT NULL
  AND (a::profile || b::profile || c::profile <> s.p OR c::profile || (a::profile || b::profile) <> s.p OR profile_union(b::profile, a::profile) || c::profile <> s.p);

-- a union may lose a member that both sides had, with the evidence that knew it
\pset format unaligned
SELECT '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-02T00:00:00.000000Z", "groups": {"geo": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"geo.city": "A"}}, "last": {"at": "2026-01-02T00:00:00.000000Z", "values": {"geo.region": "B"}}}}}'::profile
    || '{"first_seen": "2026-01-01T00:00:00.000000Z", "last_seen": "2026-01-03T00:00:00.000000Z", "groups": {"geo": {"first": {"at": "2026-01-01T00:00:00.000000Z", "values": {"geo.city": "Z", "geo.country": "C"}}, "last": {"at": "2026-01-03T00:00:00.000000Z", "values": {"geo.zip": "D"}}}}}' AS union;
\pset format aligned

-- each rule of the tie, at both ends: the first differs from the last only in what it prefers of bytes
CREATE FUNCTION one(session text, city text, country text) RETURNS profile LANGUAGE sql AS
$$ SELECT profile_agg('2026-01-01 00:00:00Z', 'session', session, 'geo.city', city, 'geo.country', country) $$;
CREATE TABLE tie (rule text, smaller profile, greater profile, first_wins text, last_wins text);
INSERT INTO tie
SELECT rule, one(s1, a1, b1), one(s2, a2, b2), f, l
FROM (VALUES
    ('more values win over smaller bytes', NULL, 'z', 'z', NULL, 'a', NULL, '- z z', '- z z'),
    ('more values win over greater bytes', NULL, 'a', 'a', NULL, 'z', NULL, '- a a', '- a a'),
    ('first member decides', NULL, 'a', 'z', NULL, 'b', 'a', '- a z', '- b a'),
    ('then the second', NULL, 'a', 'a', NULL, 'a', 'z', '- a a', '- a z'),
    ('NULL is smaller', NULL, NULL, 'z', NULL, 'a', NULL, '- - z', '- a -'),
    ('a prefix is smaller', NULL, 'a', 'x', NULL, 'aa', 'x', '- a x', '- aa x'),
    ('empty is smaller', NULL, '', 'x', NULL, 'a', 'x', '-  x', '- a x'),
    ('bytes, not letters', NULL, 'B', 'x', NULL, 'a', 'x', '- B x', '- a x'),
    ('bytes of UTF8', NULL, 'z', 'x', NULL, chr(233), 'x', '- z x', '- ' || chr(233) || ' x'),
    ('a session wins over none', NULL, 'a', 'x', 's', 'a', 'x', 's a x', 's a x'),
    ('values come before sessions', NULL, 'a', 'x', 's', 'b', 'x', '- a x', 's b x'),
    ('then the session', 's1', 'a', 'x', 's2', 'a', 'x', 's1 a x', 's2 a x'))
    v(rule, s1, a1, b1, s2, a2, b2, f, l);
SELECT rule,
       (SELECT concat_ws(' ', coalesce(f.e ->> 'session', '-'), coalesce(f.e -> 'values' ->> 'geo.city', '-'), coalesce(f.e -> 'values' ->> 'geo.country', '-'))
        FROM (SELECT (smaller || greater)::text::json #> '{groups,geo,first}' AS e) f) IS NOT DISTINCT FROM first_wins AS first_right,
       (SELECT concat_ws(' ', coalesce(f.e ->> 'session', '-'), coalesce(f.e -> 'values' ->> 'geo.city', '-'), coalesce(f.e -> 'values' ->> 'geo.country', '-'))
        FROM (SELECT (smaller || greater)::text::json #> '{groups,geo,last}' AS e) f) IS NOT DISTINCT FROM last_wins AS last_right,
       smaller || greater = greater || smaller AS commutes
FROM tie ORDER BY rule COLLATE "C";

--
-- Order
--

-- by first_seen, then by the bytes: the operators agree with each other and with equality of content
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.p = b.p) <> (a.p::text = b.p::text)) AS eq, count(*) FILTER (WHERE (a.p <> b.p) = (a.p = b.p)) AS ne,
       count(*) FILTER (WHERE (a.p < b.p) <> (b.p > a.p)) AS lt_gt, count(*) FILTER (WHERE (a.p <= b.p) <> (a.p < b.p OR a.p = b.p)) AS le,
       count(*) FILTER (WHERE (a.p >= b.p) <> NOT (a.p < b.p)) AS ge, count(*) FILTER (WHERE sign(profile_cmp(a.p, b.p)) <> CASE WHEN a.p < b.p THEN -1 WHEN a.p = b.p THEN 0 ELSE 1 END) AS cmp,
       count(*) FILTER (WHERE first_seen(a.p) < first_seen(b.p) AND NOT a.p < b.p) AS by_first_seen,
       count(*) FILTER (WHERE a.p = b.p AND (profile_hash(a.p) <> profile_hash(b.p) OR profile_hash_extended(a.p, 7) <> profile_hash_extended(b.p, 7))) AS hash,
       count(*) FILTER (WHERE a.p <> b.p AND profile_hash(a.p) = profile_hash(b.p)) AS hash_collisions,
       count(*) FILTER (WHERE profile_hash_extended(a.p, 0) & 4294967295 <> profile_hash(a.p)::bigint & 4294967295) AS seed_0
FROM sample a, sample b;
SELECT count(DISTINCT profile_hash_extended(p, n)) FROM sample, generate_series(1, 5) n WHERE id = 'empty';
SELECT id FROM sample WHERE id !~ '^fold' ORDER BY p LIMIT 5;

-- twice the samples, under two ids
CREATE TABLE twice AS SELECT id, p FROM sample UNION ALL SELECT id || ' again', p::text::profile FROM sample;
SELECT count(*), count(DISTINCT p), (SELECT count(*) FROM (SELECT DISTINCT p FROM twice) d) AS "distinct",
       (SELECT count(*) FROM (SELECT p FROM sample UNION SELECT p FROM twice) u) AS "union",
       (SELECT count(*) FROM (SELECT p FROM twice EXCEPT SELECT p FROM sample) u) AS "except",
       (SELECT count(*) FROM (SELECT p, count(*) AS n FROM twice GROUP BY p) g WHERE n = 2) AS "groups",
       (SELECT count(DISTINCT p::text) FROM twice) AS texts
FROM twice;
SET enable_hashagg = off;
SELECT plan_has('SELECT p FROM twice GROUP BY p', 'Sort') AS sorts, (SELECT count(*) FROM (SELECT p FROM twice GROUP BY p) g) AS groups;
RESET enable_hashagg;
SET enable_sort = off;
SELECT plan_has('SELECT p FROM twice GROUP BY p', 'Sort') AS sorts, (SELECT count(*) FROM (SELECT p FROM twice GROUP BY p) g) AS groups;
RESET enable_sort;

-- joins
CREATE TABLE joined (way text, a text, b text);
INSERT INTO joined SELECT 'loop', a.id, b.id FROM twice a, twice b WHERE a.p::text = b.p::text;
SET enable_nestloop = off;
SET enable_mergejoin = off;
SELECT plan_has('SELECT a.id, b.id FROM twice a JOIN twice b USING (p)', 'Hash Join') AS hash_join;
INSERT INTO joined SELECT 'hash', a.id, b.id FROM twice a JOIN twice b USING (p);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT plan_has('SELECT a.id, b.id FROM twice a JOIN twice b USING (p)', 'Merge Join') AS merge_join;
INSERT INTO joined SELECT 'merge', a.id, b.id FROM twice a JOIN twice b USING (p);
RESET ALL;
SET search_path = test_type, profiles, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SELECT way, count(*) FROM joined GROUP BY way ORDER BY way;
SELECT count(*) AS different FROM (SELECT a, b FROM joined GROUP BY a, b HAVING count(*) <> 3) d;

-- indexes
CREATE INDEX twice_btree ON twice (p);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SELECT plan_has('SELECT id FROM twice WHERE p = (SELECT p FROM sample WHERE id = ''uuid'')', 'Index Scan') AS index_scan;
SELECT id FROM twice WHERE p = (SELECT p FROM sample WHERE id = 'uuid') ORDER BY id COLLATE "C";
SELECT count(*) AS below FROM twice WHERE p < (SELECT p FROM sample WHERE id = 'uuid');
SELECT plan_has('SELECT p FROM twice ORDER BY p', 'Sort') AS sorts;
CREATE TABLE by_index AS SELECT row_number() OVER () AS n, p FROM (SELECT p FROM twice ORDER BY p) o;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_seqscan = on;
SET enable_sort = on;
SELECT count(*) AS below FROM twice WHERE p < (SELECT p FROM sample WHERE id = 'uuid');
SELECT count(*) AS different FROM by_index i JOIN (SELECT row_number() OVER (ORDER BY p) AS n, p FROM twice) s USING (n) WHERE i.p <> s.p;
DROP INDEX twice_btree;
CREATE INDEX twice_hash ON twice USING hash (p);
SET enable_seqscan = off;
SET enable_indexscan = on;
SELECT plan_has('SELECT id FROM twice WHERE p = (SELECT p FROM sample WHERE id = ''uuid'')', 'Index Scan') AS index_scan;
SELECT id FROM twice WHERE p = (SELECT p FROM sample WHERE id = 'uuid') ORDER BY id COLLATE "C";
RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort; RESET enable_indexscan; RESET enable_indexonlyscan;
CREATE UNIQUE INDEX ON sample (p);
INSERT INTO sample SELECT 'copy', p::text::profile FROM sample WHERE id = 'oldest';
-- partitions by hash use the extended hash
CREATE TABLE parted (id text, p profile) PARTITION BY HASH (p);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT * FROM twice;
SELECT (SELECT count(*) > 0 FROM parted_0) AND (SELECT count(*) > 0 FROM parted_1) AS both_used,
       (SELECT count(*) FROM parted a JOIN parted b USING (p)) AS joined, (SELECT count(*) FROM parted_0 JOIN parted_1 USING (p)) AS across;

--
-- Storage
--

-- 1 MB out of line, as it is and compressed; the same answers as from a small value, and one detoasting for all
CREATE TABLE big (id text, p profile);
CREATE TABLE big_raw (LIKE big);
ALTER TABLE big_raw ALTER p SET STORAGE external;
CREATE FUNCTION filler(id text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT CASE id WHEN 'c' THEN repeat('abc', 500000)
               ELSE (SELECT string_agg(md5(id || i), '') FROM generate_series(1, 32768) i) END $$;
CREATE VIEW big_fold AS
SELECT id, profile_agg(ts, 'session', 's1', 'name', id || ' name', 'geo.city', id || ' city', 'geo.country', id || ' country', 'geo.region', id || ' region', 'os.name', id || ' os',
       'os.version', '1', 'browser.name', id || ' browser', 'browser.version', '2', 'plan', id || ' plan', 'locale', 'fr', 'env', id || ' env', 'notes', filler(id)) AS p
FROM unnest(ARRAY['a', 'b', 'c']) id, (VALUES ('2026-01-01 00:00:00Z'::timestamptz), ('2026-01-02 00:00:00Z')) w(ts)
GROUP BY id;
INSERT INTO big TABLE big_fold;
INSERT INTO big_raw TABLE big_fold;
SELECT id, octet_length(last_known(b.p, 'notes')) AS bytes, pg_column_size(r.p) > 1000000 AS raw_large, pg_column_compression(r.p) IS NULL AS raw,
       b.p = r.p AS same, last_known(b.p, 'notes') = last_known(r.p, 'notes') AS same_value
FROM big b JOIN big_raw r USING (id) ORDER BY id;
SELECT pg_column_compression(p) IS NOT NULL AS compressed, pg_column_size(p) BETWEEN 3000 AND 100000 AS out_of_line FROM big WHERE id = 'c';

CREATE VIEW wide AS
SELECT way, id, concat_ws('|', first_seen(p), last_seen(p), first_attribute(p, 'session'), last_attribute(p, 'session'), first_known(p, 'name'), last_known(p, 'name'),
    first_attribute(p, 'geo.city'), last_attribute(p, 'geo.city'), first_attribute(p, 'geo.country'), last_attribute(p, 'geo.country'), first_attribute(p, 'geo.region'), last_attribute(p, 'geo.region'),
    first_attribute(p, 'os.name'), last_attribute(p, 'os.name'), first_attribute(p, 'os.version'), last_attribute(p, 'os.version'), first_attribute(p, 'browser.name'), last_attribute(p, 'browser.name'),
    first_attribute(p, 'browser.version'), last_attribute(p, 'browser.version'), first_known(p, 'plan'), last_known(p, 'plan'), first_known(p, 'locale'), last_known(p, 'locale'),
    first_known(p, 'env'), last_known(p, 'env'), octet_length(first_known(p, 'notes')), md5(last_known(p, 'notes')), first_known_at(p, 'plan'), last_known_at(p, 'plan')) AS text
FROM (SELECT 'raw' AS way, id, p FROM big_raw UNION ALL SELECT 'compressed', id, p FROM big) b;
\pset format unaligned
SELECT way, regexp_replace(text, '[|][0-9a-f]{32}[|]', '|md5|') AS text, text LIKE '%|' || md5(filler(id)) || '|%' AS md5_right
FROM wide ORDER BY way, id;
\pset format aligned

-- each value is fetched once, though thirty accessors ask
CREATE FUNCTION fetches() RETURNS bigint LANGUAGE sql VOLATILE AS $$
SELECT sum(pg_stat_get_xact_numscans(i.indexrelid))::bigint FROM pg_class c JOIN pg_index i ON i.indrelid = c.reltoastrelid WHERE c.oid = 'test_type.big_raw'::regclass $$;
BEGIN;
SELECT fetches() AS before \gset
SELECT count(*) FROM (SELECT text FROM wide WHERE way = 'raw' OFFSET 0) w WHERE text <> '';
SELECT fetches() - :before AS fetches;
ROLLBACK;

-- a value replaced in the same transaction, and back again
BEGIN;
SELECT last_known(p, 'plan') FROM big_raw WHERE id = 'a';
SAVEPOINT s;
UPDATE big_raw SET p = p || profile_agg_one FROM (SELECT profile_agg('2026-01-03 00:00:00Z', 'plan', 'later') AS profile_agg_one) x WHERE id = 'a';
SELECT last_known(p, 'plan'), first_known(p, 'plan'), octet_length(last_known(p, 'notes')) FROM big_raw WHERE id = 'a';
ROLLBACK TO s;
SELECT last_known(p, 'plan') FROM big_raw WHERE id = 'a';
UPDATE big_raw SET p = NULL WHERE id = 'a';
SELECT last_known(p, 'plan') FROM big_raw WHERE id = 'a';
ROLLBACK;
SELECT last_known(p, 'plan') FROM big_raw WHERE id = 'a';
-- two large values in turn
SELECT a.id, b.id, last_known(a.p, 'plan'), last_known(b.p, 'plan'), first_known(a.p, 'env'), first_known(b.p, 'env') FROM big_raw a, big_raw b WHERE a.id < b.id ORDER BY a.id, b.id;
-- a value in one row, beside one that fails
SELECT last_known(p, 'plan'), first_known(p, CASE WHEN id = 'b' THEN 'No' ELSE 'env' END) FROM big_raw ORDER BY id;
SELECT last_known(p, 'plan') FROM big_raw ORDER BY id;

-- generated columns, as the stored profiles have them
CREATE TABLE stored (key text PRIMARY KEY, p profile NOT NULL,
    last_seen timestamptz GENERATED ALWAYS AS (last_seen(p)) STORED,
    country text GENERATED ALWAYS AS (last_attribute(p, 'geo.country')) STORED,
    first_city text GENERATED ALWAYS AS (first_attribute(p, 'geo.city')) STORED,
    name text GENERATED ALWAYS AS (last_known(p, 'name')) STORED,
    CHECK (first_seen(p) <= last_seen(p)));
INSERT INTO stored SELECT id, p FROM sample;
INSERT INTO stored SELECT 'big ' || id, p FROM big_raw;
CREATE INDEX ON stored (country, last_seen);
SELECT count(*) FROM stored;
UPDATE stored s SET p = s.p || (SELECT profile_agg('2030-01-01 00:00:00Z', 'name', 'Zoë', 'geo.country', 'NZ', 'session', 'last')) WHERE key ~ '1';
SELECT count(*) AS rows, count(*) FILTER (WHERE country = 'NZ') AS updated,
       count(*) FILTER (WHERE (last_seen, country, first_city, name) IS DISTINCT FROM (last_seen(p), last_attribute(p, 'geo.country'), first_attribute(p, 'geo.city'), last_known(p, 'name'))) AS wrong
FROM stored;

-- size: 13 attributes of users of a web application, stored in a table, to the same content as jsonb
CREATE TABLE realistic (usr integer, p profile, text_form jsonb, flat jsonb);
INSERT INTO realistic (usr, p)
SELECT usr, profile_agg(ts, 'session', session, 'name', 'User Number' || usr, 'email', 'user.number' || usr || '@example.com', 'application', application,
    'geo.country', country, 'geo.region', region, 'geo.city', city, 'device.type', device, 'os.name', os, 'os.version', os_version, 'browser.name', browser, 'browser.version', browser_version,
    'utm.source', CASE WHEN n = 1 THEN utm END)
FROM (SELECT u AS usr, n,
        '2026-01-01 00:00:00Z'::timestamptz + (u * 7919 % 86400 + n * (u % 37) * 3600) * interval '1.000123 seconds' AS ts,
        md5(u || ' ' || n / 4)::uuid AS session,
        (ARRAY['shop', 'admin', 'blog'])[1 + u % 3] AS application,
        (ARRAY['FR', 'DE', 'US', 'JP', 'BR'])[1 + (u + n / 8) % 5] AS country,
        (ARRAY['Ile-de-France', 'Bavaria', 'California', 'Tokyo', 'Sao Paulo'])[1 + (u + n / 8) % 5] AS region,
        (ARRAY['Paris', 'Munich', 'San Francisco', 'Tokyo', 'Sao Paulo'])[1 + (u + n / 8) % 5] AS city,
        (ARRAY['Desktop', 'Mobile', 'Tablet'])[1 + (u + n / 6) % 3] AS device,
        (ARRAY['Mac OS X', 'Windows', 'Android', 'iOS'])[1 + (u + n / 6) % 4] AS os,
        (ARRAY['10.15.7', '10', '14', '17.4.1'])[1 + (u + n / 6) % 4] AS os_version,
        (ARRAY['Chrome', 'Safari', 'Firefox'])[1 + (u + n / 5) % 3] AS browser,
        (ARRAY['124.0.0', '17.4', '125.0'])[1 + (u + n / 5) % 3] AS browser_version,
        (ARRAY['google', 'newsletter', 'twitter', NULL])[1 + u % 4] AS utm
      FROM generate_series(1, 500) u, generate_series(1, 20) n WHERE n <= 1 + u % 20) e
GROUP BY usr;
UPDATE realistic SET text_form = p::text::jsonb, flat = p::jsonb;
SELECT count(*) AS profiles, avg(pg_column_size(p)) <= 0.4 * avg(pg_column_size(text_form)) AS at_most_40_percent_of_text_form,
       avg(pg_column_size(p)) <= 0.4 * avg(pg_column_size(flat)) AS at_most_40_percent_of_flat
FROM realistic;

\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA test_type CASCADE;
