-- Configuration and state. Written by functions only; no OIDs, so that a dump
-- can be restored anywhere. Who added a source is the owner of its view, not data.

CREATE TABLE profiles.source_config (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL UNIQUE,
    preset text,
    capture text NOT NULL CHECK (capture IN ('deferred', 'immediate', 'none')),
    on_change text NOT NULL CHECK (on_change IN ('recompute', 'keep')),
    rls text NOT NULL CHECK (rls IN ('refuse', 'invoker', 'ignore')),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE profiles.source_config IS 'The sources, without their expressions, which the views source_<id> hold. Change it with add_source, alter_source and drop_source.';
COMMENT ON COLUMN profiles.source_config.id IS 'Number of the source and of its view.';
COMMENT ON COLUMN profiles.source_config.source IS 'Name of the relation of events when it was added.';
COMMENT ON COLUMN profiles.source_config.preset IS 'Preset that the mapping began with.';
COMMENT ON COLUMN profiles.source_config.capture IS 'How events get into profiles as they arrive.';
COMMENT ON COLUMN profiles.source_config.on_change IS 'What UPDATE, DELETE and TRUNCATE of events do to profiles.';
COMMENT ON COLUMN profiles.source_config.rls IS 'What was said about row-level security.';
COMMENT ON COLUMN profiles.source_config.added_at IS 'When it was added.';
COMMENT ON COLUMN profiles.source_config.changed_at IS 'When its mapping or filter last changed; a rebuild that began before is due again.';

CREATE TABLE profiles.source_count (
    source_id integer NOT NULL REFERENCES profiles.source_config ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('user', 'account')),
    folded bigint NOT NULL,
    left_out jsonb NOT NULL,
    examples jsonb NOT NULL,
    counted_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, kind)
);
COMMENT ON TABLE profiles.source_count IS 'What the last rebuild did with the events of each source; see the view status.';
COMMENT ON COLUMN profiles.source_count.source_id IS 'The source.';
COMMENT ON COLUMN profiles.source_count.kind IS 'user or account.';
COMMENT ON COLUMN profiles.source_count.folded IS 'Events that were folded into profiles.';
COMMENT ON COLUMN profiles.source_count.left_out IS 'Events that were left out, by reason.';
COMMENT ON COLUMN profiles.source_count.examples IS 'By reason, the key of one event that was left out.';
COMMENT ON COLUMN profiles.source_count.counted_at IS 'When they were counted.';

CREATE TABLE profiles.upkeep (
    kind text PRIMARY KEY CHECK (kind IN ('user', 'account')),
    phase text NOT NULL DEFAULT 'idle' CHECK (phase IN ('idle', 'fold', 'write', 'done')),
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    position text NOT NULL DEFAULT '',
    started_at timestamptz,
    noticed_at timestamptz,
    rebuilt_at timestamptz
);
COMMENT ON TABLE profiles.upkeep IS 'State of the rebuild of each kind; see the views progress and status.';
COMMENT ON COLUMN profiles.upkeep.kind IS 'user or account.';
COMMENT ON COLUMN profiles.upkeep.phase IS 'What is being done: fold (one source after the other into staging), write (staging into profiles by key range), done.';
COMMENT ON COLUMN profiles.upkeep.done IS 'Sources folded, or profiles written, so far in this phase.';
COMMENT ON COLUMN profiles.upkeep.total IS 'Sources to fold, or profiles to write, in this phase.';
COMMENT ON COLUMN profiles.upkeep.position IS 'Where the next batch of the phase begins.';
COMMENT ON COLUMN profiles.upkeep.started_at IS 'When the rebuild began.';
COMMENT ON COLUMN profiles.upkeep.noticed_at IS 'When its last notice was given.';
COMMENT ON COLUMN profiles.upkeep.rebuilt_at IS 'When the last rebuild was done.';

ALTER TABLE profiles.source_config OWNER TO @extowner@;
ALTER TABLE profiles.source_count OWNER TO @extowner@;
ALTER TABLE profiles.upkeep OWNER TO @extowner@;

SELECT pg_extension_config_dump('profiles.source_config', '');
SELECT pg_extension_config_dump('profiles.source_config_id_seq', '');
SELECT pg_extension_config_dump('profiles.source_count', '');
SELECT pg_extension_config_dump('profiles.upkeep', '');

-- views of it

CREATE FUNCTION profiles._source_columns(source_view regclass, OUT name text, OUT expression text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'profiles_source_columns' LANGUAGE C STABLE STRICT ROWS 20;
COMMENT ON FUNCTION profiles._source_columns(regclass) IS 'Internal: the columns of a source''s view and their expressions over the source''s row.';

CREATE FUNCTION profiles._source_view(source_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN 'profiles.source_' || source_id;
COMMENT ON FUNCTION profiles._source_view(integer) IS 'Internal: name of a source''s view.';

-- Which kinds a source feeds, and whether each is due for a rebuild.
CREATE VIEW profiles._source_kind AS
SELECT c.id AS source_id,
       k.kind,
       coalesce(u.rebuilt_at < c.changed_at, true) AS rebuild_due,
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
    FROM profiles._source_columns(v.oid)
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
COMMENT ON COLUMN profiles.sources.rebuild_due IS 'Has its definition changed since the last rebuild? Then CALL profiles.rebuild().';
COMMENT ON COLUMN profiles.sources.added_at IS 'When it was added.';

CREATE VIEW profiles.status AS
SELECT c.source,
       k.kind,
       n.folded,
       n.left_out,
       n.examples,
       k.rebuilt_at AS last_rebuild,
       coalesce(k.rebuild_due, true) AS rebuild_due
FROM profiles.source_config c
LEFT JOIN profiles._source_kind k ON k.source_id = c.id
LEFT JOIN profiles.source_count n ON n.source_id = c.id AND n.kind = k.kind;
ALTER VIEW profiles.status OWNER TO @extowner@;
COMMENT ON VIEW profiles.status IS 'What became of the events of each source, per kind: folded, or left out and why.';
COMMENT ON COLUMN profiles.status.source IS 'Name of the source.';
COMMENT ON COLUMN profiles.status.kind IS 'user or account; NULL if the relation of events is gone.';
COMMENT ON COLUMN profiles.status.folded IS 'Events folded into profiles by the last rebuild.';
COMMENT ON COLUMN profiles.status.left_out IS 'Events left out by the last rebuild, by reason: a filter, no key, no seen_at, infinite seen_at, future (held until due), error with its SQLSTATE.';
COMMENT ON COLUMN profiles.status.examples IS 'By reason, the key of one event left out.';
COMMENT ON COLUMN profiles.status.last_rebuild IS 'When the kind was last rebuilt.';
COMMENT ON COLUMN profiles.status.rebuild_due IS 'Has the source''s definition changed since? Then CALL profiles.rebuild().';

CREATE VIEW profiles.progress AS
SELECT kind, phase, done, total,
       CASE WHEN phase = 'done' THEN 100
            WHEN total > 0 THEN least(100, round(100.0 * done / total, 1))
            ELSE 0 END AS percent,
       started_at
FROM profiles.upkeep;
ALTER VIEW profiles.progress OWNER TO @extowner@;
COMMENT ON VIEW profiles.progress IS 'How far the current or last rebuild of each kind is, as of its last commit.';
COMMENT ON COLUMN profiles.progress.kind IS 'user or account.';
COMMENT ON COLUMN profiles.progress.phase IS 'fold: sources are folded; write: profiles are written; done.';
COMMENT ON COLUMN profiles.progress.done IS 'Sources or profiles done in this phase.';
COMMENT ON COLUMN profiles.progress.total IS 'Sources or profiles in this phase.';
COMMENT ON COLUMN profiles.progress.percent IS 'Share of the phase that is done.';
COMMENT ON COLUMN profiles.progress.started_at IS 'When the rebuild began.';
