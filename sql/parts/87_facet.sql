-- Counts of values, for filter menus, and to hold one subject against the others.

-- The column of users or accounts that is meant: a column, or an attribute, which
-- means its last value.
CREATE FUNCTION profiles._facet_column(kind text, attribute text) RETURNS name
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT a.attname
    FROM unnest(ARRAY[attribute,
                      CASE attribute WHEN 'name' THEN kind || '_name' WHEN 'email' THEN kind || '_email'
                                     WHEN 'application' THEN 'last_seen_application' WHEN 'geo.country' THEN 'last_seen_country'
                                     WHEN 'geo.region' THEN 'last_region' WHEN 'geo.city' THEN 'last_city' END,
                      'last_' || replace(attribute, '.', '_')]) WITH ORDINALITY AS c (name, position)
    JOIN pg_attribute a ON a.attrelid = to_regclass('profiles.' || profiles._relation(kind)) AND a.attname = c.name
                       AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.position LIMIT 1;
END;
COMMENT ON FUNCTION profiles._facet_column(text, text) IS 'Internal: column of users or accounts that an attribute means.';

-- Buckets begin at multiples of a width: the smallest of 1, 2 or 5 times a power of
-- ten that makes no more buckets than wanted.
CREATE FUNCTION profiles._bucket_width(low numeric, high numeric, buckets int, whole boolean) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    power int := CASE WHEN high > low THEN floor(log((high - low) / buckets)) - 1 WHEN high <> 0 THEN floor(log(abs(high))) - 2 ELSE 0 END;
    width numeric;
BEGIN
    IF whole THEN
        power := greatest(power, 0);
    END IF;
    LOOP
        FOREACH width IN ARRAY ARRAY[1, 2, 5] LOOP
            width := width * 10::numeric ^ power;
            IF floor(high / width) - floor(low / width) < buckets THEN
                RETURN trim_scale(width);
            END IF;
        END LOOP;
        power := power + 1;
    END LOOP;
END
$$;
COMMENT ON FUNCTION profiles._bucket_width(numeric, numeric, int, boolean) IS 'Internal: width of buckets of numbers.';

CREATE FUNCTION profiles._unit_length(unit text) RETURNS interval
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE unit WHEN 'quarter' THEN interval '3 months' ELSE ('1 ' || unit)::interval END;
COMMENT ON FUNCTION profiles._unit_length(text) IS 'Internal: length of a unit of the calendar.';

-- The same for times: the smallest of the given units of the calendar, the last if none will do.
CREATE FUNCTION profiles._bucket_unit(low timestamp, high timestamp, buckets int, units text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unit text;
    spread interval;
BEGIN
    FOREACH unit IN ARRAY units LOOP
        -- years and months, or days and parts of them
        spread := CASE WHEN unit IN ('second', 'minute', 'hour', 'day', 'week')
                       THEN date_trunc(unit, high) - date_trunc(unit, low)
                       ELSE age(date_trunc(unit, high), date_trunc(unit, low)) END;
        EXIT WHEN extract(epoch FROM spread) < extract(epoch FROM profiles._unit_length(unit)) * buckets;
    END LOOP;
    RETURN unit;
END
$$;
COMMENT ON FUNCTION profiles._bucket_unit(timestamp, timestamp, int, text[]) IS 'Internal: width of buckets of times.';

CREATE FUNCTION profiles.facet(kind text, attribute text, filter text DEFAULT NULL, max int DEFAULT 20)
    RETURNS TABLE (value text, count bigint)
    LANGUAGE plpgsql STABLE ROWS 20
    SET search_path = pg_catalog, pg_temp
    SET TimeZone = 'UTC'
    SET DateStyle = 'ISO'
AS $$
DECLARE
    column_name name;
    type regtype;
    condition text;
    is_number boolean;
    source text;
    others bigint;
    low numeric;
    high numeric;
    earliest timestamp;
    latest timestamp;
    buckets int;
    units text[];
    bucket text;
BEGIN
    PERFORM profiles._check_kind(kind);
    column_name := profiles._facet_column(kind, attribute);
    IF column_name IS NULL THEN
        RAISE undefined_column USING
            MESSAGE = format('"%s" is no column of profiles.%s', attribute, profiles._relation(kind)),
            HINT = format('Columns are: %s.', (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
                                              WHERE a.attrelid = to_regclass('profiles.' || profiles._relation(kind))
                                                AND a.attnum > 0 AND NOT a.attisdropped));
    ELSIF max < 1 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('max is %s', max),
            HINT = 'It is the number of values that you want, at least 1, or NULL for all; of numbers and times then there are 20 buckets.';
    END IF;
    type := (SELECT a.atttypid FROM pg_attribute a
             WHERE a.attrelid = to_regclass('profiles.' || profiles._relation(kind)) AND a.attname = column_name);
    condition := profiles._filter(kind, filter);

    is_number := type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float4'::regtype, 'float8'::regtype);
    IF is_number THEN
        source := format('SELECT CASE WHEN n.x NOT IN (''NaN'', ''Infinity'', ''-Infinity'') THEN n.x END AS x, n.x AS raw '
                         'FROM (SELECT p.%I::numeric AS x FROM profiles.%I AS p WHERE %s) n',
                         column_name, profiles._relation(kind), condition);
    ELSIF type IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) THEN
        source := format('SELECT CASE WHEN isfinite(n.x) THEN n.x::timestamp END AS x, n.x AS raw '
                         'FROM (SELECT p.%I AS x FROM profiles.%I AS p WHERE %s) n',
                         column_name, profiles._relation(kind), condition);
    ELSE
        RETURN QUERY EXECUTE format(
            'SELECT s.x::text, s.n FROM (SELECT p.%1$I AS x, count(*) AS n FROM profiles.%2$I AS p WHERE %3$s GROUP BY p.%1$I) s '
            'ORDER BY s.n DESC, s.x::text LIMIT $1', column_name, profiles._relation(kind), condition) USING max;
        RETURN;
    END IF;

    -- what is no finite number or time is counted on its own
    EXECUTE format('SELECT count(DISTINCT s.raw) FILTER (WHERE s.x IS NULL) + coalesce(bool_or(s.raw IS NULL), false)::int FROM (%s) s', source)
       INTO others;
    buckets := greatest(coalesce(max, 20) - others, 1);
    IF is_number THEN
        EXECUTE format('SELECT min(s.x), max(s.x) FROM (%s) s', source) INTO low, high;
        bucket := format('numrange(trim_scale(floor(s.x / %1$s) * %1$s), trim_scale((floor(s.x / %1$s) + 1) * %1$s))::text',
                         coalesce(profiles._bucket_width(low, high, buckets,
                                                         type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)), 1));
    ELSE
        EXECUTE format('SELECT min(s.x), max(s.x) FROM (%s) s', source) INTO earliest, latest;
        units := ARRAY['second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year', 'decade', 'century', 'millennium'];
        bucket := profiles._bucket_unit(earliest, latest, buckets, CASE type WHEN 'date'::regtype THEN units[4:] ELSE units END);
        bucket := format('%1$s(date_trunc(%2$L, s.x)::%3$s, (date_trunc(%2$L, s.x) + profiles._unit_length(%2$L))::%3$s)::text',
                         CASE type WHEN 'timestamptz'::regtype THEN 'tstzrange' WHEN 'timestamp'::regtype THEN 'tsrange' ELSE 'daterange' END,
                         coalesce(bucket, 'day'), type);
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT b.bucket, b.n FROM (SELECT CASE WHEN s.x IS NULL THEN s.raw::text ELSE %s END AS bucket, min(s.x) AS low, count(*) AS n '
        'FROM (%s) s GROUP BY 1) b ORDER BY b.low NULLS LAST, b.bucket', bucket, source);
END
$$;
COMMENT ON FUNCTION profiles.facet(text, text, text, int) IS 'Counts the values of a column of users or accounts: text and the like by value, most frequent first, at most "max" of them; numbers and times in at most "max" buckets, in their order, as ranges that can be cast to numrange, tstzrange, tsrange or daterange, without empty ones. What is not known is a value too, NULL. attribute: a column, or an attribute such as geo.country, which means its last value. filter: only profiles for which this condition is true. Times are in UTC. Runs with the caller''s rights, who needs SELECT on profiles.users or profiles.accounts.';
