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

-- Buckets of times are so many seconds or months long and numbered. Weeks begin on Mondays,
-- centuries and longer buckets in years 1; before year 1 there is year 0, which is 1 BC.
CREATE FUNCTION profiles._bucket_number(at timestamp, seconds bigint, months bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN seconds IS NOT NULL THEN floor((extract(epoch FROM at) + 259200) / seconds)
                ELSE floor((12 * (extract(year FROM at) + CASE WHEN extract(year FROM at) < 0 THEN 1 ELSE 0 END) + extract(month FROM at) - 1
                            - CASE WHEN months > 120 THEN 12 ELSE 0 END) / months) END;
COMMENT ON FUNCTION profiles._bucket_number(timestamp, bigint, bigint) IS 'Internal: number of the bucket of a time.';

CREATE FUNCTION profiles._bucket_start(number bigint, seconds bigint, months bigint) RETURNS timestamp
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    epoch numeric := number::numeric * seconds - 259200;
    month numeric := number::numeric * months + CASE WHEN months > 120 THEN 12 ELSE 0 END;
    year int;
BEGIN
    IF seconds IS NOT NULL THEN
        RETURN CASE WHEN epoch BETWEEN extract(epoch FROM timestamp '4714-11-24 BC') AND extract(epoch FROM timestamp '294276-12-31 23:59:59')
                    THEN timestamp 'epoch' + make_interval(days => floor(epoch / 86400)::int, secs => mod(mod(epoch, 86400) + 86400, 86400)::float8) END;
    ELSIF month BETWEEN -4713 * 12 + 11 AND 294276 * 12 + 11 THEN
        year := floor(month / 12);
        RETURN make_timestamp(CASE WHEN year > 0 THEN year ELSE year - 1 END, (month - 12 * year)::int + 1, 1, 0, 0, 0);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION profiles._bucket_start(bigint, bigint, bigint) IS 'Internal: time at which a bucket begins, NULL if no timestamp is so early or late.';

-- The same for times: the shortest of the buckets; NULL if all times must share one.
CREATE FUNCTION profiles._bucket_length(low timestamp, high timestamp, buckets int, shortest bigint, OUT seconds bigint, OUT months bigint)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT b.seconds, b.months
    FROM (SELECT u.seconds, NULL::bigint AS months, u.seconds AS length
          FROM unnest(ARRAY[1, 60, 3600, 86400, 604800]::bigint[]) AS u (seconds) WHERE u.seconds >= shortest
          UNION ALL
          -- a month, a quarter, a year, a decade, a century, a millennium, and several of them
          SELECT NULL, u.months, u.months * 2592000
          FROM unnest(ARRAY[1, 3, 12, 120, 1200, 12000, 24000, 60000, 120000, 240000, 600000, 1200000, 2400000, 6000000]::bigint[]) AS u (months)) AS b
    WHERE low IS NULL
       OR profiles._bucket_number(high, b.seconds, b.months) - profiles._bucket_number(low, b.seconds, b.months) < buckets
    ORDER BY b.length LIMIT 1;
END;
COMMENT ON FUNCTION profiles._bucket_length(timestamp, timestamp, int, bigint) IS 'Internal: length of buckets of times, at least "shortest" seconds.';

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
    width numeric;
    earliest timestamp;
    latest timestamp;
    buckets int;
    seconds bigint;
    months bigint;
    bucket text;
    range text;
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
        -- dates go further than timestamps
        source := format('SELECT CASE WHEN isfinite(n.x) THEN %s::timestamp END AS x, n.x AS raw '
                         'FROM (SELECT p.%I AS x FROM profiles.%I AS p WHERE %s) n',
                         CASE type WHEN 'date'::regtype THEN 'least(n.x, ''294276-12-31'')' ELSE 'n.x' END, column_name, profiles._relation(kind), condition);
    ELSE
        RETURN QUERY EXECUTE format(
            'SELECT s.x::text, s.n FROM (SELECT p.%1$I AS x, count(*) AS n FROM profiles.%2$I AS p WHERE %3$s GROUP BY p.%1$I) s '
            'ORDER BY s.n DESC, s.x::text LIMIT $1', column_name, profiles._relation(kind), condition) USING max;
        RETURN;
    END IF;

    -- what is no finite number or time is counted on its own, in place of a bucket; if that takes
    -- all places, the most frequent stay, as among other values
    EXECUTE format('SELECT count(DISTINCT s.raw) FILTER (WHERE s.x IS NULL) + coalesce(bool_or(s.raw IS NULL), false)::int FROM (%s) s', source)
       INTO others;
    buckets := greatest(coalesce(max, 20) - others, 1);
    IF is_number THEN
        EXECUTE format('SELECT min(s.x), max(s.x) FROM (%s) s', source) INTO low, high;
        -- no multiple of a width has numbers of both signs beside it
        IF low < 0 AND high >= 0 AND buckets = 1 THEN
            bucket := '0';
            range := '''(,)''';
        ELSE
            width := coalesce(profiles._bucket_width(low, high, buckets, type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)), 1);
            bucket := format('floor(s.x / %s)', width);
            range := format('numrange(trim_scale(b.bucket * %1$s), trim_scale((b.bucket + 1) * %1$s))::text', width);
        END IF;
    ELSE
        EXECUTE format('SELECT min(s.x), max(s.x) FROM (%s) s', source) INTO earliest, latest;
        SELECT l.seconds, l.months INTO seconds, months
        FROM profiles._bucket_length(earliest, latest, buckets, CASE type WHEN 'date'::regtype THEN 86400 ELSE 1 END) l;
        IF coalesce(seconds, months) IS NULL THEN
            bucket := '0';
            range := '''(,)''';
        ELSE
            bucket := format('profiles._bucket_number(s.x, %L, %L)', seconds, months);
            range := format('%1$s(profiles._bucket_start(b.bucket, %2$L, %3$L)::%4$s, profiles._bucket_start(b.bucket + 1, %2$L, %3$L)::%4$s)::text',
                            CASE type WHEN 'timestamptz'::regtype THEN 'tstzrange' WHEN 'timestamp'::regtype THEN 'tsrange' ELSE 'daterange' END,
                            seconds, months, type);
        END IF;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT CASE WHEN b.bucket IS NULL THEN b.raw ELSE %s END, b.n '
        'FROM (SELECT CASE WHEN s.x IS NOT NULL THEN %s END AS bucket, CASE WHEN s.x IS NULL THEN s.raw::text END AS raw, count(*) AS n '
        'FROM (%s) s GROUP BY 1, 2 ORDER BY 3 DESC, 1 NULLS LAST, 2 LIMIT $1) b ORDER BY b.bucket NULLS LAST, b.raw', range, bucket, source)
    USING max;
END
$$;
COMMENT ON FUNCTION profiles.facet(text, text, text, int) IS 'Counts the values of a column of users or accounts: text and the like by value, most frequent first, at most "max" of them; numbers and times in at most "max" buckets, in their order, as ranges that can be cast to numrange, tstzrange, tsrange or daterange, without empty ones. What is not known is a value too, NULL; it, and what is not finite, take the place of a bucket each, and if they leave none the most frequent are given. attribute: a column, or an attribute such as geo.country, which means its last value. filter: only profiles for which this condition is true. Times are in UTC. Runs with the caller''s rights, who needs SELECT on profiles.users or profiles.accounts.';
