-- The filter language: what is let in, what is refused and where, whose rights.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA filters;
CREATE TABLE filters.events (ts timestamptz, user_id text, account_id text, session_id text, country text, plan text);
INSERT INTO filters.events
SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'u' || i % 100, 'a' || i % 7, 's' || i / 3,
       CASE i % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' END, 'p' || i % 4
FROM generate_series(1, 1000) AS i;
SELECT profiles._filter('user', 'true');
SELECT profiles.add_source('filters.events', mapping => '{"plan": "plan"}');
CALL profiles.rebuild();

-- what is given back is SQL over "p"
SELECT profiles._filter('user', 'last_seen_country = ''DE''');
SELECT profiles._filter('account', 'p.account_id IN (''a1'', ''a2'') AND NOT (last_plan ~ ''^x'')');
SELECT profiles._filter('user', NULL) AS none, profiles._filter('user', E' \n\t') AS blank;
SELECT profiles._filter('user', 'last_seen::date = current_date - 1 OR last_seen > now() - interval ''7 days'' OR age(last_seen) < ''1 day''');
SELECT profiles._filter('user', 'last_plan = ANY (''{p1,p2}'') -- a comment');
SELECT profiles._filter('user', '(user_id, first_plan) < (''u5'', ''p1'') AND coalesce(user_name, ''?'') LIKE ''%''');
SELECT profiles._filter('user', 'CASE WHEN last_seen_country_name = ''Germany'' THEN true ELSE extract(hour FROM last_seen) > 5 END');
SELECT profiles._filter('user', 'NULL');

-- settings of the session make no difference
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SET search_path = filters;
SELECT profiles._filter('user', 'last_seen > ''01/02/2026 03:04''');
RESET TimeZone;
RESET DateStyle;
RESET search_path;

-- the result means what the filter says
CREATE FUNCTION filters.differ(kind text, filter text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; r text := 'profiles.' || kind || 's';
BEGIN
    EXECUTE format('SELECT count(*) FROM ((SELECT * FROM %1$s AS p WHERE %2$s EXCEPT ALL SELECT * FROM %1$s WHERE %3$s) '
                   'UNION ALL (SELECT * FROM %1$s WHERE %3$s EXCEPT ALL SELECT * FROM %1$s AS p WHERE %2$s)) d',
                   r, profiles._filter(kind, filter), filter) INTO n;
    RETURN n;
END $$;
SELECT f, filters.differ('user', f) FROM unnest(ARRAY[
    'last_seen_country = ''DE''', 'last_seen_country IS NULL', 'true', 'NULL', 'false OR user_id < ''u5''',
    'last_seen > ''2026-01-01 10:00Z'' AND (first_plan = ''p1'' OR last_plan = ''p2'')',
    'user_id SIMILAR TO ''u(1|2)_?''', 'upper(last_plan) IN (''P1'', ''P3'')', 'last_seen - first_seen > interval ''15 hours''',
    'last_seen BETWEEN SYMMETRIC ''2026-01-02'' AND ''2026-01-01''', 'length(concat(user_id, last_plan)) = 5',
    'date_trunc(''hour'', last_seen) = ''2026-01-01 16:00Z''', 'last_seen_country_name = ''Germany'' COLLATE "C"']) AS f;

-- nothing but one expression; errors point at the place
SELECT profiles._filter('user', 'true; DROP TABLE filters.events');
SELECT profiles._filter('user', 'true) OR (true');
SELECT profiles._filter('user', 'last_seen >');
SELECT profiles._filter('user', 'user_id = ''x');
SELECT profiles._filter('user', 'true FROM filters.events');
SELECT profiles._filter('user', 'true WHERE true');
SELECT profiles._filter('user', 'true GROUP BY user_id');
SELECT profiles._filter('user', 'true HAVING true');
SELECT profiles._filter('user', 'true ORDER BY user_id');
SELECT profiles._filter('user', 'true LIMIT 1');
SELECT profiles._filter('user', 'true OFFSET 1');
SELECT profiles._filter('user', 'true FOR UPDATE');
SELECT profiles._filter('user', 'true WINDOW w AS ()');
SELECT profiles._filter('user', 'DISTINCT true');
SELECT profiles._filter('user', 'true INTO x');
SELECT profiles._filter('user', 'true UNION SELECT true');
SELECT profiles._filter('user', 'true, true');
SELECT profiles._filter('user', 'true AS x');
SELECT profiles._filter('user', '*');
SELECT profiles._filter('user', 'p.*');
SELECT profiles._filter('user', '1 + 1');
SELECT profiles._filter('user', 'user_id');
SELECT profiles._filter('user', 'nothing = 1');
SELECT profiles._filter('user', 'users.user_id = ''u1''');
SELECT profiles._filter('user', 'account_name = ''ö'' AND ü = 1');
SELECT profiles._filter('user', 'user_id > 5');
SELECT profiles._filter('user', 'last_seen > ''yesterdayish''');
SELECT profiles._filter('user', 'EXISTS (SELECT FROM filters.events)');
SELECT profiles._filter('user', 'user_id IN (SELECT user_id FROM filters.events)');
SELECT profiles._filter('user', 'user_id = ANY (ARRAY(SELECT ''a''))');
SELECT profiles._filter('user', 'count(*) > 1');
SELECT profiles._filter('user', 'row_number() OVER () = 1');
SELECT profiles._filter('user', 'generate_series(1, 2) = 1');
SELECT profiles._filter('user', 'user_id = $1');
SELECT profiles._filter('user', 'p IS NULL');
SELECT profiles._filter('user', 'ctid IS NULL');
SELECT profiles._filter('user', 'GROUPING(user_id) = 1');
SELECT profiles._filter('person', 'true');
SELECT profiles._filter(NULL, 'true');

-- only functions that read nothing but their arguments and the time
SELECT profiles._filter('user', 'random() < 0.5');
SELECT profiles._filter('user', 'clock_timestamp() > last_seen');
SELECT profiles._filter('user', 'user_id = current_user');
SELECT profiles._filter('user', 'current_setting(''is_superuser'') = ''on''');
SELECT profiles._filter('user', 'table_to_xml(''pg_catalog.pg_class'', true, true, '''') IS NULL');
SELECT profiles._filter('user', 'has_table_privilege(''pg_catalog.pg_class'', ''SELECT'')');
SELECT profiles._filter('user', 'user_id @@ ''u1''');
SELECT profiles._filter('user', 'pg_sleep(1) IS NULL');

-- no code of users, whoever made it: functions, operators, conditions of domains, casts
CREATE FUNCTION filters.spy(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RAISE WARNING 'spy runs as %', current_user; RETURN true; END $$;
CREATE OPERATOR filters.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq);
CREATE FUNCTION filters.eq(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN filters.spy($1);
CREATE OPERATOR filters.==== (LEFTARG = text, RIGHTARG = text, FUNCTION = filters.eq);
CREATE DOMAIN filters.dom AS text CHECK (filters.spy(value));
CREATE TYPE filters.mood AS ENUM ('happy', 'sad');
CREATE TYPE filters.pair AS (a text, b text);
CREATE FUNCTION filters.takes(filters.dom[]) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true;
SELECT profiles._filter('user', 'filters.spy(user_id)');
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ''a''');
SELECT profiles._filter('user', 'user_id OPERATOR(filters.====) ''a''');
SELECT profiles._filter('user', 'user_id::filters.dom = ''a''');
SELECT profiles._filter('user', 'to_json(''sad''::filters.mood) IS NULL');
SELECT profiles._filter('user', '(ROW(user_id, ''b'')::filters.pair).a = ''a''');
SELECT profiles._filter('user', '''sad'' = ANY (enum_range(NULL::filters.mood)::text[])');
-- nor what others could replace after it was checked
CREATE ROLE profiles_filterer;
ALTER OPERATOR filters.=== (text, text) OWNER TO profiles_filterer;
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ''a''');
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ANY (''{a}'')');
-- others may be members of a role of which the extension's owner is one
GRANT profiles_filterer TO CURRENT_USER;
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ''a''');
REVOKE profiles_filterer FROM CURRENT_USER;
-- but a member of the owner has all its rights
GRANT :"USER" TO profiles_filterer;
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ''a''');
REVOKE :"USER" FROM profiles_filterer;
ALTER OPERATOR filters.=== (text, text) OWNER TO CURRENT_USER;
ALTER SCHEMA filters OWNER TO pg_database_owner;
SELECT profiles._filter('user', 'user_id OPERATOR(filters.===) ''a''');
ALTER SCHEMA filters OWNER TO profiles_filterer;
SELECT profiles._filter('user', 'nullif(true, user_id OPERATOR(filters.===) ''a'')');
ALTER SCHEMA filters OWNER TO CURRENT_USER;
-- unqualified names are those of pg_catalog
CREATE FUNCTION public.lower(text, int DEFAULT 1) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'trap';
CREATE FUNCTION public.trap(text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true;
SELECT profiles._filter('user', 'lower(user_id) = ''u1''');
SELECT profiles._filter('user', 'trap(user_id)');
DROP FUNCTION public.lower, public.trap;

-- reading of segments
SELECT profiles._filter('user', 'in_segment(''nobody'') OR true');
SELECT profiles._filter('user', 'true AND profiles.in_segment(''nobody'')');
SELECT profiles._filter('user', 'in_segment(user_id)');
SELECT profiles._filter('user', 'in_segment(NULL)');
SELECT profiles._filter('user', 'in_segment()');
SELECT profiles.in_segment('nobody');

-- anybody may ask; what analysis runs of a type, it runs as who wrote the filter
GRANT USAGE ON SCHEMA filters TO profiles_filterer;
SET ROLE profiles_filterer;
SELECT profiles._filter('user', 'user_id = ''a''');
SELECT profiles._filter('user', 'filters.takes(''{a}'')');
RESET ROLE;
REVOKE USAGE ON SCHEMA filters FROM profiles_filterer;
SET ROLE profiles_filterer;
SELECT profiles._filter('user', 'filters.takes(''{a}'')');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION pg_catalog.texteq FROM PUBLIC;
SET ROLE profiles_filterer;
SELECT profiles._filter('user', 'user_id = ''a''');
RESET ROLE;
GRANT EXECUTE ON FUNCTION pg_catalog.texteq TO PUBLIC;

DROP ROLE profiles_filterer;
SELECT profiles.uninstall();
DROP SCHEMA filters CASCADE;
