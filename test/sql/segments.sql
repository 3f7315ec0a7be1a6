-- Segments: saved filters, their views, their dependencies, whose they are.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA seg;
CREATE TABLE seg.events (ts timestamptz, user_id text, account_id text, account_name text, country text, plan text);
INSERT INTO seg.events
SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'u' || i % 100, 'a' || i % 7, 'A' || i % 7,
       CASE i % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' END, 'p' || i % 4
FROM generate_series(1, 1000) AS i;
SELECT profiles.create_segment('early', 'true');
SELECT profiles.add_source('seg.events', mapping => '{"plan": "plan"}');
CALL profiles.rebuild();
CREATE TABLE seg.crm AS SELECT 'u' || i AS uid, i * 2 AS spent, i % 5 = 0 AS vip FROM generate_series(0, 120) AS i;
SELECT profiles.add_attributes('user', 'seg.crm', 'uid', 'user_id');
CALL profiles.sync();

-- a segment equals its filter over users, by every way to it
CREATE FUNCTION seg.differ(segment text, filter text, kind text DEFAULT 'user') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; m bigint; v text := 'profiles.segment_' || segment; r text := 'profiles.' || kind || 's';
BEGIN
    EXECUTE format('SELECT count(*) FROM ((SELECT * FROM %1$s EXCEPT ALL SELECT * FROM %2$s WHERE %3$s) '
                   'UNION ALL (SELECT * FROM %2$s WHERE %3$s EXCEPT ALL SELECT * FROM %1$s)) d', v, r, filter) INTO n;
    EXECUTE format('SELECT count(*) FROM ((SELECT key FROM profiles.segment_members(%1$L) EXCEPT ALL SELECT %4$s_id FROM %2$s WHERE %3$s) '
                   'UNION ALL (SELECT %4$s_id FROM %2$s WHERE %3$s EXCEPT ALL SELECT key FROM profiles.segment_members(%1$L))) d', segment, r, filter, kind) INTO m;
    RETURN n + m;
END $$;
SELECT profiles.create_segment('german', 'last_seen_country_name = ''Germany''', description => 'Last seen in Germany');
SELECT profiles.create_segment('spenders', 'spent > 100 AND vip');
SELECT profiles.create_segment('pro', 'last_plan IN (''p1'', ''p2'') AND first_seen > ''2026-01-01''');
SELECT profiles.create_segment('both', 'in_segment(''german'') AND in_segment(''spenders'')');
SELECT profiles.create_segment('either', 'in_segment(''german'') OR profiles.in_segment(''spenders'')');
SELECT profiles.create_segment('minus', 'in_segment(''german'') AND NOT coalesce(in_segment(''both''), false)');
SELECT profiles.create_segment('a_few', 'account_id < ''a3''', 'account');
SELECT profiles.create_segment('case_of_own', 'CASE WHEN true THEN vip ELSE in_segment(''german'') END');
SELECT seg.differ('german', 'last_seen_country = ''DE''') AS german, seg.differ('spenders', 'spent > 100 AND vip') AS spenders,
       seg.differ('pro', 'last_plan IN (''p1'', ''p2'')') AS pro,
       seg.differ('both', 'last_seen_country = ''DE'' AND spent > 100 AND vip') AS both,
       seg.differ('either', 'last_seen_country = ''DE'' OR spent > 100 AND vip') AS either,
       seg.differ('minus', 'last_seen_country = ''DE'' AND NOT coalesce(spent > 100 AND vip, false)') AS minus,
       seg.differ('a_few', 'account_id < ''a3''', 'account') AS a_few,
       seg.differ('case_of_own', 'vip') AS case_of_own;
SELECT segment, kind, filter, description, members, view, created_at <= now() AS created FROM profiles.segments ORDER BY segment;
SELECT segment, members FROM profiles.segments EXCEPT
SELECT * FROM (SELECT 'german', count(*) FROM profiles.segment_german UNION ALL SELECT 'spenders', count(*) FROM profiles.segment_spenders
               UNION ALL SELECT 'pro', count(*) FROM profiles.segment_pro UNION ALL SELECT 'both', count(*) FROM profiles.segment_both
               UNION ALL SELECT 'either', count(*) FROM profiles.segment_either UNION ALL SELECT 'minus', count(*) FROM profiles.segment_minus
               UNION ALL SELECT 'a_few', count(*) FROM profiles.segment_a_few UNION ALL SELECT 'case_of_own', count(*) FROM profiles.segment_case_of_own) c;
SELECT profiles._filter('user', 'in_segment(''both'') OR user_id = ''u1''');

-- they are live
INSERT INTO seg.events VALUES ('2026-03-01Z', 'u500', NULL, NULL, 'DE', 'p1');
CALL profiles.refresh();
SELECT seg.differ('german', 'last_seen_country = ''DE''') AS german, count(*) FROM profiles.segment_german WHERE user_id = 'u500';
-- whose filter is NULL is not in a segment, and so in what is not in it
SELECT profiles.create_segment('rest', 'NOT in_segment(''spenders'')'), profiles.create_segment('unspent', 'spent IS NULL AND (user_id = ''-'' OR NOT (in_segment(''both'') OR in_segment(''rest'') IS NULL))');
SELECT seg.differ('rest', '(spent > 100 AND vip) IS NOT TRUE') AS rest, seg.differ('unspent', 'spent IS NULL') AS unspent,
       (SELECT count(*) FROM profiles.segment_members('unspent')) > 0 AS any_unspent,
       (SELECT count(*) FROM profiles.segment_members('rest')) + (SELECT count(*) FROM profiles.segment_members('spenders')) = (SELECT count(*) FROM profiles.users) AS everybody;
SELECT segment, filter FROM profiles.segments WHERE segment IN ('rest', 'unspent') ORDER BY segment;
SELECT profiles.drop_segment('unspent'), profiles.drop_segment('rest');

-- comments, and an index still serves
SELECT obj_description('profiles.segment_german'::regclass), obj_description('profiles.segment_pro'::regclass);
SELECT count(*) AS without_comment FROM pg_attribute WHERE attrelid = 'profiles.segment_both'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL;
SELECT profiles.index_profiles('user', 'last_plan');
CREATE FUNCTION seg.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan::text;
END $$;
SELECT profiles.create_segment('one_plan', 'last_plan = ''p1''');
SELECT profiles.create_segment('same_plan', 'in_segment(''one_plan'')');
SET enable_seqscan = off;
SELECT seg.plan('SELECT * FROM profiles.segment_same_plan') LIKE '%user_profile_last_plan_last_seen_idx%' AS by_index,
       seg.plan('SELECT * FROM profiles.segment_both') LIKE '%CASE%' AS marks_left;
RESET enable_seqscan;

-- they follow the segments that they refer to, and gain columns as users does
SELECT profiles.alter_segment('german', 'last_seen_country = ''FR''');
SELECT seg.differ('german', 'last_seen_country = ''FR''') AS german, seg.differ('both', 'last_seen_country = ''FR'' AND spent > 100 AND vip') AS both,
       seg.differ('minus', 'last_seen_country = ''FR'' AND NOT coalesce(spent > 100 AND vip, false)') AS minus;
CREATE VIEW seg.report AS SELECT user_id, vip FROM profiles.segment_minus;
CREATE ROLE profiles_reader;
GRANT SELECT ON profiles.segment_minus TO profiles_reader;
CREATE TABLE seg.nps AS SELECT 'u' || i AS uid, i AS nps FROM generate_series(0, 120) AS i;
SELECT profiles.add_attributes('user', 'seg.nps', 'uid', 'user_id');
CALL profiles.sync();
SELECT profiles.alter_source('seg.events', mapping => '{"referrer": "plan"}');
SELECT attname, col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'profiles.segment_minus'::regclass AND attnum > 29 ORDER BY attnum;
SELECT seg.differ('minus', 'last_seen_country = ''FR'' AND NOT coalesce(spent > 100 AND vip, false)') AS minus;
SET ROLE profiles_reader;
SELECT count(*), count(nps) FROM profiles.segment_minus;
SELECT count(*) FROM profiles.users;
RESET ROLE;
SELECT profiles.alter_segment('german', description => 'French, in fact');
SELECT profiles.alter_segment('pro', filter => NULL, description => '');
SELECT segment, filter, description FROM profiles.segments WHERE segment IN ('german', 'pro');

-- a filter that fails on a value is named, and the others are counted
SELECT profiles.create_segment('divides', '100 / (spent - 4) > 1');
SELECT profiles.create_segment('through', 'in_segment(''divides'') OR vip');
SELECT segment, members FROM profiles.segments WHERE segment IN ('divides', 'through', 'spenders') ORDER BY segment;
SELECT count(*) FROM profiles.segment_members('divides');
SELECT profiles.alter_segment('divides', '100 / nullif(spent - 4, 0) > 1');
SELECT segment, members FROM profiles.segments WHERE segment IN ('divides', 'through', 'spenders') ORDER BY segment;
SELECT count(*) FILTER (WHERE 100 / nullif(spent - 4, 0) > 1) AS divides, count(*) FILTER (WHERE 100 / nullif(spent - 4, 0) > 1 OR vip) AS through FROM profiles.users;
SELECT profiles.drop_segment('through');
SELECT profiles.drop_segment('divides');

-- no cycles, no dangling references
SELECT profiles.alter_segment('german', 'in_segment(''german'')');
SELECT profiles.alter_segment('german', 'true OR in_segment(''minus'')');
SELECT profiles.drop_segment('german');
SELECT profiles.drop_segment('spenders');
SELECT profiles.drop_segment('minus');
SELECT profiles.drop_attributes('user', 'seg.crm');
SELECT profiles.create_segment('x', 'in_segment(''nobody'')');
SELECT profiles.create_segment('x', 'in_segment(''a_few'')');
SELECT profiles.create_segment('x', 'last_seen > now() AND spnt > 1');
SELECT profiles.create_segment('x', '(SELECT true)');
SELECT profiles.create_segment('x', '');
SELECT profiles.create_segment('x', NULL);
SELECT profiles.create_segment('Big Spenders!', 'true');
SELECT profiles.create_segment(NULL, 'true');
SELECT profiles.create_segment(repeat('x', 56), 'true');
SELECT profiles.create_segment('german', 'true');
SELECT profiles.create_segment('x', 'true', 'person');
SELECT profiles.create_segment('x', 'true', NULL);
SELECT profiles.alter_segment('nobody', 'true');
SELECT profiles.alter_segment('german', ' ');
SELECT profiles.drop_segment('nobody');
SELECT * FROM profiles.segment_members('nobody');
SELECT seg.differ('german', 'last_seen_country = ''FR''') AS german, seg.differ('both', 'last_seen_country = ''FR'' AND spent > 100 AND vip') AS both;
CREATE TABLE profiles.segment_taken ();
SELECT profiles.create_segment('taken', 'true');
DROP TABLE profiles.segment_taken;
-- a dropped view is not the end
DROP VIEW profiles.segment_pro;
SELECT segment, filter, members FROM profiles.segments WHERE segment = 'pro';
SELECT profiles.alter_segment('pro', 'true');
SELECT profiles.drop_segment('pro');

-- whose they are: code of a filter runs with nobody's rights, the view with its creator's
CREATE ROLE profiles_growth;
CREATE ROLE profiles_other;
GRANT USAGE, CREATE ON SCHEMA seg TO profiles_growth;
GRANT EXECUTE ON FUNCTION profiles.create_segment, profiles.alter_segment, profiles.drop_segment, profiles.segment_members TO profiles_growth, profiles_other;
GRANT SELECT ON profiles.segments TO profiles_growth, profiles_reader;
SET ROLE profiles_growth;
SELECT profiles.create_segment('theirs', 'spent > 180');
RESET ROLE;
GRANT SELECT ON profiles.users TO profiles_growth;
SET ROLE profiles_growth;
SELECT profiles.create_segment('theirs', 'spent > 180');
SELECT count(*) FROM profiles.segment_theirs;
CREATE FUNCTION seg.spy(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'spy runs as %', current_user; RETURN true; END $$;
CREATE DOMAIN seg.dom AS text CHECK (seg.spy(value));
SELECT profiles.alter_segment('theirs', 'seg.spy(user_id)');
SELECT profiles.alter_segment('theirs', 'user_id = ANY (''{a}''::seg.dom[])');
SELECT profiles.alter_segment('german', 'true');
SELECT profiles.drop_segment('german');
SELECT created_by, members FROM profiles.segments WHERE segment = 'theirs';
RESET ROLE;
SET ROLE profiles_other;
SELECT profiles.alter_segment('theirs', 'true');
SELECT count(*) FROM profiles.segment_theirs;
SELECT count(*) FROM profiles.segment_members('theirs');
RESET ROLE;
SET ROLE profiles_reader;
SELECT segment, members FROM profiles.segments WHERE segment = 'theirs';
RESET ROLE;
-- a view that its owner has tampered with is not believed
SET ROLE profiles_growth;
CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO profiles.segment_theirs DO INSTEAD SELECT * FROM profiles.users p WHERE seg.spy(p.user_id);
RESET ROLE;
SELECT count(*) FROM profiles.segment_members('theirs');
SELECT profiles._filter('user', 'in_segment(''theirs'')');
SELECT filter, members FROM profiles.segments WHERE segment = 'theirs';
SELECT profiles.alter_segment('german', 'last_seen_country = ''FR''');
SELECT profiles.drop_segment('theirs');
-- its view is read with the rights of its creator, and those alone
SET ROLE profiles_growth;
SELECT profiles.create_segment('theirs', 'spent > 180');
RESET ROLE;
REVOKE SELECT ON profiles.users FROM profiles_growth;
SELECT count(*) FROM profiles.segment_theirs;
DROP ROLE profiles_growth;
SELECT profiles._make_segment();
SELECT profiles._make_import(1);

-- dropping, in the right order
SELECT profiles.drop_segment(s) FROM unnest(ARRAY['theirs', 'either']) AS s;
SELECT profiles.drop_segment('minus');
DROP VIEW seg.report;
SELECT profiles.drop_segment(s) FROM unnest(ARRAY['minus', 'both', 'german', 'spenders', 'case_of_own']) AS s;
SELECT profiles.drop_attributes('user', 'seg.crm');
SELECT segment FROM profiles.segments ORDER BY 1;
SELECT profiles.uninstall();
SELECT count(*) FROM profiles.segments;
SELECT c.oid::regclass AS left_behind FROM pg_class c WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname ~ '^segment_' AND c.relname !~ '^segment_config';
DROP SCHEMA seg CASCADE;
DROP OWNED BY profiles_growth, profiles_other, profiles_reader;
DROP ROLE profiles_growth, profiles_other, profiles_reader;
