# Reference tables in the wild: another PostgreSQL, a CSV file, MariaDB, tables
# that dbt swaps or that their owner changes while we sync and BI reads, and
# pg_cron as the scheduler.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
# the servers run from a copy of the installation
my $bindir = (grep { -x "$_/postgres" } split /:/, $ENV{PATH})[0];
$sharedir = "$bindir/../../../../share/postgresql/" . (split m{/}, $sharedir)[-1] if -d "$bindir/../../../../share/postgresql";
sub has_extension { return -e "$sharedir/extension/$_[0].control" }

my $cron = has_extension('pg_cron');
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.host = '" . $node->host . "'\n")
	if $cron;
$node->start;

my $remote = PostgreSQL::Test::Cluster->new('remote');
$remote->init;
$remote->append_conf('postgresql.conf', "fsync = off\n");
$remote->start;

my $dir = PostgreSQL::Test::Utils::tempdir();

my $mariadb;    # its server, to be ended whatever happens
END
{
	my $status = $?;
	$mariadb->kill_kill if $mariadb;
	$? = $status;
}

sub sql { return $node->safe_psql('postgres', $_[0]) }

# What a statement prints and says.
sub try_sql
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql);
	return "$out$err";
}

# What a sync of a source says: nothing, or its WARNING.
sub sync { return try_sql("CALL profiles.sync('$_[0]')") }

# Rows in which a column of users differs from a LEFT JOIN with the source.
sub differ
{
	my ($source, $key, $column) = @_;
	return sql(qq{
		WITH ours AS (SELECT user_id, $column FROM profiles.users),
			theirs AS (SELECT p.key, s.$column FROM profiles.user_profile p LEFT JOIN $source s ON s.$key = p.key)
		SELECT (SELECT count(*) FROM (TABLE ours EXCEPT ALL TABLE theirs) a) + (SELECT count(*) FROM (TABLE theirs EXCEPT ALL TABLE ours) b)});
}

sql(q{
	CREATE EXTENSION profiles;
	CREATE TABLE events (ts timestamptz, user_id text, plan text);
	INSERT INTO events SELECT timestamptz '2026-01-01Z' + i * interval '1 min', 'u' || i % 200, 'p' || i % 3 FROM generate_series(1, 1000) i;
	SELECT profiles.add_source('events', mapping => '{"plan": "plan"}')});
sql('CALL profiles.rebuild()');

#
# pg_cron, on its own clock: begun here, looked at in the end
#

if ($cron)
{
	sql(q{
		CREATE EXTENSION pg_cron;
		CREATE TABLE by_cron AS SELECT 'u' || i AS uid, i AS from_cron FROM generate_series(0, 300) i;
		SELECT profiles.add_attributes('user', 'by_cron', 'uid', 'user_id', every => '1 min');
		INSERT INTO events VALUES ('2026-02-01Z', 'seen by cron', 'p1');
		INSERT INTO by_cron VALUES ('seen by cron', 1000);
		SELECT cron.schedule('profiles refresh', '* * * * *', 'CALL profiles.refresh()');
		SELECT cron.schedule('profiles sync', '* * * * *', 'CALL profiles.sync()')});
}

#
# postgres_fdw to another cluster
#

$remote->safe_psql('postgres', q{
	CREATE TYPE tier AS ENUM ('free', 'gold');
	CREATE TABLE customers (id text PRIMARY KEY, tier tier, mrr numeric(10,2));
	INSERT INTO customers SELECT 'u' || i, (ARRAY['free', 'gold'])[1 + i % 2]::tier, i FROM generate_series(0, 250) i});
sql(sprintf q{
	CREATE EXTENSION postgres_fdw;
	CREATE SERVER crm FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER crm;
	CREATE FOREIGN TABLE customers (id text, tier text, mrr numeric) SERVER crm OPTIONS (table_name 'customers');
	SELECT profiles.add_attributes('user', 'customers', 'id', 'user_id')}, $remote->host, $remote->port);
is(sync('customers'), '', 'postgres_fdw: a sync');
is(differ('customers', 'id', 'mrr'), 0, 'postgres_fdw: equals a LEFT JOIN');
is(sql(q{SELECT tier FROM profiles.users WHERE user_id = 'u3'}), 'gold', 'postgres_fdw: an enum');
$remote->safe_psql('postgres', q{UPDATE customers SET mrr = mrr + 1 WHERE id LIKE 'u1%'; DELETE FROM customers WHERE id = 'u2'});
is(sync('customers'), '', 'postgres_fdw: another sync');
is(differ('customers', 'id', 'mrr'), 0, 'postgres_fdw: equals a LEFT JOIN again');
my $good = sql('SELECT sum(mrr) FROM profiles.users');

# it gives up: that is the source's error, and what is behind it is synced
$remote->safe_psql('postgres', q{ALTER TABLE customers RENAME TO stored; CREATE VIEW customers AS SELECT s.* FROM stored s, pg_sleep(60);
	ALTER DATABASE postgres SET statement_timeout = '200ms'});
sql(q{CREATE TABLE behind AS SELECT 'u3' AS uid, 1 AS behind; SELECT profiles.add_attributes('user', 'behind', 'uid', 'user_id');
	UPDATE profiles.import_config SET tried_at = now() - interval '1 day' WHERE source = 'public.customers'});
like(try_sql('CALL profiles.sync()'), qr/WARNING:  could not sync public.customers: canceling statement due to statement timeout/,
	'postgres_fdw: a statement_timeout of the server');
is(sql(q{SELECT string_agg(source || ' ' || coalesce(sqlstate, 'synced'), ', ' ORDER BY id) FROM (SELECT * FROM profiles.sync_runs WHERE source <> 'public.by_cron' LIMIT 2) r}),
	'public.customers 57014, public.behind synced', 'postgres_fdw: is recorded, and the next one is synced');
$remote->safe_psql('postgres', q{ALTER DATABASE postgres RESET statement_timeout});
like(try_sql(q{SET statement_timeout = '500ms'; CALL profiles.sync('customers')}), qr/ERROR:  canceling statement due to statement timeout/,
	'postgres_fdw: one of the session ends the call');
is(sql(q{SELECT count(*) FROM profiles.sync_runs WHERE sqlstate IS NOT NULL}), 1, 'postgres_fdw: and is not recorded');
$remote->safe_psql('postgres', q{DROP VIEW customers; ALTER TABLE stored RENAME TO customers});
sql(q{SELECT profiles.drop_attributes('user', 'behind')});

$remote->stop('immediate');
like(sync('customers'), qr/WARNING:  could not sync public.customers: /, 'postgres_fdw: a server that is down');
is(sql('SELECT sum(mrr) FROM profiles.users'), $good, 'postgres_fdw: last good values stay');
like(sql(q{SELECT sqlstate FROM profiles.sync_runs LIMIT 1}), qr/^08/, 'postgres_fdw: the error is recorded');
$remote->start;
is(sync('customers'), '', 'postgres_fdw: and it is up again');

#
# file_fdw on a CSV file
#

my $csv = "$dir/nps.csv";
sub write_csv
{
	my ($bad) = @_;
	open my $file, '>', $csv or die $!;
	print $file "uid,nps,comment\n";
	print $file "u$_,", ($_ == 77 && $bad ? 'n/a' : $_ % 11), ",\"well, ", $_, "\"\n" foreach 0 .. 150;
	close $file;
	chmod 0644, $csv;
	return;
}
write_csv(0);
sql(qq{
	CREATE EXTENSION file_fdw;
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE nps (uid text, nps integer, comment text) SERVER files OPTIONS (filename '$csv', format 'csv', header 'true');
	SELECT profiles.add_attributes('user', 'nps', 'uid', 'user_id', '{"nps": null}')});
is(sync('nps'), '', 'file_fdw: a sync');
is(differ('nps', 'uid', 'nps'), 0, 'file_fdw: equals a LEFT JOIN');
$good = sql('SELECT sum(nps) FROM profiles.users');
write_csv(1);
like(sync('nps'), qr/invalid input syntax for type integer: "\.\.\."/, 'file_fdw: one bad cell');
is(sql('SELECT sum(nps) FROM profiles.users'), $good, 'file_fdw: last good values stay');
is(sql(q{SELECT status || ', ' || rows FROM profiles.custom_attributes WHERE attribute = 'nps'}), 'failed, 151', 'file_fdw: the status');
unlink $csv;
like(sync('nps'), qr/could not open file/, 'file_fdw: no file');
write_csv(0);
is(sync('nps'), '', 'file_fdw: mended');
is(differ('nps', 'uid', 'nps'), 0, 'file_fdw: equals a LEFT JOIN again');

#
# mysql_fdw to a MariaDB server of our own
#

SKIP:
{
	my ($mariadbd) = grep { -x } qw(/usr/sbin/mariadbd /usr/libexec/mariadbd);
	my ($client) = grep { -x } qw(/usr/bin/mariadb);
	skip 'no mysql_fdw for this PostgreSQL: install postgresql-N-mysql-fdw', 6 unless has_extension('mysql_fdw');
	skip 'no MariaDB: install mariadb-server-core and mariadb-client-core', 6 unless $mariadbd && $client;

	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/m';
	my @options = ('--no-defaults', "--datadir=$dir/maria", "--socket=$socket");
	IPC::Run::run([ 'mariadb-install-db', '--no-defaults', "--datadir=$dir/maria", '--skip-test-db', '--auth-root-authentication-method=normal' ],
		'>', "$dir/maria_install.log", '2>&1') or die slurp_file("$dir/maria_install.log");
	$mariadb = IPC::Run::start([ $mariadbd, @options, '--bind-address=127.0.0.1', "--port=$port", "--pid-file=$dir/maria.pid" ],
		'<', '/dev/null', '>', "$dir/maria.log", '2>&1');
	my $said = '';
	my $maria = sub {
		return IPC::Run::run([ $client, '--no-defaults', "--socket=$socket", '-u', 'root', '-e', $_[0] ], '<', '/dev/null', '>', \$said, '2>&1');
	};
	for (1 .. 300)
	{
		last if $maria->('SELECT 1');
		select undef, undef, undef, 0.1;
	}
	ok($maria->(q{
		CREATE DATABASE shop;
		USE shop;
		CREATE TABLE shop.orders (user_key varchar(20) PRIMARY KEY, orders int, total decimal(10,2), newest datetime);
		INSERT INTO shop.orders SELECT concat('u', seq), seq, seq * 1.5, '2026-01-01' FROM seq_0_to_120;
		CREATE USER profiles@'127.0.0.1' IDENTIFIED BY 'secret';
		GRANT SELECT ON shop.* TO profiles@'127.0.0.1'}), 'MariaDB is up') or diag($said . slurp_file("$dir/maria.log"));
	sql(qq{
		CREATE EXTENSION mysql_fdw;
		CREATE SERVER shop FOREIGN DATA WRAPPER mysql_fdw OPTIONS (host '127.0.0.1', port '$port');
		CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (username 'profiles', password 'secret');
		CREATE FOREIGN TABLE orders (user_key varchar(20), orders integer, total numeric(10,2), newest timestamp) SERVER shop OPTIONS (dbname 'shop', table_name 'orders');
		SELECT profiles.add_attributes('user', 'orders', 'user_key', 'user_id', '{"total": "spent", "orders": null, "newest": "newest_order"}')});
	is(sync('orders'), '', 'mysql_fdw: a sync');
	is(differ('orders', 'user_key', 'orders'), 0, 'mysql_fdw: equals a LEFT JOIN');
	$maria->(q{UPDATE shop.orders SET total = total + 1000 WHERE orders % 10 = 0});
	sync('orders');
	is(sql(q{SELECT count(*) || ' ' || sum(spent) FROM profiles.users WHERE spent > 1000}), '12 13170.00', 'mysql_fdw: changes arrive');
	kill 'TERM', slurp_file("$dir/maria.pid") =~ /(\d+)/;
	$mariadb->finish;
	undef $mariadb;
	# its sessions keep a connection each; a new one finds nobody
	like(sync('orders'), qr/WARNING:  could not sync public.orders: /, 'mysql_fdw: a server that is gone');
	is(sql(q{SELECT count(*) FROM profiles.users WHERE spent > 1000}), '12', 'mysql_fdw: last good values stay');
}

#
# dbt's swap, and all that a loader's owner may do, while we sync and BI reads
#

sql(q{
	CREATE SCHEMA mart;
	CREATE TABLE mart.ltv AS SELECT 'u' || i AS uid, i AS ltv FROM generate_series(0, 199) i;
	SELECT profiles.add_attributes('user', 'mart.ltv', 'uid', 'user_id')});
sync('mart.ltv');
# a reader of the views holds its locks all the while
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_safe('BEGIN; SELECT count(ltv) FROM profiles.users');
foreach my $round (1 .. 5)
{
	sql(qq{
		SET lock_timeout = '5s';
		BEGIN;
		CREATE TABLE mart.ltv__dbt_tmp AS SELECT 'u' || i AS uid, i + 1000 * $round AS ltv FROM generate_series(0, 199) i;
		ALTER TABLE mart.ltv RENAME TO ltv__dbt_backup;
		ALTER TABLE mart.ltv__dbt_tmp RENAME TO ltv;
		COMMIT;
		DROP TABLE mart.ltv__dbt_backup CASCADE});
	is(sync('mart.ltv'), '', "dbt: swap $round, and a sync after it");
	is(differ('mart.ltv', 'uid', 'ltv'), 0, "dbt: swap $round, equals a LEFT JOIN");
}
foreach my $change ('DROP COLUMN ltv', 'ALTER COLUMN ltv TYPE text', 'RENAME COLUMN ltv TO x', 'RENAME TO gone', 'SET SCHEMA public')
{
	sql("CREATE TABLE keep AS TABLE mart.ltv; SET lock_timeout = '5s'; ALTER TABLE mart.ltv $change");
	like(sync('mart.ltv'), qr/^WARNING|WARNING:  could not sync mart.ltv: /, "owner's $change: said");
	is(sql('SELECT count(ltv) FROM profiles.users'), 200, "owner's $change: last good values");
	sql('DROP TABLE IF EXISTS mart.ltv, mart.gone, public.ltv; ALTER TABLE keep SET SCHEMA mart; ALTER TABLE mart.keep RENAME TO ltv');
	is(sync('mart.ltv'), '', "owner's $change: undone");
}

# the owner swaps and truncates in a loop while we sync in a loop: each sync is
# one of the owner's states, or an error
my ($swapper_in, $swapper_out, $swapper_err) = ('', '', '');
my $swapper = $node->background_psql('postgres', on_error_stop => 0);
$swapper->query_until(qr/begun/, q{
	\echo begun
	DO $$
	BEGIN
		FOR i IN 1..60 LOOP
			EXECUTE format('CREATE TABLE mart.next AS SELECT ''u'' || n AS uid, %s AS ltv FROM generate_series(0, 199) n', i * 7);
			DROP TABLE mart.ltv;
			ALTER TABLE mart.next RENAME TO ltv;
			COMMIT;
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $$;
	\echo done swapping
});
my ($synced, $odd) = (0, 0);
for (1 .. 30)
{
	my $said = sync('mart.ltv');
	$synced++ if $said eq '';
	my $values = sql(q{SELECT count(DISTINCT ltv) || ' ' || count(ltv) FROM profiles.users});
	next if $said =~ /^$|is missing/ && $values =~ /^(1|200) 200$/;
	$odd++;
	diag("$said $values");
}
$swapper->query_until(qr/done swapping/, "\n");
$swapper->quit;
cmp_ok($synced, '>', 0, "swapping in a loop: $synced of 30 syncs found a table");
is($odd, 0, 'swapping in a loop: always one whole state');
is(sync('mart.ltv'), '', 'swapping in a loop: in the end');
is(differ('mart.ltv', 'uid', 'ltv'), 0, 'swapping in a loop: equals a LEFT JOIN');

#
# BI transactions on the views: calls that change them give up, with nothing done
#

sql('CREATE TABLE mart.extra AS SELECT uid, ltv AS extra FROM mart.ltv');
sql(q{SELECT profiles.create_segment('rich', 'ltv > 10')});
# (not the key that the first sync by pg_cron may be making)
my $state = q{SELECT (SELECT count(*) FROM profiles.custom_attributes) || ' ' || (SELECT count(*) FROM pg_class WHERE relnamespace = 'profiles'::regnamespace AND relkind <> 'i')
	|| ' ' || (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attnum > 27)
	|| pg_get_viewdef('profiles.users'::regclass) || pg_get_viewdef('profiles.segment_rich'::regclass)};
my $before = sql($state);
my $blocked = qr/could not change the relations of profiles, because transactions hold locks on them.*HINT:  Nothing was changed/s;
like(try_sql(q{SELECT profiles.add_attributes('user', 'mart.extra', 'uid', 'user_id')}), $blocked, 'BI reads: add_attributes gives up');
like(try_sql(q{SELECT profiles.drop_attributes('user', 'nps')}), $blocked, 'BI reads: drop_attributes gives up');
is(sql($state), $before, 'BI reads: nothing half done');
is(sync('mart.ltv'), '', 'BI reads: a sync is not in its way');
$reader->query_safe('COMMIT; BEGIN; SELECT count(*) FROM profiles.segment_rich');
like(try_sql(q{SELECT profiles.alter_segment('rich', 'ltv > 20')}), $blocked, 'BI reads a segment: alter_segment gives up');
like(try_sql(q{SELECT profiles.drop_segment('rich')}), $blocked, 'BI reads a segment: drop_segment gives up');
is(sql($state), $before, 'BI reads a segment: nothing half done');
# a short one is waited for
$reader->query_safe('COMMIT; BEGIN; SELECT count(*) FROM profiles.users');
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/begun/, "\\echo begun\nSELECT profiles.add_attributes('user', 'mart.extra', 'uid', 'user_id');\n");
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)}) or die 'nobody waits';
$reader->query_safe('COMMIT');
$waiter->quit;
is(sql(q{SELECT count(*) FROM profiles.custom_attributes WHERE attribute = 'extra'}), 1, 'BI reads shortly: add_attributes waits for it');
$reader->quit;
# two at once
my @calls = map { my $s = $node->background_psql('postgres', on_error_stop => 0); $s } 1 .. 2;
sql('CREATE TABLE mart.one AS SELECT uid, ltv AS one FROM mart.ltv; CREATE TABLE mart.two AS SELECT uid, ltv AS two FROM mart.ltv');
$calls[0]->query_safe(q{BEGIN; SELECT profiles.add_attributes('user', 'mart.one', 'uid', 'user_id')});
$calls[1]->query_until(qr/begun/, "\\echo begun\nSELECT profiles.add_attributes('user', 'mart.two', 'uid', 'user_id');\n");
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)}) or die 'nobody waits';
$calls[0]->query_safe('COMMIT');
$_->quit foreach @calls;
is(sql(q{SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'profiles.users'::regclass AND attname IN ('one', 'two')}),
	'one,two', 'two add_attributes at once');
# a sync while another session syncs the same table
$calls[0] = $node->background_psql('postgres', on_error_stop => 0);
$calls[0]->query_safe(q{SET client_min_messages = warning; BEGIN; CALL profiles.sync('mart.one')});
like(sync('mart.one'), qr/NOTICE:  a reference table is being synced or dropped by another session/, 'a second sync leaves it');
like(try_sql(q{SELECT profiles.drop_attributes('user', 'mart.one')}), $blocked, 'a running sync: drop_attributes gives up');
$calls[0]->query_safe('COMMIT');
$calls[0]->quit;
is(try_sql(q{SELECT profiles.drop_attributes('user', 'mart.one')}), '', 'afterwards it does not');

#
# pg_cron has been at it
#

SKIP:
{
	skip 'no pg_cron for this PostgreSQL: install postgresql-N-cron', 3 unless $cron;
	ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM profiles.users WHERE user_id = 'seen by cron' AND from_cron = 1000)}),
		'pg_cron: refresh made a profile, sync gave it its value');
	ok($node->poll_query_until('postgres', q{SELECT count(DISTINCT jobid) = 2 FROM cron.job_run_details WHERE status = 'succeeded'}), 'pg_cron: both jobs succeeded');
	is(sql(q{SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'}), 0, 'pg_cron: none failed');
	sql(q{SELECT cron.unschedule(jobid) FROM cron.job});
}

$remote->stop;
$node->stop;
done_testing();
