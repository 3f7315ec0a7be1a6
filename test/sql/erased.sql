-- forget under on_change keep: nothing of who was erased is kept when the events go, by
-- whatever way and however it is captured; what comes later is kept as ever.

SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE SCHEMA er;
-- One source for each way: partition 0 is what goes.
CREATE TABLE er.way AS
SELECT (row_number() OVER ())::int AS n, c AS capture, b AS block, a AS action
FROM unnest(ARRAY['deferred', 'immediate']) c, unnest(ARRAY[true, false]) b,
     unnest(ARRAY['delete', 'truncate', 'truncate part', 'update', 'detach', 'detach and attach']) a;
CREATE FUNCTION er.each(statement text, which text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    w er.way;
BEGIN
    FOR w IN SELECT * FROM er.way ORDER BY n LOOP
        CONTINUE WHEN w.action !~ which;
        EXECUTE format(statement, w.n);
    END LOOP;
END
$$;
SELECT er.each('CREATE TABLE er.ev_%s (user_id text, account_id text, ts timestamptz, email text, part int) PARTITION BY LIST (part)');
SELECT er.each('CREATE TABLE er.ev_%s_0 PARTITION OF er.ev_%1$s FOR VALUES IN (0)');
SELECT count(profiles.add_source(format('er.ev_%s', n)::regclass, capture => capture, on_change => 'keep',
                                 mapping => '{"user_id": "user_id", "account_id": "account_id", "seen_at": "ts", "email": "email"}')) FROM er.way;
-- d is erased, e stays; in another way d has pending events only
SELECT er.each($$INSERT INTO er.ev_%s SELECT v.* FROM (VALUES ('d%1$s', 'a%1$s', timestamptz '2025-01-01', 'd%1$s@old', 0),
    ('e%1$s', 'a%1$s', '2025-01-02', 'e%1$s@old', 0)) v WHERE %1$s %% 2 = 0$$);
CALL profiles.rebuild();
SELECT er.each($$INSERT INTO er.ev_%s SELECT v.* FROM (VALUES ('d%1$s', 'a%1$s', timestamptz '2025-01-01', 'd%1$s@old', 0),
    ('e%1$s', 'a%1$s', '2025-01-02', 'e%1$s@old', 0)) v WHERE %1$s %% 2 = 1$$);
-- where do our tables say anything that matches?
CREATE FUNCTION er.found(pattern text, OUT place text, OUT rows bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOR place IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'profiles'::regnamespace AND relkind = 'r' ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE t::text ~ $1', place) INTO rows USING pattern;
        IF rows > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
CREATE VIEW er.verified AS SELECT 'user' AS kind, key FROM profiles.verify('user') UNION ALL SELECT 'account', key FROM profiles.verify('account');
SELECT place FROM er.found('d[0-9]+@old');
SELECT count(profiles.forget('user', 'd' || n, block)) FROM (SELECT n, block FROM er.way ORDER BY n) w;
SELECT place FROM er.found('d[0-9]+@old');
-- (search has statistics of how words begin)
SELECT place FROM er.found('\yd[0-9]+\y') WHERE place !~ '_search_stat';

-- the events go
SELECT er.each('DELETE FROM er.ev_%s', '^delete');
SELECT er.each('TRUNCATE er.ev_%s', '^truncate$');
SELECT er.each('TRUNCATE er.ev_%s_0', '^truncate part');
SELECT er.each('UPDATE er.ev_%s SET user_id = ''x'' || user_id, email = NULL', '^update');
SELECT er.each('ALTER TABLE er.ev_%s DETACH PARTITION er.ev_%1$s_0', '^detach');
SELECT place FROM er.found('d[0-9]+@old');
CALL profiles.refresh();
SELECT place FROM er.found('d[0-9]+@old');
SELECT place, rows FROM er.found('\yd[0-9]+\y') WHERE place !~ '_search_stat';
-- all the others are kept, and have their profiles
SELECT action, count(*) FILTER (WHERE k.key IS NOT NULL) AS kept, count(u.user_id) AS users, count(*) AS of
FROM er.way w LEFT JOIN (SELECT DISTINCT key, source FROM profiles.kept WHERE kind = 'user') k ON k.key = 'e' || w.n AND k.source = 'er.ev_' || w.n
LEFT JOIN profiles.users u ON u.user_id = 'e' || w.n AND u.user_email = format('e%s@old', w.n)
GROUP BY action ORDER BY action;
SELECT * FROM er.verified;
CALL profiles.rebuild();
SELECT * FROM er.verified;
SELECT place FROM er.found('d[0-9]+@old');

-- what is attached again is there; only those who are not blocked come back with it
SELECT er.each('ALTER TABLE er.ev_%s ATTACH PARTITION er.ev_%1$s_0 FOR VALUES IN (0)', 'attach');
CALL profiles.refresh();
SELECT * FROM er.verified;
SELECT w.capture, w.block, count(u.user_id) AS d FROM er.way w LEFT JOIN profiles.users u ON u.user_id = 'd' || w.n
WHERE action = 'detach and attach' GROUP BY 1, 2 ORDER BY 1, 2;
-- and go with their events
SELECT er.each('DELETE FROM er.ev_%s', 'attach');
CALL profiles.refresh();
SELECT * FROM er.verified;
SELECT place FROM er.found('d[0-9]+@old');

-- new events: of those who are blocked nothing is written, even before refresh
SELECT count(profiles.forget('user', 'f' || n, block)) FROM (SELECT n, block FROM er.way ORDER BY n) w;
SELECT er.each('CREATE TABLE er.ev_%s_1 PARTITION OF er.ev_%1$s FOR VALUES IN (1)');
CALL profiles.refresh();
SELECT er.each($$INSERT INTO er.ev_%s VALUES ('f%1$s', 'a%1$s', '2025-02-01', 'f%1$s@new', 1), ('f%1$s', NULL, '2125-02-01', 'f%1$s@held', 1)$$);
SELECT w.n FROM er.way w WHERE block AND EXISTS (SELECT FROM er.found(format('f%s@', w.n)));
SELECT count(*) FROM er.way w WHERE NOT block AND EXISTS (SELECT FROM er.found(format('f%s@', w.n)));
CALL profiles.refresh();
SELECT w.n FROM er.way w WHERE block AND EXISTS (SELECT FROM er.found(format('f%s@', w.n)));
SELECT * FROM er.verified;
SELECT DISTINCT capture, block, left_out FROM profiles.status s JOIN er.way w ON s.source = 'er.ev_' || w.n WHERE s.kind = 'user' ORDER BY 1, 2;
-- of the others it stays when the events go
SELECT er.each('DELETE FROM er.ev_%s', '^delete');
SELECT er.each('TRUNCATE er.ev_%s', '^truncate$');
SELECT er.each('TRUNCATE er.ev_%s_1', '^truncate part');
SELECT er.each('UPDATE er.ev_%s SET user_id = ''y'', email = NULL', '^update');
SELECT er.each('ALTER TABLE er.ev_%s DETACH PARTITION er.ev_%1$s_1', '^detach');
CALL profiles.refresh();
SELECT * FROM er.verified;
CALL profiles.rebuild();
SELECT * FROM er.verified;
SELECT block, bool_and(u.user_email = format('f%s@new', n)) AS kept, count(u.user_id) AS users
FROM er.way w LEFT JOIN profiles.users u ON u.user_id = 'f' || n GROUP BY block ORDER BY block;
SELECT place FROM er.found('@held');

-- unblock: what went meanwhile does not count, what comes does
SELECT count(profiles.unblock('user', 'f' || n)) FROM er.way WHERE block;
CALL profiles.refresh();
SELECT count(*) FROM er.way w JOIN profiles.users u ON u.user_id = 'f' || w.n WHERE block;
SELECT * FROM er.verified;
CREATE TABLE er.last (user_id text, ts timestamptz, email text);
SELECT profiles.add_source('er.last', on_change => 'keep');
CALL profiles.rebuild();
INSERT INTO er.last VALUES ('f1', '2025-03-01', 'f1@last');
CALL profiles.refresh();
DELETE FROM er.last;
CALL profiles.rebuild();
SELECT user_email FROM profiles.users WHERE user_id = 'f1';

-- one who is forgotten has old events that are there, and new ones: the new ones alone are kept
INSERT INTO er.last VALUES ('g', '2025-03-01', 'g@old'), ('h', '2025-03-01', 'h@old');
SELECT profiles.forget('user', 'g');
INSERT INTO er.last VALUES ('g', '2025-03-02', 'g@new'), ('h', '2025-03-02', 'h@new');
DELETE FROM er.last WHERE user_id IN ('g', 'h');
CALL profiles.refresh();
SELECT * FROM er.verified;
SELECT k.key, bool_and(k.profile OPERATOR(profiles.=) e.profile) AS right FROM (SELECT key, profiles.profile_union_agg(profile) AS profile FROM profiles.kept WHERE source = 'er.last' GROUP BY key) k
JOIN (VALUES ('g', (SELECT profiles.profile_agg('2025-03-02'::timestamptz, 'email', 'g@new'))),
             ('h', (SELECT profiles.profile_agg(t, 'email', m) FROM (VALUES ('2025-03-01'::timestamptz, 'h@old'), ('2025-03-02', 'h@new')) v (t, m)))) e (key, profile)
  ON e.key = k.key GROUP BY k.key ORDER BY 1;
-- a rebuild brings back what is there; that goes when it is deleted
INSERT INTO er.last VALUES ('i', '2025-03-01', 'i@old');
SELECT profiles.forget('user', 'i');
CALL profiles.rebuild();
SELECT user_email FROM profiles.users WHERE user_id = 'i';
DELETE FROM er.last;
CALL profiles.refresh();
SELECT * FROM er.verified;
SELECT place FROM er.found('i@old');
-- what several sources have of them is the same
INSERT INTO er.last VALUES ('j', '2025-03-01', 'j@old');
INSERT INTO er.ev_1 VALUES ('j', 'aj', '2025-03-02', 'j@other', 0);
SELECT profiles.forget('user', 'j');
DELETE FROM er.last;
DELETE FROM er.ev_1;
CALL profiles.refresh();
SELECT place FROM er.found('j@');
-- and a source that was added later keeps all it had
CREATE TABLE er.later (user_id text, ts timestamptz, email text);
INSERT INTO er.later VALUES ('j', '2025-03-03', 'j@later');
SELECT profiles.add_source('er.later', on_change => 'keep');
CALL profiles.refresh();
TRUNCATE er.later;
CALL profiles.rebuild();
SELECT user_email FROM profiles.users WHERE user_id = 'j';
SELECT * FROM er.verified;
-- errors name nobody who is blocked
CREATE TABLE er.bad (user_id text, ts text);
SELECT profiles.add_source('er.bad', mapping => '{"user_id": "user_id", "seen_at": "ts::timestamptz"}', on_change => 'keep');
CALL profiles.refresh();
SELECT profiles.forget('user', 'k@x.org', block => true);
INSERT INTO er.bad VALUES ('k@x.org', 'nonsense');
SELECT place FROM er.found('k@x.org');
CALL profiles.refresh();
SELECT place FROM er.found('k@x.org');
CALL profiles.rebuild();
SELECT place FROM er.found('k@x.org');
SELECT left_out, examples FROM profiles.status WHERE source = 'er.bad' AND kind = 'user';
SELECT profiles.unblock('user', 'k@x.org');
-- nor show how a long key of theirs begins, whoever folds; others are named
CREATE TABLE er.long (key text, user_id text);
INSERT INTO er.long VALUES (1, 'lk1' || repeat('a', 297)), (2, 'lk2' || repeat('é', 120)), (3, 'lk3' || repeat('é', 700)),
    (4, 'lk4' || (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 120) i)), (5, 'other');
CREATE TABLE er.long_now (user_id text, ts timestamptz, n int);
CREATE TABLE er.long_later (LIKE er.long_now);
CREATE TABLE er.long_fails (LIKE er.long_now);
CREATE TABLE er.long_parts (LIKE er.long_now) PARTITION BY LIST (n);
CREATE TABLE er.long_part (LIKE er.long_now);
CREATE TABLE er.long_seen (LIKE er.long_now);
CREATE VIEW er.long_view AS TABLE er.long_seen;
SELECT profiles.add_source('er.long_now', capture => 'immediate');
SELECT profiles.add_source('er.long_later');
SELECT profiles.add_source('er.long_fails', mapping => '{"share": "100 / n"}');
SELECT profiles.add_source('er.long_parts', mapping => '{"share": "100 / (n + 1)"}');
SELECT profiles.add_source('er.long_view', capture => 'none');
CALL profiles.rebuild();
CREATE VIEW er.long_named AS SELECT place FROM er.found('lk[0-9]') WHERE place <> 'profiles.blocked';
CREATE FUNCTION er.long_events() RETURNS void LANGUAGE sql AS $$
    INSERT INTO er.long_now SELECT user_id, NULL, 1 FROM er.long;
    INSERT INTO er.long_later SELECT user_id, NULL, 1 FROM er.long;
    INSERT INTO er.long_fails SELECT user_id, t, 0 FROM er.long, unnest(ARRAY[NULL, timestamptz '2025-01-01']) t;
    INSERT INTO er.long_seen SELECT user_id, NULL, 1 FROM er.long;
$$;
SELECT count(profiles.forget('user', user_id, block => true)) FROM (SELECT user_id FROM er.long WHERE user_id <> 'other' ORDER BY key) l;
SELECT key, octet_length(profiles._blocked_key(user_id)) FROM er.long ORDER BY key;
SELECT er.long_events();
INSERT INTO er.long_part SELECT user_id, NULL, 1 FROM er.long;
ALTER TABLE er.long_parts ATTACH PARTITION er.long_part FOR VALUES IN (1);
TABLE er.long_named;
-- (the view is read by several workers)
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CALL profiles.refresh(since => '-infinity');
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
TABLE er.long_named;
SELECT source, left_out, examples FROM profiles.status WHERE source LIKE 'er.long%' AND kind = 'user' ORDER BY 1;
CALL profiles.rebuild();
TABLE er.long_named;
SELECT source, left_out, examples FROM profiles.status WHERE source LIKE 'er.long%' AND kind = 'user' ORDER BY 1;
SELECT key FROM profiles.verify();
-- until they are unblocked; and what was written then is erased, merged or not
SELECT count(profiles.unblock('user', user_id)) FROM (SELECT user_id FROM er.long WHERE user_id <> 'other' ORDER BY key) l;
SELECT profiles.unblock('user', user_id) FROM er.long WHERE key = '5';
SELECT count(*) FROM profiles.blocked WHERE key LIKE 'lk%';
CALL profiles.rebuild();
SELECT er.long_events();
SELECT source, jsonb_object_agg(e.key, left(e.value, 3) || ' ' || octet_length(e.value)) FROM profiles.status, jsonb_each_text(examples) e WHERE source LIKE 'er.long%' AND kind = 'user' GROUP BY 1 ORDER BY 1;
TABLE er.long_named;
SELECT count(profiles.forget('user', user_id)) FROM (SELECT user_id FROM er.long ORDER BY key) l;
TABLE er.long_named;
SELECT source, left_out, examples FROM profiles.status WHERE source LIKE 'er.long%' AND kind = 'user' ORDER BY 1;

SELECT profiles.uninstall();
SELECT count(*) FROM profiles.forgotten;
DELETE FROM profiles.blocked;
DROP SCHEMA er CASCADE;
