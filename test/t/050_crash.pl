# Crashes and cancels: whatever was committed is in the profiles after the next
# refresh, and nothing else.
#
# Writers, refresh and rebuild run until the server is stopped at once or one of
# its backends is killed, 20 times; then until 100 of their calls have been
# cancelled or timed out.  After each crash, and after the cancels, one refresh
# has to do: verify and a query in plain SQL find nothing, and all indexes of the
# schema are sound.  PROFILES_TEST_SEED sets the seed of the waits and victims,
# PROFILES_TEST_CRASHES and PROFILES_TEST_CANCELS how many there are.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed    = $ENV{PROFILES_TEST_SEED}    // 20260301;
my $crashes = $ENV{PROFILES_TEST_CRASHES} // 20;
my $cancels = $ENV{PROFILES_TEST_CANCELS} // 100;

note("PROFILES_TEST_SEED=$seed");
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf',
	"fsync = off\nrestart_after_crash = on\nTimeZone = UTC\nautovacuum_naptime = 1s\n");
$node->start;

$node->safe_psql('postgres', <<'EOSQL');
CREATE EXTENSION amcheck;
CREATE EXTENSION profiles;
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ts timestamptz, user_id text, account_id text, country text);
CREATE TABLE clicks (LIKE events INCLUDING ALL);
INSERT INTO events (ts, user_id, account_id, country)
SELECT timestamptz '2026-01-01' + i % 997 * interval '1 hour', 'u' || i % 3001, 'a' || i % 101, 'C' || i % 7
FROM generate_series(1, 10000) AS i;
SELECT profiles.add_source('events'), profiles.add_source('clicks', capture => 'immediate');
CALL profiles.rebuild();

CREATE VIEW event AS TABLE events UNION ALL TABLE clicks;
CREATE VIEW differs AS
SELECT 'verify user' AS what, key FROM profiles.verify('user')
UNION ALL
SELECT 'verify account', key FROM profiles.verify('account')
UNION ALL
SELECT 'plain SQL', coalesce(e.user_id, u.user_id)
FROM (SELECT user_id, min(ts) AS first_seen, max(ts) AS last_seen FROM event GROUP BY user_id) e
FULL JOIN profiles.users u ON u.user_id = e.user_id
WHERE (u.first_seen, u.last_seen) IS DISTINCT FROM (e.first_seen, e.last_seen);
EOSQL

sub script
{
	my ($name, $text) = @_;
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, $text);
	return $file;
}

my $draw = "\\set u random(0, 3000)\n\\set d random(0, 2000)\n";
my $values = "(timestamptz '2026-01-01' + :d * interval '1 hour', 'u' || :u, 'a' || :u % 101, 'C' || :d % 7)";
my @writes = map { ('-f', $_) } (
	script('insert', "${draw}INSERT INTO events (ts, user_id, account_id, country) VALUES $values;\n"),
	script('clicks', "${draw}INSERT INTO clicks (ts, user_id, account_id, country) VALUES $values;\n"),
	script('several', "${draw}BEGIN;\nINSERT INTO events (ts, user_id, account_id, country) VALUES $values;\n"
		  . "UPDATE events SET user_id = 'u' || :d WHERE user_id = 'u' || :u AND id % 2 = 0;\nCOMMIT;\n"),
	script('update', "${draw}UPDATE events SET ts = ts + interval '1 day' WHERE id = :u;\n"),
	script('delete', "${draw}DELETE FROM clicks WHERE user_id = 'u' || :u;\n"),
	script('expire', "${draw}DELETE FROM events WHERE id = 3000 + :u;\n"));
my @upkeep = (
	'-f', script('refresh', "CALL profiles.refresh();\n\\sleep 20 ms\n") . '@3',
	'-f', script('rebuild', "CALL profiles.rebuild();\n\\sleep 20 ms\n") . '@2');

# Clients in the background; pgbench ends by itself, or with the server.
sub start_clients
{
	my ($clients, @options) = @_;
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', 60, '--max-tries=100', @options, $node->connstr('postgres') ],
		'<', \undef, '>', "@{[ $node->basedir ]}/pgbench.out", '2>', "@{[ $node->basedir ]}/pgbench.err");
}

sub wait_until_up
{
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
	return;
}

# Right now, in the profiles and in their indexes?
sub is_right
{
	my ($name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET client_min_messages TO warning;\nCALL profiles.refresh();");
	my $wrong = $node->safe_psql('postgres', 'SELECT * FROM differs LIMIT 3');
	my $left = $node->safe_psql('postgres',
		"SELECT (SELECT count(*) FROM profiles.due), "
		  . "(SELECT count(*) FROM (SELECT key FROM profiles.user_pending UNION ALL SELECT key FROM profiles.account_pending "
		  . "UNION ALL SELECT NULL FROM profiles.user_packed UNION ALL SELECT NULL FROM profiles.account_packed) p), "
		  . "(SELECT string_agg(DISTINCT phase, ' ') FROM profiles.upkeep), to_regclass('profiles.user_staging'), to_regclass('profiles.account_staging')");
	my (undef, undef, $damage) = $node->psql('postgres',
		"SELECT bt_index_check(c.oid, i.indisunique) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
		  . "JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree' "
		  . "WHERE c.relnamespace = 'profiles'::regnamespace AND c.relpersistence = 'p'");
	is("$err|$wrong|$left|$damage", '||0|0|done|||', $name);
	return;
}

#
# Crashes
#

my %interrupted;
for my $n (1 .. $crashes)
{
	my @clients = (start_clients(6, @writes), start_clients(2, @upkeep));
	sleep 0.3 + rand 1.2;
	my $how;
	if ($n % 2)
	{
		$how = 'an immediate stop';
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my @pids = split /\n/, $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid");
		$how = 'kill -9';
		kill 'KILL', $pids[ int rand @pids ] or die 'no client to kill';
	}
	$_->finish for @clients;
	wait_until_up();
	$interrupted{$_}++ for split /\n/, $node->safe_psql('postgres',
		"SELECT phase FROM profiles.upkeep");
	is_right("crash $n, by $how: nothing lost, nothing doubled, indexes sound");
}
note('phases at the crashes: ', join(', ', map { "$_ x $interrupted{$_}" } sort keys %interrupted));

#
# A rebuild that a crash interrupts while it writes: what it had folded is gone
#

my $to_write = <<'EOSQL';
DO $$
BEGIN
    PERFORM profiles._rebuild_step('user', true, NULL);
    WHILE (SELECT phase FROM profiles.upkeep WHERE kind = 'user') = 'fold' LOOP
        PERFORM profiles._rebuild_step('user', false, NULL);
    END LOOP;
END
$$;
INSERT INTO events (ts, user_id, account_id, country) VALUES ('2026-06-01Z', 'u1', 'a1', 'LATE');
EOSQL
# a rebuild goes on only where nothing was merged at once in between
$node->safe_psql('postgres', "SELECT profiles.alter_source('public.clicks', capture => 'deferred')");
$node->safe_psql('postgres', 'CALL profiles.refresh()');
$node->safe_psql('postgres', $to_write);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT phase FROM profiles.upkeep WHERE kind = 'user'"), 'write', 'interrupted in phase write');
is_right('an interrupted rebuild, its staging lost: the next refresh completes it');
$node->safe_psql('postgres', $to_write);
$node->restart;
my (undef, undef, $notices) = $node->psql('postgres', 'CALL profiles.refresh()');
like($notices, qr/the interrupted rebuild goes on/, 'an interrupted rebuild, its staging whole: it goes on');
is_right('and completes');
$node->safe_psql('postgres', "SELECT profiles.alter_source('public.clicks', capture => 'immediate')");

#
# Cancels and timeouts
#

# Upkeep that is timed out after 1 to 4 ms, and later and later.
sub start_upkeep
{
	my ($name, $text) = @_;
	my $file = script($name, "\\set VERBOSITY sqlstate\nSET client_min_messages TO warning;\nSET application_name TO $name;\n" . $text x 500);
	my $err = '';
	return {
		run => IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f', $file ],
			'<', \undef, '>', '/dev/null', '2>', \$err),
		err => \$err };
}

my $writers = start_clients(4, @writes);
my $timed = join '', map { "SET statement_timeout TO $_;\nCALL profiles.refresh();\nCALL profiles.rebuild();\nSELECT pg_sleep(0.1);\n" } 1 .. 4, 10, 20, 40, 80;
my $timed_out = start_upkeep('timed_out', $timed);
my $cancelled = start_upkeep('cancelled', "CALL profiles.refresh();\nCALL profiles.rebuild();\n");

# How many calls of a session have been hit.
sub hits
{
	my ($session) = @_;
	$session->{run}->pump_nb;
	my $n = () = ${ $session->{err} } =~ /ERROR:\s+57014/g;
	return $n;
}

my $deadline = time + 60;
while ((hits($timed_out) < $cancels / 2 || hits($cancelled) < $cancels / 2) && time < $deadline)
{
	sleep rand 0.05;
	$node->safe_psql('postgres',
		"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^CALL' AND application_name = 'cancelled'");
}
note(hits($timed_out), ' timed out, ', hits($cancelled), ' cancelled');
cmp_ok(hits($timed_out) + hits($cancelled), '>=', $cancels, "$cancels calls were cancelled or timed out");
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
$_->{run}->finish for $timed_out, $cancelled;
$writers->finish;
my %states;
$states{$_}++ for "${$timed_out->{err}}${$cancelled->{err}}" =~ /(?:ERROR|FATAL):\s+(\w{5})/g;
is(join(' ', grep { !/^(57014|57P01)$/ } sort keys %states), '', 'and none failed otherwise');
is_right('after the cancels: nothing lost, nothing doubled, indexes sound');

$node->stop;
done_testing();
