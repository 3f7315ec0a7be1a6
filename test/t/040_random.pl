# Statements at random, at all isolation levels, beside refresh and rebuild.
#
# Several sessions insert, update, delete, truncate, copy, merge, move and
# detach events of four sources while others refresh and rebuild all the time.
# Whatever happened in between, at rest one refresh must leave exactly what two
# oracles say: a fold of the events that are there, byte for byte, and a query
# of window functions that shares no code with the extension.
#
# Each of three rounds has two halves.  In the first anything goes; in the second
# nothing makes a rebuild due, so that what refresh leaves is its own work and not
# that of a rebuild at the end.
#
# What is said in what order is drawn from a generator of our own, so that a
# seed gives the same statements everywhere; how they interleave is up to the
# machine.  PROFILES_TEST_SEED sets the seed, PROFILES_TEST_SECONDS how long
# each round writes (8).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed    = $ENV{PROFILES_TEST_SEED}    // 20260301;
my $seconds = $ENV{PROFILES_TEST_SECONDS} // 8;
my $writers = 4;
my $users   = 300;
my $accounts = 40;
my $units   = 1000;    # per writer and half, if there is time

note("PROFILES_TEST_SEED=$seed");

#
# A generator of numbers: drand48's, so that it is the same everywhere
#

my $mask = (1 << 48) - 1;
my $state;

sub start_drawing
{
	my ($number) = @_;
	$state = ($number * 65536 + 0x330E) & $mask;
	drawn(2) for 1 .. 10;
	return;
}

# A number from 0 to $n - 1.
sub drawn
{
	my ($n) = @_;
	use integer;
	$state = ($state * 25214903917 + 11) & $mask;
	return ($state >> 17) % $n;
}

sub one_of { return $_[ drawn(scalar @_) ]; }

sub percent { return drawn(100) < $_[0]; }

#
# Events
#

my @columns = qw(ts uid acc sid name country city plan qty);
my $columns = join(', ', @columns);

# Days are few, so that there are many ties; partition n has days 10n to 10n + 9.
sub drawn_time
{
	my ($table) = @_;
	my $day = $table =~ /^ev_parts_(\d)$/ ? 10 * $1 + drawn(10) : drawn(40);
	return '2100-01-01 00:00:00+00' if $table !~ /_\d$/ && percent(2);
	return undef                    if $table !~ /^ev_parts/ && percent(2);
	return sprintf('2026-01-%02d 00:00:00+00', 1 + $day) if $day < 31;
	return sprintf('2026-02-%02d 00:00:00+00', $day - 30);
}

sub drawn_user { return percent(3) ? undef : 'u' . drawn($users); }
sub drawn_account { return percent(20) ? undef : 'a' . drawn($accounts); }

sub drawn_event
{
	my ($table) = @_;
	return (
		drawn_time($table), drawn_user(), drawn_account(),
		one_of(undef, 's1', 's2', 's10', 'S1'),
		one_of(undef, undef, 'Ada', 'ada', "Zo\xc3\xab", ''),
		one_of(undef, 'FR', 'US', 'fr'),
		one_of(undef, 'Paris', 'paris', "\xc3\x85re"),
		one_of(undef, undef, 'free', 'pro'),
		one_of(undef, 1, 2, 3, 7, percent(10) ? 0 : 5));
}

sub literal
{
	my ($value) = @_;
	return defined $value ? "'$value'" : 'NULL';
}

sub values_of
{
	my ($table, $id) = @_;
	return '(' . join(', ', defined $id ? $id : (), map { literal($_) } drawn_event($table)) . ')';
}

# Which rows of a table: some subjects' or some numbers.
sub drawn_condition
{
	return one_of(
		"uid = 'u" . drawn($users) . "'",
		"uid = 'u" . drawn($users) . "' AND id % 3 = " . drawn(3),
		"acc = 'a" . drawn($accounts) . "' AND id % 7 = " . drawn(7),
		'id % 300 = ' . drawn(300),
		'id <= 60 AND id % 20 = ' . drawn(20));
}

#
# Statements
#

# What a statement names: a source, or one partition of it.  Partitions 2 and 3
# are replaced now and then; until a refresh has noticed the new one, it has no
# triggers, so by its own name it is only inserted into: $parts is 2 where rows
# are changed.
sub drawn_table
{
	my ($parts) = @_;
	my $table = one_of(qw(ev_plain ev_plain ev_parts ev_parts ev_now ev_now ev_keep));
	return $table eq 'ev_parts' && percent(40) ? "ev_parts_" . drawn($parts) : $table;
}

sub drawn_change
{
	my ($table) = @_;
	my $stays = $table =~ /_\d$/;
	return one_of(
		"name = '" . one_of('Ada', 'Grace', '') . "'",
		"city = 'Lyon', country = 'FR'",
		'plan = NULL',
		'qty = ' . drawn(4),
		'name = name',
		"uid = 'u" . drawn($users) . "'",
		"uid = 'u" . drawn($users) . "', acc = 'a" . drawn($accounts) . "'",
		'acc = NULL',
		$stays ? "sid = 's3'" : 'ts = ' . literal(drawn_time('ev_parts')),
		$stays ? 'sid = NULL' : "ts = ts + interval '1 day'");
}

sub drawn_statement
{
	my ($calm) = @_;
	my $n = drawn(100);
	my $table = drawn_table($n < 47 ? 4 : 2);
	my $key = $table =~ /^ev_parts/ ? 'id, ts' : 'id';

	return "INSERT INTO $table ($columns) VALUES " . values_of($table) . ';' if $n < 22;
	return "INSERT INTO $table ($columns) VALUES "
	  . join(', ', map { values_of($table) } 1 .. 2 + drawn(20)) . ';'
	  if $n < 36;
	if ($n < 41)
	{
		# the same events again, some of them elsewhere
		my $to = one_of($table, 'ev_plain', 'ev_now');
		return "INSERT INTO $to ($columns) SELECT $columns FROM $table WHERE "
		  . drawn_condition() . ' AND ts IS NOT NULL LIMIT 30;'
		  if $to !~ /_\d$/ || $to eq $table;
	}
	if ($n < 47)
	{
		my $rows = join '', map { join("\t", map { $_ // '\N' } drawn_event($table)) . "\n" } 1 .. 3 + drawn(15);
		return "COPY $table ($columns) FROM STDIN;\n$rows\\.";
	}
	return "UPDATE $table SET " . drawn_change($table) . ' WHERE ' . drawn_condition() . ';' if $n < 65;
	return "DELETE FROM $table WHERE " . drawn_condition() . ';' if $n < 76;
	return $calm ? "DELETE FROM $table WHERE uid IS NULL;" : "TRUNCATE $table;" if $n < 77;
	return "INSERT INTO $table (id, $columns) VALUES "
	  . join(', ', map { values_of($table, 1 + 3 * $_ + drawn(3)) } 1 .. 1 + drawn(6))
	  . " ON CONFLICT ($key) DO " . one_of('NOTHING', 'UPDATE SET ' . join(', ', map { "$_ = EXCLUDED.$_" } qw(uid name country city)))
	  . ';'
	  if $n < 87;
	if ($n < 94)
	{
		my $rows = join(', ', map { values_of($table, 1 + 3 * $_ + drawn(3)) } 1 .. 1 + drawn(6));
		my $on = $key eq 'id' ? 't.id = s.id' : 't.id = s.id AND t.ts = s.ts';
		return "MERGE INTO $table t USING (SELECT id, ts::timestamptz, uid, acc, sid, name, country, city, plan, qty::int "
		  . "FROM (VALUES $rows) AS v (id, $columns)) s ON $on "
		  . "WHEN MATCHED AND s.qty > 3 THEN DELETE WHEN MATCHED THEN UPDATE SET uid = s.uid, city = s.city "
		  . "WHEN NOT MATCHED THEN INSERT (id, $columns) VALUES (s.id, "
		  . join(', ', map { "s.$_" } @columns) . ');';
	}
	my $to = one_of('ev_plain', 'ev_now', 'ev_keep');
	return "WITH moved AS (DELETE FROM $table WHERE " . drawn_condition()
	  . " RETURNING *) INSERT INTO $to ($columns) SELECT $columns FROM moved;";
}

# Partitions come and go; one writer does this.
sub drawn_partition_change
{
	my $kind = drawn(4);
	my $n = $kind < 2 ? drawn(4) : 2 + drawn(2);
	my $bounds = "FROM ('2026-01-01 00:00:00+00'::timestamptz + interval '" . 10 * $n . " days') TO "
	  . ($n == 3 ? '(MAXVALUE)' : "('2026-01-01 00:00:00+00'::timestamptz + interval '" . 10 * ($n + 1) . " days')");
	my $part = "ev_parts_$n";
	my $row = sub { "INSERT INTO $part ($columns) VALUES " . values_of($part) . ';' };

	return (
		# goes and comes back after others had their turn
		"ALTER TABLE ev_parts DETACH PARTITION $part;\nSELECT pg_sleep(0.0" . drawn(10) . ");\n"
		  . "ALTER TABLE ev_parts ATTACH PARTITION $part FOR VALUES $bounds;",
		# is changed while it is no partition
		"BEGIN;\nALTER TABLE ev_parts DETACH PARTITION $part;\nDELETE FROM $part WHERE id % 2 = 0;\n"
		  . $row->() . "\nALTER TABLE ev_parts ATTACH PARTITION $part FOR VALUES $bounds;\nCOMMIT;",
		# goes for good, and a table of other events takes its place
		"BEGIN;\nALTER TABLE ev_parts DETACH PARTITION $part;\nDROP TABLE $part;\n"
		  . "CREATE TABLE $part (LIKE ev_parts INCLUDING ALL);\n"
		  . join("\n", map { $row->() } 1 .. 3)
		  . "\nALTER TABLE ev_parts ATTACH PARTITION $part FOR VALUES $bounds;\nCOMMIT;",
		# is dropped, and made anew
		"DROP TABLE $part;\nCREATE TABLE $part PARTITION OF ev_parts FOR VALUES $bounds;")[$kind];
}

# A statement on its own, or a transaction with savepoints, that may be undone.
sub drawn_unit
{
	my ($writer, $calm) = @_;
	return drawn_partition_change() . "\n" if $writer == 0 && !$calm && percent(4);
	return drawn_statement($calm) . "\n" if percent(50);

	my $unit = 'BEGIN ISOLATION LEVEL '
	  . one_of('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE') . ";\n";
	for (1 .. 1 + drawn(4))
	{
		if (percent(25))
		{
			$unit .= "SAVEPOINT s;\n" . drawn_statement($calm) . "\n"
			  . one_of("ROLLBACK TO SAVEPOINT s;\n", "ROLLBACK TO SAVEPOINT s;\n", "RELEASE SAVEPOINT s;\n");
		}
		else
		{
			$unit .= drawn_statement($calm) . "\n";
		}
	}
	return $unit . one_of(('COMMIT') x 5, 'ROLLBACK') . ";\n";
}

my $unless_stopped = "SELECT EXISTS (SELECT FROM stop) AS stop \\gset\n\\if :stop\n\\q\n\\endif\n";

sub writer_script
{
	my ($round, $calm, $writer) = @_;
	start_drawing($seed + 1000 * $round + 500 * $calm + $writer);
	my $script = "\\set VERBOSITY verbose\nSET client_min_messages TO warning;\n";
	# some writers merge what is pending, when there is little already
	$script .= "SET profiles.pending_limit TO 0;\n" if $writer % 2 == 1;
	for my $unit (1 .. $units)
	{
		$script .= drawn_unit($writer, $calm);
		$script .= $unless_stopped if $unit % 5 == 0;
	}
	return $script;
}

# Two sessions that keep profiles up to date, in all the ways there are.
sub upkeep_script
{
	my ($round, $calm, $which) = @_;
	start_drawing($seed + 1000 * $round + 500 * $calm + 100 + $which);
	my $script = "\\set VERBOSITY verbose\nSET client_min_messages TO warning;\n";
	for (1 .. 1000)
	{
		my $kind = one_of('', "'user'", "'account'");
		my $call = !$calm && percent(10) ? "CALL profiles.rebuild($kind);" : "CALL profiles.refresh($kind);";
		$call = 'BEGIN ISOLATION LEVEL ' . one_of('READ COMMITTED', 'REPEATABLE READ') . ";\n$call\nCOMMIT;" if percent(10);
		$script .= "$call\nSELECT pg_sleep(0.0" . drawn(3) . ");\n$unless_stopped";
	}
	return $script;
}

#
# The cluster
#

my $node = PostgreSQL::Test::Cluster->new('random');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "fsync = off\ndeadlock_timeout = 50ms\nTimeZone = UTC\n");
$node->start;

my $definition = 'ts timestamptz, uid text, acc text, sid text, name text, country text, city text, plan text, qty int';
my $mapping = '"user_id": "uid", "account_id": "acc", "seen_at": "ts", "session": "sid", "name": "name", '
  . '"account_name": "plan", "geo.country": "country", "geo.city": "city", "plan": "plan"';

$node->safe_psql('postgres', <<"EOSQL");
CREATE EXTENSION profiles;
CREATE TABLE stop ();
CREATE TABLE ev_plain (id int GENERATED BY DEFAULT AS IDENTITY (START 1000) PRIMARY KEY, $definition);
CREATE TABLE ev_now (LIKE ev_plain INCLUDING ALL);
CREATE TABLE ev_keep (LIKE ev_plain INCLUDING ALL);
CREATE SEQUENCE parts_id START 1000;
CREATE TABLE ev_parts (id int DEFAULT nextval('parts_id'), $definition, PRIMARY KEY (id, ts)) PARTITION BY RANGE (ts);
CREATE TABLE ev_parts_0 PARTITION OF ev_parts FOR VALUES FROM ('2026-01-01Z') TO ('2026-01-11Z');
CREATE TABLE ev_parts_1 PARTITION OF ev_parts FOR VALUES FROM ('2026-01-11Z') TO ('2026-01-21Z');
CREATE TABLE ev_parts_2 PARTITION OF ev_parts FOR VALUES FROM ('2026-01-21Z') TO ('2026-01-31Z');
CREATE TABLE ev_parts_3 PARTITION OF ev_parts FOR VALUES FROM ('2026-01-31Z') TO (MAXVALUE);

-- all events that ev_keep ever had, for the oracle
CREATE TABLE kept_log (LIKE ev_keep);
CREATE FUNCTION log_kept() RETURNS trigger LANGUAGE plpgsql AS
\$\$ BEGIN INSERT INTO kept_log SELECT NEW.*; RETURN NULL; END \$\$;
CREATE TRIGGER log_kept AFTER INSERT OR UPDATE ON ev_keep FOR EACH ROW EXECUTE FUNCTION log_kept();

-- rows whose quantity is 0 fail in ev_plain, and are left out
SELECT profiles.add_source('ev_plain', mapping => '{$mapping, "rate": "100 / qty"}');
SELECT profiles.add_source('ev_parts', mapping => '{$mapping}');
SELECT profiles.add_source('ev_now', mapping => '{$mapping}', capture => 'immediate');
SELECT profiles.add_source('ev_keep', mapping => '{$mapping}', on_change => 'keep');
CALL profiles.rebuild();

-- the events that count
CREATE VIEW event AS
SELECT ts, uid, acc, sid, name, country, city, plan, CASE WHEN qty <> 0 THEN (100 / qty)::text END AS rate
FROM ev_plain WHERE qty IS DISTINCT FROM 0
UNION ALL
SELECT ts, uid, acc, sid, name, country, city, plan, NULL FROM ev_parts
UNION ALL
SELECT ts, uid, acc, sid, name, country, city, plan, NULL FROM ev_now
UNION ALL
SELECT ts, uid, acc, sid, name, country, city, plan, NULL FROM kept_log;

CREATE VIEW subject_event AS
SELECT k.kind, k.key, k.name, e.ts, e.sid, e.country, e.city, e.plan, e.rate
FROM event e, LATERAL (VALUES ('user', e.uid, e.name), ('account', e.acc, e.plan)) AS k (kind, key, name)
WHERE k.key IS NOT NULL AND e.ts <= now() + interval '1 day';

CREATE VIEW stored AS
SELECT 'user' AS kind, key, profile FROM profiles.user_profile
UNION ALL
SELECT 'account', key, profile FROM profiles.account_profile;

-- the fold of all of them, and what differs from it by a byte
CREATE VIEW differs_in_bytes AS
SELECT coalesce(s.kind, f.kind) AS kind, coalesce(s.key, f.key) AS key, s.profile AS stored, f.profile AS folded
FROM stored s
FULL JOIN (
    SELECT kind, key, profiles.profile_agg(ts, 'session', sid, 'name', name, 'geo.country', country, 'geo.city', city,
                                           'plan', plan, 'rate', rate) AS profile
    FROM subject_event GROUP BY kind, key) f ON f.kind = s.kind AND f.key = s.key
WHERE profiles.profile_send(s.profile) IS DISTINCT FROM profiles.profile_send(f.profile);

-- What profiles must say, by window functions: a group's values come from its
-- earliest and its latest event; ties go to the event that says more, then by
-- the values in the byte order of their names, then by the session.
CREATE VIEW oracle AS
WITH said AS (
    SELECT e.kind, e.key, g.names, g.vals, e.ts, e.sid, num_nonnulls(VARIADIC g.vals) AS says
    FROM subject_event e, LATERAL (VALUES
        (ARRAY['name'], ARRAY[e.name]), (ARRAY['geo.city', 'geo.country'], ARRAY[e.city, e.country]),
        (ARRAY['plan'], ARRAY[e.plan]), (ARRAY['rate'], ARRAY[e.rate]), (ARRAY['session'], ARRAY[e.sid])) AS g (names, vals)
    WHERE num_nonnulls(VARIADIC g.vals) > 0
), ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY kind, key, names ORDER BY ts, says DESC, vals[1] COLLATE "C" NULLS FIRST,
                              vals[2] COLLATE "C" NULLS FIRST, sid COLLATE "C" NULLS LAST) AS from_first,
           row_number() OVER (PARTITION BY kind, key, names ORDER BY ts DESC, says DESC, vals[1] COLLATE "C" DESC NULLS LAST,
                              vals[2] COLLATE "C" DESC NULLS LAST, sid COLLATE "C" DESC NULLS LAST) AS from_last
    FROM said
), ends AS (
    SELECT r.kind, r.key, e.place, v.attribute, v.value, r.ts AS at
    FROM ranked r
    CROSS JOIN LATERAL (VALUES ('first', r.from_first), ('last', r.from_last)) AS e (place, rank)
    CROSS JOIN LATERAL unnest(r.names, r.vals) AS v (attribute, value)
    WHERE e.rank = 1 AND v.value IS NOT NULL
)
SELECT * FROM ends
UNION ALL
SELECT kind, key, 'first', 'seen', NULL, min(ts) FROM subject_event GROUP BY kind, key
UNION ALL
SELECT kind, key, 'last', 'seen', NULL, max(ts) FROM subject_event GROUP BY kind, key;

CREATE VIEW said_by_profiles AS
SELECT s.kind, s.key, e.place, a.attribute, e.value, e.at
FROM stored s, unnest(ARRAY['name', 'geo.city', 'geo.country', 'plan', 'rate', 'session']) AS a (attribute),
LATERAL (VALUES ('first', profiles.first_known(s.profile, a.attribute), profiles.first_known_at(s.profile, a.attribute)),
                ('last', profiles.last_known(s.profile, a.attribute), profiles.last_known_at(s.profile, a.attribute))) AS e (place, value, at)
WHERE e.value IS NOT NULL
UNION ALL
SELECT kind, key, 'first', 'seen', NULL, profiles.first_seen(profile) FROM stored
UNION ALL
SELECT kind, key, 'last', 'seen', NULL, profiles.last_seen(profile) FROM stored;

CREATE VIEW differs_in_values AS
(TABLE said_by_profiles EXCEPT ALL TABLE oracle) UNION ALL (TABLE oracle EXCEPT ALL TABLE said_by_profiles);
EOSQL

#
# Sessions: psql processes that run scripts
#

sub run_session
{
	my ($name, $script) = @_;
	my $file = $node->basedir . "/$name.sql" =~ tr/ ,/__/r;
	open my $handle, '>:raw', $file or die "$file: $!";
	print $handle $script;
	close $handle or die "$file: $!";
	my $pid = fork() // die "fork: $!";
	return { pid => $pid, name => $name, errors => "$file.err" } if $pid;

	open STDIN,  '<', '/dev/null'  or die $!;
	open STDOUT, '>', '/dev/null'  or die $!;
	open STDERR, '>', "$file.err" or die $!;
	exec 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f', $file or die "psql: $!";
}

# Errors of a session by SQLSTATE, and the messages.  Deadlocks of upkeep in a
# transaction block, which the line before it begins, are told apart.
sub errors_of
{
	my ($session) = @_;
	my %errors;
	my @script = split /\n/, slurp_file($session->{errors} =~ s/\.err$//r);
	for my $line (split /\n/, slurp_file($session->{errors}))
	{
		if (my ($number, $state, $message) = $line =~ /:(\d+): (?:ERROR|FATAL|PANIC):  (\w{5}): (.*)/)
		{
			$state .= ' in a block' if $state eq '40P01' && $session->{name} =~ /^upkeep/ && $script[ $number - 2 ] =~ /^BEGIN/;
			push @{ $errors{$state} }, $message;
		}
		push @{ $errors{lost} }, $line if $line =~ /connection to server was lost|server closed/;
	}
	return \%errors;
}

# What may go wrong for a writer, with profiles or without: serialization
# failures, deadlocks of transactions over events, duplicate keys, no partition
# for a row, a transaction that has failed, a row hit twice, a table that is a
# partition already, and one that is none or gone.
my %writer_may = map { $_ => 1 } qw(40001 40P01 23505 23514 25P02 3B001 21000 42809 42P01 42P07);
# And for upkeep: transaction blocks of a level that it refuses, and in a block
# deadlocks, since there it keeps its locks from step to step.
my %upkeep_may = map { $_ => 1 } (qw(25P02 25000), '40P01 in a block');

my @rounds = (
	'all sources as they were added',
	'the partitioned source immediate, the plain one too',
	'all deferred, the source that keeps too');
my @changes = (
	"SELECT 1",
	"SELECT profiles.alter_source('public.ev_parts', capture => 'immediate'), profiles.alter_source('public.ev_plain', capture => 'immediate')",
	"SELECT profiles.alter_source(source, capture => 'deferred') FROM profiles.sources");

sub run_half
{
	my ($name, $round, $calm) = @_;
	$node->safe_psql('postgres', 'DELETE FROM stop');
	my @upkeep = map { run_session("upkeep $name $_", upkeep_script($round, $calm, $_)) } 0 .. 1;
	my @writers = map { run_session("writer $name $_", writer_script($round, $calm, $_)) } 0 .. $writers - 1;
	sleep $seconds / 2;
	$node->safe_psql('postgres', 'INSERT INTO stop DEFAULT VALUES');

	for my $session (@writers, @upkeep)
	{
		waitpid $session->{pid}, 0;
		my $errors = errors_of($session);
		note("$session->{name}: ", join(', ', map { "$_ x " . scalar @{ $errors->{$_} } } sort keys %$errors) || 'no errors');
		my $may = $session->{name} =~ /^writer/ ? \%writer_may : \%upkeep_may;
		my @bad = grep { !$may->{$_} } sort keys %$errors;
		is(join(', ', @bad), '', "$session->{name}: no errors other than those of concurrency");
		diag("$_: $errors->{$_}[0]") for @bad;
	}

	my ($status, $out, $err) = $node->psql('postgres', 'SET client_min_messages TO warning; CALL profiles.refresh()');
	is("$status $err", '0 ', "$name: one refresh at rest");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM profiles.due'), '0', "$name: nothing is due");
	is( $node->safe_psql('postgres',
			'SELECT (SELECT count(*) FROM (TABLE profiles.user_pending UNION ALL TABLE profiles.account_pending) p '
			  . "WHERE coalesce(left_out, '') NOT LIKE 'future %') "
			  . '+ (SELECT count(*) FROM profiles.user_packed) + (SELECT count(*) FROM profiles.account_packed)'),
		'0', "$name: nothing is pending but what is held");
	for my $kind ('user', 'account')
	{
		is($node->safe_psql('postgres', "SELECT key, stored, expected FROM profiles.verify('$kind') LIMIT 3"),
			'', "$name: verify finds no $kind");
	}
	is($node->safe_psql('postgres', 'SELECT * FROM differs_in_bytes ORDER BY kind, key LIMIT 3'),
		'', "$name: profiles are the fold of the events, byte for byte");
	is($node->safe_psql('postgres', 'SELECT * FROM differs_in_values ORDER BY 1, 2, 3, 4 LIMIT 6'),
		'', "$name: profiles say what window functions say");
	note('events and subjects: ', $node->safe_psql('postgres',
			"SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM stored), "
			  . "(SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname ~ '^ev_')"));
	return;
}

for my $round (0 .. $#rounds)
{
	note("round $round: $rounds[$round]");
	$node->safe_psql('postgres', $changes[$round]);
	run_half("$round, anything", $round, 0);
	my $rebuilt = $node->safe_psql('postgres', 'SELECT kind, rebuilt_at FROM profiles.upkeep ORDER BY 1');
	run_half("$round, no rebuild", $round, 1);
	is($node->safe_psql('postgres', 'SELECT kind, rebuilt_at FROM profiles.upkeep ORDER BY 1'),
		$rebuilt, "$round: nothing was rebuilt in the second half");
}

$node->stop;
done_testing();
