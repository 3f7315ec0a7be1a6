# Many writers on few subjects, without a deadlock.
#
# 16 clients write events of 200 users in statements of many rows, in no order.
# Deferred capture promises that they never wait for each other, so neither do
# transactions of several statements; immediate capture promises no deadlock for
# transactions of one statement.  The control updates the same number of rows of
# a plain table in no order: it shows that these clients would meet deadlocks if
# there were any to meet.  PROFILES_TEST_SECONDS: how long each mode runs (10).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{PROFILES_TEST_SECONDS} // 10;
my $clients = 16;
my $keys    = 200;

my $node = PostgreSQL::Test::Cluster->new('deadlock');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "fsync = off\ndeadlock_timeout = 50ms\nTimeZone = UTC\n");
$node->start;

$node->safe_psql('postgres', <<"EOSQL");
CREATE EXTENSION profiles;
CREATE TABLE events (ts timestamptz, user_id text, account_id text, country text);
SELECT profiles.add_source('events');
CALL profiles.rebuild();
CREATE TABLE plain (key text PRIMARY KEY, n bigint);
INSERT INTO plain SELECT 'u' || i, 0 FROM generate_series(0, $keys - 1) AS i;
EOSQL

# 20 rows in no order, each once, that differ from statement to statement
my $rows = "FROM generate_series(0, 19) AS i";
my $key  = "(:seed + i * 37 * (1 + :seed % 5)) % $keys";
my $draw = "\\set seed random(0, 1000000)\n";
my $insert = "INSERT INTO events SELECT timestamptz '2026-01-01' + (:seed + i) % 1000 * interval '1 hour', "
  . "'u' || $key, 'a' || $key % 20, 'C' || (:seed + i) % 7 $rows;\n";

my $unsorted = $draw . "UPDATE plain p SET n = n + 1 FROM (SELECT 'u' || $key AS key $rows OFFSET 0) r WHERE p.key = r.key;\n";

# Runs clients; returns transactions, failed ones, and the database's count of deadlocks.
sub run_clients
{
	my ($name, $time, $script, $beside) = @_;
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, $script);
	my @files = ('-f', "$file\@100");
	if ($beside)
	{
		append_to_file("$file.beside", $beside);
		push @files, '-f', "$file.beside\@1";
	}
	my $before = deadlocks();
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-T', $time, @files, '--max-tries=1', $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	my ($done) = $out =~ /number of transactions actually processed: (\d+)/;
	my ($failed) = $out =~ /number of failed transactions: (\d+)/;
	note("$name: ", $done // 'no', ' transactions, ', $failed // 'no', ' failed');
	my $aborted = () = $err =~ /aborted/g;
	diag($err) if $aborted;
	return ($done // 0, ($failed // 0) + $aborted, deadlocks() - $before);
}

# Backends tell the statistics when they end, and may take a moment.
sub deadlocks
{
	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
	  or die 'clients do not end';
	return $node->safe_psql('postgres',
		"SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'");
}

sub is_right
{
	my ($name) = @_;
	$node->safe_psql('postgres', 'CALL profiles.refresh()');
	is( $node->safe_psql('postgres',
			"SELECT count(*) FROM (TABLE differing_users UNION ALL TABLE differing_accounts) d"),
		'0', "$name: verify finds nothing");
	is( $node->safe_psql('postgres', <<"EOSQL"), '0', "$name: neither does plain SQL");
SELECT count(*)
FROM (SELECT user_id, min(ts) AS first_seen, max(ts) AS last_seen FROM events GROUP BY user_id) e
FULL JOIN profiles.users u ON u.user_id = e.user_id
WHERE (u.first_seen, u.last_seen) IS DISTINCT FROM (e.first_seen, e.last_seen)
EOSQL
	return;
}

$node->safe_psql('postgres', <<"EOSQL");
CREATE VIEW differing_users AS SELECT key FROM profiles.verify('user');
CREATE VIEW differing_accounts AS SELECT key FROM profiles.verify('account');
EOSQL

my ($done, $failed, $deadlocks) = run_clients('control', 3, $unsorted);
cmp_ok($deadlocks, '>', 0, 'control: updates in no order meet deadlocks');
cmp_ok($failed, '>', 0, 'control: and pgbench says so');

($done, $failed, $deadlocks) = run_clients('deferred', $seconds,
	"${draw}BEGIN;\n$insert$draw$insert$draw${insert}COMMIT;\n", 'CALL profiles.refresh();');
cmp_ok($done, '>', 100, 'deferred: transactions of several statements');
is($deadlocks, '0', 'deferred: no deadlocks');
is($failed, '0', 'deferred: no failures');
is_right('deferred');

$node->safe_psql('postgres', "SELECT profiles.alter_source('public.events', capture => 'immediate')");
($done, $failed, $deadlocks) = run_clients('immediate', int($seconds * 0.7), "$draw$insert");
cmp_ok($done, '>', 100, 'immediate: transactions of one statement');
is($deadlocks, '0', 'immediate: no deadlocks');
is($failed, '0', 'immediate: no failures');
is($node->safe_psql('postgres', 'SELECT sum(pending) FROM profiles.status'), '0', 'immediate: nothing was pending');
is_right('immediate');

($done, $failed, $deadlocks) = run_clients('immediate_refreshed', $seconds - int($seconds * 0.7), "$draw$insert", 'CALL profiles.refresh();');
is("$deadlocks $failed", '0 0', 'immediate beside refresh: no deadlocks, no failures');
is_right('immediate beside refresh');

$node->stop;
done_testing();
