# Drill-down into real RUM events against what the people behind them did.
#
# test/data/rum_enriched.ndjson holds the events of 37 browser sessions, as a
# RUM backend stores them; test/data/truth.json is the log of the script that
# drove the browsers, written while it acted and not derived from events.  The
# test compares each user's and account's sessions, page visits, actions and
# frustrations with the log: those of each session, and in all.
#
# What the SDK reports is not always what was done.  @explained names each such
# difference, one thing that happened at a time: the log's entry that it is
# about, what the SDK makes of it, and why.  An entry that explains nothing
# fails the test, as does a difference that nothing explains.

use strict;
use warnings;

use FindBin;
use JSON::PP ();

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $data     = "$FindBin::RealBin/../data";
my $enriched = "$data/rum_enriched.ndjson";
my $updates  = "$data/view_update_events.ndjson";

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# [ session, what, the log's time and name of it, what becomes of it, why ]
# What becomes of it is what the SDK reports instead: nothing (undef), or the
# same thing of another user ('' for nobody).
my $query_back = 'Back across a change of the query only: the SDK opens no view';
my $assembled  = 'user and account are those when the SDK assembles the event, which is after the %s';
my @explained = (
	[ 'S02', 'page', '2026-05-11T18:43:05.666Z', '/products', undef, $query_back ],
	[ 'S04', 'page', '2026-06-02T17:12:37.929Z', '/products', undef, $query_back ],
	[ 'S06', 'page', '2026-06-20T12:03:59.120Z', '/products', undef, $query_back ],
	[ 'S15', 'page', '2026-07-01T20:58:54.599Z', '/products', undef, $query_back ],
	[ 'S28', 'page', '2026-08-17T19:24:29.532Z', '/products', undef, $query_back ],
	[ 'S15', 'action', '2026-07-01T20:55:05.546Z', 'Zoom image', undef,
		'the burst came while the session was renewed after 40 idle minutes: no action is sent' ],
	[ 'S17', 'page', '2026-04-12T11:00:02.951Z', '/products', 'u-1006', sprintf($assembled, 'login within the page') ],
	[ 'S23', 'page', '2026-06-27T10:00:00.429Z', '/products', 'u-1009', sprintf($assembled, 'login within the page') ],
	[ 'S22', 'page', '2026-04-18T09:31:08.039Z', '/account', '', sprintf($assembled, 'logout') ],
	[ 'S22', 'action', '2026-04-18T09:31:08.697Z', 'Log out', '', sprintf($assembled, 'logout that it is') ],
	[ 'S23', 'page', '2026-06-27T10:00:02.971Z', '/account', 'u-1008', sprintf($assembled, 'login of the next user within the page') ],
	[ 'S23', 'action', '2026-06-27T10:00:03.626Z', 'Log out', 'u-1008', sprintf($assembled, 'login of the next user within the page') ]);

# Things that the log does not have: [ session, what, time of the log's entry
# that leads to it, user, name, why ].  Times as above.
my @added = (
	[ 'S15', 'page', '2026-07-01T20:55:05.546Z', 'u-1005', '/products/13',
		'the SDK opens a new view of the page when it renews the session after 40 idle minutes' ],
	[ 'S21', 'error_click', '2026-10-15T21:00:27.137Z', 'u-1007', 'Place order',
		'the log has the failed order (HTTP 500) as an error, not as a click that was to fail' ],
	[ 'S21', 'error_click', '2026-10-15T21:00:53.322Z', 'u-1007', 'Place order',
		'the log has the failed order (HTTP 500) as an error, not as a click that was to fail' ]);

# A user agent that says it has no head is a bot, and left out by the preset.
my %bot = ('S37' => 1);

# What a click that the script meant to be of a kind frustrates.
my %frustrations_of = (
	'rage'                => [ 'dead_click', 'rage_click' ],
	'dead'                => ['dead_click'],
	'error_no_mutation'   => [ 'dead_click', 'error_click' ],
	'error_with_mutation' => ['error_click']);

#
# What is expected, from the log: things that happened, each with its session,
# user (undef for nobody), account, kind and name
#

my $truth = $json->decode(slurp_file("$data/truth.json"));
my %account_of;    # by session and user
my %session_of;    # name of the driven session, by the SDK's id
foreach my $user (keys %{ $truth->{users} })
{
	$account_of{ $_->{driver_session} }{$user} = $_->{account}
	  foreach @{ $truth->{users}{$user}{sessions} };
}

my @happened;
my %used;
foreach my $s (@{ $truth->{sessions} })
{
	my $name = $s->{driver_session};
	$session_of{$_} = $name foreach @{ $s->{sdk_session_ids} };
	next if $bot{$name};

	my @things;
	push @things, { what => 'page', at => $_->{at}, user => $_->{user}, name => $_->{path} =~ s/\?.*//r }
	  foreach @{ $s->{pages} };
	push @things,
	  {
		what         => 'action',
		at           => $_->{at},
		user         => $_->{user},
		name         => $_->{label},
		frustrations => $frustrations_of{ $_->{kind} } // [] }
	  foreach @{ $s->{clicks} };
	push @things, { what => 'action', at => $_->{at}, user => $_->{user}, name => $_->{name}, frustrations => [] }
	  foreach grep { defined $_->{name} } @{ $s->{custom_actions} };

	foreach my $thing (@things)
	{
		my ($why) = grep
		{
			     $_->[0] eq $name
			  && $_->[1] eq $thing->{what}
			  && $_->[2] eq $thing->{at}
			  && $_->[3] eq $thing->{name}
		} @explained;
		if ($why)
		{
			$used{$why}++;
			next unless defined $why->[4];
			$thing->{user} = $why->[4] eq '' ? undef : $why->[4];
		}
		push @happened, { %$thing, session => $name };
	}
}
foreach my $entry (@added)
{
	my ($name, $what, $at, $user, $label) = @$entry;
	if ($what eq 'page')
	{
		push @happened, { session => $name, what => 'page', at => $at, user => $user, name => $label };
		next;
	}
	my @of = grep { $_->{session} eq $name && $_->{what} eq 'action' && $_->{at} eq $at && $_->{name} eq $label } @happened;
	is(scalar @of, 1, "the log has what frustrated at $at");
	$of[0]{frustrations} = [$what];
}
foreach my $entry (@explained)
{
	is($used{$entry} // 0, 1, "explained: $entry->[0], $entry->[1] $entry->[3] at $entry->[2]: $entry->[5]");
}
$_->{account} = defined $_->{user} ? $account_of{ $_->{session} }{ $_->{user} } : undef foreach @happened;

# The driver notes a page when it has been loaded, which is after it was opened;
# within a session the order is the same.
@happened = sort { $a->{at} cmp $b->{at} } @happened;

# Counts of names among things.
sub tally
{
	my %count;
	$count{$_}++ foreach @_;
	return \%count;
}

sub pages { return map { $_->{name} } grep { $_->{what} eq 'page' } @_ }
sub actions { return map { $_->{name} } grep { $_->{what} eq 'action' } @_ }

sub frustrations
{
	return map { my $thing = $_; map { "$_ $thing->{name}" } @{ $thing->{frustrations} } }
	  grep { $_->{what} eq 'action' } @_;
}

#
# What is shown
#

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# some events lie in the future when this runs before them
$node->append_conf('postgresql.conf', "profiles.future_tolerance = '3650d'");
$node->append_conf('postgresql.conf', "client_min_messages = warning");
$node->start;

sub rows
{
	my ($db, $query) = @_;
	return @{ $json->decode($node->safe_psql($db, "SELECT coalesce(json_agg(to_json(q)), '[]') FROM ($query) q")) };
}

sub make_database
{
	my ($db, @statements) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION profiles; CREATE SCHEMA web; CREATE TABLE web.rum (id bigint GENERATED ALWAYS AS IDENTITY, event jsonb)');
	$node->safe_psql($db, "\\copy web.rum(event) from '$_' with (format csv, quote e'\\x01', delimiter e'\\x02')")
	  foreach @statements;
	$node->safe_psql($db, q{SELECT profiles.add_source('web.rum', preset => 'rum', capture => 'none')});
	return;
}

sub without_undef { return defined $_[0] ? $_[0] : '' }

# Compares all that is shown of all subjects with what happened.
sub compare
{
	my ($db, $when) = @_;

	# sessions, one row for each user in it; things of nobody are a row too
	my %expected;
	foreach my $thing (@happened)
	{
		push @{ $expected{ $thing->{session} }{ without_undef($thing->{user}) } }, $thing;
	}
	my %shown;
	foreach my $row (rows($db, 'SELECT * FROM profiles.sessions ORDER BY started_at'))
	{
		push @{ $shown{ $session_of{ $row->{session_id} } }{ without_undef($row->{user_id}) } }, $row;
	}
	is_deeply(
		{ map { $_ => [ sort keys %{ $shown{$_} } ] } keys %shown },
		{ map { $_ => [ sort keys %{ $expected{$_} } ] } keys %expected },
		"$when: who is in which session");

	foreach my $session (sort keys %expected)
	{
		my @events = map { rows($db, "SELECT * FROM profiles.session_events('$_')") }
		  grep { $session_of{$_} eq $session } sort keys %session_of;
		foreach my $user (sort keys %{ $expected{$session} })
		{
			my @things = @{ $expected{$session}{$user} };
			my @rows   = @{ $shown{$session}{$user} // [] };
			my @mine   = grep { without_undef($_->{user_id}) eq $user } @events;
			my $name   = "$when: $session, " . ($user eq '' ? 'nobody' : $user);
			my @pages  = pages(@things);

			is_deeply(tally(map { $_->{page} } grep { $_->{type} eq 'view' } @mine),
				tally(@pages), "$name: page visits");
			is_deeply(tally(map { $_->{action} } grep { $_->{type} eq 'action' } @mine),
				tally(actions(@things)), "$name: actions");
			is_deeply(tally(map { my $e = $_; map { "$_ $e->{action}" } @{ $e->{frustrations} // [] } } @mine),
				tally(frustrations(@things)), "$name: frustrations");

			# renewed after idling, a session of the log has two ids
			my %sum;
			foreach my $row (@rows)
			{
				$sum{$_} += $row->{$_} foreach qw(views actions frustrations);
			}
			is_deeply(
				\%sum,
				{
					views        => scalar @pages,
					actions      => scalar actions(@things),
					frustrations => scalar frustrations(@things) },
				"$name: counts");
			is(scalar @rows, scalar(grep { $session_of{$_} eq $session } keys %session_of), "$name: rows");
			# of somebody who was nobody in between, the log can't tell first and last by time
			next unless @pages;
			is($rows[0]{entry_page},  $pages[0],  "$name: entry page");
			is($rows[-1]{exit_page}, $pages[-1], "$name: exit page");
			is($rows[-1]{account_id}, $user eq '' ? undef : $account_of{$session}{$user}, "$name: account");
		}
	}

	# one subject
	foreach my $kind ('user', 'account')
	{
		foreach my $key (sort keys %{ tally(grep { defined } map { $_->{$kind} } @happened) })
		{
			my @things = grep { defined $_->{$kind} && $_->{$kind} eq $key } @happened;
			my @rows = rows($db, "SELECT * FROM profiles.${kind}_sessions('$key', NULL)");
			is_deeply(
				tally(map { $_->{session_id} } @rows),
				tally(map { my $t = $_; map { "$_" } grep { $session_of{$_} eq $t->{session} } keys %session_of }
					  values %{ { map { ("$_->{session} $_->{user}" => $_) } @things } }),
				"$when: $key: sessions");
			is_deeply(
				{ map { $_->{page} => $_->{visits} } rows($db, "SELECT * FROM profiles.${kind}_pages('$key', NULL)") },
				tally(pages(@things)), "$when: $key: page visits");
			is_deeply(
				{ map { $_->{action} => $_->{count} } rows($db, "SELECT * FROM profiles.${kind}_actions('$key', NULL)") },
				tally(actions(@things)), "$when: $key: actions");
			is_deeply(
				tally(map { "$_->{type} $_->{action}" } rows($db, "SELECT * FROM profiles.${kind}_frustrations('$key', NULL)")),
				tally(frustrations(@things)), "$when: $key: frustrations");
			next if $kind eq 'user';
			is_deeply(
				[ sort map { $_->{user_id} } rows($db, "SELECT * FROM profiles.account_users('$key', NULL)") ],
				[ sort keys %{ tally(map { $_->{user} } @things) } ],
				"$when: $key: users");
		}
	}
	return;
}

# Errors are not in the log: each that was sent counts once, for the user that it carries.
my %errors;
foreach my $event (map { $json->decode($_) } split /\n/, slurp_file($enriched))
{
	$errors{"$event->{session}{id} " . without_undef($event->{usr}{id})}{ $event->{error}{id} } = 1
	  if $event->{type} eq 'error' && $event->{device}{type} ne 'Bot';
}

# Everything that is shown, to see that nothing changes it.
my @views = (
	'SELECT * FROM profiles.sessions ORDER BY session_id, user_id',
	map { ("SELECT s.user_id, f.* FROM (SELECT DISTINCT user_id FROM profiles.sessions) s, profiles.$_(s.user_id, NULL) f ORDER BY 1, f") }
	  qw(user_sessions user_pages user_actions user_frustrations));
sub everything { my ($db) = @_; return map { [ rows($db, $_) ] } @views; }

make_database('captured', $enriched);
compare('captured', 'as captured');
is_deeply(
	{ map { ("$_->{session_id} " . without_undef($_->{user_id}) => $_->{errors}) } rows('captured', 'SELECT * FROM profiles.sessions WHERE errors > 0') },
	{ map { $_ => scalar keys %{ $errors{$_} } } keys %errors },
	'errors');

# at-least-once delivery, in another order
make_database('again', $enriched, $enriched);
$node->safe_psql('again', 'CREATE TABLE web.other AS SELECT * FROM web.rum ORDER BY md5(id::text); TRUNCATE web.rum; '
	  . 'INSERT INTO web.rum (event) SELECT event FROM web.other');
is_deeply([ everything('again') ], [ everything('captured') ], 'twice and out of order: the same');

# by index
my @before = everything('captured');
$node->safe_psql('captured', q{SELECT * FROM profiles.index_events('web.rum')});
is_deeply([ everything('captured') ], \@before, 'by index: the same');

#
# Partial updates of views: what is left without them is the same
#
make_database('updates', $updates);
my @sent = map { $json->decode($_) } split /\n/, slurp_file($updates);
is(scalar(grep { $_->{type} eq 'view_update' } @sent) > 0, 1, 'there are partial updates');
my %last;
foreach my $event (grep { $_->{type} eq 'view' } @sent)
{
	my $id = $event->{view}{id};
	$last{$id} = $event if !$last{$id} || $event->{_dd}{document_version} > $last{$id}{_dd}{document_version};
}
my %views_of;
$views_of{ $_->{session}{id} }{ without_undef($_->{usr}{id}) }++ foreach values %last;
my %views_shown;
$views_shown{ $_->{session_id} }{ without_undef($_->{user_id}) } = $_->{views}
  foreach rows('updates', 'SELECT * FROM profiles.sessions WHERE views > 0');
is_deeply(\%views_shown, \%views_of, 'page visits are those of whole views');
my @shown = everything('updates');
$node->safe_psql('updates', q{DELETE FROM web.rum WHERE event ->> 'type' = 'view_update'});
is_deeply([ everything('updates') ], \@shown, 'partial updates count nowhere');

$node->stop;
done_testing();
