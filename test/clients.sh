#!/usr/bin/env bash
# clients.sh: reads the relations for BI the way BI tools do, through JDBC, ODBC
# and SQLAlchemy, as a role that has SELECT on the views and nothing else: their
# columns, types, comments and rows. Installs Debian's packages of the clients
# where they are missing.

. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

need_packages default-jdk-headless libpostgresql-jdbc-java unixodbc odbc-postgresql \
    python3-pyodbc python3-sqlalchemy python3-psycopg2
make_scratch
trap 'as_user "$bindir/pg_ctl" -D "$scratch/data" -m immediate -s stop || true; rm -rf "$scratch"' EXIT
copy_source
copy_postgresql
build_and_install

# JDBC and ODBC connect by TCP only
port=$((20000 + RANDOM % 20000))
say "starting a throw-away cluster"
as_user "$bindir/initdb" -D "$scratch/data" -U postgres --encoding=UTF8 --locale=C -A trust >/dev/null
as_user "$bindir/pg_ctl" -D "$scratch/data" -l "$scratch/log" -s -w \
    -o "-k '$scratch' -c listen_addresses=127.0.0.1 -c port=$port -c fsync=off" start
sql() { as_user "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$scratch" -p "$port" -U postgres "$@"; }
cd "$scratch/source"
sql >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION profiles;
CREATE SCHEMA web;
CREATE TABLE web.rum (event jsonb);
\copy web.rum from 'test/data/rum_enriched.ndjson' with (format csv, quote e'\x01', delimiter e'\x02')
SELECT profiles.add_source('web.rum', preset => 'rum');
SET profiles.future_tolerance = '3650d';
CALL profiles.rebuild();
CREATE ROLE reader LOGIN;
ALTER ROLE reader SET profiles.future_tolerance = '3650d';
GRANT SELECT ON profiles.users, profiles.accounts, profiles.events, profiles.sessions TO reader;
SQL

# What the server says: a line for each column, and one for each view's rows.
sql -F "$(printf '\t')" >"$scratch/expected" <<'SQL'
SET profiles.future_tolerance = '3650d';
SET client_min_messages = warning;
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), col_description(c.oid, a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'profiles'::regnamespace AND c.relname IN ('users', 'accounts', 'events', 'sessions')
ORDER BY c.relname, a.attnum;
SELECT 'users', 'rows', count(*), max(user_name COLLATE "C") FROM profiles.users;
SELECT 'accounts', 'rows', count(*), max(account_name COLLATE "C") FROM profiles.accounts;
SELECT 'events', 'rows', count(*), max(page COLLATE "C") FROM profiles.events;
SELECT 'sessions', 'rows', count(*), sum(views) FROM profiles.sessions;
SELECT 'user_sessions', 'rows', count(*), max(entry_page COLLATE "C") FROM profiles.user_sessions('u-1001');
SQL
[ "$(grep -c . "$scratch/expected")" -gt 50 ] || fail "There is nothing to compare with."

failed=0
# Compares what a client found with what the server says; types are the client's.
check() {
    if [ -s "$2" ] && diff -u "$scratch/expected.$1" "$2"; then
        say "$1: $(grep -vcP '\trows\t' "$2") columns, $(grep -cP '\trows\t' "$2") queries: ok"
    else
        say "$1: FAILED"
        failed=1
    fi
}

# ---------- JDBC ----------

# as java.sql.Types: 12 VARCHAR, 93 TIMESTAMP, -5 BIGINT, -7 BIT (boolean), 2003 ARRAY, 1111 OTHER (interval)
sed -e 's/\ttimestamp with time zone\t/\t93\t/; s/\tbigint\t/\t-5\t/; s/\tboolean\t/\t-7\t/; s/\ttext\[\]\t/\t2003\t/; s/\tinterval\t/\t1111\t/; s/\ttext\t/\t12\t/' \
    "$scratch/expected" >"$scratch/expected.JDBC"
cat >"$scratch/Client.java" <<'JAVA'
import java.sql.*;
import java.util.*;

public class Client {
    public static void main(String[] args) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, true, "UTF-8"));
        try (Connection c = DriverManager.getConnection(args[0], "reader", "")) {
            DatabaseMetaData meta = c.getMetaData();
            for (String view : List.of("accounts", "events", "sessions", "users")) {
                try (ResultSet tables = meta.getTables(null, "profiles", view, new String[] {"VIEW"})) {
                    if (!tables.next() || tables.getString("REMARKS") == null)
                        throw new Exception("no view or no comment: " + view);
                }
                try (ResultSet r = meta.getColumns(null, "profiles", view, null)) {
                    while (r.next())
                        System.out.println(view + "\t" + r.getString("COLUMN_NAME") + "\t" + r.getInt("DATA_TYPE") + "\t" + r.getString("REMARKS"));
                }
            }
            String[][] queries = {
                {"users", "SELECT * FROM profiles.users", "user_name"},
                {"accounts", "SELECT * FROM profiles.accounts", "account_name"},
                {"events", "SELECT * FROM profiles.events", "page"},
                {"sessions", "SELECT * FROM profiles.sessions", "views"}};
            for (String[] q : queries) {
                try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(q[1])) {
                    long n = 0, sum = 0;
                    String max = null;
                    while (r.next()) {
                        n++;
                        if (q[2].equals("views")) {
                            sum += r.getLong(q[2]);
                            r.getObject("started_at", java.time.OffsetDateTime.class);
                            if (r.getString("duration") == null) throw new Exception("no duration");
                        } else if (r.getString(q[2]) != null && (max == null || r.getString(q[2]).compareTo(max) > 0))
                            max = r.getString(q[2]);
                        if (q[0].equals("events") && r.getArray("frustrations") != null)
                            ((String[]) r.getArray("frustrations").getArray()).clone();
                    }
                    System.out.println(q[0] + "\trows\t" + n + "\t" + (q[2].equals("views") ? "" + sum : max));
                }
            }
            // prepared, often enough to be prepared on the server, with a cursor
            c.setAutoCommit(false);
            String last = null;
            for (int i = 0; i < 8; i++) {
                try (PreparedStatement s = c.prepareStatement("SELECT * FROM profiles.user_sessions(?)")) {
                    s.setString(1, "u-1001");
                    s.setFetchSize(2);
                    long n = 0;
                    String max = null;
                    try (ResultSet r = s.executeQuery()) {
                        while (r.next()) {
                            n++;
                            if (max == null || r.getString("entry_page").compareTo(max) > 0) max = r.getString("entry_page");
                        }
                    }
                    last = "user_sessions\trows\t" + n + "\t" + max;
                }
            }
            System.out.println(last);
        }
    }
}
JAVA
java -cp "$(ls /usr/share/java/postgresql.jar)" "$scratch/Client.java" "jdbc:postgresql://127.0.0.1:$port/postgres" >"$scratch/JDBC" ||
    say "JDBC: the client failed"
check JDBC "$scratch/JDBC"

# ---------- ODBC ----------

# types as the server calls them; the driver hands out no comments
sed -E -e '/\trows\t/!s/\t[^\t]*$/\t/' -e 's/\ttimestamp with time zone\t/\ttimestamptz\t/; s/\tbigint\t/\tint8\t/; s/\tboolean\t/\tbool\t/; s/\ttext\[\]\t/\t_text\t/' \
    "$scratch/expected" >"$scratch/expected.ODBC"
cat >"$scratch/odbc.py" <<'PYTHON'
import sys
import pyodbc

c = pyodbc.connect('Driver={PostgreSQL Unicode};Server=127.0.0.1;Port=%s;Database=postgres;Uid=reader;'
                   'TextAsLongVarchar=0;BoolsAsChar=0;MaxVarcharSize=8000' % sys.argv[1])
cursor = c.cursor()
for view in ('accounts', 'events', 'sessions', 'users'):
    assert [r.table_type for r in cursor.tables(table=view, schema='profiles')] == ['VIEW'], view
    for r in cursor.columns(table=view, schema='profiles').fetchall():
        print(view, r.column_name, r.type_name, r.remarks, sep='\t')
for view, column in (('users', 'user_name'), ('accounts', 'account_name'), ('events', 'page'), ('sessions', 'views')):
    rows = cursor.execute('SELECT * FROM profiles.%s' % view).fetchall()
    values = [getattr(r, column) for r in rows if getattr(r, column) is not None]
    print(view, 'rows', len(rows), sum(values) if column == 'views' else max(values), sep='\t')
    types = {d[0]: d[1].__name__ for d in cursor.description}
    if view == 'sessions':
        assert types['started_at'] == 'datetime' and types['views'] == 'int' and types['session_id'] == 'str', types
    if view == 'events':
        assert types['has_sessions'] == 'bool', types
rows = cursor.execute('SELECT * FROM profiles.user_sessions(?)', 'u-1001').fetchall()
print('user_sessions', 'rows', len(rows), max(r.entry_page for r in rows), sep='\t')
PYTHON
/usr/bin/python3 "$scratch/odbc.py" "$port" >"$scratch/ODBC" || say "ODBC: the client failed"
check ODBC "$scratch/ODBC"

# ---------- SQLAlchemy ----------

sed -e 's/\ttimestamp with time zone\t/\tTIMESTAMP\t/; s/\tbigint\t/\tBIGINT\t/; s/\tboolean\t/\tBOOLEAN\t/; s/\ttext\[\]\t/\tARRAY\t/; s/\tinterval\t/\tINTERVAL\t/; s/\ttext\t/\tTEXT\t/' \
    "$scratch/expected" >"$scratch/expected.SQLAlchemy"
cat >"$scratch/alchemy.py" <<'PYTHON'
import sys
import warnings
from sqlalchemy import MetaData, Table, create_engine, func, inspect, select, text

warnings.simplefilter('error')
engine = create_engine('postgresql+psycopg2://reader@127.0.0.1:%s/postgres' % sys.argv[1])
inspector = inspect(engine)
views = ('accounts', 'events', 'sessions', 'users')
assert set(views) <= set(inspector.get_view_names(schema='profiles'))
for view in views:
    assert inspector.get_table_comment(view, schema='profiles')['text'], view
    for column in inspector.get_columns(view, schema='profiles'):
        print(view, column['name'], type(column['type']).__name__, column['comment'], sep='\t')
tables = {view: Table(view, MetaData(schema='profiles'), autoload_with=engine) for view in views}
with engine.connect() as connection:
    for view, column in (('users', 'user_name'), ('accounts', 'account_name'), ('events', 'page'), ('sessions', 'views')):
        rows = connection.execute(select(tables[view])).fetchall()
        values = [getattr(r, column) for r in rows if getattr(r, column) is not None]
        print(view, 'rows', len(rows), sum(values) if column == 'views' else max(values), sep='\t')
        if view == 'sessions':
            assert all((r.ended_at - r.started_at) == r.duration for r in rows)
        if view == 'events':
            assert any(r.frustrations == ['rage_click', 'dead_click'] for r in rows)
    rows = connection.execute(text('SELECT * FROM profiles.user_sessions(:u)'), {'u': 'u-1001'}).fetchall()
    print('user_sessions', 'rows', len(rows), max(r.entry_page for r in rows), sep='\t')
PYTHON
/usr/bin/python3 "$scratch/alchemy.py" "$port" >"$scratch/SQLAlchemy" || say "SQLAlchemy: the client failed"
check SQLAlchemy "$scratch/SQLAlchemy"

# ---------- all of them are as little trusted as they should be ----------
if sql -U reader -h 127.0.0.1 -c 'SELECT FROM web.rum LIMIT 1' 2>/dev/null; then
    say "the role can read the events' table"
    failed=1
fi
[ $failed = 0 ]
