-- What the mapping of a source begins with: a preset, or recognised columns.

-- The jsonb column of RUM events: the only one, or the one called "event".
CREATE FUNCTION profiles._jsonb_column(events regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns text[] := ARRAY(SELECT attname::text FROM pg_attribute
                            WHERE attrelid = events AND attnum > 0 AND NOT attisdropped
                              AND atttypid = 'jsonb'::regtype ORDER BY attnum);
BEGIN
    IF 'event' = ANY (columns) THEN
        RETURN 'event';
    ELSIF cardinality(columns) = 1 THEN
        RETURN columns[1];
    END IF;
    RAISE undefined_column USING
        MESSAGE = CASE WHEN cardinality(columns) = 0 THEN format('%s has no jsonb column', events)
                       ELSE format('%s has several jsonb columns and none is called "event"', events) END,
        HINT = 'Preset "rum" needs one jsonb column that holds RUM events. Make a view with such a column, called "event".';
END
$$;
COMMENT ON FUNCTION profiles._jsonb_column(regclass) IS 'Internal: the jsonb column that holds RUM events.';

-- RUM events as browser and mobile SDKs send them, in one jsonb column, with
-- what a backend adds where it does (geo, browser, os, device). Fields:
-- https://docs.datadoghq.com/real_user_monitoring/browser/data_collected/
CREATE FUNCTION profiles._preset_rum(event text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_object_agg(m.key, replace(m.expression, 'EVENT', quote_ident(event)))
    FROM (VALUES
        ('user_id', 'nullif(EVENT #>> ''{usr,id}'', '''')'),
        ('account_id', 'nullif(EVENT #>> ''{account,id}'', '''')'),
        -- milliseconds since 1970; in every version of a view its start
        ('seen_at', 'to_timestamp((EVENT ->> ''date'')::double precision / 1000)'),
        ('session', 'nullif(EVENT #>> ''{session,id}'', '''')'),
        ('name', 'nullif(EVENT #>> ''{usr,name}'', '''')'),
        ('email', 'nullif(EVENT #>> ''{usr,email}'', '''')'),
        ('plan', 'nullif(EVENT #>> ''{usr,plan}'', '''')'),
        ('account_name', 'nullif(EVENT #>> ''{account,name}'', '''')'),
        ('account.id', 'nullif(EVENT #>> ''{account,id}'', '''')'),
        ('application', 'coalesce(nullif(EVENT #>> ''{application,name}'', ''''), nullif(EVENT #>> ''{application,id}'', ''''))'),
        ('geo.country', 'coalesce(nullif(EVENT #>> ''{geo,country_iso_code}'', ''''), nullif(EVENT #>> ''{geo,country}'', ''''))'),
        ('geo.region', 'nullif(EVENT #>> ''{geo,country_subdivision}'', '''')'),
        ('geo.city', 'nullif(EVENT #>> ''{geo,city}'', '''')'),
        ('device.type', 'nullif(EVENT #>> ''{device,type}'', '''')'),
        ('os.name', 'nullif(EVENT #>> ''{os,name}'', '''')'),
        ('os.version', 'nullif(EVENT #>> ''{os,version}'', '''')'),
        ('browser.name', 'nullif(EVENT #>> ''{browser,name}'', '''')'),
        ('browser.version', 'nullif(EVENT #>> ''{browser,version}'', '''')'),
        -- for drill-down
        -- errors and resources also carry the ids of their action, as action.id
        ('event_id', 'EVENT #>> ARRAY[EVENT ->> ''type'', ''id'']'),
        ('type', 'EVENT ->> ''type'''),
        ('view_id', 'EVENT #>> ''{view,id}'''),
        -- as text: events makes a number of it if it is one, where a cast would make reading fail
        ('version', 'EVENT #>> ''{_dd,document_version}'''),
        ('page', 'coalesce(nullif(EVENT #>> ''{view,url_path}'', ''''), nullif(substring(EVENT #>> ''{view,url}'' from ''^[^:/?#]+://[^/?#]*([^?#]*)''), ''''), ''/'')'),
        ('action', 'CASE WHEN EVENT ->> ''type'' = ''action'' THEN coalesce(nullif(EVENT #>> ''{action,name}'', ''''), nullif(EVENT #>> ''{action,target,name}'', ''''), EVENT #>> ''{action,type}'') END'),
        ('frustration', 'EVENT #> ''{action,frustration,type}'''),
        -- what is not a person
        ('keep synthetic', 'coalesce(EVENT #>> ''{session,type}'', ''user'') = ''user'''),
        ('keep bot', 'coalesce(EVENT #>> ''{device,type}'', '''') <> ''Bot''')
    ) AS m (key, expression);
END;
COMMENT ON FUNCTION profiles._preset_rum(text) IS 'Internal: mapping of RUM events in a jsonb column.';

-- Candidates for each key of a mapping, best first; those whose columns exist
-- are taken. A candidate is a column, or an expression with its column in front.
CREATE FUNCTION profiles._candidates(preset text)
    RETURNS TABLE (key text, candidates text[])
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- Snowplow's atomic.events:
    -- https://docs.snowplow.io/docs/fundamentals/canonical-event/
    SELECT * FROM (VALUES
        ('user_id', ARRAY['user_id']),
        ('seen_at', ARRAY['derived_tstamp', 'collector_tstamp']),
        ('session', ARRAY['domain_sessionid']),
        ('application', ARRAY['app_id']),
        ('geo.country', ARRAY['geo_country']),
        ('geo.region', ARRAY['geo_region_name', 'geo_region']),
        ('geo.city', ARRAY['geo_city']),
        ('device.type', ARRAY['dvce_type']),
        ('os.name', ARRAY['os_name', 'os_family']),
        ('browser.name', ARRAY['br_family', 'br_name']),
        ('browser.version', ARRAY['br_version']),
        ('utm.source', ARRAY['mkt_source']),
        ('utm.medium', ARRAY['mkt_medium']),
        ('utm.campaign', ARRAY['mkt_campaign']),
        ('utm.term', ARRAY['mkt_term']),
        ('utm.content', ARRAY['mkt_content']),
        ('referrer', ARRAY['refr_urlhost']),
        ('event_id', ARRAY['event_id']),
        ('type', ARRAY['event:CASE event WHEN ''page_view'' THEN ''view'' WHEN ''struct'' THEN ''action'' ELSE event END']),
        ('view_id', ARRAY['event:CASE event WHEN ''page_view'' THEN event_id END']),
        ('page', ARRAY['page_urlpath']),
        ('action', ARRAY['se_action'])
    ) AS s (key, candidates) WHERE preset = 'snowplow'
    UNION ALL
    -- Segment's warehouse tables:
    -- https://segment.com/docs/connections/storage/warehouses/schema/
    SELECT * FROM (VALUES
        ('user_id', ARRAY['user_id']),
        ('account_id', ARRAY['context_group_id', 'group_id']),
        ('seen_at', ARRAY['timestamp', 'original_timestamp', 'received_at']),
        ('session', ARRAY['context_session_id']),
        ('name', ARRAY['context_traits_name']),
        ('email', ARRAY['context_traits_email', 'email']),
        ('application', ARRAY['context_app_name']),
        ('geo.country', ARRAY['context_location_country']),
        ('geo.region', ARRAY['context_location_region']),
        ('geo.city', ARRAY['context_location_city']),
        ('device.type', ARRAY['context_device_type']),
        ('os.name', ARRAY['context_os_name']),
        ('os.version', ARRAY['context_os_version']),
        ('utm.source', ARRAY['context_campaign_source']),
        ('utm.medium', ARRAY['context_campaign_medium']),
        ('utm.campaign', ARRAY['context_campaign_name']),
        ('utm.term', ARRAY['context_campaign_term']),
        ('utm.content', ARRAY['context_campaign_content']),
        ('referrer', ARRAY['context_page_referrer']),
        ('locale', ARRAY['context_locale']),
        ('event_id', ARRAY['id']),
        ('type', ARRAY['event:''action''::text', 'path:''view''::text']),
        ('view_id', ARRAY['path:id']),
        ('page', ARRAY['context_page_path', 'path']),
        ('action', ARRAY['event_text', 'event'])
    ) AS s (key, candidates) WHERE preset = 'segment'
    UNION ALL
    -- PostHog's events, as its batch exports write them:
    -- https://posthog.com/docs/cdp/batch-exports/postgres
    SELECT * FROM (VALUES
        ('user_id', ARRAY['distinct_id']),
        ('account_id', ARRAY['properties:nullif(properties ->> ''$group_0'', '''')']),
        ('seen_at', ARRAY['timestamp']),
        ('session', ARRAY['properties:nullif(properties ->> ''$session_id'', '''')']),
        ('name', ARRAY['properties:nullif(properties #>> ''{$set,name}'', '''')']),
        ('email', ARRAY['properties:nullif(properties #>> ''{$set,email}'', '''')']),
        ('application', ARRAY['properties:coalesce(nullif(properties ->> ''$app_name'', ''''), nullif(properties ->> ''$host'', ''''))']),
        ('geo.country', ARRAY['properties:nullif(properties ->> ''$geoip_country_code'', '''')']),
        ('geo.region', ARRAY['properties:nullif(properties ->> ''$geoip_subdivision_1_name'', '''')']),
        ('geo.city', ARRAY['properties:nullif(properties ->> ''$geoip_city_name'', '''')']),
        ('device.type', ARRAY['properties:nullif(properties ->> ''$device_type'', '''')']),
        ('os.name', ARRAY['properties:nullif(properties ->> ''$os'', '''')']),
        ('os.version', ARRAY['properties:nullif(properties ->> ''$os_version'', '''')']),
        ('browser.name', ARRAY['properties:nullif(properties ->> ''$browser'', '''')']),
        ('browser.version', ARRAY['properties:nullif(properties ->> ''$browser_version'', '''')']),
        ('utm.source', ARRAY['properties:nullif(properties ->> ''utm_source'', '''')']),
        ('utm.medium', ARRAY['properties:nullif(properties ->> ''utm_medium'', '''')']),
        ('utm.campaign', ARRAY['properties:nullif(properties ->> ''utm_campaign'', '''')']),
        ('referrer', ARRAY['properties:nullif(properties ->> ''$referring_domain'', '''')']),
        ('event_id', ARRAY['uuid']),
        ('type', ARRAY['event:CASE event WHEN ''$pageview'' THEN ''view'' WHEN ''$exception'' THEN ''error'' ELSE ''action'' END']),
        ('view_id', ARRAY['properties:CASE WHEN event = ''$pageview'' THEN coalesce(properties ->> ''$pageview_id'', uuid::text) END']),
        ('page', ARRAY['properties:properties ->> ''$pathname''']),
        ('action', ARRAY['properties:CASE WHEN event NOT IN (''$pageview'', ''$pageleave'', ''$exception'') THEN coalesce(nullif(properties ->> ''$el_text'', ''''), event) END']),
        ('frustration', ARRAY['event:CASE event WHEN ''$rageclick'' THEN ''rage_click'' WHEN ''$dead_click'' THEN ''dead_click'' END'])
    ) AS s (key, candidates) WHERE preset = 'posthog'
    UNION ALL
    -- columns with well-known names
    SELECT * FROM (VALUES
        ('user_id', ARRAY['usr_id', 'user_id', 'userid', 'uid', 'distinct_id', 'customer_id']),
        ('account_id', ARRAY['account_id', 'organization_id', 'org_id', 'company_id', 'workspace_id', 'tenant_id']),
        ('seen_at', ARRAY['ts', 'timestamp', 'seen_at', 'event_time', 'event_timestamp', 'event_at', 'occurred_at', 'collector_tstamp', 'received_at', 'created_at']),
        ('session', ARRAY['session_id', 'session', 'sid', 'sessionid']),
        ('name', ARRAY['usr_name', 'user_name', 'full_name']),
        ('email', ARRAY['usr_email', 'user_email', 'email']),
        ('account_name', ARRAY['account_name', 'organization_name', 'org_name', 'company_name']),
        ('application', ARRAY['application', 'app_name', 'application_name', 'app_id', 'application_id', 'app']),
        ('geo.country', ARRAY['country', 'country_code', 'geo_country', 'country_iso_code']),
        ('geo.region', ARRAY['region', 'geo_region']),
        ('geo.city', ARRAY['city', 'geo_city']),
        ('device.type', ARRAY['device_type']),
        ('os.name', ARRAY['os_name']),
        ('os.version', ARRAY['os_version']),
        ('browser.name', ARRAY['browser_name']),
        ('browser.version', ARRAY['browser_version']),
        ('event_id', ARRAY['event_id']),
        ('type', ARRAY['event_type']),
        ('view_id', ARRAY['view_id']),
        ('version', ARRAY['document_version']),
        ('page', ARRAY['page', 'page_path', 'url_path']),
        ('action', ARRAY['action', 'action_name']),
        ('frustration', ARRAY['frustration', 'frustrations', 'frustration_type'])
    ) AS s (key, candidates) WHERE preset IS NULL;
END;
COMMENT ON FUNCTION profiles._candidates(text) IS 'Internal: columns that presets and the recognition of columns look for.';

-- What a mapping begins with.
CREATE FUNCTION profiles._first_mapping(events regclass, preset text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF preset = 'rum' THEN
        RETURN profiles._preset_rum(profiles._jsonb_column(events));
    ELSIF preset NOT IN ('snowplow', 'segment', 'posthog') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('unknown preset "%s"', preset),
            HINT = 'The presets are rum, snowplow, segment and posthog.';
    END IF;
    RETURN coalesce((
        SELECT jsonb_object_agg(found.key, found.expression)
        FROM (
            SELECT DISTINCT ON (c.key) c.key,
                   CASE WHEN u.candidate LIKE '%:%'
                        THEN substr(u.candidate, strpos(u.candidate, ':') + 1)
                        WHEN preset IS NULL THEN quote_ident(a.attname)
                        -- presets turn '' into NULL, of whatever type of string or domain over one
                        WHEN t.typcategory = 'S'
                        THEN format('nullif(%I, '''')', a.attname)
                        ELSE quote_ident(a.attname) END AS expression
            FROM profiles._candidates(preset) c,
                 unnest(c.candidates) WITH ORDINALITY AS u (candidate, position)
            JOIN pg_attribute a ON a.attrelid = events AND a.attnum > 0 AND NOT a.attisdropped
                               AND a.attname = split_part(u.candidate, ':', 1)
            JOIN pg_type t ON t.oid = a.atttypid
            -- a time under a well-known name is one only if its type says so
            WHERE c.key <> 'seen_at'
               OR a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
            ORDER BY c.key, u.position
        ) AS found), '{}');
END
$$;
COMMENT ON FUNCTION profiles._first_mapping(regclass, text) IS 'Internal: the mapping that a preset, or the names of columns, give.';
