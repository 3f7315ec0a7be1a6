-- Relevance: what people type, who must be found within which rank, and who must
-- not, over people of many scripts. Of a set test/data/*_cases.tsv has a line for each
-- case, test/data/*_people.tsv the people. The second set is of somebody who did not
-- know how search works.

\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
SET client_min_messages = warning;
\set script :abs_srcdir '/data/relevance_set.sql'

\set set relevance
\i :script
\set set relevance_blind
\i :script
