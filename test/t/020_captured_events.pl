# Profiles of real RUM events against what the people behind them did.
#
# test/data/rum_enriched.ndjson holds the events of 37 browser sessions, as a
# RUM backend stores them; test/data/truth.json is the log of the script that
# drove the browsers, written while it acted and not derived from events.  The
# test loads the events, lets the preset "rum" make profiles of them, and
# compares the profiles with the log.  Expected values are computed here from
# the log; the few things that the log does not know (the place behind a client
# address, the application's id) are read from the events and said so.
#
# Times.  The log says when a page had been loaded and when a button was about
# to be pressed; an event says when a view began and when the press arrived.
# All of them come from one clock, so cause and effect bound each other and a
# bracket needs no slack where a cause and an effect are both in the log.
# Functions first_bracket() and last_bracket() say which bounds are used and
# where a tolerance remains.

use strict;
use warnings;

use FindBin;
use JSON::PP ();
use List::Util qw(max min sum0);
use POSIX qw(strftime);
use Time::Local qw(timegm);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Subresources and long animation frames of a page may begin while the driver
# already notes the page as loaded (seen: 0 to 54 ms after it).
use constant PAGE_SETTLES_MS => 100;

# A press reaches the page some time after the driver notes it (seen: 7 to
# 436 ms).  Needed only where no later page bounds the press.
use constant PRESS_ARRIVES_MS => 500;

# "Back" is not logged when it is pressed, only when its page has been loaded.
# No navigation in the log took longer than 1,156 ms.
use constant BACK_TAKES_MS => 1500;

my $data     = "$FindBin::RealBin/../data";
my $enriched = "$data/rum_enriched.ndjson";
my $updates  = "$data/view_update_events.ndjson";

# What an intake makes of the user agents that the driver used, by the driver's
# own label of the device: device type, operating system, browser.  An iPad in
# desktop mode says that it is a Macintosh, so that is what can be known of it.
my %device_of = (
	'Chrome/Windows'                => [ 'Desktop', 'Windows', 'Chrome' ],
	'Edge/Windows'                  => [ 'Desktop', 'Windows', 'Edge' ],
	'Firefox/Linux'                 => [ 'Desktop', 'Linux', 'Firefox' ],
	'Safari/macOS'                  => [ 'Desktop', 'Mac OS', 'Safari' ],
	'Safari/iPad (desktop mode UA)' => [ 'Desktop', 'Mac OS', 'Safari' ],
	'Safari/iPad'                   => [ 'Tablet', 'iOS', 'Mobile Safari' ],
	'Safari/iPhone'                 => [ 'Mobile', 'iOS', 'Mobile Safari' ],
	'Chrome/Android'                => [ 'Mobile', 'Android', 'Chrome' ],
	'Samsung Internet/Android'      => [ 'Mobile', 'Android', 'Samsung Internet' ]);

# Where a user agent says the version of its browser and operating system; an
# operating system without an entry says none (Linux).
my %version_in = (
	'Chrome'           => qr{Chrome/([\d.]+)},
	'Edge'             => qr{Edg/([\d.]+)},
	'Firefox'          => qr{Firefox/([\d.]+)},
	'Safari'           => qr{Version/([\d.]+)},
	'Mobile Safari'    => qr{Version/([\d.]+)},
	'Samsung Internet' => qr{SamsungBrowser/([\d.]+)},
	'Windows'          => qr{Windows NT (\d+)},
	'Mac OS'           => qr{Mac OS X (\d+(?:_\d+)*)},
	'iOS'              => qr{OS (\d+(?:_\d+)*) like Mac OS X},
	'Android'          => qr{Android (\d+(?:\.\d+)*)});

#
# Helpers
#

# Strings as octets, so that names print the same whatever the handle.
sub octets
{
	my ($value) = @_;
	return { map { $_ => octets($value->{$_}) } keys %$value }
	  if ref $value eq 'HASH';
	return [ map { octets($_) } @$value ] if ref $value eq 'ARRAY';
	return $value if ref $value || !defined $value;
	utf8::encode($value);
	return $value;
}

sub from_json
{
	my ($text) = @_;
	return octets(JSON::PP->new->utf8->decode($text));
}

# Milliseconds since 1970 of an ISO time in UTC; microseconds become a fraction.
sub ms
{
	my ($iso) = @_;
	my ($y, $mo, $d, $h, $mi, $s, $fraction) =
	  $iso =~ /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|\+00(?::00)?)$/
	  or die "not a time in UTC: \"$iso\"";
	return timegm($s, $mi, $h, $d, $mo - 1, $y) * 1000 +
	  substr(($fraction // '') . '000000', 0, 6) / 1000;
}

sub iso
{
	my ($ms) = @_;
	my $seconds = int($ms / 1000);
	return strftime('%Y-%m-%dT%H:%M:%S', gmtime $seconds)
	  . sprintf('.%03dZ', $ms - $seconds * 1000);
}

# Passes if the time lies in the bracket, bounds included; says how far off.
sub is_within
{
	my ($got, $bracket, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($lo, $hi) = @$bracket;
	if (!defined $got)
	{
		fail($name);
		diag("         got: NULL");
	}
	else
	{
		my $off = ms($got) < $lo ? ms($got) - $lo : max(0, ms($got) - $hi);
		return 1 if ok($off == 0, $name);
		diag("         got: $got ($off ms off)");
	}
	diag("    expected: " . iso($lo) . " .. " . iso($hi));
	return 0;
}

# The named columns of a row; a column that is not there says so.
sub pick
{
	my ($row, @columns) = @_;
	return {
		map {
			$_ => !$row              ? '(no row)'
			  : exists $row->{$_} ? $row->{$_}
			  :                       '(no such column)'
		} @columns
	};
}

# Rows of a query as hashes by the given column.
sub rows_by
{
	my ($node, $db, $column, $query) = @_;
	my $rows = from_json($node->safe_psql($db,
			"SELECT coalesce(json_agg(to_json(q)), '[]') FROM ($query) q"));
	return { map { $_->{$column} => $_ } @$rows };
}

# The text of every stored profile of a kind, by key: the bytes that a replay
# must not change.
sub profile_texts
{
	my ($node, $db, $kind) = @_;
	return { map { (split /\|/, $_, 2) } split /\n/,
		$node->safe_psql($db,
			"SELECT key, profile::text FROM profiles.${kind}_profile ORDER BY key") };
}

# The keys that verify() reports, in order.
sub verify_keys
{
	my ($node, $db, $kind) = @_;
	return from_json($node->safe_psql($db,
			"SELECT coalesce(json_agg(key ORDER BY key), '[]') FROM profiles.verify('$kind')"));
}

# What status says of one source and kind: how many events were folded, how
# many left out for whichever reason, and the reasons for a diagnostic.
sub counts
{
	my ($node, $db, $source, $kind) = @_;
	my $rows = from_json($node->safe_psql($db,
			"SELECT coalesce(json_agg(to_json(s)), '[]') FROM profiles.status s"));
	my ($row) = grep { $_->{source} eq $source && $_->{kind} eq $kind } @$rows;
	return { folded => -1, left_out => -1, reasons => 'no such row in status' }
	  unless $row;
	my $left_out = $row->{left_out} || {};
	return {
		folded   => $row->{folded},
		left_out => sum0(values %$left_out),
		reasons  => JSON::PP->new->canonical->encode($left_out) };
}

# A database with the extension and an empty events table.
sub create_database
{
	my ($node, $db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, q{
		CREATE EXTENSION profiles;
		CREATE SCHEMA web;
		CREATE TABLE web.rum (id bigint GENERATED ALWAYS AS IDENTITY, event jsonb);
	});
	return;
}

# One event a line.  The quote and the delimiter are bytes that JSON text
# cannot contain, so that a line goes in as it is.
sub load_events
{
	my ($node, $db, $file) = @_;
	$node->safe_psql($db,
		"\\copy web.rum(event) from '$file' with (format csv, quote e'\\x01', delimiter e'\\x02')");
	return;
}

sub add_source
{
	my ($node, $db, $relation) = @_;
	return $node->safe_psql($db,
		"SELECT profiles.add_source('$relation', preset => 'rum', capture => 'none')");
}

#
# What the log says
#

my $truth = from_json(slurp_file("$data/truth.json"));
my @events = map { from_json($_) } split /\n/, slurp_file($enriched);

my %session = map { $_->{driver_session} => $_ } @{ $truth->{sessions} };

# The place behind a client address is not in the log: it is the one that the
# intake gave to the events of the session that used the address.  All events
# of an address must agree, or there would be no expected value.  An address
# without a place has undef.
my %session_of_id;
foreach my $s (values %session)
{
	$session_of_id{$_} = $s foreach @{ $s->{sdk_session_ids} };
}
my %place_of;
foreach my $event (@events)
{
	my $address = $session_of_id{ $event->{session}{id} }{client_ip};
	my $place   = JSON::PP->new->canonical->latin1->encode([ $event->{geo} ]);
	$place_of{$address} //= { text => $place, geo => $event->{geo} };
	die "two places for $address" if $place_of{$address}{text} ne $place;
}

# The log does not name the application either; there is one.
my %application = map { $_->{application}{id} => 1 } @events;
die "more than one application" if keys %application != 1;
my ($application) = keys %application;

# Times at which something was pressed or a page had been loaded, in order.
sub instants { return sort { $a <=> $b } map { ms($_->{at}) } @{ $_[0] } }

# The page on the screen at a time, or the first one of the session.
sub page_at
{
	my ($s, $time) = @_;
	my @pages = instants($s->{pages});
	return max(grep { $_ <= $time } @pages) // $pages[0];
}

# The last press before a time, or the start of the session.
sub press_before
{
	my ($s, $time) = @_;
	return max(ms($s->{start}), grep { $_ < $time } instants($s->{clicks}));
}

# Bounds of the first event of somebody who is signed in from a time on.
#
# The user of an event is the one known when the SDK assembles it, and a view
# is assembled anew as it grows, dated at its start in every version.  So the
# first event is the view on the screen at sign-in, even if it began before
# (login within a page), or the session's first view if the visitor was signed
# in already.  That view began after the press that led to it (or the start of
# the session) and before its page had been loaded.  No tolerance.
sub first_bracket
{
	my ($s, $from) = @_;
	my $page = page_at($s, $from);
	return [ press_before($s, $page), $page ];
}

# Bounds of the last event of somebody who is signed in until a time.
#
# Signed in until the end of the session: the last press is an event of theirs,
# whether it is the click itself or led to a later view; if the last page was
# reached by Back, which is not logged as a press, its view began at most
# BACK_TAKES_MS before it had been loaded.  (Back across a mere change of the
# query opens no view.)  Nothing happens after the last press or page but what
# they cause, whatever the log says of the end of the session.
#
# Signed out, or followed by another user, before the end: the view on the
# screen at that moment and the click that did it are assembled afterwards,
# without the user or with the next one.  So the last events that are sure are
# of the page before: the press that left it is the last one, and the view that
# follows had begun before its page was loaded.  No tolerance.
sub last_bracket
{
	my ($s, $to) = @_;
	if ($to < ms($s->{end}))
	{
		my $page = page_at($s, $to);
		return [ press_before($s, $page), $page ];
	}

	my @pages  = sort { ms($a->{at}) <=> ms($b->{at}) } @{ $s->{pages} };
	my $page   = ms($pages[-1]{at});
	my $press  = press_before($s, $to);
	my $lo     = $press;
	my @paths  = map { $_->{path} =~ s/\?.*//r } @pages;
	$lo = max($lo, $page - BACK_TAKES_MS)
	  if $pages[-1]{load} eq 'back' && $paths[-1] ne $paths[-2];
	my $hi = max($page + PAGE_SETTLES_MS,
		$press > $page ? $press + PRESS_ARRIVES_MS : 0);
	return [ $lo, $hi ];
}

# One part for each time that somebody was signed in: who, for which account,
# in which session, and the bounds of the first and last event.
my @parts;
foreach my $user (sort keys %{ $truth->{users} })
{
	foreach my $visit (@{ $truth->{users}{$user}{sessions} })
	{
		my $s = $session{ $visit->{driver_session} };
		push @parts,
		  {
			user    => $user,
			account => $visit->{account},
			session => $s,
			first   => first_bracket($s, ms($visit->{signed_in_from})),
			last    => last_bracket($s, ms($visit->{signed_in_to})) };
	}
}

# What a session shows of the visitor's device, browser and place.
sub attributes_of
{
	my ($s) = @_;
	my $device = $device_of{ $s->{device_label} }
	  or die "no entry for device \"$s->{device_label}\"";
	my ($type, $os, $browser) = @$device;
	my ($browser_version) = $s->{user_agent} =~ $version_in{$browser};
	my ($os_version) =
	  $version_in{$os} ? $s->{user_agent} =~ $version_in{$os} : (undef);
	$os_version =~ tr/_/./ if defined $os_version;
	my $place = $place_of{ $s->{client_ip} }{geo} || {};
	return {
		'device_type'      => $type,
		'os_name'          => $os,
		'os_version'       => $os_version,
		'browser_name'     => $browser,
		'browser_version'  => $browser_version,
		'seen_application' => $application,
		'seen_country'     => $place->{country_iso_code},
		'region'           => $place->{country_subdivision},
		'city'             => $place->{city} };
}

# What the profile of somebody with these parts must show.
sub expected
{
	my (@mine) = @_;

	# The part with the first event, and the one with the last: another part
	# whose bracket touches theirs would leave it open which one it is.
	my ($first, @later)   = sort { $a->{first}[1] <=> $b->{first}[1] } @mine;
	my ($last,  @earlier) = sort { $b->{last}[0] <=> $a->{last}[0] } @mine;
	die "the log leaves the first session of $first->{user} open"
	  if grep { $_->{first}[0] <= $first->{first}[1] } @later;
	die "the log leaves the last session of $last->{user} open"
	  if grep { $_->{last}[1] >= $last->{last}[0] } @earlier;

	my %shown;
	foreach my $end ([ first => $first ], [ last => $last ])
	{
		my ($name, $part) = @$end;
		my $attributes = attributes_of($part->{session});
		$shown{"${name}_$_"} = $attributes->{$_} foreach keys %$attributes;
	}

	# The SDK renews the session of an idle visitor: then the first event is in
	# the first of the part's sessions and the last event in the last of them.
	my @accounts = map { $_->{account} }
	  sort { $a->{first}[0] <=> $b->{first}[0] } grep { defined $_->{account} } @mine;
	return {
		first_seen => $first->{first},
		last_seen  => $last->{last},
		sessions   => {
			first_session => $first->{session}{sdk_session_ids}[0],
			last_session  => $last->{session}{sdk_session_ids}[-1] },
		accounts => {
			first_account_id => $accounts[0],
			last_account_id  => $accounts[-1] },
		shown => \%shown };
}

my %user    = map { my $u = $_; $u => expected(grep { $_->{user} eq $u } @parts) }
  keys %{ $truth->{users} };
my %account;
foreach my $a (values %{ $truth->{accounts} })
{
	my @mine = grep { defined $_->{account} && $_->{account} eq $a->{id} } @parts;
	$account{ $a->{id} } = { name => $a->{name}, %{ expected(@mine) } } if @mine;
}

#
# A server with the events in it
#

# psql's output is UTF-8 and in UTC whatever the environment says.
$ENV{PGCLIENTENCODING} = 'UTF8';
$ENV{PGTZ}             = 'UTC';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);

# Events of the future are held.  The capture has its own calendar, so a clock
# that has not reached its end yet is told to let the events through.
my $newest = max(map { ms($_->{end}) } values %session);
$node->append_conf('postgresql.conf', "profiles.future_tolerance = '3650d'")
  if $newest > time() * 1000;
$node->start;

create_database($node, 'rum');
load_events($node, 'rum', $enriched);
is($node->safe_psql('rum', 'SELECT count(*) FROM web.rum'),
	scalar @events, 'all events are loaded');

my $source = add_source($node, 'rum', 'web.rum');
ok($source ne '', 'add_source returns the name of the source');
$node->safe_psql('rum', 'CALL profiles.rebuild()');

#
# Users
#

my $users = rows_by($node, 'rum', 'user_id', 'SELECT * FROM profiles.users');
my $users_before = $users;

# Anonymous visitors, the bot and anonymous parts of other sessions are not in
# the list.
is_deeply(
	[ sort keys %$users ],
	[ sort keys %{ $truth->{users} } ],
	'the users are those who signed in');

foreach my $id (sort keys %user)
{
	my $row = $users->{$id};
	my ($known_first, $known) =
	  map { $_->{usr} } @{ $truth->{users}{$id}{identity_history} }[ 0, -1 ];

	is_deeply(
		pick($row, qw(user_name user_email)),
		{ user_name => $known->{name}, user_email => $known->{email} },
		"$id: name and e-mail are the latest");
	is_deeply(
		pick($row, qw(first_plan last_plan)),
		{ first_plan => $known_first->{plan}, last_plan => $known->{plan} },
		"$id: first and last plan");
	is_within($row->{first_seen}, $user{$id}{first_seen}, "$id: first seen");
	is_within($row->{last_seen}, $user{$id}{last_seen}, "$id: last seen");
	is_deeply(
		pick($row, keys %{ $user{$id}{shown} }),
		$user{$id}{shown},
		"$id: device, browser, application and place, first and last");
	is_deeply(
		pick($row, qw(first_account_id last_account_id)),
		$user{$id}{accounts},
		"$id: first and last account");
}

# Codes are stored and names shown: the name is the one in profiles.country.
my $country = rows_by($node, 'rum', 'code', 'SELECT code, name FROM profiles.country');
foreach my $id (sort keys %user)
{
	my %name;
	foreach my $end (qw(first last))
	{
		my $code = $user{$id}{shown}{"${end}_seen_country"};
		$name{"${end}_seen_country_name"} =
		  defined $code ? $country->{$code}{name} // "(no $code in profiles.country)" : undef;
	}
	is_deeply(pick($users->{$id}, keys %name), \%name, "$id: names of the countries");
}

# The evidence says which session a value comes from.  Every event shows an
# operating system, so that is known in the first and in the last session.
sub evidence
{
	my ($kind) = @_;
	return rows_by($node, 'rum', 'key', qq{
		SELECT p.key, a.first_session, a.last_session
		FROM profiles.${kind}_profile p, profiles.profile_attributes(p.profile) a
		WHERE a.attribute = 'os.name'});
}
my $evidence = evidence('user');
foreach my $id (sort keys %user)
{
	is_deeply(pick($evidence->{$id}, qw(first_session last_session)),
		$user{$id}{sessions}, "$id: first and last session are those of the log");
}

#
# Accounts
#

my $accounts = rows_by($node, 'rum', 'account_id', 'SELECT * FROM profiles.accounts');

is_deeply([ sort keys %$accounts ],
	[ sort keys %account ], 'the accounts are those that were used');

$evidence = evidence('account');
foreach my $id (sort keys %account)
{
	my $row = $accounts->{$id};
	is_deeply(
		pick($row, 'account_name'),
		{ account_name => $account{$id}{name} },
		"$id: name");
	is_within($row->{first_seen}, $account{$id}{first_seen}, "$id: first seen");
	is_within($row->{last_seen}, $account{$id}{last_seen}, "$id: last seen");
	is_deeply(
		pick($row, keys %{ $account{$id}{shown} }),
		$account{$id}{shown},
		"$id: device, browser, application and place, first and last");
	is_deeply(pick($evidence->{$id}, qw(first_session last_session)),
		$account{$id}{sessions}, "$id: first and last session are those of the log");
}

#
# Events that are left out are counted
#

# Events with the key of the kind.  Signed-in events that come from a bot by
# their user agent may be folded or left out, as the preset has it (one such
# event, sent when the page was already gone).
my %with_key = (
	user    => [ grep { defined $_->{usr}{id} } @events ],
	account => [ grep { defined $_->{account}{id} } @events ]);

# Nothing is lost: the source's events are folded or left out.
sub check_counts
{
	my ($db, $source, $kind, $relation, $most, $least, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $counts = counts($node, $db, $source, $kind);
	my $rows   = $node->safe_psql($db, "SELECT count(*) FROM $relation");
	my $good =
	  is($counts->{folded} + $counts->{left_out},
		$rows, "$name: folded and left-out events of kind $kind are all events");
	$good &= ok($counts->{folded} <= $most && $counts->{folded} >= $least,
		"$name: the events folded for kind $kind are those with a key");
	diag("folded $counts->{folded} (expected $least to $most), "
		  . "left out $counts->{left_out}: $counts->{reasons}")
	  if !$good;
	return $counts;
}

my %counts;
foreach my $kind (qw(user account))
{
	my $most  = @{ $with_key{$kind} };
	my $least = grep { ($_->{device}{type} // '') ne 'Bot' } @{ $with_key{$kind} };
	$counts{$kind} =
	  check_counts('rum', $source, $kind, 'web.rum', $most, $least, 'capture');
}

# Synthetic tests are events of a robot that may well sign in.  Two copies of
# real events, of two types, under a user of their own.
my $synthetic = $node->safe_psql('rum', q{
	WITH copied AS (
		INSERT INTO web.rum (event)
		SELECT jsonb_set(jsonb_set(event, '{session,type}', '"synthetics"'),
			'{usr,id}', '"synthetic-user"')
		FROM (SELECT DISTINCT ON (event->>'type') event FROM web.rum
			WHERE event->>'type' IN ('view', 'action') AND event #>> '{usr,id}' IS NOT NULL
			ORDER BY event->>'type', id) real
		RETURNING 1)
	SELECT count(*) FROM copied});
is($synthetic, 2, 'two synthetic events are added');

my $texts = profile_texts($node, 'rum', 'user');
my $account_texts = profile_texts($node, 'rum', 'account');
$node->safe_psql('rum', 'CALL profiles.rebuild()');

is_deeply([ sort keys %{ rows_by($node, 'rum', 'user_id', 'SELECT user_id FROM profiles.users') } ],
	[ sort keys %user ], 'a synthetic test makes no user');
is_deeply(profile_texts($node, 'rum', 'user'), $texts, 'synthetic events change no user');
is_deeply(profile_texts($node, 'rum', 'account'),
	$account_texts, 'synthetic events change no account');
foreach my $kind (qw(user account))
{
	my $now = check_counts('rum', $source, $kind, 'web.rum',
		($counts{$kind}{folded}) x 2, 'with synthetic events');
	is($now->{left_out}, $counts{$kind}{left_out} + $synthetic,
		"synthetic events are counted as left out of kind $kind")
	  or diag("reasons: $counts{$kind}{reasons} before, $now->{reasons} now");
}

is_deeply(verify_keys($node, 'rum', $_), [], "verify finds nothing of kind $_")
  foreach qw(user account);

#
# Replay
#

load_events($node, 'rum', $enriched);
$node->safe_psql('rum', 'CALL profiles.rebuild()');
is_deeply(profile_texts($node, 'rum', 'user'), $texts,
	'the same events twice give the same bytes for users');
is_deeply(profile_texts($node, 'rum', 'account'), $account_texts,
	'the same events twice give the same bytes for accounts');

# A second run of sessions S04 and S24, which lie between the first and the
# last session of their users and accounts: it can change neither end.
load_events($node, 'rum', $updates);
$node->safe_psql('rum', 'CALL profiles.rebuild()');
is_deeply(profile_texts($node, 'rum', 'user'), $texts,
	'events in between and partial updates change no user');
is_deeply(profile_texts($node, 'rum', 'account'), $account_texts,
	'events in between and partial updates change no account');

# A source without triggers is refreshed from a time on; overlap is harmless.
my $since = iso(min(map { $_->{first_seen}[0] } values %user));
my ($status, undef, $errors) =
  $node->psql('rum', "CALL profiles.refresh(since => '$since')");
is($status, 0, 'refresh from a time on') or diag($errors);
is_deeply(profile_texts($node, 'rum', 'user'), $texts,
	'a refresh that overlaps everything gives the same bytes');

#
# verify() and repair
#

# The last event of somebody without an account disappears, so that one user
# and nothing else is wrong.  (The event was loaded twice: both copies go.)
my ($victim) = grep { !defined $user{$_}{accounts}{first_account_id} } sort keys %user;
ok(defined $victim, 'there is a user without an account');
my $deleted = $node->safe_psql('rum', qq{
	WITH gone AS (
		DELETE FROM web.rum
		WHERE event #>> '{usr,id}' = '$victim'
			AND (event->>'date')::bigint = (SELECT max((event->>'date')::bigint)
				FROM web.rum WHERE event #>> '{usr,id}' = '$victim')
		RETURNING event)
	SELECT count(*) || ' of ' || count(DISTINCT event) FROM gone});
is($deleted, '2 of 1', "the last event of $victim is deleted");

is_deeply(verify_keys($node, 'rum', 'user'), [$victim], "verify finds $victim and nobody else");
is_deeply(verify_keys($node, 'rum', 'account'), [], 'verify finds no account');
my $difference = from_json($node->safe_psql('rum', q{
	SELECT coalesce(json_object_agg(key, json_build_array(stored::text, expected::text)), '{}')
	FROM profiles.verify('user')}));
is($difference->{$victim}[0], $texts->{$victim}, 'verify shows the stored profile');

$node->safe_psql('rum', 'CALL profiles.rebuild()');
is_deeply(verify_keys($node, 'rum', $_), [], "verify finds nothing of kind $_ after a rebuild")
  foreach qw(user account);
my $repaired = profile_texts($node, 'rum', 'user');
is($repaired->{$victim}, $difference->{$victim}[1], 'the rebuild stores what verify expected');
is_deeply(
	{ %$repaired, $victim => undef },
	{ %$texts,    $victim => undef },
	'the rebuild changes no other user');
is( $node->safe_psql('rum',
		"SELECT extract(epoch FROM last_seen) * 1000 = (SELECT max((event->>'date')::bigint)
			FROM web.rum WHERE event #>> '{usr,id}' = '$victim')
		FROM profiles.users WHERE user_id = '$victim'"),
	't', "$victim was last seen at the last event that is left");

#
# Events as the SDK sends them
#

# What the intake adds is taken away again: place, browser, operating system,
# kind of device, parts of the URL, names of actions.  (device itself stays
# where the SDK sends one: on views.)
create_database($node, 'as_sent');
load_events($node, 'as_sent', $enriched);
$node->safe_psql('as_sent', q{
	CREATE TABLE web.rum_raw (id bigint GENERATED ALWAYS AS IDENTITY, event jsonb);
	INSERT INTO web.rum_raw (event)
	SELECT CASE WHEN sent->'device' = '{}' THEN sent - 'device' ELSE sent END
	FROM (
		SELECT id, (event - '{geo,browser,os}'::text[])
			#- '{device,type}' #- '{device,brand}' #- '{device,model}'
			#- '{view,url_path}' #- '{view,url_host}' #- '{action,name}'
		FROM web.rum) stripped (id, sent)
	ORDER BY id});
my $raw_source = add_source($node, 'as_sent', 'web.rum_raw');
$node->safe_psql('as_sent', 'CALL profiles.rebuild()');

my @added = map { ("first_$_", "last_$_") } qw(device_type os_name os_version
  browser_name browser_version seen_country seen_country_name region city);
my @sent = qw(user_id user_name user_email first_seen last_seen first_seen_application
  last_seen_application first_account_id last_account_id first_plan last_plan);
my $raw = rows_by($node, 'as_sent', 'user_id', 'SELECT * FROM profiles.users');
is_deeply([ sort keys %$raw ], [ sort keys %user ], 'as sent: the users are the same');
foreach my $id (sort keys %user)
{
	is_deeply(pick($raw->{$id}, @sent), pick($users_before->{$id}, @sent),
		"as sent: $id: what the SDK says is the same");
	is_deeply(pick($raw->{$id}, @added), { map { $_ => undef } @added },
		"as sent: $id: what the intake would add is not known");
}

# Without an intake nothing says which event is a bot's.
check_counts('as_sent', $raw_source, 'user', 'web.rum_raw',
	(scalar @{ $with_key{user} }) x 2, 'as sent');
is_deeply(verify_keys($node, 'as_sent', $_), [], "as sent: verify finds nothing of kind $_")
  foreach qw(user account);

#
# Places that are not known
#

# The first and the last session of everybody lose their place, as if the intake
# had none for the address.  The columns of users then show none, rather than a
# place of another session; first_known() and last_known() still say the places
# of the sessions in between, where there are any.
create_database($node, 'unplaced');
load_events($node, 'unplaced', $enriched);
my %unplaced = map { $_ => 1 } map { values %{ $user{$_}{sessions} } } keys %user;
my $unplaced = join ', ', map { "'$_'" } sort keys %unplaced;
$node->safe_psql('unplaced',
	"UPDATE web.rum SET event = event - 'geo' WHERE event #>> '{session,id}' IN ($unplaced)");
add_source($node, 'unplaced', 'web.rum');
$node->safe_psql('unplaced', 'CALL profiles.rebuild()');

my @place = qw(seen_country region city);
my $shown = rows_by($node, 'unplaced', 'user_id', 'SELECT * FROM profiles.users');
my $known_places = rows_by($node, 'unplaced', 'key', q{
	SELECT key,
		profiles.first_known(profile, 'geo.country') AS first_seen_country,
		profiles.first_known(profile, 'geo.region') AS first_region,
		profiles.first_known(profile, 'geo.city') AS first_city,
		profiles.last_known(profile, 'geo.country') AS last_seen_country,
		profiles.last_known(profile, 'geo.region') AS last_region,
		profiles.last_known(profile, 'geo.city') AS last_city
	FROM profiles.user_profile});
my $with_place = 0;
foreach my $id (sort keys %user)
{
	my %expected = %{ $user{$id}{shown} };
	$expected{"first_$_"} = $expected{"last_$_"} = undef foreach @place;
	is_deeply(pick($shown->{$id}, keys %expected), \%expected,
		"without places at both ends: $id: no place is shown, all else is as before");

	# The sessions of this user that still have a place, in order; they are far
	# enough apart for their starts to tell.
	my @rest = sort { $a->{first}[0] <=> $b->{first}[0] }
	  grep {
		     $_->{user} eq $id
		  && $place_of{ $_->{session}{client_ip} }{geo}
		  && !grep { $unplaced{$_} } @{ $_->{session}{sdk_session_ids} }
	  } @parts;
	my %known = map { ("first_$_" => undef, "last_$_" => undef) } @place;
	if (@rest)
	{
		my ($first, $last) = map { attributes_of($_->{session}) } @rest[ 0, -1 ];
		%known = map { ("first_$_" => $first->{$_}, "last_$_" => $last->{$_}) } @place;
		$with_place++;
	}
	is_deeply(pick($known_places->{$id}, keys %known), \%known,
		"without places at both ends: $id: the places in between are known");
}
ok($with_place > 0 && $with_place < keys %user,
	'some users have a place in between and some have none');

#
# A run with partial updates of views
#

# The same visits as S04 and S24, driven once more with an SDK that sends
# view_update events: these name a user only if the user changed.  The log is of
# the other run, so of the times only the planned start of a session counts.
create_database($node, 'updates');
load_events($node, 'updates', $updates);
my $updates_source = add_source($node, 'updates', 'web.rum');
$node->safe_psql('updates', 'CALL profiles.rebuild()');

my %again =
  map { $_->{user} => $_ } grep { $_->{session}{driver_session} =~ /^S(?:04|24)$/ } @parts;
my $updated = rows_by($node, 'updates', 'user_id', 'SELECT * FROM profiles.users');
is_deeply([ sort keys %$updated ], [ sort keys %again ],
	'partial updates: the users are those of the sessions');
foreach my $id (sort keys %again)
{
	my $row   = $updated->{$id};
	my $known = $truth->{users}{$id}{identity_history}[-1]{usr};
	is_deeply(
		pick($row, qw(user_name user_email first_account_id last_account_id)),
		{
			user_name        => $known->{name},
			user_email       => $known->{email},
			first_account_id => $again{$id}{account},
			last_account_id  => $again{$id}{account} },
		"partial updates: $id: name, e-mail and account");

	# The planned duration is that of the log within a factor of two.
	my ($start, $end) = map { ms($again{$id}{session}{$_}) } qw(start end);
	my $bracket = [ $start, $start + 2 * ($end - $start) ];
	is_within($row->{$_}, $bracket, "partial updates: $id: $_ is in the session")
	  foreach qw(first_seen last_seen);
}
my $lines = () = slurp_file($updates) =~ /\n/g;
my $updates_counts = counts($node, 'updates', $updates_source, 'user');
is($updates_counts->{folded} + $updates_counts->{left_out},
	$lines, 'partial updates: folded and left-out events are all events')
  or diag("folded $updates_counts->{folded}, left out: $updates_counts->{reasons}");
is_deeply(verify_keys($node, 'updates', $_), [], "partial updates: verify finds nothing of kind $_")
  foreach qw(user account);

$node->stop;
done_testing();
