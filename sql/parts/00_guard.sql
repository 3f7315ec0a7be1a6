/* profiles: user and account profiles folded from event rows */

-- complain if the script is sourced in psql rather than run by CREATE EXTENSION
\echo Use "CREATE EXTENSION profiles" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- Whoever owns the schema could replace what lives in it.
DO $$
BEGIN
    IF (SELECT nspowner FROM pg_namespace WHERE nspname = 'profiles') <>
       (SELECT oid FROM pg_roles WHERE quote_ident(rolname) = $own$@extowner@$own$) THEN
        RAISE insufficient_privilege
            USING MESSAGE = 'schema "profiles" belongs to somebody else',
                  HINT = 'Drop or rename it, or give it to the role that installs the extension.';
    END IF;
END
$$;
