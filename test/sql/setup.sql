-- The extension, and that everything in it says what it is for.

\set SHOW_CONTEXT never

CREATE EXTENSION profiles;

SELECT n.nspname AS schema, e.extrelocatable AS relocatable
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'profiles';

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_depend d
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'profiles' AND d.deptype = 'e';

-- objects without a comment; sequences and operator families come with their tables and classes
SELECT pg_describe_object(m.classid, m.objid, 0) AS without_comment
FROM member m
WHERE obj_description(m.objid, m.classid::regclass::name) IS NULL
  AND m.classid <> 'pg_opfamily'::regclass
  AND NOT (m.classid = 'pg_class'::regclass AND (SELECT relkind = 'S' FROM pg_class WHERE oid = m.objid))
  -- row types and array types, which are members from PostgreSQL 17 on
  AND NOT (m.classid = 'pg_type'::regclass AND m.objid <> 'profiles.profile'::regtype)
ORDER BY without_comment;

-- columns of public tables and views without a comment
SELECT pg_describe_object(m.classid, m.objid, a.attnum) AS without_comment
FROM member m
JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relname !~ '^_' AND col_description(c.oid, a.attnum) IS NULL
ORDER BY without_comment;

-- every comment is at least one sentence
SELECT pg_describe_object(m.classid, m.objid, 0) AS no_sentence
FROM member m
WHERE obj_description(m.objid, m.classid::regclass::name) !~ '[.?]$'
ORDER BY no_sentence;

-- no overloads: one name, one function
SELECT p.proname AS overloaded
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
GROUP BY p.proname HAVING count(*) > 1
ORDER BY overloaded;

-- what runs SQL has a pinned search_path
SELECT p.oid::regprocedure::text AS not_pinned
FROM member m
JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
  AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
ORDER BY not_pinned;
