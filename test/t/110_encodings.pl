# Search in databases of other encodings than UTF-8: no bytes make an error, what has
# an equivalent is folded alike, and in SQL_ASCII bytes that are not UTF-8 are letters.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;

# Text of every character of one byte, and of two where there are such, is taken
# apart by all that do it; what fails says with which.
my $all_bytes = q{
	DO $$
	DECLARE
		t text;
		n int := 0;
	BEGIN
		FOR i IN 1..255 LOOP
			FOR j IN 0..255 LOOP
				CONTINUE WHEN j > 0 AND i % 7 > 0 AND getdatabaseencoding() <> 'SQL_ASCII';
				BEGIN
					t := convert_from(decode(lpad(to_hex(i), 2, '0') || CASE WHEN j = 0 THEN '' ELSE lpad(to_hex(j), 2, '0') END, 'hex'), getdatabaseencoding());
				EXCEPTION WHEN character_not_in_repertoire THEN
					CONTINUE;
				END;
				n := n + 1;
				PERFORM profiles.people_tsvector(t || 'x', 'a' || t || '@b' || t || '.example'), profiles.people_tsquery(t || ' x' || t || '@' || t),
					profiles._attribute_vector(t), profiles._dictionary_words(profiles.people_tsvector('abc' || t, NULL)), profiles._word_keys('abc' || t), profiles._typed_keys('abc' || t, 2),
					to_tsvector('profiles.people', t || 'x ' || t), websearch_to_tsquery('profiles.people_query', t || 'x'),
					ts_headline('profiles.people', t || ' x ' || t, 'x'::tsquery);
				IF i % 16 = 0 OR j = 0 THEN
					PERFORM FROM profiles.search_users(t || 'x ' || t);
				END IF;
			END LOOP;
		END LOOP;
		RAISE NOTICE 'texts: %', n;
	END $$};

for my $encoding (qw(UTF8 LATIN1 LATIN2 WIN1251 EUC_JP EUC_KR SQL_ASCII))
{
	my $db = lc $encoding;
	my $utf8 = $encoding =~ /UTF8|SQL_ASCII/;

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($db, q{
		SET client_min_messages = warning;
		CREATE EXTENSION profiles;
		CREATE TABLE events (ts timestamptz, user_id text, user_name text, user_email text);
		SELECT profiles.add_source('events');
		INSERT INTO events VALUES ('2026-01-01Z', 'u1', 'Ada Lovelace', 'ada.lovelace@example.com')});
	$node->safe_psql($db, 'CALL profiles.rebuild()');
	is($node->safe_psql($db, q{SELECT string_agg(user_id, ' ') FROM profiles.search_users('LOVEL ada@ex')}), 'u1', "$encoding: found");

	my ($ret, $out, $err) = $node->psql($db, $all_bytes);
	is($ret, 0, "$encoding: no bytes make an error") or diag($err);
	like($err, qr/texts: [1-9]\d\d/, "$encoding: texts of many bytes");
}

# names in the encodings that have them, typed without accents and in capitals
for my $case (
	[ 'latin1', "Jos\xc3\xa9 Stra\xc3\x9fe", 'jose STRASSE' ],
	[ 'latin2', "\xc5\x81ukasz \xc5\xbb\xc3\xb3\xc5\x82\xc4\x87", 'LUKASZ zolc' ],
	[ 'win1251', "\xd0\xa4\xd1\x91\xd0\xb4\xd0\xbe\xd1\x80", "\xd0\xa4\xd0\x95\xd0\x94\xd0\x9e\xd0\xa0" ],
	[ 'euc_jp', "\xe5\xb1\xb1\xe7\x94\xb0\xe5\xa4\xaa\xe9\x83\x8e", "\xe5\xa4\xaa\xe9\x83\x8e" ],
	[ 'utf8', "Jos\xc3\xa9", 'jose' ],
	[ 'sql_ascii', "Jos\xc3\xa9", 'jose' ])
{
	my ($db, $name, $query) = @$case;
	my $set = $db eq 'sql_ascii' ? '' : "SET client_encoding = 'UTF8';";

	$node->safe_psql($db, "$set INSERT INTO events VALUES ('2026-01-02Z', 'named', '$name', NULL)");
	$node->safe_psql($db, 'CALL profiles.refresh()');
	is($node->safe_psql($db, "$set SELECT string_agg(user_id, ' ') FROM profiles.search_users('$query')"), 'named', "$db: $query");
}

# in SQL_ASCII bytes of another encoding are found as they were written
$node->safe_psql('sql_ascii', "INSERT INTO events VALUES ('2026-01-03Z', 'raw', E'Jos\\351 Mu\\361oz', NULL)");
$node->safe_psql('sql_ascii', 'CALL profiles.refresh()');
is($node->safe_psql('sql_ascii', q{SELECT string_agg(user_id, ' ') FROM profiles.search_users(E'mu\361')}), 'raw', 'sql_ascii: raw bytes');

done_testing();
