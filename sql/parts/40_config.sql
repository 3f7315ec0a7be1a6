-- Configuration and state. Written by functions only; no OIDs, so that a dump
-- can be restored anywhere. Who added a source is the owner of its view, not data.

CREATE TABLE profiles.source_config (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL UNIQUE,
    preset text,
    capture text NOT NULL CHECK (capture IN ('deferred', 'immediate', 'none')),
    on_change text NOT NULL CHECK (on_change IN ('recompute', 'keep')),
    rls text NOT NULL CHECK (rls IN ('refuse', 'invoker', 'ignore')),
    added_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE profiles.source_config IS 'The sources, without their expressions, which the views source_<id> hold. Change it with add_source, alter_source and drop_source.';
COMMENT ON COLUMN profiles.source_config.id IS 'Number of the source and of its view.';
COMMENT ON COLUMN profiles.source_config.source IS 'Name of the relation of events when it was added.';
COMMENT ON COLUMN profiles.source_config.preset IS 'Preset that the mapping began with.';
COMMENT ON COLUMN profiles.source_config.capture IS 'How events get into profiles as they arrive.';
COMMENT ON COLUMN profiles.source_config.on_change IS 'What UPDATE, DELETE and TRUNCATE of events do to profiles.';
COMMENT ON COLUMN profiles.source_config.rls IS 'What was said about row-level security.';
COMMENT ON COLUMN profiles.source_config.added_at IS 'When it was added.';


CREATE TABLE profiles.source_part (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    relation text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    folded boolean NOT NULL,
    PRIMARY KEY (source_id, relation, kind)
);
COMMENT ON TABLE profiles.source_part IS 'The tables that make up each captured source: itself, its partitions and children.';
COMMENT ON COLUMN profiles.source_part.source_id IS 'The source.';
COMMENT ON COLUMN profiles.source_part.relation IS 'Name of the table.';
COMMENT ON COLUMN profiles.source_part.kind IS 'user or account.';
COMMENT ON COLUMN profiles.source_part.folded IS 'Have the events been folded that it had when it was noticed?';

CREATE TABLE profiles.source_count (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    reason text NOT NULL,
    events bigint NOT NULL,
    example text,
    since timestamptz,
    PRIMARY KEY (source_id, kind, reason)
);
COMMENT ON TABLE profiles.source_count IS 'What became of the events of each source; see the view status.';
COMMENT ON COLUMN profiles.source_count.source_id IS 'The source.';
COMMENT ON COLUMN profiles.source_count.kind IS 'user or account.';
COMMENT ON COLUMN profiles.source_count.reason IS 'Why events were left out, or "folded".';
COMMENT ON COLUMN profiles.source_count.events IS 'How many: those of the last rebuild and those captured since; of a source that is not captured, those of the last rebuild or refresh(since => ...).';
COMMENT ON COLUMN profiles.source_count.example IS 'Key of one of them, or its first 200 bytes, where it is known and the subject not blocked.';
COMMENT ON COLUMN profiles.source_count.since IS 'Time from which on events were counted, if the last to count was refresh(since => ...).';

CREATE TABLE profiles.source_failure (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    failed_at timestamptz NOT NULL DEFAULT now(),
    sqlstate text NOT NULL,
    message text NOT NULL,
    hint text,
    was_folded boolean NOT NULL,
    PRIMARY KEY (source_id, kind)
);
COMMENT ON TABLE profiles.source_failure IS 'Sources that could not be folded and are left out, until a rebuild can fold them; see the view status.';
COMMENT ON COLUMN profiles.source_failure.source_id IS 'The source.';
COMMENT ON COLUMN profiles.source_failure.kind IS 'user or account.';
COMMENT ON COLUMN profiles.source_failure.failed_at IS 'When it was last tried.';
COMMENT ON COLUMN profiles.source_failure.sqlstate IS 'Class of the error.';
COMMENT ON COLUMN profiles.source_failure.message IS 'The error.';
COMMENT ON COLUMN profiles.source_failure.hint IS 'Its hint, if it had one.';
COMMENT ON COLUMN profiles.source_failure.was_folded IS 'Had it been folded as a whole before, so that it has a part in profiles?';

CREATE TABLE profiles.latest_failure (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    failed_at timestamptz NOT NULL DEFAULT now(),
    sqlstate text NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (source_id, kind)
);
COMMENT ON TABLE profiles.latest_failure IS 'Sources whose latest events refresh(since => ...) could not fold, until it or a rebuild can; they are not left out. See the view status.';
COMMENT ON COLUMN profiles.latest_failure.source_id IS 'The source.';
COMMENT ON COLUMN profiles.latest_failure.kind IS 'user or account.';
COMMENT ON COLUMN profiles.latest_failure.failed_at IS 'When it was last tried.';
COMMENT ON COLUMN profiles.latest_failure.sqlstate IS 'Class of the error.';
COMMENT ON COLUMN profiles.latest_failure.message IS 'The error.';

-- Pending rows are only ever appended by writers, so that these never wait for
-- each other, and taken by whoever has the kind's upkeep lock. A profile is to
-- be merged; a key without one is a mark: to be computed anew from its events; a
-- reason counts events left out; with a reason and a profile they are held.
CREATE TABLE profiles.user_pending (
    source_id integer NOT NULL,
    key text,
    left_out text,
    profile profiles.profile,
    events bigint NOT NULL,
    example text,
    captured_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE TABLE profiles.account_pending (LIKE profiles.user_pending INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Of many subjects of one statement: as pending rows with a profile and without a
-- reason, but packed. A row fills a page, so nothing of it is compressed or put out of
-- line, unless it comes from a database of another encoding and is larger. Vacuum leaves
-- empty pages to the next writer, who else would have to make the table longer again;
-- refresh truncates it when it has grown.
CREATE TABLE profiles.user_packed (
    source_id integer NOT NULL,
    subjects integer NOT NULL,
    profiles profiles._packed NOT NULL,
    captured_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, vacuum_truncate = off);
CREATE TABLE profiles.account_packed (LIKE profiles.user_packed INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, vacuum_truncate = off);

DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['user', 'account'] LOOP
        -- they have no key, and rows are deleted: a publication of all tables asks for that
        EXECUTE format('ALTER TABLE profiles.%I REPLICA IDENTITY FULL', kind || '_pending');
        EXECUTE format('ALTER TABLE profiles.%I REPLICA IDENTITY FULL', kind || '_packed');
        EXECUTE format('ALTER TABLE profiles.%I OWNER TO %s', kind || '_pending', $own$@extowner@$own$);
        EXECUTE format('COMMENT ON TABLE profiles.%I IS %L', kind || '_pending',
                       format('What was captured and is not yet in profiles.%s_profile; refresh puts it there.', kind));
        EXECUTE format('COMMENT ON COLUMN profiles.%I.source_id IS %L', kind || '_pending', 'The source.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.key IS %L', kind || '_pending', 'Key of the subject.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.left_out IS %L', kind || '_pending', 'Why events were left out, or "future" and the time from which they count.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.profile IS %L', kind || '_pending', 'The fold of the events; NULL with a key: the subject is to be computed anew.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.events IS %L', kind || '_pending', 'How many events.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.example IS %L', kind || '_pending', 'Key of an event left out, or its first 200 bytes.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.captured_at IS %L', kind || '_pending', 'Start of the transaction that captured it.');

        EXECUTE format('ALTER TABLE profiles.%I OWNER TO %s', kind || '_packed', $own$@extowner@$own$);
        EXECUTE format('ALTER TABLE profiles.%I SET (toast_tuple_target = %s)', kind || '_packed', current_setting('block_size')::integer - 32);
        EXECUTE format('COMMENT ON TABLE profiles.%I IS %L', kind || '_packed',
                       format('What was captured of many subjects at once, and is not yet in profiles.%s_profile; refresh puts it there.', kind));
        EXECUTE format('COMMENT ON COLUMN profiles.%I.source_id IS %L', kind || '_packed', 'The source.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.subjects IS %L', kind || '_packed', 'How many subjects.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.profiles IS %L', kind || '_packed', 'Their keys, how many events each has, and the fold of these.');
        EXECUTE format('COMMENT ON COLUMN profiles.%I.captured_at IS %L', kind || '_packed', 'Start of the transaction that captured it.');
    END LOOP;
END
$$;

CREATE TABLE profiles.kept (
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    key text NOT NULL,
    source text NOT NULL,
    profile profiles.profile NOT NULL
);
ALTER TABLE profiles.kept REPLICA IDENTITY FULL;
COMMENT ON TABLE profiles.kept IS 'Events that are gone from sources whose on_change is keep, and new ones of subjects that were forgotten without being blocked, folded; a subject may have several rows until they are merged. Part of every recomputation.';
COMMENT ON COLUMN profiles.kept.kind IS 'user or account.';
COMMENT ON COLUMN profiles.kept.key IS 'Key of the subject.';
COMMENT ON COLUMN profiles.kept.source IS 'Name of the source.';
COMMENT ON COLUMN profiles.kept.profile IS 'The fold of the events.';

CREATE TABLE profiles.due (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    source_id integer,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE profiles.due IS 'Why a kind has to be rebuilt. The next refresh or rebuild does, and deletes the rows it has seen.';
COMMENT ON COLUMN profiles.due.id IS 'Number.';
COMMENT ON COLUMN profiles.due.kind IS 'user or account.';
COMMENT ON COLUMN profiles.due.source_id IS 'The source that is the reason, if one is.';
COMMENT ON COLUMN profiles.due.reason IS 'added, altered, dropped, truncated, detached, partition gone, foreign table, rebuild.';
COMMENT ON COLUMN profiles.due.since IS 'Since when.';

-- The views events and sessions go with any table that they read when it is dropped
-- with CASCADE, and their grants with them; they come back with these.
CREATE TABLE profiles.view_grant (
    view text NOT NULL,
    column_name text,
    grantee text,
    privilege text NOT NULL,
    grantable boolean NOT NULL
);
ALTER TABLE profiles.view_grant REPLICA IDENTITY FULL;
COMMENT ON TABLE profiles.view_grant IS 'Grants on events and sessions, as the last refresh, rebuild or change of a source saw them.';
COMMENT ON COLUMN profiles.view_grant.view IS 'events or sessions.';
COMMENT ON COLUMN profiles.view_grant.column_name IS 'The column, if the grant is on one.';
COMMENT ON COLUMN profiles.view_grant.grantee IS 'Role that has the privilege; NULL: PUBLIC.';
COMMENT ON COLUMN profiles.view_grant.privilege IS 'SELECT and so on.';
COMMENT ON COLUMN profiles.view_grant.grantable IS 'May the role grant it on?';

CREATE TABLE profiles.blocked (
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    key text NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, key)
);
COMMENT ON TABLE profiles.blocked IS 'Subjects that forget was told to block: their events make no profile.';
COMMENT ON COLUMN profiles.blocked.kind IS 'user or account.';
COMMENT ON COLUMN profiles.blocked.key IS 'Key of the subject; of one longer than 1,024 bytes its beginning.';
COMMENT ON COLUMN profiles.blocked.blocked_at IS 'When it was blocked.';

-- No keys: these would be what was to be forgotten.
CREATE TABLE profiles.forgotten (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    key_hash bytea NOT NULL,
    PRIMARY KEY (source_id, kind, key_hash)
);
COMMENT ON TABLE profiles.forgotten IS 'Whom forget has erased without blocking: what a source had of them by then is not kept when it goes.';
COMMENT ON COLUMN profiles.forgotten.source_id IS 'A source that there was then.';
COMMENT ON COLUMN profiles.forgotten.kind IS 'user or account.';
COMMENT ON COLUMN profiles.forgotten.key_hash IS 'SHA-256 of the key''s bytes.';

CREATE TABLE profiles.upkeep (
    kind text PRIMARY KEY CHECK (kind IN ('user', 'account')),
    phase text NOT NULL DEFAULT 'idle' CHECK (phase IN ('idle', 'fold', 'write', 'index', 'merge', 'done')),
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    position text NOT NULL DEFAULT '',
    started_at timestamptz,
    noticed_at timestamptz,
    refreshed_at timestamptz,
    rebuilt_at timestamptz,
    due_ids bigint[] NOT NULL DEFAULT '{}',
    kept_size bigint NOT NULL DEFAULT 0,
    search_size bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE profiles.upkeep IS 'State of the upkeep of each kind; see the views progress and status.';
COMMENT ON COLUMN profiles.upkeep.kind IS 'user or account.';
COMMENT ON COLUMN profiles.upkeep.phase IS 'What is being done: fold (one source after the other into staging), write (staging into profiles by key range), index (of search, if they are missing), merge (what is pending), done.';
COMMENT ON COLUMN profiles.upkeep.done IS 'Sources folded, or profiles written, so far in this phase.';
COMMENT ON COLUMN profiles.upkeep.total IS 'Sources to fold, or profiles to write, in this phase.';
COMMENT ON COLUMN profiles.upkeep.position IS 'Where the next batch of the phase begins.';
COMMENT ON COLUMN profiles.upkeep.started_at IS 'When the refresh or rebuild began.';
COMMENT ON COLUMN profiles.upkeep.noticed_at IS 'When its last notice was given.';
COMMENT ON COLUMN profiles.upkeep.refreshed_at IS 'When the last refresh that is done began.';
COMMENT ON COLUMN profiles.upkeep.due_ids IS 'Rows of due that the running rebuild has seen.';
COMMENT ON COLUMN profiles.upkeep.kept_size IS 'Size of kept, in bytes, when its rows were last merged.';
COMMENT ON COLUMN profiles.upkeep.search_size IS 'Size of what is searched, in bytes, when its statistics were made.';
COMMENT ON COLUMN profiles.upkeep.rebuilt_at IS 'When the last rebuild that is done began.';

ALTER TABLE profiles.source_config OWNER TO @extowner@;
ALTER TABLE profiles.source_part OWNER TO @extowner@;
ALTER TABLE profiles.source_count OWNER TO @extowner@;
ALTER TABLE profiles.source_failure OWNER TO @extowner@;
ALTER TABLE profiles.latest_failure OWNER TO @extowner@;
ALTER TABLE profiles.kept OWNER TO @extowner@;
ALTER TABLE profiles.due OWNER TO @extowner@;
ALTER TABLE profiles.blocked OWNER TO @extowner@;
ALTER TABLE profiles.forgotten OWNER TO @extowner@;
ALTER TABLE profiles.view_grant OWNER TO @extowner@;
ALTER TABLE profiles.upkeep OWNER TO @extowner@;

SELECT pg_extension_config_dump('profiles.source_config', '');
SELECT pg_extension_config_dump('profiles.view_grant', '');
SELECT pg_extension_config_dump('profiles.source_config_id_seq', '');
SELECT pg_extension_config_dump('profiles.source_part', '');
SELECT pg_extension_config_dump('profiles.source_count', '');
SELECT pg_extension_config_dump('profiles.source_failure', '');
SELECT pg_extension_config_dump('profiles.latest_failure', '');
SELECT pg_extension_config_dump('profiles.user_pending', '');
SELECT pg_extension_config_dump('profiles.account_pending', '');
SELECT pg_extension_config_dump('profiles.user_packed', '');
SELECT pg_extension_config_dump('profiles.account_packed', '');
SELECT pg_extension_config_dump('profiles.kept', '');
SELECT pg_extension_config_dump('profiles.due', '');
SELECT pg_extension_config_dump('profiles.due_id_seq', '');
SELECT pg_extension_config_dump('profiles.blocked', '');
SELECT pg_extension_config_dump('profiles.forgotten', '');
SELECT pg_extension_config_dump('profiles.upkeep', '');

-- views of it

CREATE FUNCTION profiles._source_columns(source_view regclass, OUT name text, OUT expression text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_source_columns' LANGUAGE C STABLE STRICT ROWS 20;
COMMENT ON FUNCTION profiles._source_columns(regclass) IS 'Internal: the columns of a source''s view and their expressions over the source''s row.';

CREATE FUNCTION profiles._source_relation(source_view regclass) RETURNS regclass
    AS 'MODULE_PATHNAME', 'profiles_source_relation' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION profiles._source_relation(regclass) IS 'Internal: the relation of events of a source''s view; NULL if its owner has made something else of it.';

CREATE FUNCTION profiles._source_view(source_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles.source_' || source_id;
COMMENT ON FUNCTION profiles._source_view(integer) IS 'Internal: name of a source''s view.';

-- Which kinds a source feeds, and whether each is due for a rebuild.
CREATE VIEW profiles._source_kind AS
SELECT c.id AS source_id,
       k.kind,
       EXISTS (SELECT FROM profiles.due d WHERE d.kind = k.kind AND d.source_id = c.id)
       OR EXISTS (SELECT FROM profiles.source_failure f WHERE f.kind = k.kind AND f.source_id = c.id) AS rebuild_due,
       u.refreshed_at,
       u.rebuilt_at
FROM profiles.source_config c
CROSS JOIN (VALUES ('user'), ('account')) AS k (kind)
JOIN pg_attribute a ON a.attrelid = to_regclass('profiles.source_' || c.id) AND a.attname = k.kind || '_id'
LEFT JOIN profiles.upkeep u ON u.kind = k.kind;
ALTER VIEW profiles._source_kind OWNER TO @extowner@;
COMMENT ON VIEW profiles._source_kind IS 'Internal: which kinds a source feeds.';

CREATE VIEW profiles.sources AS
SELECT c.source,
       pg_get_userbyid(v.relowner)::text AS added_by,
       c.preset,
       m.mapping,
       m.filters,
       c.capture,
       c.on_change,
       c.rls,
       coalesce((SELECT bool_or(k.rebuild_due) FROM profiles._source_kind k WHERE k.source_id = c.id), true) AS rebuild_due,
       c.added_at
FROM profiles.source_config c
LEFT JOIN pg_class v ON v.oid = to_regclass('profiles.source_' || c.id)
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(name, expression) FILTER (WHERE name NOT LIKE 'keep %') AS mapping,
           jsonb_object_agg(substr(name, 6), expression) FILTER (WHERE name LIKE 'keep %') AS filters
    FROM profiles._source_columns(CASE WHEN profiles._source_relation(v.oid) IS NOT NULL THEN v.oid END)
) m ON true;
ALTER VIEW profiles.sources OWNER TO @extowner@;
COMMENT ON VIEW profiles.sources IS 'The sources of events and how their columns map to attributes, chosen ones included.';
COMMENT ON COLUMN profiles.sources.source IS 'Name of the source, for alter_source and drop_source.';
COMMENT ON COLUMN profiles.sources.added_by IS 'Role that added it; its expressions run with the rights of this role. NULL if the relation of events is gone.';
COMMENT ON COLUMN profiles.sources.preset IS 'Preset that the mapping began with.';
COMMENT ON COLUMN profiles.sources.mapping IS 'Attribute to SQL expression over the source''s row.';
COMMENT ON COLUMN profiles.sources.filters IS 'Reason to SQL condition: events for which it is not true are left out, and counted under the reason.';
COMMENT ON COLUMN profiles.sources.capture IS 'How events get into profiles as they arrive: deferred, immediate or none.';
COMMENT ON COLUMN profiles.sources.on_change IS 'What UPDATE, DELETE and TRUNCATE of events do: recompute or keep.';
COMMENT ON COLUMN profiles.sources.rls IS 'What was said about row-level security: refuse, invoker or ignore.';
COMMENT ON COLUMN profiles.sources.rebuild_due IS 'Has its definition changed since the last rebuild, or was it left out? Then CALL profiles.rebuild().';
COMMENT ON COLUMN profiles.sources.added_at IS 'When it was added.';

CREATE VIEW profiles.status AS
SELECT c.source,
       k.kind,
       coalesce(p.pending, 0) AS pending,
       now() - p.oldest AS lag,
       k.refreshed_at AS last_refresh,
       k.rebuilt_at AS last_rebuild,
       coalesce(k.rebuild_due, true) AS rebuild_due,
       coalesce(n.folded, 0) AS folded,
       coalesce(n.left_out, '{}') AS left_out,
       coalesce(n.examples, '{}') AS examples,
       f.error,
       f.failed_at,
       n.since AS counted_since,
       coalesce(n.cut, '{}') AS cut
FROM profiles.source_config c
LEFT JOIN profiles._source_kind k ON k.source_id = c.id
LEFT JOIN LATERAL (
    SELECT sum(r.rows)::bigint AS pending, min(r.captured_at) AS oldest
    FROM (SELECT 'user' AS kind, source_id, 1 AS rows, captured_at FROM profiles.user_pending WHERE left_out IS NULL
          UNION ALL
          SELECT 'account', source_id, 1, captured_at FROM profiles.account_pending WHERE left_out IS NULL
          UNION ALL
          SELECT 'user', source_id, subjects, captured_at FROM profiles.user_packed
          UNION ALL
          SELECT 'account', source_id, subjects, captured_at FROM profiles.account_packed) r
    WHERE r.source_id = c.id AND r.kind = k.kind
) p ON true
LEFT JOIN LATERAL (
    SELECT sum(s.events) FILTER (WHERE s.reason = 'folded')::bigint AS folded,
           jsonb_object_agg(s.reason, s.events) FILTER (WHERE s.reason <> 'folded' AND s.reason NOT LIKE 'cut %') AS left_out,
           jsonb_object_agg(substr(s.reason, 5), s.events) FILTER (WHERE s.reason LIKE 'cut %') AS cut,
           jsonb_object_agg(s.reason, s.example) FILTER (WHERE s.reason <> 'folded' AND s.example IS NOT NULL) AS examples,
           max(s.since) AS since
    FROM (
        SELECT r.reason, sum(r.events)::bigint AS events, min(r.example) AS example, max(r.since) AS since
        FROM (SELECT n.kind, n.source_id, n.reason, n.events, n.example, n.since FROM profiles.source_count n
              UNION ALL
              SELECT 'user', source_id, CASE WHEN left_out LIKE 'future %' THEN 'future' ELSE left_out END,
                     events, coalesce(example, key), NULL
              FROM profiles.user_pending WHERE left_out IS NOT NULL
              UNION ALL
              SELECT 'account', source_id, CASE WHEN left_out LIKE 'future %' THEN 'future' ELSE left_out END,
                     events, coalesce(example, key), NULL
              FROM profiles.account_pending WHERE left_out IS NOT NULL) r
        WHERE r.source_id = c.id AND r.kind = k.kind
        GROUP BY r.reason) s
) n ON true
LEFT JOIN LATERAL (
    SELECT f.sqlstate || ': ' || f.message AS error, f.failed_at
    FROM (SELECT true AS left_out, source_id, kind, failed_at, sqlstate, message FROM profiles.source_failure
          UNION ALL
          SELECT false, source_id, kind, failed_at, sqlstate, message FROM profiles.latest_failure) f
    WHERE f.source_id = c.id AND f.kind = coalesce(k.kind, f.kind)
    ORDER BY f.left_out DESC, f.failed_at DESC, f.kind LIMIT 1
) f ON true;
ALTER VIEW profiles.status OWNER TO @extowner@;
COMMENT ON VIEW profiles.status IS 'How up to date the profiles are, per source and kind, and what became of its events: folded, or left out and why.';
COMMENT ON COLUMN profiles.status.source IS 'Name of the source.';
COMMENT ON COLUMN profiles.status.kind IS 'user or account; NULL if the relation of events is gone.';
COMMENT ON COLUMN profiles.status.pending IS 'What was captured and waits for refresh: so many subjects, of each statement anew.';
COMMENT ON COLUMN profiles.status.lag IS 'Age of the oldest of them; NULL if there is none.';
COMMENT ON COLUMN profiles.status.last_refresh IS 'When the last refresh of the kind that is done began.';
COMMENT ON COLUMN profiles.status.last_rebuild IS 'When the last rebuild of the kind that is done began.';
COMMENT ON COLUMN profiles.status.rebuild_due IS 'Must the kind be rebuilt because of this source? The next refresh or rebuild does; if the source is left out, only rebuild.';
COMMENT ON COLUMN profiles.status.folded IS 'Events folded into profiles: by the last rebuild, and captured and merged since but by immediate writers; of a source that is not captured, by the last rebuild or refresh(since => ...). What is captured is counted each time, so only a rebuild says how many events there are.';
COMMENT ON COLUMN profiles.status.left_out IS 'Events left out, counted as in folded, by reason: a filter, no key, no seen_at, infinite seen_at, future (held until due), blocked, error with its SQLSTATE.';
COMMENT ON COLUMN profiles.status.examples IS 'By reason, the key of one event left out, or its first 200 bytes; by "cut" and attribute, one whose value was cut.';
COMMENT ON COLUMN profiles.status.error IS 'Why the source is left out as a whole, or, if no rebuild is due, why the last refresh(since => ...) could not fold its latest events: SQLSTATE and message of the error; NULL if it is well.';
COMMENT ON COLUMN profiles.status.failed_at IS 'When folding it was last tried, if that failed.';
COMMENT ON COLUMN profiles.status.cut IS 'By attribute, how often a profile, or the part of one that a statement or rebuild made, has a value of which only the beginning counts, since it is too long; counted as in folded.';
COMMENT ON COLUMN profiles.status.counted_since IS 'Time from which on events of a source that is not captured are counted in folded and left_out, if refresh(since => ...) has counted them; NULL: all are.';

CREATE VIEW profiles.progress AS
SELECT kind, phase, done, total,
       CASE WHEN phase = 'done' THEN 100
            WHEN phase = 'index' THEN 0
            WHEN total > 0 THEN least(100, round(100.0 * done / total, 1))
            ELSE 0 END AS percent,
       started_at
FROM profiles.upkeep;
ALTER VIEW profiles.progress OWNER TO @extowner@;
COMMENT ON VIEW profiles.progress IS 'How far the current or last refresh or rebuild of each kind is, as of its last commit.';
COMMENT ON COLUMN profiles.progress.kind IS 'user or account.';
COMMENT ON COLUMN profiles.progress.phase IS 'fold: sources are folded; write: profiles are written; index: what search needs is indexed; merge: what is pending is merged; done.';
COMMENT ON COLUMN profiles.progress.done IS 'Sources folded, profiles written, or pending rows merged.';
COMMENT ON COLUMN profiles.progress.total IS 'How many there are to do, as far as it is known.';
COMMENT ON COLUMN profiles.progress.percent IS 'Share of the phase that is done.';
COMMENT ON COLUMN profiles.progress.started_at IS 'When it began.';
