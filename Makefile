# profiles: user and account profiles inside PostgreSQL
#
#   make demo        profiles of real events in a throw-away cluster
#   make demo-stop   removes that cluster
#   make check       builds, and runs all tests in throw-away clusters
#   make, make install, make installcheck    as with any extension

ifneq ($(filter check demo demo-stop,$(MAKECMDGOALS)),)

# These install what is missing, PostgreSQL included, so they come before PGXS.
.PHONY: check demo demo-stop
check:
	@bash test/check.sh
demo:
	@bash examples/demo.sh
demo-stop:
	@bash examples/demo.sh stop

else

EXTENSION = profiles
EXTVERSION = 0.1.0

MODULE_big = profiles
OBJS = \
	src/attribute_words.o \
	src/blocked.o \
	src/btree_leaf.o \
	src/capture.o \
	src/direct_fold.o \
	src/erased.o \
	src/event_index.o \
	src/event_rows.o \
	src/event_triggers.o \
	src/expression.o \
	src/filter.o \
	src/first_last.o \
	src/fold.o \
	src/fold_query.o \
	src/fold_tables.o \
	src/import.o \
	src/import_diff.o \
	src/import_load.o \
	src/index_entries.o \
	src/left_out.o \
	src/merge.o \
	src/packed.o \
	src/pending.o \
	src/people.o \
	src/people_dictionary.o \
	src/people_index.o \
	src/people_parser.o \
	src/people_query.o \
	src/pinned.o \
	src/plain_update.o \
	src/procedure.o \
	src/profile_agg.o \
	src/profile_build.o \
	src/profile_fold.o \
	src/profile_io.o \
	src/profile_ops.o \
	src/profiles.o \
	src/rare_groups.o \
	src/rights.o \
	src/screen.o \
	src/segment.o \
	src/session.o \
	src/search.o \
	src/search_candidates.o \
	src/search_filter.o \
	src/search_plan.o \
	src/search_rows.o \
	src/search_sample.o \
	src/search_score.o \
	src/search_statistics.o \
	src/search_tiers.o \
	src/search_typos.o \
	src/search_upkeep.o \
	src/search_write.o \
	src/source_parts.o \
	src/subjects.o \
	src/text_length.o \
	src/text_node.o \
	src/tokenizer.o \
	src/trust.o \
	src/upkeep_state.o \
	src/value_text.o \
	src/word_cuts.o \
	src/words_build.o \
	src/words_gather.o \
	src/words_gin.o

PARTS = $(sort $(wildcard sql/parts/*.sql))
DATA_built = sql/profiles--$(EXTVERSION).sql

REGRESS = setup type aggregates first_last values property sources relations filters attributes attribute_rights segments fold capture upkeep long_values large_values erased merge packed partitions broken_sources counts rights rights_tables tokenizer drill_down facet relevance relevance_crowd relevance_desk search search_rebuild search_refresh words_index words_build word_counts word_cuts cleanup
ISOLATION = attributes attribute_locks columns deferred forget immediate keep kinds levels merge partition_locks partition_names partitions prepared readers rewrite search sources sources_busy temporary upkeep
REGRESS_OPTS = --inputdir=test --outputdir=. --encoding=UTF8 --no-locale

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(DATA_built): $(PARTS)
	cat $(PARTS) > $@

# any header may matter to any object
$(OBJS): $(wildcard src/*.h)

endif
