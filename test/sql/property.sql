/*
 * property.sql
 *		One fold, whatever the way: profiles against an oracle in plain SQL.
 *
 * A profile is a join-semilattice.  This test makes some ten thousand subjects
 * by arithmetic, most of them full of equal times, NULLs and replays, derives
 * what DESIGN promises about each by ORDER BY and window functions alone, and
 * holds the accessors against that, both ways.  Then it folds the same events
 * in every way the extension offers and asks for the same bytes.
 *
 * Counts of differences must be 0.  Everything else is printed as true or
 * false, so that the output is the same on every machine and version.
 */
SET client_min_messages TO warning;
SET search_path TO profiles, public;
SET TimeZone TO 'UTC';
CREATE SCHEMA property;

/*
 * ---------------------------------------------------------------------------
 * The events
 *
 * Every choice is a byte of a SHA-256 digest of the subject's or of the
 * event's number.  Words are picked by a subscript that may fall outside the
 * array, which gives NULL; an event without a digest therefore says nothing
 * at all.  Few words and few times make many ties.
 * ---------------------------------------------------------------------------
 */
CREATE TABLE property.events AS
WITH words AS (
    SELECT ARRAY['s1', 's10', 's9', 'S9', 'é', '', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a b'] AS sessions,
           ARRAY['Ada', 'ada', 'Zoë', 'Émile', 'emile', '李雷', 'O''Brien "Bob"', ''] AS names,
           ARRAY['ada@example.org', 'Ada@example.org', 'ada@example.org ', 'zoë@exämple.org', ''] AS emails,
           ARRAY['shop', 'Shop', 'admin', '', 'a\b{c},d', E'tab\there'] AS applications,
           ARRAY['FR', 'US', 'DE', 'fr'] AS countries,
           ARRAY['Île-de-France', 'Ohio', 'ohio', ''] AS regions,
           ARRAY['Paris', 'paris', 'Zürich', 'Åre', '東京', 'Ａ', '😀'] AS cities,
           ARRAY['Desktop', 'Mobile', 'mobile'] AS devices,
           ARRAY['Windows', 'iOS', 'macOS', 'Android'] AS oses,
           ARRAY['10', '9', '10.0', '', '11'] AS os_versions,
           ARRAY['Chrome', 'Safari', 'Firefox'] AS browsers,
           ARRAY['120', '99', '120.0.1', '9'] AS browser_versions,
           ARRAY['newsletter', 'Newsletter', 'ad', 'null', 'NULL', '\N'] AS utm_sources,
           ARRAY['spring', 'Spring', 'spring sale', E'two\r\nlines', '\.', E'\u2028\u00a0', ' '] AS utm_campaigns,
           ARRAY['free', 'pro', 'Pro', '{"a": [1, null]}', 'back\slash "quoted"', E'\x01\x1f\x7f', '0', 'true'] AS plans,
           /* ends of the type, both sides of its zero, of the year 1 and of the year 10000 */
           ARRAY['4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00',
                 '1999-12-31 23:59:59.999999+00', '2000-01-01 00:00:00+00', '1970-01-01 00:00:00+00',
                 '9999-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00']::timestamptz[] AS times
), subjects AS MATERIALIZED (
    SELECT subject, sha256(convert_to('subject ' || subject, 'UTF8')) AS s
    FROM generate_series(1, 10007) AS subject
), drawn AS MATERIALIZED (
    SELECT subject, n, s, sha256(convert_to('event ' || subject || '/' || n, 'UTF8')) AS e
    FROM subjects, generate_series(1, 1 + get_byte(s, 0) % 12) AS n
), speaking AS MATERIALIZED (
    SELECT *,
           CASE WHEN get_byte(s, 1) >= 2 AND get_byte(e, 0) >= 24 THEN e END AS v,
           timestamptz '2024-01-01 00:00:00+00' + get_byte(s, 4) % 10 * interval '24 hours' AS day
    FROM drawn
), made AS (
    SELECT subject, n,
           CASE
               WHEN get_byte(s, 2) = 0 OR get_byte(e, 1) < 8 THEN NULL
               WHEN get_byte(s, 3) % 16 = 0 THEN day
               WHEN get_byte(s, 3) % 16 <= 8 THEN day + get_byte(e, 2) % 3 * interval '1 hour'
               WHEN get_byte(s, 3) % 16 <= 11 THEN day + get_byte(e, 2) * interval '1 minute'
               WHEN get_byte(s, 3) % 16 = 12 THEN day + get_byte(e, 2) % 4 * interval '1 microsecond'
               WHEN get_byte(s, 3) % 16 = 13
                   THEN timestamptz '0001-12-31 23:59:59.999999+00 BC' + get_byte(e, 2) % 3 * interval '1 microsecond'
               WHEN get_byte(s, 3) % 16 = 14
                   THEN timestamptz '0044-03-15 12:00:00+00 BC' + get_byte(e, 2) % 5 * interval '99999 hours'
               ELSE times[1 + get_byte(e, 2) % 7]
           END AS seen_at,
           /* one subject in eight has no session, the others two to thirteen, NULL among them */
           CASE WHEN get_byte(s, 5) % 8 > 0 THEN sessions[get_byte(e, 3) % (2 + get_byte(s, 6) % 12)] END AS session,
           names[get_byte(v, 4) % 11] AS name,
           /* some long values that don't compress */
           CASE WHEN get_byte(v, 20) = 0
                THEN (SELECT string_agg(md5(subject || '/' || i), '') FROM generate_series(1, 100) AS i)
                ELSE emails[get_byte(v, 5) % 8] END AS email,
           applications[get_byte(v, 6) % 8] AS application,
           countries[get_byte(v, 7) % 6] AS geo_country,
           regions[get_byte(v, 8) % 6] AS geo_region,
           cities[get_byte(v, 9) % 10] AS geo_city,
           devices[get_byte(v, 10) % 5] AS device_type,
           oses[get_byte(v, 11) % 6] AS os_name,
           os_versions[get_byte(v, 12) % 7] AS os_version,
           browsers[get_byte(v, 13) % 4] AS browser_name,
           browser_versions[get_byte(v, 14) % 6] AS browser_version,
           utm_sources[get_byte(v, 15) % 10] AS utm_source,
           /* some long ones that differ in their last byte only, one of them missing that byte */
           CASE WHEN get_byte(v, 21) < 6
                THEN repeat('campaign ', 500) || (ARRAY['', '1', '9', 'é'])[1 + get_byte(v, 22) % 4]
                ELSE utm_campaigns[get_byte(v, 16) % 10] END AS utm_campaign,
           /* four subjects have a value longer than sixteen bits can say */
           CASE WHEN subject % 2500 = 0 THEN repeat(md5(subject::text), 2200)
                ELSE plans[get_byte(v, 17) % 11] END AS plan
    FROM speaking, words
), replayed AS (
    SELECT *, 1 AS copy FROM made
    UNION ALL
    SELECT *
    FROM made, generate_series(2, 3) AS copy
    WHERE get_byte(sha256(convert_to('replay ' || subject || '/' || n || '/' || copy, 'UTF8')), 0) < 16
)
/* A subject's events lie scattered over the table, so that parallel workers share subjects. */
SELECT row_number() OVER (ORDER BY md5(subject || '/' || n || '/' || copy) COLLATE "C", subject, n, copy) AS no, replayed.*
FROM replayed
ORDER BY 1;

ALTER TABLE property.events ADD PRIMARY KEY (no);
ANALYZE property.events;

/*
 * ---------------------------------------------------------------------------
 * The oracle
 *
 * Per subject and group the events that say anything about the group are put
 * in the order of DESIGN, section 3; the first row of each order is the
 * evidence, the second shows which step of the order decided.
 * ---------------------------------------------------------------------------
 */
/* Members of a group are numbered in the byte order of their names. */
CREATE TABLE property.attributes AS
SELECT attribute, split_part(attribute, '.', 1) AS grp,
       row_number() OVER (PARTITION BY split_part(attribute, '.', 1) ORDER BY attribute COLLATE "C")::int AS member
FROM unnest(ARRAY['session', 'name', 'email', 'application', 'geo.country', 'geo.region', 'geo.city', 'device.type',
                  'os.name', 'os.version', 'browser.name', 'browser.version', 'utm.source', 'utm.campaign', 'plan']) AS attribute;

/* Replays are one event here: a set has no copies. */
CREATE TABLE property.evidence AS
SELECT DISTINCT subject, grp, seen_at AS at, num_nonnulls(m1, m2, m3) AS known, m1, m2, m3, session
FROM property.events, LATERAL (VALUES
    ('session', session, NULL, NULL),
    ('name', name, NULL, NULL),
    ('email', email, NULL, NULL),
    ('application', application, NULL, NULL),
    ('geo', geo_city, geo_country, geo_region),
    ('device', device_type, NULL, NULL),
    ('os', os_name, os_version, NULL),
    ('browser', browser_name, browser_version, NULL),
    ('utm', utm_campaign, utm_source, NULL),
    ('plan', plan, NULL, NULL)) AS groups(grp, m1, m2, m3)
WHERE seen_at IS NOT NULL AND num_nonnulls(m1, m2, m3) > 0;

CREATE TABLE property.first_evidence AS
SELECT * FROM (
    SELECT e.*, row_number() OVER preference AS place, lead(e) OVER preference AS next
    FROM property.evidence AS e
    WINDOW preference AS (PARTITION BY subject, grp
                          ORDER BY at, known DESC,
                                   m1 COLLATE "C" NULLS FIRST, m2 COLLATE "C" NULLS FIRST, m3 COLLATE "C" NULLS FIRST,
                                   session IS NULL, session COLLATE "C")) AS ordered
WHERE place = 1;

CREATE TABLE property.last_evidence AS
SELECT * FROM (
    SELECT e.*, row_number() OVER preference AS place, lead(e) OVER preference AS next
    FROM property.evidence AS e
    WINDOW preference AS (PARTITION BY subject, grp
                          ORDER BY at DESC, known DESC,
                                   m1 COLLATE "C" DESC NULLS LAST, m2 COLLATE "C" DESC NULLS LAST, m3 COLLATE "C" DESC NULLS LAST,
                                   session IS NULL, session COLLATE "C" DESC)) AS ordered
WHERE place = 1;

/*
 * What a profile says of an attribute that it knows at either end.  The time
 * and the session are the group's evidence, even where this very attribute is
 * NULL in it.  first_attribute and last_attribute bow to the first and the
 * last session; evidence without a session contradicts none.
 */
CREATE TABLE property.oracle AS
SELECT subject, attribute,
       first_value, f.at AS first_at, f.session AS first_session,
       last_value, l.at AS last_at, l.session AS last_session,
       CASE WHEN f.session IS NULL OR f.session = fs.session THEN first_value END AS first_attribute,
       CASE WHEN l.session IS NULL OR l.session = ls.session THEN last_value END AS last_attribute
FROM property.first_evidence AS f
JOIN property.last_evidence AS l USING (subject, grp)
JOIN property.attributes AS a USING (grp)
LEFT JOIN (SELECT subject, session FROM property.first_evidence WHERE grp = 'session') AS fs USING (subject)
LEFT JOIN (SELECT subject, session FROM property.last_evidence WHERE grp = 'session') AS ls USING (subject)
CROSS JOIN LATERAL (VALUES ((ARRAY[f.m1, f.m2, f.m3])[member], (ARRAY[l.m1, l.m2, l.m3])[member])) AS v(first_value, last_value)
WHERE num_nonnulls(first_value, last_value) > 0;

ANALYZE property.evidence, property.first_evidence, property.last_evidence, property.oracle;

/*
 * ---------------------------------------------------------------------------
 * The events hold the hard cases
 * ---------------------------------------------------------------------------
 */
SELECT count(DISTINCT subject) >= 10000 AS ten_thousand_subjects,
       min(events) = 1 AND max(events) >= 12 AS one_to_twelve_events,
       bool_or(undated = events) AS subjects_without_time,
       bool_or(undated BETWEEN 1 AND events - 1) AS some_times_null,
       bool_or(silent = events) AS subjects_that_say_nothing,
       bool_or(silent BETWEEN 1 AND events - 1) AS some_events_say_nothing,
       bool_or(replays > 0) AS replays,
       count(*) FILTER (WHERE pages > 1) > 9 * count(*) FILTER (WHERE pages = 1 AND events > 1) AS scattered
FROM (
    SELECT subject, count(*) AS events,
           count(*) - count(seen_at) AS undated,
           count(*) FILTER (WHERE num_nonnulls(session, name, email, application, geo_country, geo_region, geo_city, device_type, os_name,
                                               os_version, browser_name, browser_version, utm_source, utm_campaign, plan) = 0) AS silent,
           count(*) - count(DISTINCT n) AS replays,
           count(DISTINCT (ctid::text::point)[0]) AS pages
    FROM property.events GROUP BY subject) AS s;

SELECT bool_or(first_ties > 1) AS first_time_tied, bool_or(last_ties > 1) AS last_time_tied,
       bool_or(sessions = 0) AS no_session, bool_or(sessions > 2) AS several_sessions,
       bool_or(sessions > 0 AND sessionless > 0) AS events_without_session,
       bool_or(first_seen < '0001-01-01' AND last_seen > '0001-01-01') AS over_year_one,
       bool_or(first_seen = '4714-11-24 BC' AND last_seen = '294276-12-31 23:59:59.999999') AS whole_range
FROM (
    SELECT subject, min(seen_at) AS first_seen, max(seen_at) AS last_seen,
           count(DISTINCT n) FILTER (WHERE seen_at = earliest) AS first_ties,
           count(DISTINCT n) FILTER (WHERE seen_at = latest) AS last_ties,
           count(DISTINCT session) AS sessions,
           count(*) FILTER (WHERE session IS NULL) AS sessionless
    FROM (SELECT *, min(seen_at) OVER s AS earliest, max(seen_at) OVER s AS latest
          FROM property.events WINDOW s AS (PARTITION BY subject)) AS e
    GROUP BY subject) AS s;

/* each step of the tie order decides somewhere, at both ends */
WITH decided AS (
    SELECT side, CASE WHEN (next).at IS NULL THEN 'no rival'
                      WHEN at <> (next).at THEN 'time'
                      WHEN known <> (next).known THEN 'known members'
                      WHEN m1 IS DISTINCT FROM (next).m1 THEN 'first member'
                      WHEN m2 IS DISTINCT FROM (next).m2 THEN 'second member'
                      WHEN m3 IS DISTINCT FROM (next).m3 THEN 'third member'
                      WHEN num_nonnulls(session, (next).session) = 1 THEN 'session or none'
                      WHEN session <> (next).session THEN 'session id' END AS step,
           CASE WHEN known = (next).known THEN
                CASE WHEN m1 IS DISTINCT FROM (next).m1 THEN num_nonnulls(m1, (next).m1) = 1
                     WHEN m2 IS DISTINCT FROM (next).m2 THEN num_nonnulls(m2, (next).m2) = 1
                     ELSE num_nonnulls(m3, (next).m3) = 1 END END AND at = (next).at AS by_null
    FROM (SELECT 'first' AS side, * FROM property.first_evidence
          UNION ALL
          SELECT 'last', * FROM property.last_evidence) AS both_sides
)
SELECT step, count(*) FILTER (WHERE side = 'first') > 50 AS first, count(*) FILTER (WHERE side = 'last') > 50 AS last
FROM (SELECT side, step FROM decided
      UNION ALL
      SELECT side, 'NULL against value' FROM decided WHERE by_null) AS d
GROUP BY step ORDER BY step COLLATE "C";

/* ties between values for which bytes, letters and lengths do not agree */
SELECT bool_or(lower(f.m1) COLLATE "C" > lower((next).m1) COLLATE "C") AS upper_case_first,
       bool_or(octet_length((next).m1) > length((next).m1) AND octet_length(m1) = length(m1)) AS ascii_before_others,
       bool_or(m1 = 'Ａ' AND (next).m1 = '😀') AS utf8_not_utf16,
       bool_or(length(m1) > length((next).m1)) AS longer_before_shorter,
       bool_or((next).m1 COLLATE "C" LIKE m1 || '_%') AS prefixes,
       bool_or(m1 = '') AS empty_strings,
       bool_or(length(m1) > 4000 AND left((next).m1, 4000) = left(m1, 4000)) AS long_prefixes
FROM property.first_evidence AS f
WHERE at = (next).at AND known = (next).known AND m1 <> (next).m1;

SELECT bool_or(first_value IS NULL) AS unknown_at_first, bool_or(last_value IS NULL) AS unknown_at_last,
       bool_or(first_attribute IS NULL AND first_value IS NOT NULL) AS not_in_first_session,
       bool_or(last_attribute IS NULL AND last_value IS NOT NULL) AS not_in_last_session,
       bool_or(first_session IS NULL AND subject IN (SELECT subject FROM property.oracle WHERE attribute = 'session')) AS without_session,
       bool_or(octet_length(first_value) > 65535) AS longer_than_16_bits,
       bool_or(octet_length(first_value) BETWEEN 3000 AND 5000) AS kilobytes
FROM property.oracle;

SELECT grp, bool_or(known < members) AS partly_null
FROM property.first_evidence JOIN (SELECT grp, count(*) AS members FROM property.attributes GROUP BY grp) AS g USING (grp)
WHERE members > 1
GROUP BY grp ORDER BY grp COLLATE "C";

/*
 * ---------------------------------------------------------------------------
 * The accessors against the oracle
 * ---------------------------------------------------------------------------
 */
/* the pairs of most folds below */
\set pairs '''session'', session, ''name'', name, ''email'', email, ''application'', application, '
\set pairs :pairs '''geo.country'', geo_country, ''geo.region'', geo_region, ''geo.city'', geo_city, ''device.type'', device_type, '
\set pairs :pairs '''os.name'', os_name, ''os.version'', os_version, ''browser.name'', browser_name, ''browser.version'', browser_version, '
\set pairs :pairs '''utm.source'', utm_source, ''utm.campaign'', utm_campaign, ''plan'', plan'

/* The fold that all others are held against: in order of time. */
CREATE TABLE property.folded AS
SELECT subject, profile_agg(seen_at, :pairs ORDER BY seen_at, no) AS p FROM property.events GROUP BY subject;

ALTER TABLE property.folded ADD PRIMARY KEY (subject);
ANALYZE property.folded;

SELECT count(*) = (SELECT count(DISTINCT subject) FROM property.events) AS every_subject,
       count(p) = (SELECT count(DISTINCT subject) FROM property.events WHERE seen_at IS NOT NULL) AS profile_if_dated
FROM property.folded;

CREATE VIEW property.oracle_seen AS
SELECT subject, min(seen_at) AS first_seen, max(seen_at) AS last_seen FROM property.events GROUP BY subject;

CREATE VIEW property.seen AS
SELECT subject, first_seen(p) AS first_seen, last_seen(p) AS last_seen FROM property.folded;

SELECT (SELECT count(*) FROM (TABLE property.oracle_seen EXCEPT ALL TABLE property.seen) AS d) AS seen_missing,
       (SELECT count(*) FROM (TABLE property.seen EXCEPT ALL TABLE property.oracle_seen) AS d) AS seen_surplus;

CREATE TABLE property.listed AS
SELECT subject, a.attribute, a.first_value, a.first_at, a.first_session, a.last_value, a.last_at, a.last_session
FROM property.folded, profile_attributes(p) AS a;

CREATE VIEW property.oracle_listed AS
SELECT subject, attribute, first_value, first_at, first_session, last_value, last_at, last_session FROM property.oracle;

SELECT (SELECT count(*) FROM (TABLE property.oracle_listed EXCEPT ALL TABLE property.listed) AS d) AS listed_missing,
       (SELECT count(*) FROM (TABLE property.listed EXCEPT ALL TABLE property.oracle_listed) AS d) AS listed_surplus;

/* the accessors, also of attributes that the subject or nobody has */
CREATE VIEW property.asked AS
SELECT attribute FROM property.attributes UNION ALL VALUES ('geo'), ('geo.zip'), ('referrer');

CREATE TABLE property.answers AS
SELECT subject, attribute,
       first_known(p, attribute), last_known(p, attribute),
       first_attribute(p, attribute), last_attribute(p, attribute),
       first_known_at(p, attribute), last_known_at(p, attribute)
FROM property.folded, property.asked;

/* A time without its value would be no evidence. */
CREATE VIEW property.oracle_answers AS
SELECT subject, attribute,
       first_value, last_value,
       first_attribute, last_attribute,
       CASE WHEN first_value IS NOT NULL THEN first_at END AS first_at,
       CASE WHEN last_value IS NOT NULL THEN last_at END AS last_at
FROM (SELECT DISTINCT subject FROM property.events) AS s CROSS JOIN property.asked
LEFT JOIN property.oracle USING (subject, attribute);

SELECT (SELECT count(*) FROM (TABLE property.oracle_answers EXCEPT ALL TABLE property.answers) AS d) AS answers_missing,
       (SELECT count(*) FROM (TABLE property.answers EXCEPT ALL TABLE property.oracle_answers) AS d) AS answers_surplus;

/*
 * Nobody sees Paris in the United States: what a profile shows of a group at
 * one end, NULLs, time and session included, is one event.
 */
CREATE TABLE property.shown AS
SELECT subject, grp, at,
       max(value) FILTER (WHERE member = 1) AS m1,
       max(value) FILTER (WHERE member = 2) AS m2,
       max(value) FILTER (WHERE member = 3) AS m3,
       session
FROM property.listed JOIN property.attributes USING (attribute),
     LATERAL (VALUES ('first', first_value, first_at, first_session), ('last', last_value, last_at, last_session)) AS v(side, value, at, session)
GROUP BY subject, grp, side, at, session;

SELECT count(*) > 100000 AS many_shown,
       count(*) = 2 * count(DISTINCT (subject, grp)) AS one_time_and_session_per_end,
       (SELECT count(*) FROM (TABLE property.shown
                              EXCEPT
                              SELECT subject, grp, at, m1, m2, m3, session FROM property.evidence) AS d) AS mixed
FROM property.shown;

/*
 * ---------------------------------------------------------------------------
 * The same events in other orders
 *
 * Equal means byte for byte: *<> compares the images of records and asks no
 * operator of the type, so equal ones print and send the same as well.  NULL
 * equals NULL here, and a subject that is missing differs from a profile.
 * ---------------------------------------------------------------------------
 */
CREATE FUNCTION property.differ(a profile, b profile) RETURNS boolean LANGUAGE sql IMMUTABLE
AS 'SELECT ROW(a)::record *<> ROW(b)::record';

/* It can say yes: few neighbours are equal, and a profile differs from none. */
SELECT count(*) FILTER (WHERE property.differ(f.p, g.p)) > 9000 AS neighbours_differ,
       count(*) FILTER (WHERE property.differ(f.p, NULL)) = count(f.p) AS profile_or_none
FROM property.folded AS f JOIN property.folded AS g ON g.subject = f.subject + 1;

SELECT count(*) FILTER (WHERE property.differ(f.p, against_time)) AS against_time,
       count(*) FILTER (WHERE property.differ(f.p, as_stored)) AS as_stored,
       count(*) FILTER (WHERE property.differ(f.p, shuffled)) AS shuffled,
       count(*) FILTER (WHERE property.differ(f.p, reshuffled)) AS reshuffled
FROM property.folded AS f
FULL JOIN (SELECT subject,
                  profile_agg(seen_at, :pairs ORDER BY seen_at DESC, no DESC) AS against_time,
                  profile_agg(seen_at, :pairs) AS as_stored,
                  profile_agg(seen_at, :pairs ORDER BY md5(no::text) COLLATE "C", no) AS shuffled,
                  profile_agg(seen_at, :pairs ORDER BY md5('again ' || no) COLLATE "C", no) AS reshuffled
           FROM property.events GROUP BY subject) AS g USING (subject);

/* everything twice, the replay after the whole and out of order; and the set without any copy */
SELECT count(*) FILTER (WHERE property.differ(f.p, replayed)) AS replayed,
       count(*) FILTER (WHERE property.differ(f.p, once)) AS once
FROM property.folded AS f
FULL JOIN (SELECT subject,
                  profile_agg(seen_at, :pairs ORDER BY turn DESC, no * turn) AS replayed,
                  profile_agg(seen_at, :pairs) FILTER (WHERE turn = 1 AND copy = 1) AS once
           FROM property.events, (VALUES (1), (-1)) AS turns(turn) GROUP BY subject) AS g USING (subject);

/*
 * ---------------------------------------------------------------------------
 * Parts and trees
 *
 * A subject's events are dealt to one to eight parts, and the parts' profiles
 * merged by trees of different shapes.  Parts without a dated event have no
 * profile and are left out; || may then take its arguments as they are.
 * ---------------------------------------------------------------------------
 */
CREATE TABLE property.parts AS
SELECT subject, (row_number() OVER (PARTITION BY subject ORDER BY part))::int AS part, p
FROM (SELECT subject, get_byte(sha256(convert_to('part ' || no, 'UTF8')), 0) % (1 + subject % 8) AS part, profile_agg(seen_at, :pairs) AS p
      FROM property.events GROUP BY 1, 2) AS dealt
WHERE p IS NOT NULL;

ALTER TABLE property.parts ADD PRIMARY KEY (subject, part);
ANALYZE property.parts;

SELECT min(parts) = 1 AND max(parts) = 8 AS one_to_eight_parts, sum(parts) > 30000 AS many_parts
FROM (SELECT subject, count(*) AS parts FROM property.parts GROUP BY subject) AS s;

/* ((a || b) || c) || d, and a || (b || (c || d)) from the last part back */
WITH RECURSIVE left_deep AS (
    SELECT subject, part, p FROM property.parts WHERE part = 1
    UNION ALL
    SELECT subject, r.part, l.p || r.p
    FROM left_deep AS l JOIN property.parts AS r USING (subject) WHERE r.part = l.part + 1
), backward AS (
    SELECT subject, part, (count(*) OVER (PARTITION BY subject) - part + 1)::int AS back, p FROM property.parts
), right_deep AS (
    SELECT subject, back, p FROM backward WHERE back = 1
    UNION ALL
    SELECT subject, l.back, l.p || r.p
    FROM right_deep AS r JOIN backward AS l USING (subject) WHERE l.back = r.back + 1
), roots AS (
    SELECT subject, l.p AS left_p, r.p AS right_p
    FROM (SELECT DISTINCT ON (subject) subject, p FROM left_deep ORDER BY subject, part DESC) AS l
    FULL JOIN (SELECT DISTINCT ON (subject) subject, p FROM right_deep ORDER BY subject, back DESC) AS r USING (subject)
)
SELECT count(*) FILTER (WHERE property.differ(f.p, left_p)) AS left_deep,
       count(*) FILTER (WHERE property.differ(f.p, right_p)) AS right_deep
FROM property.folded AS f FULL JOIN roots USING (subject);

/* (a || b) || (c || d): three rounds make one of eight; an odd one waits */
WITH twos AS (
    SELECT subject, (part + 1) / 2 AS part, CASE WHEN q IS NULL THEN p ELSE p || q END AS p
    FROM (SELECT *, lead(p) OVER (PARTITION BY subject ORDER BY part) AS q FROM property.parts) AS pairs
    WHERE part % 2 = 1
), fours AS (
    SELECT subject, (part + 1) / 2 AS part, CASE WHEN q IS NULL THEN p ELSE p || q END AS p
    FROM (SELECT *, lead(p) OVER (PARTITION BY subject ORDER BY part) AS q FROM twos) AS pairs
    WHERE part % 2 = 1
), roots AS (
    SELECT subject, CASE WHEN q IS NULL THEN p ELSE p || q END AS p
    FROM (SELECT *, lead(p) OVER (PARTITION BY subject ORDER BY part) AS q FROM fours) AS pairs
    WHERE part % 2 = 1
)
SELECT count(*) FILTER (WHERE property.differ(f.p, r.p)) AS balanced
FROM property.folded AS f FULL JOIN roots AS r USING (subject);

SELECT count(*) FILTER (WHERE property.differ(f.p, forward)) AS forward,
       count(*) FILTER (WHERE property.differ(f.p, backward)) AS backward,
       count(*) FILTER (WHERE property.differ(f.p, shuffled)) AS shuffled,
       count(*) FILTER (WHERE property.differ(f.p, repeated)) AS repeated,
       count(*) FILTER (WHERE property.differ(f.p, set)) AS set
FROM property.folded AS f
FULL JOIN (SELECT subject,
                  profile_union_agg(p ORDER BY part) FILTER (WHERE turn = 1) AS forward,
                  profile_union_agg(p ORDER BY part DESC) FILTER (WHERE turn = 1) AS backward,
                  profile_union_agg(p ORDER BY md5(subject || '/' || part) COLLATE "C") FILTER (WHERE turn = 1) AS shuffled,
                  profile_union_agg(p ORDER BY turn DESC, part * turn) AS repeated,
                  profile_union_agg(DISTINCT p) AS set
           FROM property.parts, (VALUES (1), (-1)) AS turns(turn) GROUP BY subject) AS g USING (subject);

/* the finest parts: a profile for each event */
CREATE TABLE property.singles AS
SELECT no, subject, profile_agg(seen_at, :pairs) AS p FROM property.events GROUP BY no;

ANALYZE property.singles;

SELECT count(*) FILTER (WHERE property.differ(f.p, as_stored)) AS singles_as_stored,
       count(*) FILTER (WHERE property.differ(f.p, shuffled)) AS singles_shuffled
FROM property.folded AS f
FULL JOIN (SELECT subject, profile_union_agg(p) AS as_stored, profile_union_agg(p ORDER BY md5(no::text) COLLATE "C") AS shuffled
           FROM property.singles GROUP BY subject) AS g USING (subject);

/* parts that share events: each event goes to two of five */
SELECT count(*) FILTER (WHERE property.differ(f.p, g.p)) AS shared_events
FROM property.folded AS f
FULL JOIN (SELECT subject, profile_union_agg(p) AS p
           FROM (SELECT subject, profile_agg(seen_at, :pairs) AS p
                 FROM property.events, generate_series(1, 2) AS twice GROUP BY subject, no * twice % 5) AS dealt
           GROUP BY subject) AS g USING (subject);

/* a whole takes in its parts and its events without a trace, from either side */
SELECT count(*) FILTER (WHERE property.differ(f.p, f.p || g.p)) AS whole_and_part,
       count(*) FILTER (WHERE property.differ(f.p, g.p || f.p)) AS part_and_whole
FROM property.folded AS f
JOIN (SELECT subject, p FROM property.parts UNION ALL SELECT subject, p FROM property.singles WHERE p IS NOT NULL) AS g USING (subject);

/*
 * ---------------------------------------------------------------------------
 * The laws, over profiles of different subjects
 *
 * Subjects share days, words and sessions, so strangers tie as well.
 * ---------------------------------------------------------------------------
 */
CREATE TABLE property.ring AS
SELECT (row_number() OVER (ORDER BY subject) - 1)::int AS seat, count(*) OVER ()::int AS seats, subject, p
FROM property.folded WHERE p IS NOT NULL;

ALTER TABLE property.ring ADD PRIMARY KEY (seat);
ANALYZE property.ring;

SELECT count(*) > 9900 AS many_profiles,
       count(*) FILTER (WHERE property.differ(p, p || p)) AS not_idempotent
FROM property.ring;

SELECT count(*) > 60000 AS many_pairs,
       count(*) FILTER (WHERE first_seen(a.p) = first_seen(b.p)) > 2000 AS many_tie,
       count(*) FILTER (WHERE property.differ(a.p || b.p, b.p || a.p)) AS not_commutative,
       count(*) FILTER (WHERE property.differ(a.p || b.p, profile_union(a.p, b.p))) AS not_the_union
FROM property.ring AS a, (VALUES (1), (2), (5), (97), (1009), (2500), (4999)) AS steps(step), property.ring AS b
WHERE b.seat = (a.seat + step) % a.seats;

SELECT count(*) > 35000 AS many_triples,
       count(*) FILTER (WHERE property.differ((a.p || b.p) || c.p, a.p || (b.p || c.p))) AS not_associative,
       count(*) FILTER (WHERE property.differ((a.p || b.p) || c.p, (c.p || a.p) || (b.p || a.p))) AS not_a_semilattice
FROM property.ring AS a, (VALUES (1, 2), (7, 1013), (97, 4001), (2500, 5000)) AS steps(one, two), property.ring AS b, property.ring AS c
WHERE b.seat = (a.seat + one) % a.seats AND c.seat = (a.seat + two) % a.seats;

/* The union of two profiles is the fold of the events of both: || agrees with the oracle, not only with itself. */
SELECT count(*) FILTER (WHERE property.differ(a.p || b.p, g.p)) AS not_the_fold_of_both
FROM property.ring AS a JOIN property.ring AS b ON b.seat = (a.seat + 1) % a.seats
JOIN (SELECT seat, profile_agg(seen_at, :pairs) AS p
      FROM (SELECT seat, subject FROM property.ring
            UNION ALL
            SELECT (seat + seats - 1) % seats, subject FROM property.ring) AS both_seats
      JOIN property.events USING (subject)
      GROUP BY seat) AS g ON g.seat = a.seat;

/* Equality, order, hash, bytes and text tell the same profiles apart. */
CREATE TABLE property.all_profiles AS
SELECT p FROM property.folded WHERE p IS NOT NULL
UNION ALL SELECT p FROM property.parts
UNION ALL SELECT p FROM property.singles WHERE p IS NOT NULL;

SET enable_hashagg TO off;
CREATE TABLE property.sorted AS SELECT p FROM property.all_profiles GROUP BY p;
RESET enable_hashagg;
SET enable_sort TO off;
CREATE TABLE property.hashed AS SELECT p FROM property.all_profiles GROUP BY p;
RESET enable_sort;

SELECT count(*) > 50000 AS many,
       count(*) - count(DISTINCT profile_send(p)) AS same_bytes,
       count(*) - count(DISTINCT p::text COLLATE "C") AS same_text,
       count(*) - (SELECT count(*) FROM property.hashed) AS sorted_and_hashed,
       count(*) - (SELECT count(DISTINCT profile_send(p)) FROM property.all_profiles) AS sorted_and_sent
FROM property.sorted;

/*
 * ---------------------------------------------------------------------------
 * Parallel plans and other ways to split
 * ---------------------------------------------------------------------------
 */
CREATE FUNCTION property.plan(query text, options text DEFAULT 'COSTS OFF') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    lines text := '';
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
        lines := lines || line || E'\n';
    END LOOP;
    RETURN lines;
END $$;

\set by_subject 'SELECT subject, profile_agg(seen_at, ' :pairs ') AS p FROM property.events GROUP BY subject'
\set filtered_by_subject 'SELECT subject, profile_agg(seen_at, ' :pairs ') FILTER (WHERE copy = 1) AS p FROM property.events GROUP BY subject'
\set into_one 'SELECT profile_agg(seen_at, ' :pairs ') AS p FROM property.events'
\set parts_by_subject 'SELECT subject, profile_union_agg(p) AS p FROM property.singles GROUP BY subject'
\set parts_into_one 'SELECT profile_union_agg(p) AS p FROM property.singles'

/* The planner shall believe in few groups, for then it is sure to aggregate below the Gather. */
ALTER TABLE property.events ALTER subject SET (n_distinct = 100);
ALTER TABLE property.singles ALTER subject SET (n_distinct = 100);
ANALYZE property.events, property.singles;

SET min_parallel_table_scan_size TO 0;
SET parallel_setup_cost TO 0;
SET parallel_tuple_cost TO 0;
SET max_parallel_workers_per_gather TO 4;

SET enable_sort TO off;
SELECT property.plan(:'by_subject') ~ 'Finalize HashAggregate.*Gather.*Partial HashAggregate' AS fold_hashed,
       property.plan(:'filtered_by_subject') ~ 'Finalize HashAggregate.*Gather.*Partial HashAggregate' AS filtered_hashed,
       property.plan(:'into_one') ~ 'Finalize Aggregate.*Gather.*Partial Aggregate' AS fold_into_one,
       property.plan(:'parts_by_subject') ~ 'Finalize HashAggregate.*Gather.*Partial HashAggregate' AS union_hashed,
       property.plan(:'parts_into_one') ~ 'Finalize Aggregate.*Gather.*Partial Aggregate' AS union_into_one;

CREATE TABLE property.fold_hashed AS :by_subject;
CREATE TABLE property.filtered_hashed AS :filtered_by_subject;
CREATE TABLE property.fold_into_one AS :into_one;
CREATE TABLE property.union_hashed AS :parts_by_subject;
CREATE TABLE property.union_into_one AS :parts_into_one;

RESET enable_sort;

/* sorted groups, and no help from the leader */
SET enable_hashagg TO off;
SET parallel_leader_participation TO off;

SELECT property.plan(:'by_subject') ~ 'Finalize GroupAggregate.*Gather.*Partial GroupAggregate' AS fold_sorted,
       property.plan(:'parts_by_subject') ~ 'Finalize GroupAggregate.*Gather.*Partial GroupAggregate' AS union_sorted;

CREATE TABLE property.fold_sorted AS :by_subject;
CREATE TABLE property.union_sorted AS :parts_by_subject;

RESET enable_hashagg;
RESET parallel_leader_participation;
SET max_parallel_workers_per_gather TO 0;

/* A hash table that doesn't fit into memory goes to disk by groups. */
SET work_mem TO '64kB';
SET enable_sort TO off;
SELECT property.plan(:'by_subject', 'ANALYZE, COSTS OFF, TIMING OFF') ~ '^HashAggregate.*Batches: \d+ .*Disk Usage: ' AS fold_spilled;
CREATE TABLE property.fold_spilled AS :by_subject;
RESET work_mem;
RESET enable_sort;

/* Partition-wise aggregation combines even where no worker can be had. */
CREATE TABLE property.scattered (hundredth int, LIKE property.events) PARTITION BY HASH (no);
CREATE TABLE property.scattered_0 PARTITION OF property.scattered FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE property.scattered_1 PARTITION OF property.scattered FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE property.scattered_2 PARTITION OF property.scattered FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO property.scattered SELECT subject % 100, * FROM property.events;
ANALYZE property.scattered;

\set by_hundredth 'SELECT hundredth, profile_agg(seen_at, ' :pairs ') AS p FROM property.scattered GROUP BY hundredth'

SET enable_partitionwise_aggregate TO on;
SELECT property.plan(:'by_hundredth') ~ 'Finalize.*Append.*Partial.*Partial.*Partial' AS fold_partitioned;
CREATE TABLE property.fold_partitioned AS :by_hundredth;
RESET enable_partitionwise_aggregate;

SELECT count(*) FILTER (WHERE property.differ(f.p, a.p)) AS fold_hashed,
       count(*) FILTER (WHERE property.differ(f.p, b.p)) AS filtered_hashed,
       count(*) FILTER (WHERE property.differ(f.p, c.p)) AS fold_sorted,
       count(*) FILTER (WHERE property.differ(f.p, d.p)) AS union_hashed,
       count(*) FILTER (WHERE property.differ(f.p, e.p)) AS union_sorted,
       count(*) FILTER (WHERE property.differ(f.p, g.p)) AS fold_spilled
FROM property.folded AS f
FULL JOIN property.fold_hashed AS a USING (subject)
FULL JOIN property.filtered_hashed AS b USING (subject)
FULL JOIN property.fold_sorted AS c USING (subject)
FULL JOIN property.union_hashed AS d USING (subject)
FULL JOIN property.union_sorted AS e USING (subject)
FULL JOIN property.fold_spilled AS g USING (subject);

/* many subjects as one: long-lived states, and values that win and lose often */
SELECT count(*) = 100 AS hundredths, count(*) FILTER (WHERE property.differ(f.p, g.p)) AS fold_partitioned
FROM (SELECT subject % 100 AS hundredth, profile_union_agg(p ORDER BY subject DESC) AS p FROM property.folded GROUP BY 1) AS f
FULL JOIN property.fold_partitioned AS g USING (hundredth);

SELECT count(*) FILTER (WHERE property.differ(f.p, a.p)) AS fold_into_one,
       count(*) FILTER (WHERE property.differ(f.p, b.p)) AS union_into_one,
       count(*) FILTER (WHERE property.differ(f.p, c.p)) AS in_order
FROM (SELECT profile_union_agg(p ORDER BY subject DESC) AS p FROM property.folded) AS f,
     property.fold_into_one AS a, property.union_into_one AS b,
     (SELECT profile_agg(seen_at, :pairs ORDER BY seen_at, no) AS p FROM property.events) AS c;

/*
 * ---------------------------------------------------------------------------
 * Other calls: VARIADIC arrays, windows, FILTER, DISTINCT
 * ---------------------------------------------------------------------------
 */
/* The same pairs as an array; and of every third subject the known pairs alone, each row in an order of its own (31 is prime). */
CREATE TABLE property.arrays AS
SELECT no, subject, seen_at,
       (SELECT array_agg(word ORDER BY i * (1 + no % 30) % 31, side)
        FROM generate_series(1, 29, 2) AS i, LATERAL (VALUES (1, words[i]), (2, words[i + 1])) AS pair(side, word)
        WHERE words[i + 1] IS NOT NULL OR words[i] = 'plan') AS words
FROM (SELECT no, subject, seen_at, ARRAY[:pairs] AS words FROM property.events WHERE subject % 3 = 0 OFFSET 0) AS e;

SELECT min(cardinality(words)) = 2 AND max(cardinality(words)) = 30 AS lengths_differ,
       count(DISTINCT words[1]) = 15 AS orders_differ
FROM property.arrays;

SELECT count(*) FILTER (WHERE property.differ(f.p, g.p)) AS variadic,
       count(*) FILTER (WHERE f.subject % 3 = 0 AND property.differ(f.p, h.p)) AS variadic_known_only
FROM property.folded AS f
FULL JOIN (SELECT subject, profile_agg(seen_at, VARIADIC ARRAY[:pairs]) AS p FROM property.events GROUP BY subject) AS g USING (subject)
FULL JOIN (SELECT subject, profile_agg(seen_at, VARIADIC words) AS p FROM property.arrays GROUP BY subject) AS h USING (subject);

/* The last row of a growing window holds the whole; each row holds the row before and itself: a result shown is a state unharmed. */
SELECT count(*) FILTER (WHERE rest = 0 AND property.differ(p, prefix)) AS last_rows,
       count(*) FILTER (WHERE property.differ(prefix, CASE WHEN before IS NULL THEN single
                                                           WHEN single IS NULL THEN before
                                                           ELSE before || single END)) AS each_row,
       count(*) FILTER (WHERE property.differ(three, three_singles)) AS moving_frames,
       count(*) FILTER (WHERE property.differ(prefix, prefix_of_singles)) AS union_windows
FROM (SELECT *, lag(prefix) OVER (PARTITION BY subject ORDER BY no) AS before
      FROM (SELECT subject, no, s.p AS single,
                   profile_agg(seen_at, :pairs) OVER growing AS prefix,
                   profile_agg(seen_at, :pairs) OVER moving AS three,
                   profile_union_agg(s.p) OVER growing AS prefix_of_singles,
                   profile_union_agg(s.p) OVER moving AS three_singles,
                   count(*) OVER (PARTITION BY subject ORDER BY no ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS rest
            FROM property.events JOIN property.singles AS s USING (no, subject)
            WINDOW growing AS (PARTITION BY subject ORDER BY no ROWS UNBOUNDED PRECEDING),
                   moving AS (PARTITION BY subject ORDER BY no ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)) AS w) AS rows
JOIN property.folded USING (subject);

SELECT count(*) FILTER (WHERE property.differ(f.p, CASE WHEN odd IS NULL THEN even
                                                         WHEN even IS NULL THEN odd
                                                         ELSE odd || even END)) AS filtered,
       count(*) FILTER (WHERE nothing IS NOT NULL) AS filtered_away,
       count(*) FILTER (WHERE property.differ(f.p, distinct_rows)) AS distinct_rows
FROM property.folded AS f
FULL JOIN (SELECT subject,
                  profile_agg(seen_at, :pairs) FILTER (WHERE no % 2 = 1) AS odd,
                  profile_agg(seen_at, :pairs) FILTER (WHERE no % 2 = 0) AS even,
                  profile_agg(seen_at, :pairs) FILTER (WHERE no < 0) AS nothing,
                  profile_agg(DISTINCT seen_at, :pairs) AS distinct_rows
           FROM property.events GROUP BY subject) AS g USING (subject);

/*
 * ---------------------------------------------------------------------------
 * Round trips: text, COPY, COPY BINARY
 *
 * \copy knows no variables, so go where the files are to be.
 * ---------------------------------------------------------------------------
 */
\getenv abs_builddir PG_ABS_BUILDDIR
\cd :abs_builddir

CREATE TABLE property.from_text (LIKE property.folded);
CREATE TABLE property.from_binary (LIKE property.folded);
\copy property.folded TO 'results/property.txt'
\copy property.from_text FROM 'results/property.txt'
\copy property.folded TO 'results/property.bin' (FORMAT binary)
\copy property.from_binary FROM 'results/property.bin' (FORMAT binary)

SELECT count(*) FILTER (WHERE property.differ(f.p, f.p::text::profile)) AS cast_to_text,
       count(*) FILTER (WHERE property.differ(f.p, t.p)) AS copied_as_text,
       count(*) FILTER (WHERE property.differ(f.p, b.p)) AS copied_as_binary
FROM property.folded AS f
FULL JOIN property.from_text AS t USING (subject)
FULL JOIN property.from_binary AS b USING (subject);

/* What came back is fit to be merged. */
SELECT count(*) FILTER (WHERE property.differ(f.p, f.p || t.p)) AS merged_with_text,
       count(*) FILTER (WHERE property.differ(f.p, b.p || f.p)) AS merged_with_binary
FROM property.folded AS f
JOIN property.from_text AS t USING (subject)
JOIN property.from_binary AS b USING (subject);

/* Leave nothing large behind. */
\copy (SELECT WHERE false) TO 'results/property.txt'
\copy (SELECT WHERE false) TO 'results/property.bin'

/*
 * ---------------------------------------------------------------------------
 * The session's settings change nothing
 *
 * The text is JSON, and its times are UTC.  Values that aren't text enter by
 * their text under pinned settings.
 * ---------------------------------------------------------------------------
 */
CREATE TABLE property.texts AS SELECT subject, p::text AS text, p::text::jsonb IS NOT NULL AS json FROM property.folded;

CREATE TABLE property.typed AS
SELECT no, timestamptz '2024-01-01 00:00:00+00' + no * interval '1 minute' AS seen_at,
       timestamptz '1883-11-18 12:03:57.5+00' + no * interval '997 hours' AS zoned,
       timestamp '2024-03-31 01:59:59.999999' + no * interval '7 minutes' AS local,
       date '0001-02-03 BC' + no * 31 AS day,
       no * interval '1 day 1 hour 1.01 seconds' - interval '1 month' AS span,
       no / 3.0::float8 AS double, (no / 7.0)::float4 AS single, no / 8.000 AS exact,
       decode(md5(no::text), 'hex') AS bytes, no % 2 = 0 AS flag,
       'property.events'::regclass AS relation,
       ARRAY[timestamptz '2024-06-01 00:00:00+00' + no * interval '1 hour', NULL] AS list
FROM generate_series(1, 50) AS no;

SET DateStyle TO 'ISO';
SET IntervalStyle TO 'postgres';
SET extra_float_digits TO 1;
SET bytea_output TO 'hex';
SET search_path TO pg_catalog, pg_temp;

CREATE TABLE property.typed_oracle AS
SELECT no, v.* FROM property.typed, LATERAL (VALUES
    ('zoned', zoned::text), ('local', local::text), ('day', day::text), ('span', span::text), ('double', double::text), ('single', single::text),
    ('exact', exact::text), ('bytes', bytes::text), ('flag', flag::text), ('relation', relation::text), ('list', list::text)) AS v(attribute, value);

SET TimeZone TO 'Asia/Kolkata';
SET DateStyle TO 'SQL, DMY';
SET IntervalStyle TO 'iso_8601';
SET extra_float_digits TO -5;
SET bytea_output TO 'escape';
SET search_path TO property, profiles, public;

SELECT count(*) FILTER (WHERE json) = count(p) AS json,
       count(*) FILTER (WHERE p::text IS DISTINCT FROM text) AS printed_otherwise,
       count(*) FILTER (WHERE differ(p, text::profile)) AS read_otherwise
FROM folded FULL JOIN texts USING (subject);

SELECT count(*) FILTER (WHERE differ(f.p, g.p)) AS folded_otherwise
FROM folded AS f FULL JOIN (SELECT subject, profile_agg(seen_at, :pairs) AS p FROM events GROUP BY subject) AS g USING (subject);

SELECT attribute, count(*) = 50 AS all_values, count(*) FILTER (WHERE last_known(p, attribute) IS DISTINCT FROM value) AS different
FROM (SELECT no, profile_agg(seen_at, 'zoned', zoned, 'local', local, 'day', day, 'span', span, 'double', double, 'single', single, 'exact', exact,
                             'bytes', bytes, 'flag', flag, 'relation', relation, 'list', list) AS p
      FROM typed GROUP BY no) AS t
FULL JOIN typed_oracle USING (no)
GROUP BY attribute ORDER BY attribute COLLATE "C";

DROP SCHEMA property CASCADE;
