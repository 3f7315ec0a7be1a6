# Random syncs against a source that changes at random, with failures injected
# at every step, against a plain LEFT JOIN: at each success users and accounts
# show what the source says, at each failure what they showed before.
#
# PROFILES_RANDOM_SYNCS: how many (default 1,500).  PROFILES_RANDOM_SEED: of the
# numbers, by arithmetic, so that a run can be repeated.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $syncs = $ENV{PROFILES_RANDOM_SYNCS} // 1500;
my $seed  = $ENV{PROFILES_RANDOM_SEED}  // 1;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum_naptime = 5\n");
$node->start;

# The whole test runs inside the server, as a procedure that commits after each
# sync. Failures: an error in the middle of the source, a missing table, duplicate
# keys, a table or its column renamed or retyped, a trigger on our side that fails at
# the n-th row written: values (insert, update, delete), their copies beside the
# profiles, the statistics that search has of a first sync, the record of the run.
$node->safe_psql('postgres', q{
	CREATE EXTENSION profiles;
	CREATE TABLE events (ts timestamptz, user_id text, account_id text, email text);
	INSERT INTO events SELECT timestamptz '2026-01-01Z' + i * interval '1 s', 'u' || i, 'a' || i % 10, 'M' || i || '@x.org' FROM generate_series(0, 59) i;
	SELECT profiles.add_source('events')});
$node->safe_psql('postgres', 'CALL profiles.rebuild()');
$node->safe_psql('postgres', q{
	CREATE TABLE base (id int, k text, a int, b text, c numeric, d timestamptz);
	CREATE TABLE bomb (at int);
	INSERT INTO bomb VALUES (-1);
	CREATE FUNCTION checked(n int) RETURNS int LANGUAGE plpgsql STABLE AS $$
	BEGIN
		IF n = (SELECT at FROM public.bomb) THEN RAISE EXCEPTION 'bomb in the source'; END IF;
		RETURN n;
	END $$;
	CREATE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base;
	SELECT profiles.add_attributes('user', 'source', 'k', 'user_id', '{"a": null, "b": null, "c": null, "d": null}');
	SELECT profiles.add_attributes('user', 'base', 'k', 'email', '{"a": "mail_a", "b": "mail_b"}', on_duplicate => 'last', order_by => 'id');
	SELECT profiles.add_attributes('account', 'source', 'k', 'account_id', '{"a": "a"}', filter => 'b IS DISTINCT FROM ''out''');

	-- some are indexed, and so stored beside the profiles
	SELECT profiles.index_profiles('user', 'b');
	SELECT profiles.index_profiles('user', 'mail_b');
	SELECT profiles.index_profiles('account', 'a');

	-- one of our own tables fails at a row
	CREATE TABLE trap (op text, after int);
	CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE left_over int;
	BEGIN
		UPDATE public.trap SET after = after - 1 WHERE op = TG_ARGV[0] || TG_OP RETURNING after INTO left_over;
		IF left_over = 0 THEN RAISE EXCEPTION 'trap at %', TG_ARGV[0] || TG_OP; END IF;
		RETURN coalesce(NEW, OLD);
	END $$;
	DO $$
	DECLARE t text;
	BEGIN
		FOREACH t IN ARRAY ARRAY['attributes_1', 'attributes_2', 'attributes_3'] LOOP
			EXECUTE format('CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON profiles.%I FOR EACH ROW EXECUTE FUNCTION trap('''')', t);
		END LOOP;
		FOREACH t IN ARRAY ARRAY['user_profile', 'account_profile'] LOOP
			EXECUTE format('CREATE TRIGGER trap BEFORE UPDATE ON profiles.%I FOR EACH ROW EXECUTE FUNCTION trap(''copy '')', t);
		END LOOP;
		CREATE TRIGGER trap BEFORE INSERT OR UPDATE ON profiles.user_search_stat FOR EACH ROW EXECUTE FUNCTION trap('search ');
		CREATE TRIGGER trap BEFORE INSERT ON profiles.sync_run FOR EACH ROW EXECUTE FUNCTION trap('record ');
		CREATE TRIGGER trap BEFORE UPDATE ON profiles.import_config FOR EACH ROW EXECUTE FUNCTION trap('record ');
	END $$;

	CREATE TABLE tally (what text PRIMARY KEY, n int);
	CREATE SEQUENCE dice;
	-- 0 .. sides - 1, by arithmetic
	CREATE FUNCTION roll(sides int) RETURNS int LANGUAGE sql AS
		$$ SELECT (('x' || substr(md5(nextval('dice')::text || current_setting('test.seed')), 1, 7))::bit(28)::int) % sides $$;
	CREATE FUNCTION note(what text) RETURNS void LANGUAGE sql AS
		$$ INSERT INTO tally VALUES (what, 1) ON CONFLICT (what) DO UPDATE SET n = tally.n + 1 $$;

	CREATE VIEW shown AS
		SELECT 'user' AS kind, user_id AS key, a, b, c::text, d, mail_a, mail_b FROM profiles.users
		UNION ALL SELECT 'account', account_id, a, NULL, NULL, NULL, NULL, NULL FROM profiles.accounts;
	-- what users and accounts should show of each import, from plain tables
	CREATE FUNCTION oracle_1() RETURNS TABLE (key text, a int, b text, c text, d timestamptz) LANGUAGE sql AS
		$$ SELECT e.user_id, s.a, s.b, s.c::text, s.d FROM (SELECT key AS user_id FROM profiles.user_profile) e LEFT JOIN base s ON s.k = e.user_id $$;
	CREATE FUNCTION oracle_2() RETURNS TABLE (key text, mail_a int, mail_b text) LANGUAGE sql AS
		$$ SELECT e.user_id, s.a, s.b FROM (SELECT key AS user_id, user_email AS email FROM profiles.user_profile) e
		   LEFT JOIN (SELECT DISTINCT ON (lower(k)) lower(k) AS k, a, b FROM base WHERE k IS NOT NULL
		              ORDER BY lower(k), id DESC NULLS LAST, a NULLS LAST, b NULLS LAST) s ON s.k = lower(e.email) $$;
	CREATE FUNCTION oracle_3() RETURNS TABLE (key text, a int) LANGUAGE sql AS
		$$ SELECT e.account_id, s.a FROM (SELECT key AS account_id FROM profiles.account_profile) e LEFT JOIN base s ON s.k = e.account_id AND s.b IS DISTINCT FROM 'out' $$;
	CREATE FUNCTION wrong(import int) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE n bigint;
	BEGIN
		IF import = 1 THEN
			SELECT count(*) INTO n FROM ((SELECT key, a, b, c, d FROM shown WHERE kind = 'user' EXCEPT ALL SELECT * FROM oracle_1())
				UNION ALL (SELECT * FROM oracle_1() EXCEPT ALL SELECT key, a, b, c, d FROM shown WHERE kind = 'user')) x;
		ELSIF import = 2 THEN
			SELECT count(*) INTO n FROM ((SELECT key, mail_a, mail_b FROM shown WHERE kind = 'user' EXCEPT ALL SELECT * FROM oracle_2())
				UNION ALL (SELECT * FROM oracle_2() EXCEPT ALL SELECT key, mail_a, mail_b FROM shown WHERE kind = 'user')) x;
		ELSE
			SELECT count(*) INTO n FROM ((SELECT key, a FROM shown WHERE kind = 'account' EXCEPT ALL SELECT * FROM oracle_3())
				UNION ALL (SELECT * FROM oracle_3() EXCEPT ALL SELECT key, a FROM shown WHERE kind = 'account')) x;
		END IF;
		RETURN n;
	END $$;
	-- does a key of an import stand in several rows?
	CREATE FUNCTION repeated(import int) RETURNS boolean LANGUAGE sql AS
		$$ SELECT import <> 2 AND EXISTS (SELECT FROM base WHERE k IS NOT NULL AND (import = 1 OR b IS DISTINCT FROM 'out') GROUP BY k HAVING count(*) > 1) $$;

	CREATE PROCEDURE change() LANGUAGE plpgsql AS $$
	DECLARE key text;
	BEGIN
		FOR i IN 1..roll(4) LOOP
			key := CASE roll(8) WHEN 0 THEN NULL WHEN 1 THEN 'a' || roll(12) WHEN 2 THEN 'm' || roll(70) || '@X.org' WHEN 3 THEN 'M' || roll(70) || '@x.ORG'
			       ELSE 'u' || roll(70) END;
			CASE roll(5)
				WHEN 0 THEN DELETE FROM base WHERE k = key;
				WHEN 1 THEN UPDATE base SET a = roll(5), c = c + 1 WHERE k = key;
				WHEN 2 THEN UPDATE base SET b = CASE roll(4) WHEN 0 THEN 'out' WHEN 1 THEN NULL ELSE 'b' || roll(9) END, c = round(c, roll(4)) WHERE k = key;
				ELSE
					-- a second row of a key, seldom
					IF roll(12) = 0 OR key LIKE '%@%' OR NOT EXISTS (SELECT FROM base WHERE k = key) THEN
						INSERT INTO base VALUES (nullif(roll(40), 39), key, nullif(roll(5), 4), nullif('b' || roll(9), 'b8'), roll(1000) / 10.0,
							timestamptz '2026-01-01Z' + roll(100000) * interval '1 s');
					END IF;
			END CASE;
		END LOOP;
		-- duplicates go again
		IF roll(3) = 0 THEN
			DELETE FROM base WHERE ctid NOT IN (SELECT min(ctid) FROM base GROUP BY k) AND k NOT LIKE '%@%';
		END IF;
		IF roll(25) = 0 THEN TRUNCATE base; END IF;
		IF roll(30) = 0 THEN
			INSERT INTO base SELECT i, 'u' || i, i, 'many', i, NULL FROM generate_series(0, 65) i WHERE NOT EXISTS (SELECT FROM base WHERE k = 'u' || i);
		END IF;
		-- dbt's swap
		IF roll(10) = 0 THEN
			CREATE TABLE base_next (LIKE base);
			INSERT INTO base_next SELECT * FROM base;
			DROP VIEW source;
			ALTER TABLE base RENAME TO base_old;
			ALTER TABLE base_next RENAME TO base;
			CREATE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base;
			DROP TABLE base_old;
		END IF;
		-- a new user, an old one gone
		IF roll(40) = 0 THEN INSERT INTO events VALUES ('2026-03-01Z', 'u' || 60 + roll(10), 'a' || roll(12), NULL); END IF;
	END $$;

	CREATE PROCEDURE run(times int) LANGUAGE plpgsql AS $$
	DECLARE
		import int;
		src text;
		injected text;
		undo text;
		error text;
		odd bigint;
		expect_error boolean;
	BEGIN
		FOR i IN 1..times LOOP
			CALL change();
			COMMIT;
			IF i % 50 = 0 THEN
				CALL profiles.refresh();
			END IF;
			-- a user's e-mail changes, or all is computed anew
			IF i % 70 = 0 THEN
				INSERT INTO events VALUES (timestamptz '2026-04-01Z' + i * interval '1 s', 'u' || roll(60), NULL, 'm' || roll(70) || '@x.org');
				CALL profiles.refresh();
			END IF;
			IF i % 400 = 0 THEN
				CALL profiles.rebuild();
			END IF;
			IF i % 300 = 150 THEN
				PERFORM profiles.unindex_profiles('user', 'mail_b');
			ELSIF i % 300 = 0 THEN
				PERFORM profiles.index_profiles('user', 'mail_b');
			END IF;
			import := 1 + roll(3);
			src := CASE import WHEN 2 THEN 'public.base' ELSE 'public.source' END;
			injected := 'none';
			undo := NULL;
			CASE roll(16)
				WHEN 0 THEN
					injected := 'source fails at a row';
					UPDATE bomb SET at = (SELECT id FROM base WHERE id IS NOT NULL ORDER BY md5(i::text || id) LIMIT 1);
					undo := 'UPDATE bomb SET at = -1';
				WHEN 1 THEN
					injected := 'column renamed';
					EXECUTE format('ALTER %s %s RENAME a TO a_was', CASE import WHEN 2 THEN 'TABLE' ELSE 'VIEW' END, src);
					undo := format('ALTER %s %s RENAME a_was TO a', CASE import WHEN 2 THEN 'TABLE' ELSE 'VIEW' END, src);
				WHEN 2 THEN
					injected := 'source missing';
					EXECUTE format('ALTER %s %s RENAME TO away', CASE import WHEN 2 THEN 'TABLE' ELSE 'VIEW' END, src);
					undo := format('ALTER %s away RENAME TO %s', CASE import WHEN 2 THEN 'TABLE' ELSE 'VIEW' END, split_part(src, '.', 2));
				WHEN 3 THEN
					IF import = 2 THEN
						injected := 'column retyped';
						DROP VIEW source;
						ALTER TABLE base ALTER a TYPE bigint;
						undo := 'ALTER TABLE base ALTER a TYPE int; CREATE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base';
					END IF;
				WHEN 4 THEN
					injected := 'INSERT fails';
					INSERT INTO trap VALUES ('INSERT', 1 + roll(4));
					undo := 'DELETE FROM trap';
				WHEN 5 THEN
					injected := 'UPDATE fails';
					INSERT INTO trap VALUES ('UPDATE', 1 + roll(2));
					undo := 'DELETE FROM trap';
				WHEN 6 THEN
					injected := 'DELETE fails';
					INSERT INTO trap VALUES ('DELETE', 1 + roll(2));
					undo := 'DELETE FROM trap';
				WHEN 7 THEN
					injected := 'copy fails';
					INSERT INTO trap VALUES ('copy UPDATE', 1 + roll(3));
					undo := 'DELETE FROM trap';
				WHEN 8 THEN
					injected := 'record fails';
					INSERT INTO trap VALUES ('record ' || CASE roll(2) WHEN 0 THEN 'INSERT' ELSE 'UPDATE' END, 1);
					undo := 'DELETE FROM trap';
				ELSE NULL;
			END CASE;
			COMMIT;
			CREATE TEMP TABLE IF NOT EXISTS before AS TABLE shown WITH NO DATA;
			TRUNCATE before;
			INSERT INTO before TABLE shown;
			COMMIT;
			-- both imports of "source" are synced by one call
			IF injected = 'record fails' THEN
				-- then the sync itself is an error
				error := '';
				BEGIN
					CALL profiles.sync(src);
				EXCEPTION WHEN raise_exception THEN
					error := SQLERRM;
				END;
				IF error NOT LIKE 'trap at record%' THEN
					RAISE EXCEPTION 'round %: the record of % did not fail', i, src;
				END IF;
				EXECUTE undo;
				COMMIT;
				SELECT count(*) INTO odd FROM ((TABLE before EXCEPT ALL TABLE shown) UNION ALL (TABLE shown EXCEPT ALL TABLE before)) x;
				IF odd > 0 THEN
					RAISE EXCEPTION 'round %: % rows are wrong after %', i, odd, injected;
				END IF;
				PERFORM note('failure, ' || injected);
				CONTINUE;
			END IF;
			CALL profiles.sync(src);
			IF undo IS NOT NULL THEN EXECUTE undo; END IF;
			COMMIT;
			FOR import IN SELECT s.id FROM profiles.import_config s WHERE s.source = src ORDER BY 1 LOOP
				SELECT r.sqlstate || ' ' || r.message INTO error FROM profiles.sync_run r WHERE r.import_id = import ORDER BY r.id DESC LIMIT 1;
				expect_error := injected IN ('column renamed', 'source missing', 'column retyped') OR repeated(import);
				IF expect_error AND error IS NULL THEN
					RAISE EXCEPTION 'round %: sync % should have failed: %', i, import, injected;
				ELSIF error IS NOT NULL AND injected = 'none' AND NOT repeated(import) THEN
					RAISE EXCEPTION 'round %: sync % failed: %', i, import, error;
				END IF;
				IF error IS NULL THEN
					odd := wrong(import);
					PERFORM note('success, ' || injected);
				ELSE
					SELECT count(*) INTO odd FROM (
						(SELECT key, CASE import WHEN 1 THEN ROW(a, b, c, d)::text WHEN 2 THEN ROW(mail_a, mail_b)::text ELSE a::text END FROM before WHERE kind = CASE import WHEN 3 THEN 'account' ELSE 'user' END
						 EXCEPT ALL
						 SELECT key, CASE import WHEN 1 THEN ROW(a, b, c, d)::text WHEN 2 THEN ROW(mail_a, mail_b)::text ELSE a::text END FROM shown WHERE kind = CASE import WHEN 3 THEN 'account' ELSE 'user' END)) x;
					PERFORM note('failure, ' || CASE WHEN repeated(import) AND error ~ '^23505' THEN 'duplicate key' ELSE injected END);
				END IF;
				IF odd > 0 THEN
					RAISE EXCEPTION 'round %: % rows are wrong in import % after %, %', i, odd, import, injected, coalesce(error, 'success');
				END IF;
			END LOOP;
			COMMIT;
		END LOOP;
	END $$});

my ($rc, $out, $err) = $node->psql('postgres',
	"SET client_min_messages = error; SET test.seed = '$seed'; CALL run($syncs)", timeout => 3600);
is($rc, 0, "$syncs random syncs, seed $seed, equal a LEFT JOIN at each success and what was there at each failure") or diag($err);
my $tally = $node->safe_psql('postgres', 'SELECT what, n FROM tally ORDER BY 1');
note($tally);
like($tally, qr/failure, \Q$_\E\|/, "there were failures: $_")
	foreach ('source fails at a row', 'column renamed', 'source missing', 'column retyped', 'INSERT fails', 'UPDATE fails', 'DELETE fails', 'copy fails', 'record fails',
	'duplicate key');
like($tally, qr/success, none\|/, 'there were successes');

# The first sync of an import, which loads a table, with each failure, one after the other.
$node->safe_psql('postgres', q{
	DELETE FROM base;
	INSERT INTO base SELECT i, 'u' || i, i, 'b' || i % 9, i / 4.0, NULL FROM generate_series(0, 59) i;
	CREATE VIEW loaded AS SELECT k, a + 0 * coalesce(checked(id), 0) AS load_a, 'word' || b AS load_b FROM base});
my %first = (
	'source fails at a row' => [ 'UPDATE bomb SET at = 40', 'UPDATE bomb SET at = -1' ],
	'column renamed'        => [ 'ALTER VIEW loaded RENAME load_a TO was', 'ALTER VIEW loaded RENAME was TO load_a' ],
	'source missing'        => [ 'ALTER VIEW loaded RENAME TO away', 'ALTER VIEW away RENAME TO loaded' ],
	'column retyped'        => [
		q{DROP VIEW loaded; CREATE VIEW loaded AS SELECT k, a::text AS load_a, 'word' || b AS load_b FROM base},
		q{DROP VIEW loaded; CREATE VIEW loaded AS SELECT k, a + 0 * coalesce(checked(id), 0) AS load_a, 'word' || b AS load_b FROM base} ],
	'duplicate key' => [ q{INSERT INTO base VALUES (99, 'u7', 1, 'b')}, 'DELETE FROM base WHERE id = 99' ],
	'search fails'  => [ q{INSERT INTO trap VALUES ('search INSERT', 3)}, 'DELETE FROM trap' ],
	'record fails'  => [ q{INSERT INTO trap VALUES ('record INSERT', 1)}, 'DELETE FROM trap' ]);
foreach my $failure (sort keys %first)
{
	$node->safe_psql('postgres', q{SELECT profiles.add_attributes('user', 'loaded', 'k', 'user_id')});
	$node->safe_psql('postgres', $first{$failure}[0]);
	my ($rc, $out, $err) = $node->psql('postgres', q{CALL profiles.sync('loaded')});
	like($err, qr/WARNING:  could not sync public.loaded|ERROR:  trap at record/, "first sync, $failure: it says so");
	is($node->safe_psql('postgres', q{SELECT count(load_a), count(load_b), (SELECT count(*) FROM profiles.search_users('wordb5')) FROM profiles.users}),
		'0|0|0', "first sync, $failure: nothing is there");
	$node->safe_psql('postgres', $first{$failure}[1]);
	$node->safe_psql('postgres', q{CALL profiles.sync('loaded')});
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM (SELECT user_id, load_a, load_b FROM profiles.users EXCEPT ALL SELECT p.key, s.a, 'word' || s.b FROM profiles.user_profile p LEFT JOIN base s ON s.k = p.key) d
		UNION ALL SELECT count(*) - (SELECT count(*) FROM base WHERE b = 'b5') FROM profiles.search_users('wordb5', 1000)}),
		"0\n0", "first sync, $failure: the next one succeeds");
	$node->safe_psql('postgres', q{SELECT profiles.drop_attributes('user', 'loaded')});
}
$node->safe_psql('postgres', 'DROP VIEW loaded');

# A sync that is cancelled in the middle leaves what was there, and nothing locked.
$node->safe_psql('postgres', q{
	DELETE FROM base;
	INSERT INTO base SELECT i, 'u' || i, i, 'x', 1, NULL FROM generate_series(0, 59) i;
	CALL profiles.sync('source')});
my $before = $node->safe_psql('postgres', 'SELECT * FROM shown ORDER BY 1, 2');
$node->safe_psql('postgres', q{UPDATE base SET a = a + 1; CREATE OR REPLACE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base WHERE pg_sleep(0.05) IS NOT NULL});
($rc, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; CALL profiles.sync('source')");
like($err, qr/canceling statement due to statement timeout/, 'a sync is cancelled');
is($node->safe_psql('postgres', 'SELECT * FROM shown ORDER BY 1, 2'), $before, 'cancelled: what was there stays');
$node->safe_psql('postgres', q{CREATE OR REPLACE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base});
is($node->safe_psql('postgres', q{SET client_min_messages = error; CALL profiles.sync('source'); SELECT wrong(1) + wrong(3)}), '0', 'cancelled: the next one succeeds');

# A crash in the middle likewise.
$node->safe_psql('postgres', q{UPDATE base SET a = a + 1; CREATE OR REPLACE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base WHERE pg_sleep(0.05) IS NOT NULL});
$before = $node->safe_psql('postgres', 'SELECT * FROM shown ORDER BY 1, 2');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/begun/, "\\echo begun\nCALL profiles.sync('source');\n");
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL profiles.sync%' AND wait_event = 'PgSleep')}) or die 'not running';
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT * FROM shown ORDER BY 1, 2'), $before, 'crash: what was there stays');
$node->safe_psql('postgres', q{CREATE OR REPLACE VIEW source AS SELECT k, a + 0 * coalesce(checked(id), 0) AS a, b, c, d FROM base});
is($node->safe_psql('postgres', q{SET client_min_messages = error; CALL profiles.sync('source'); SELECT wrong(1) + wrong(3)}), '0', 'crash: the next one succeeds');

$node->stop;
done_testing();
