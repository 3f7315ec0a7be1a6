# Dump and restore: whatever is configured, stored, pending, kept and blocked is
# there again in another database, with owners, comments, rights and triggers,
# and upkeep goes on from there.  As a superuser and as an ordinary owner of the
# database, in plain and in custom format; and what a restore of data alone into
# a database that already captures does.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;

my $dir = PostgreSQL::Test::Utils::tempdir();

# Roles are of the cluster, so both databases share them.
$node->safe_psql('postgres', q{
	CREATE ROLE shop LOGIN CREATEDB;
	CREATE ROLE adder LOGIN;
	CREATE ROLE analyst LOGIN;
	CREATE ROLE writer LOGIN;
	GRANT adder TO shop});

# Runs statements as a role; fails the test run on an error.
sub run_as
{
	my ($role, $db, $sql) = @_;
	return $node->safe_psql($db, $sql, extra_params => [ '-U', $role ]);
}

# One line per row of a query.
sub rows
{
	my ($db, $sql) = @_;
	return [ split /\n/, $node->safe_psql($db, $sql) ];
}

# What must be the same in a restored database, by name.
my %same = (
	configuration => q{SELECT id, source, preset, capture, on_change, rls, added_at FROM profiles.source_config ORDER BY id},
	sources       => q{SELECT source, added_by, mapping, filters, rebuild_due FROM profiles.sources ORDER BY source},
	status        => q{SELECT source, kind, pending, folded, left_out, examples, last_refresh, last_rebuild FROM profiles.status ORDER BY source, kind},
	progress      => q{SELECT * FROM profiles.progress ORDER BY kind},
	parts         => q{SELECT * FROM profiles.source_part ORDER BY 1, 2, 3},
	users         => q{SELECT * FROM profiles.users ORDER BY user_id},
	accounts      => q{SELECT * FROM profiles.accounts ORDER BY account_id},
	'bytes of profiles' => q{SELECT 'user', key, profile::text, md5(profiles.profile_send(profile)) FROM profiles.user_profile
		UNION ALL SELECT 'account', key, profile::text, md5(profiles.profile_send(profile)) FROM profiles.account_profile ORDER BY 1, 2},
	pending => q{SELECT 'user', p.* FROM profiles.user_pending p UNION ALL SELECT 'account', p.* FROM profiles.account_pending p ORDER BY 1, 2, 3, 4, 5},
	packed => q{SELECT 'user', p.source_id, p.subjects, p.captured_at, p.profiles::text FROM profiles.user_packed p
		UNION ALL SELECT 'account', p.source_id, p.subjects, p.captured_at, p.profiles::text FROM profiles.account_packed p ORDER BY 1, 2, 3, 4, 5},
	kept      => q{SELECT * FROM profiles.kept ORDER BY 1, 2, 3, 4},
	due       => q{SELECT kind, source_id, reason, since FROM profiles.due ORDER BY id},
	blocked   => q{SELECT * FROM profiles.blocked ORDER BY 1, 2},
	forgotten => q{SELECT * FROM profiles.forgotten ORDER BY 1, 2, 3},
	countries => q{SELECT * FROM profiles.country ORDER BY code},
	relations => q{SELECT c.relname, c.relkind, pg_get_userbyid(c.relowner), pg_get_viewdef(c.oid)
		FROM pg_class c WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY 1},
	columns => q{SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
		FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid IN ('profiles.users'::regclass, 'profiles.accounts'::regclass, 'profiles.user_profile'::regclass)
			AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum},
	indexes  => q{SELECT indexdef FROM pg_indexes WHERE schemaname = 'profiles' ORDER BY 1},
	comments => q{SELECT c.relname, d.objsubid, d.description FROM pg_description d JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
		WHERE c.relnamespace = 'profiles'::regnamespace ORDER BY 1, 2},
	triggers => q{SELECT tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2},
	rights   => q{SELECT c.relname, array_to_string(ARRAY(SELECT a::text FROM unnest(c.relacl) a ORDER BY 1), ' ') FROM pg_class c
		WHERE c.relnamespace = 'profiles'::regnamespace AND c.relkind IN ('r', 'v') AND c.relacl IS NOT NULL ORDER BY 1},
	'rights of functions' => q{SELECT p.proname, array_to_string(ARRAY(SELECT a::text FROM unnest(p.proacl) a ORDER BY 1), ' ') FROM pg_proc p
		WHERE p.pronamespace = 'profiles'::regnamespace AND p.proacl IS NOT NULL ORDER BY 1},
	'custom attributes' => q{SELECT kind, attribute, type, source, source_column, source_key, profile_key, every, last_synced_at, rows, matched, unmatched,
		null_keys, duplicate_keys, last_error, status, added_by FROM profiles.custom_attributes ORDER BY 1, 2},
	syncs    => q{SELECT * FROM profiles.sync_runs ORDER BY id},
	segments => q{SELECT segment, kind, filter, description, members, created_by, created_at FROM profiles.segments ORDER BY 1},
	members  => q{SELECT s.segment, m.key FROM profiles.segments s, profiles.segment_members(s.segment) m ORDER BY 1, 2},
	events => q{SELECT * FROM profiles.events WHERE source = 'web.events' ORDER BY seen_at, user_id},
	verify => q{SELECT 'user', key FROM profiles.verify('user') UNION ALL SELECT 'account', key FROM profiles.verify('account') ORDER BY 1, 2});

# A database with something of everything.  "owner" owns it and the extension,
# "adder" one of the sources.
sub fill_database
{
	my ($db, $owner, $adder) = @_;
	run_as($owner, $db, q{
		CREATE SCHEMA web;
		CREATE SCHEMA team;
		CREATE TABLE web.events (id int, ts timestamptz NOT NULL, uid text, acc text, country text, plan text) PARTITION BY RANGE (ts);
		CREATE TABLE web.y2023 PARTITION OF web.events FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
		CREATE TABLE web.later PARTITION OF web.events DEFAULT;
		CREATE TABLE web.log (id int, at text, uid text, tag text);
		CREATE FUNCTION web.own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
		CREATE TRIGGER own BEFORE INSERT ON web.log FOR EACH ROW EXECUTE FUNCTION web.own();
		GRANT USAGE ON SCHEMA web TO adder, writer;
		GRANT SELECT, INSERT, TRIGGER ON web.log TO adder;
		GRANT INSERT ON web.events, web.log TO writer;
		GRANT USAGE, CREATE ON SCHEMA team TO adder;
		CREATE EXTENSION profiles;
		GRANT USAGE ON SCHEMA profiles TO adder;
		GRANT EXECUTE ON FUNCTION profiles.add_source, profiles.alter_source, profiles.drop_source, profiles.add_attributes, profiles.create_segment TO adder;
		INSERT INTO profiles.country VALUES ('XK', 'Kosovo');
		SELECT profiles.add_source('web.events', on_change => 'keep',
			mapping => '{"user_id": "uid", "account_id": "acc", "seen_at": "ts", "geo.country": "country", "plan": "plan"}')});
	run_as($adder, $db, q{
		CREATE FUNCTION team.tag(tag text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(tag) $$;
		SELECT profiles.add_source('web.log', mapping => '{"user_id": "uid", "seen_at": "at", "tag": "team.tag(tag)"}',
			filter => 'tag <> ''noise''')});
	run_as($owner, $db, q{
		SELECT profiles.add_source('web.later', capture => 'none', mapping => '{"user_id": "''later '' || uid", "seen_at": "ts", "plan": "plan"}');
		SELECT profiles.drop_source('web.later');
		GRANT SELECT ON profiles.users, profiles.events TO analyst;
		GRANT SELECT (key, last_seen) ON profiles.user_profile TO analyst;
		GRANT EXECUTE ON FUNCTION profiles.verify TO analyst;
		SELECT profiles.index_profiles('user', 'plan');
		INSERT INTO web.events SELECT i, timestamptz '2023-01-01Z' + i * interval '10 days', 'u' || i % 9, 'a' || i % 4,
			(ARRAY['XK', 'FR', 'ZZ'])[1 + i % 3], 'p' || i % 5 FROM generate_series(1, 60) i;
		INSERT INTO web.log SELECT i, '2023-06-01', 'u' || i % 11, CASE WHEN i % 5 = 0 THEN 'noise' ELSE 't' || i % 3 END FROM generate_series(1, 30) i;
		INSERT INTO web.log VALUES (31, 'no time', 'u1', 'bad');
		-- longer than what an index takes
		INSERT INTO web.events SELECT 61, '2023-05-05Z', 'long', 'a1', 'DE', string_agg(md5(i::text), '' ORDER BY i) FROM generate_series(1, 300) i});
	run_as($owner, $db, q{CALL profiles.refresh()});
	run_as($owner, $db, q{GRANT SELECT ON profiles.users TO adder});
	run_as($adder, $db, q{
		CREATE TABLE team.crm AS SELECT 'u' || i AS uid, CASE i % 3 WHEN 0 THEN 'gold' ELSE 'free' END AS tier, i * 1.50 AS spent FROM generate_series(0, 12) i;
		CREATE TABLE team.old AS SELECT 'u1' AS uid, 1 AS gone;
		SELECT profiles.add_attributes('user', 'team.crm', 'uid', 'user_id', filter => 'spent < 17');
		SELECT profiles.add_attributes('user', 'team.old', 'uid', 'user_id');
		SELECT profiles.create_segment('gold', 'tier = ''gold''', description => 'They pay')});
	run_as($owner, $db, q{CALL profiles.sync()});
	run_as($owner, $db, q{
		SELECT profiles.drop_attributes('user', 'team.old');
		SELECT profiles.index_profiles('user', 'tier');
		SELECT profiles.create_segment('gold_and_late', 'in_segment(''gold'') AND last_seen > ''2023-06-01''');
		SELECT profiles.create_segment('some', 'account_id < ''a2''', 'account')});
	run_as($owner, $db, q{
		DELETE FROM web.events WHERE id <= 5;
		SELECT profiles.forget('user', 'u3', block => true);
		SELECT profiles.forget('user', 'somebody')});
	run_as($owner, $db, q{CALL profiles.refresh()});
	# pending: rows, a mark, a held event; and something due
	run_as($owner, $db, q{
		INSERT INTO web.events VALUES (70, '2023-12-01Z', 'new', 'a1', 'DE', 'pending'), (71, now() + interval '20 days', 'new', 'a1', 'DE', 'held'),
			(72, '2023-12-02Z', NULL, NULL, NULL, NULL);
		INSERT INTO web.events SELECT 100 + i, timestamptz '2023-12-02Z' + i * interval '1 s', format('pack"ed\%s', i), 'a1', 'DE', 'é' || i FROM generate_series(1, 100) i;
		DELETE FROM web.log WHERE id = 1});
	return;
}

# Compares a restored database with its original, and lets it work.
sub check_restored
{
	my ($name, $original, $db, $owner, $adder) = @_;

	foreach my $what (sort keys %same)
	{
		is_deeply(rows($db, $same{$what}), rows($original, $same{$what}), "$name: $what");
	}
	isnt(scalar @{ rows($original, $same{$_}) }, 0, "$name: something was $_") for qw(pending packed);

	is($node->safe_psql($db, 'SELECT count(*) FROM web.events'),
		$node->safe_psql($original, 'SELECT count(*) FROM web.events'), "$name: events");
	is($node->safe_psql($db, q{SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'profiles'}),
		$owner, "$name: owner of the extension");

	# new events are captured, through the parent and into a leaf, by somebody without rights
	run_as('writer', $db, q{INSERT INTO web.events VALUES (80, '2023-12-03Z', 'written', 'a1', 'XK', 'x')});
	$node->safe_psql($db, q{INSERT INTO web.y2023 VALUES (81, '2023-12-04Z', 'leaf', 'a1', 'XK', 'x')});
	$node->safe_psql($db, q{DELETE FROM web.events WHERE id = 10});
	$node->safe_psql($db, q{INSERT INTO web.log VALUES (32, '2023-07-01', 'logged', 't'), (33, 'bad again', 'logged', 't')});
	run_as($owner, $db, 'CALL profiles.refresh()');
	is_deeply(rows($db, $same{verify}), [], "$name: verify after a refresh");
	is_deeply(
		rows($db, q{SELECT user_id, last_seen_country_name, last_tag FROM profiles.users WHERE user_id IN ('new', 'written', 'leaf', 'logged', 'u3') ORDER BY 1}),
		[ 'leaf|Kosovo|', 'logged||T', 'new|Germany|', 'written|Kosovo|' ],
		"$name: new events make profiles, blocked ones don't");
	run_as($owner, $db, 'CALL profiles.rebuild()');
	is_deeply(rows($db, $same{verify}), [], "$name: verify after a rebuild");
	is($node->safe_psql($db, q{SELECT count(*) > 0 FROM profiles.kept}), 't', "$name: what is kept is kept");
	is($node->safe_psql($db, q{SELECT count(*) > 0 FROM profiles.forgotten}), 't', "$name: who is forgotten is known");
	is(run_as('analyst', $db, q{SELECT count(*) FROM profiles.users WHERE user_id = 'written'}), '1', "$name: rights are as they were");

	# custom attributes are synced, columns come back, segments follow
	run_as($adder, $db, q{UPDATE team.crm SET tier = 'gold' WHERE uid = 'u1'; DELETE FROM team.crm WHERE uid = 'u6'});
	run_as($owner, $db, q{CALL profiles.sync('team.crm')});
	is_deeply(
		rows($db, q{SELECT user_id, tier, spent FROM profiles.segment_gold_and_late WHERE user_id IN ('u0', 'u1', 'u6') ORDER BY 1}),
		rows($db, q{SELECT u.user_id, c.tier, c.spent FROM profiles.users u JOIN team.crm c ON c.uid = u.user_id
			WHERE u.last_seen > '2023-06-01' AND c.tier = 'gold' AND c.spent < 17 AND u.user_id IN ('u0', 'u1', 'u6') ORDER BY 1}), "$name: a sync");
	is_deeply(rows($db, q{SELECT updated, deleted, inserted, sqlstate FROM profiles.sync_runs LIMIT 1}), ['1|1|0|'], "$name: it wrote what had changed");
	run_as($owner, $db, q{
		CREATE TABLE web.old AS SELECT 'u1' AS uid, 2 AS gone;
		SELECT profiles.add_attributes('user', 'web.old', 'uid', 'user_id')});
	run_as($owner, $db, q{CALL profiles.sync()});
	is($node->safe_psql($db, q{SELECT gone FROM profiles.users WHERE user_id = 'u1'}), '2', "$name: a dropped attribute comes back");
	run_as($owner, $db, q{SELECT profiles.alter_segment('gold_and_late', 'in_segment(''gold'')')});
	is($node->safe_psql($db, q{SELECT count(*) FROM profiles.segment_gold_and_late}), $node->safe_psql($db, q{SELECT count(*) FROM profiles.users WHERE tier = 'gold'}),
		"$name: a segment is altered");

	# sources are changed and added: sequences go on
	run_as($adder, $db, q{SELECT profiles.alter_source('web.log', mapping => '{"tag": "tag"}')});
	run_as($owner, $db, q{
		CREATE TABLE web.third (uid text, ts timestamptz);
		INSERT INTO web.third VALUES ('third', '2023-01-01Z');
		SELECT profiles.add_source('web.third', mapping => '{"user_id": "uid", "seen_at": "ts"}')});
	run_as($owner, $db, 'CALL profiles.refresh()');
	is_deeply(rows($db, $same{verify}), [], "$name: verify with one more source");
	is($node->safe_psql($db, q{SELECT count(*) FROM profiles.users WHERE user_id = 'third'}), '1', "$name: one more source");
	run_as($owner, $db, q{SELECT profiles.unblock('user', 'u3')});
	run_as($owner, $db, 'CALL profiles.refresh()');
	is_deeply(rows($db, $same{verify}), [], "$name: verify after unblock");
	run_as($owner, $db, q{SELECT profiles.uninstall(); DROP EXTENSION profiles});
	is_deeply(rows($db, q{SELECT tgname FROM pg_trigger WHERE NOT tgisinternal}), ['own'], "$name: and it can leave");
	return;
}

#
# As a superuser, plain and custom, parallel
#

my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', 'CREATE DATABASE original');
fill_database('original', $superuser, 'adder');

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('original') ], 'pg_dump, plain');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", $node->connstr('plain') ], 'psql restores it');
check_restored('plain', 'original', 'plain', $superuser, 'adder');

$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", $node->connstr('original') ], 'pg_dump, custom');
$node->safe_psql('postgres', 'CREATE DATABASE custom');
$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', $node->connstr('custom'), "$dir/custom" ], 'pg_restore restores it');
check_restored('custom', 'original', 'custom', $superuser, 'adder');

# A dump of the restored database is the same dump.
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_restore', '-e', '-1', '-d', $node->connstr('again'), "$dir/custom" ], 'restored in one transaction');
$node->command_ok([ 'pg_dump', '-f', "$dir/again.sql", $node->connstr('again') ], 'dumped again');
my @dumps = map {
	my $text = slurp_file("$dir/$_.sql");
	$text =~ s/^\\(un)?restrict .*$//mg;    # a random key, since 15.14
	# rows of a table stand in the order of the heap
	join "\n", sort split /\n/, $text
} qw(plain again);
is($dumps[1], $dumps[0], 'a dump of what was restored is the same');

#
# As the owner of a database, who is no superuser
#

run_as('shop', 'postgres', 'CREATE DATABASE shop');
fill_database('shop', 'shop', 'shop');
run_as('shop', 'postgres', 'CREATE DATABASE shop_restored');
$node->command_ok([ 'pg_dump', '-U', 'shop', '-Fc', '-f', "$dir/shop", $node->connstr('shop') ], 'an ordinary owner dumps');
# Comments on extensions are the one thing that only their owner may write: a
# trusted extension's comment comes with it, so it is left out.
my ($out, $err);
my $ok = IPC::Run::run(
	[ 'pg_restore', '-U', 'shop', '-d', $node->connstr('shop_restored'), "$dir/shop" ],
	'>', \$out, '2>', \$err);
my @errors = grep { /error:/ && !/must be owner of extension/ } split /\n/, $err;
is_deeply(\@errors, [], 'an ordinary owner restores') or diag($err);
check_restored('ordinary owner', 'shop', 'shop_restored', 'shop', 'shop');

# --no-owner: everything is the restoring role's, the sources that others added too
run_as('shop', 'postgres', 'CREATE DATABASE shop_several');
fill_database('shop_several', 'shop', 'adder');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/several", $node->connstr('shop_several') ], 'with a source of another role');
run_as('shop', 'postgres', 'CREATE DATABASE shop_owned');
IPC::Run::run(
	[ 'pg_restore', '-U', 'shop', '--no-owner', '-d', $node->connstr('shop_owned'), "$dir/several" ],
	'>', \$out, '2>', \$err);
@errors = grep { /error:/ && !/must be owner of extension/ } split /\n/, $err;
is_deeply(\@errors, [], 'restored with --no-owner') or diag($err);
is_deeply(rows('shop_owned', 'SELECT DISTINCT added_by FROM profiles.sources'), ['shop'], '--no-owner: sources are of who restores');
is_deeply(rows('shop_owned', 'SELECT DISTINCT created_by FROM profiles.segments'), ['shop'], '--no-owner: segments too');
run_as('shop', 'shop_owned', q{INSERT INTO web.events VALUES (80, '2023-12-03Z', 'written', 'a1', 'XK', 'x')});
run_as('shop', 'shop_owned', 'CALL profiles.refresh()');
is_deeply(rows('shop_owned', $same{verify}), [], '--no-owner: verify after a refresh');
is($node->safe_psql('shop_owned', q{SELECT last_seen_country_name FROM profiles.users WHERE user_id = 'written'}), 'Kosovo', '--no-owner: new events');

#
# Into a database of another encoding, in which all strings are longer, and back
#

my %pending = (
	pending => q{SELECT key, profile, events, captured_at FROM profiles.user_pending WHERE profile IS NOT NULL ORDER BY 1},
	packed  => q{SELECT p.subjects, p.captured_at, u.* FROM profiles.user_packed p, profiles._unpack(p.profiles) u ORDER BY u.key});
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('latin', q{
	CREATE EXTENSION profiles;
	CREATE TABLE events (ts timestamptz, user_id text, user_name text, city text);
	SELECT profiles.add_source('events')});
$node->safe_psql('latin', 'CALL profiles.rebuild()');
$node->safe_psql('latin', q{
	INSERT INTO events SELECT timestamptz '2024-01-01Z' + i * interval '1 s', i || repeat(chr(233), 20 + i % 300), repeat(chr(192 + i % 60), i % 500), repeat(chr(228), i % 90)
	FROM generate_series(1, 600) i;
	INSERT INTO events SELECT timestamptz '2024-01-02Z', 'single', repeat(chr(228), 90)});
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/latin", $node->connstr('latin') ], 'LATIN1 is dumped');
$node->safe_psql('postgres', q{CREATE DATABASE utf ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0});
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('utf'), "$dir/latin" ], 'and restored into UTF8');
is($node->safe_psql('utf', q{SELECT count(*) > 10 AND max(octet_length(profiles::text)) > 8192 FROM profiles.user_packed}), 't', 'UTF8: something is packed');
is_deeply(rows('utf', "SET client_encoding = 'LATIN1'; $pending{$_}"), rows('latin', "SET client_encoding = 'LATIN1'; $pending{$_}"), "UTF8: $_") for sort keys %pending;
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/utf", $node->connstr('utf') ], 'UTF8 is dumped');
$node->safe_psql('postgres', q{CREATE DATABASE latin_again ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('latin_again'), "$dir/utf" ], 'and restored into LATIN1');
is_deeply(rows('latin_again', $pending{$_}), rows('latin', $pending{$_}), "LATIN1 again: $_") for sort keys %pending;
foreach my $db (qw(utf latin_again))
{
	$node->safe_psql($db, q{DELETE FROM events WHERE user_id LIKE '7%'; UPDATE events SET city = 'Rome' WHERE user_id LIKE '8%'});
	$node->safe_psql($db, q{SELECT profiles.forget('user', user_id, block => true) FROM events WHERE user_id LIKE '9_%' LIMIT 1});
	$node->safe_psql($db, 'CALL profiles.refresh()');
	is_deeply(rows($db, q{SELECT key FROM profiles.verify()}), [], "$db: verify after a refresh");
	is($node->safe_psql($db, q{SELECT count(*) > 400 FROM profiles.users}), 't', "$db: users");
}

#
# Data alone, into a database that is made and already captures
#

# The schema of profiles' own tables comes with the extension.  Events loaded
# by the restore are captured, as any others; overlap with the restored profiles
# is harmless.
$node->safe_psql('postgres', 'CREATE DATABASE data_only');
$node->command_ok([ 'pg_restore', '-e', '--schema-only', '-d', $node->connstr('data_only'), "$dir/custom" ], 'schema only');
is_deeply(rows('data_only', 'SELECT source FROM profiles.sources'), [], 'a schema has no configuration');
# and can be left as it was
$node->safe_psql('postgres', 'CREATE DATABASE schema_only TEMPLATE data_only');
run_as($superuser, 'schema_only', q{SELECT profiles.uninstall(); DROP EXTENSION profiles});
is_deeply(rows('schema_only', q{SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('profiles')}), [], 'a schema: nothing is left');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-d', $node->connstr('data_only'), "$dir/custom" ], 'data only');
run_as($superuser, 'data_only', 'CALL profiles.refresh()');
is_deeply(rows('data_only', $same{verify}), [], 'data only: verify after a refresh');
$node->safe_psql('original', 'CALL profiles.refresh()');
is_deeply(rows('data_only', $same{'bytes of profiles'}), rows('original', $same{'bytes of profiles'}), 'data only: the same profiles');
$node->safe_psql('data_only', q{INSERT INTO web.events VALUES (80, '2023-12-03Z', 'written', 'a1', 'XK', 'x')});
run_as($superuser, 'data_only', 'CALL profiles.refresh()');
is_deeply(rows('data_only', $same{verify}), [], 'data only: new events');

# Data of one table of events, into live triggers
$node->safe_psql('postgres', 'CREATE DATABASE live TEMPLATE again');
$node->safe_psql('live', 'TRUNCATE web.log');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-n', 'web', '-t', 'log', '-d', $node->connstr('live'), "$dir/custom" ],
	'data of one table into live triggers');
run_as($superuser, 'live', 'CALL profiles.refresh()');
is_deeply(rows('live', $same{verify}), [], 'live: verify after a refresh');
# with triggers disabled nothing is captured: verify says so, rebuild mends it
$node->safe_psql('live', 'TRUNCATE web.log');
run_as($superuser, 'live', 'CALL profiles.refresh()');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '--disable-triggers', '-n', 'web', '-t', 'log', '-d', $node->connstr('live'), "$dir/custom" ],
	'data with triggers disabled');
run_as($superuser, 'live', 'CALL profiles.refresh()');
isnt(scalar @{ rows('live', $same{verify}) }, 0, 'triggers disabled: verify finds it');
run_as($superuser, 'live', 'CALL profiles.rebuild()');
is_deeply(rows('live', $same{verify}), [], 'triggers disabled: rebuild mends it');

# All data over what is there: an error that says which key, and nothing changed
my ($stdout, $stderr) = run_command(
	[ 'pg_restore', '-e', '-1', '--data-only', '-d', $node->connstr('live'), "$dir/custom" ]);
like($stderr, qr/duplicate key value violates unique constraint/, 'data over data is refused');
is_deeply(rows('live', $same{verify}), [], 'and changes nothing');

$node->stop;
done_testing();
