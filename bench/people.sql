-- People by arithmetic: given names by a power law, surnames of syllables with a long tail, addresses of five forms, few
-- large and many small domains. psql variable: people.
SET client_min_messages = warning;
CREATE SCHEMA bench;
CREATE FUNCTION bench.h(i bigint, salt int) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT (hashint8extended($1, $2) & 2147483647)';
CREATE TABLE bench.given AS SELECT row_number() OVER () AS n, g FROM unnest(string_to_array('James Mary John Patricia Robert Jennifer Michael Linda William Elizabeth David Barbara Richard Susan Joseph Jessica Thomas Sarah Charles Karen Christopher Lisa Daniel Nancy Matthew Betty Anthony Sandra Mark Margaret Donald Ashley Steven Kimberly Andrew Emily Paul Donna Joshua Michelle Kenneth Carol Kevin Amanda Brian Melissa George Deborah Timothy Stephanie Ronald Rebecca Jason Laura Edward Sharon Jeffrey Cynthia Ryan Dorothy Jacob Amy Gary Kathleen Nicholas Angela Eric Shirley Jonathan Emma Stephen Brenda Larry Pamela Justin Nicole Scott Anna Brandon Samantha Benjamin Katherine Samuel Christine Gregory Debra Alexander Rachel Patrick Carolyn Frank Janet Raymond Maria Jack Olivia Dennis Heather Jerry Helen Tyler Catherine Aaron Diane Jose Julie Adam Victoria Nathan Joyce Henry Lauren Zachary Kelly Douglas Christina Peter Ruth Kyle Joan Noah Virginia Ethan Judith Jeremy Evelyn Christian Hannah Walter Andrea Keith Megan Austin Cheryl Roger Jacqueline Terry Madison Sean Teresa Gerald Abigail Carl Sophia Dylan Martha Harold Sara Jordan Gloria Jesse Janice Bryan Kathryn Lawrence Ann Arthur Isabella Gabriel Judy Bruce Charlotte Logan Julia Billy Grace Joe Amber Alan Alice Juan Jean Elijah Denise Willie Frances Albert Danielle Wayne Marilyn Randy Natalie Mason Beverly Vincent Diana Liam Brittany Roy Theresa Bobby Kayla Caleb Alexis Bradley Doris Russell Lori Lucas Tiffany José Jürgen Søren Łukasz Zoë André François Björn Özlem İbrahim Đorđe Ángel', ' ')) g;
CREATE TABLE bench.people AS
SELECT i AS id, name, email, city, browser, plan, timestamptz '2025-01-01Z' + (bench.h(i, 9) % 31536000) * interval '1 s' AS seen
FROM (
    SELECT i, CASE WHEN i % 100 = 50 THEN (ARRAY['山田','田中','佐藤','鈴木','王','李','張'])[1 + bench.h(i, 11) % 7] || (ARRAY['太郎','花子','小明','美咲','健','明','伟'])[1 + bench.h(i, 12) % 7]
                ELSE g.g || ' ' || s.surname END AS name,
           CASE bench.h(i, 4) % 5 WHEN 0 THEN lower(unaccented) || '.' || lower(s.plain) WHEN 1 THEN left(lower(unaccented), 1) || '.' || lower(s.plain)
                WHEN 2 THEN lower(unaccented) || lower(s.plain) || i % 97 WHEN 3 THEN lower(s.plain) || '_' || left(lower(unaccented), 2) || i % 997
                ELSE lower(unaccented) || '.' || lower(s.plain) || CASE WHEN i % 10 = 0 THEN '+news' ELSE '' END END
           || i || '@' ||
           CASE WHEN bench.h(i, 5) % 100 < 35 THEN 'gmail.com' WHEN bench.h(i, 5) % 100 < 50 THEN 'yahoo.com' WHEN bench.h(i, 5) % 100 < 60 THEN 'outlook.com'
                WHEN bench.h(i, 5) % 100 < 63 THEN 'mail.' || lower(s.plain) || '.example' ELSE 'corp' || bench.h(i, 6) % 20000 || '.example.com' END AS email,
           (ARRAY['London','Paris','Berlin','New York','Tokyo','Madrid','Rome','Oslo','Wien','Łódź'])[1 + bench.h(i, 7) % 10] AS city,
           (ARRAY['Chrome','Safari','Firefox','Edge'])[1 + bench.h(i, 8) % 4] AS browser, (ARRAY['free','pro','enterprise'])[1 + bench.h(i, 10) % 3] AS plan
    FROM generate_series(1, :people::bigint) AS i
    CROSS JOIN LATERAL (SELECT 1 + floor((SELECT count(*) FROM bench.given) * power(bench.h(i, 1) / 2147483648.0, 2))::int) n (n)
    JOIN bench.given g ON g.n = n.n
    CROSS JOIN LATERAL (SELECT translate(g.g, 'éüøŁëçöÖİĐđÁ', 'euolecooidda') AS unaccented) u
    -- surnames of Zipf's kind: of rank r by two or three syllables
    CROSS JOIN LATERAL (SELECT (60000 * power(bench.h(i, 2) / 2147483648.0, 4))::bigint AS r) r
    CROSS JOIN LATERAL (SELECT initcap(string_agg((ARRAY['ba','ber','bo','ca','chen','cor','da','del','den','do','fa','fer','gar','gon','gra','ha','hof','jo','ka','kin','kow','la','len','li','lo','ma','man','mar','mi','mor','na','nel','no','ol','pa','per','po','ra','ren','ri','ro','sa','san','sen','ski','son','sta','ta','ton','tra','va','vel','vi','wal','wi','za','zen'])[1 + (bench.h(r.r, p) % 57)], '' ORDER BY p)) AS plain
                        FROM generate_series(20, 21 + CASE WHEN r.r > 3000 THEN 1 ELSE 0 END) AS p) pl
    CROSS JOIN LATERAL (SELECT CASE WHEN r.r % 50 = 7 THEN 'O''' || pl.plain WHEN r.r % 50 = 8 THEN replace(pl.plain, 'a', 'á') ELSE pl.plain END AS surname, pl.plain) s) x;
