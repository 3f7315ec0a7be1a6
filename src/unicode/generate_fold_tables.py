#!/usr/bin/env python3
"""Writes src/fold_tables.c from the Unicode character database.

Usage: generate_fold_tables.py [folder] > ../fold_tables.c
The folder has UnicodeData.txt, CaseFolding.txt and PropList.txt; Debian's
package unicode-data puts them into /usr/share/unicode, the default.

What becomes of a character: compatibility decomposition, full case folding,
marks taken away, and the rules below, until nothing changes.
"""

import re
import sys

folder = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode"

# Letters that Unicode does not decompose, and what people type for them.
LETTERS = {
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ŧ": "t", "ı": "i",
    "ŋ": "n", "ĸ": "k", "ƶ": "z", "ƀ": "b", "ɓ": "b", "ƈ": "c", "ɖ": "d", "ɗ": "d", "ƒ": "f", "ɠ": "g", "ɨ": "i",
    "ƙ": "k", "ƚ": "l", "ɫ": "l", "ɲ": "n", "ɵ": "o", "ƥ": "p", "ʀ": "r", "ƭ": "t", "ʈ": "t", "ʉ": "u", "ʋ": "v",
    "ƴ": "y", "ȥ": "z", "ⱥ": "a", "ȼ": "c", "ɇ": "e", "ǥ": "g", "ɉ": "j", "ɍ": "r", "ɏ": "y", "ⱡ": "l", "ꝡ": "vy",
    # Arabic: what differs between keyboards and habits
    "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ە": "ه", "ہ": "ه", "ھ": "ه",
    # Hebrew: final forms
    "ך": "כ", "ם": "מ", "ן": "נ", "ף": "פ", "ץ": "צ",
}

# Punctuation, by what it does in a word.
PUNCTUATION = {
    "'": "'`´’‘ʼʻʹʽˈ′‵‛`ʿʾ՚׳״ꞌ",
    "-": "-‐‑‒–—―−⁃﹘﹣־᠆",
    ".": ".․",
    "_": "_‿",
    "+": "+",
    "@": "@",
    "&": "&",
}

SEPARATOR, IGNORED, LETTER, DIGIT, CJK, JOINER, AT = range(7)
CLASS_NAMES = ["SEPARATOR", "IGNORED", "LETTER", "DIGIT", "CJK", "JOINER", "AT"]
FIRST_FOLD = 16

category, combining, decomposition, digit = {}, {}, {}, {}
version = re.search(r"CaseFolding-([0-9.]+)\.txt", open(folder + "/CaseFolding.txt", encoding="utf-8").readline()).group(1)
first = None
for line in open(folder + "/UnicodeData.txt", encoding="ascii"):
    f = line.rstrip("\n").split(";")
    cp = int(f[0], 16)
    span = [cp]
    if f[1].endswith(", First>"):
        first = cp
        continue
    if f[1].endswith(", Last>"):
        span = range(first, cp + 1)
    for c in span:
        category[c] = f[2]
        combining[c] = int(f[3])
        if f[5]:
            parts = f[5].split()
            tag = parts.pop(0) if parts[0].startswith("<") else None
            decomposition[c] = (tag, [int(p, 16) for p in parts])
        if f[6]:
            digit[c] = int(f[6])

casefold = {}
for line in open(folder + "/CaseFolding.txt", encoding="utf-8"):
    line = line.split("#")[0].strip()
    if line:
        cp, status, mapping = [x.strip() for x in line.split(";")[:3]]
        if status in "CF":
            casefold[int(cp, 16)] = [int(p, 16) for p in mapping.split()]

ignorable = set()
for line in open(folder + "/PropList.txt", encoding="utf-8"):
    m = re.match(r"([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*(\w+)", line)
    if m and m.group(3) in ("Variation_Selector", "Join_Control", "Other_Default_Ignorable_Code_Point"):
        ignorable.update(range(int(m.group(1), 16), int(m.group(2) or m.group(1), 16) + 1))

punctuation = {ord(c): ord(to) for to, chars in PUNCTUATION.items() for c in chars}
letters = {ord(c): [ord(x) for x in to] for c, to in LETTERS.items()}


def is_cjk(c):
    return (0x2E80 <= c <= 0x2FDF or 0x3005 <= c <= 0x3007 or 0x3021 <= c <= 0x3029
            or 0x3041 <= c <= 0x309A or c in (0x309D, 0x309E) or 0x30A1 <= c <= 0x30FA or 0x30FC <= c <= 0x30FE
            or 0x3105 <= c <= 0x312F or 0x31A0 <= c <= 0x31BF or 0x31F0 <= c <= 0x31FF
            or 0x3400 <= c <= 0x4DBF or 0x4E00 <= c <= 0x9FFF or 0xF900 <= c <= 0xFAFF
            or 0x1100 <= c <= 0x11FF or 0xA960 <= c <= 0xA97F or 0xAC00 <= c <= 0xD7FF
            or 0x1AFF0 <= c <= 0x1B2FF or 0x20000 <= c <= 0x3FFFD)


def is_pictograph(c):
    """Emoji and their like, of which some names consist; not (c), arrows, boxes."""
    return category.get(c) == "So" and (0x2600 <= c <= 0x27BF or 0x1F000 <= c <= 0x1FAFF)


def is_dropped(c):
    """Marks over and under letters; not vowel signs, viramas, and the voicing of kana. Colours of skin, too."""
    return c in ignorable or 0x1F3FB <= c <= 0x1F3FF or category.get(c) == "Cf" or (
        category.get(c) in ("Mn", "Me") and combining[c] not in (0, 8, 9)) or category.get(c) == "Me" or c == 0x640


def step(c):
    """The characters that a character becomes, one step further."""
    if c in punctuation:
        return [punctuation[c]]
    if is_dropped(c):
        return []
    if c in digit:
        return [ord("0") + digit[c]]
    if c in casefold:
        return casefold[c]
    if c in letters:
        return letters[c]
    if c in decomposition:
        return decomposition[c][1]
    if 0xAC00 <= c <= 0xD7A3:
        s = c - 0xAC00
        return [0x1100 + s // 588, 0x1161 + s % 588 // 28] + ([0x11A7 + s % 28] if s % 28 else [])
    if 0x30A1 <= c <= 0x30F6:           # katakana as hiragana
        return [c - 0x60]
    return [c]


def fold(c):
    result = [c]
    while True:
        further = [y for x in result for y in step(x)]
        if further == result:
            return result
        result = further


def char_class(c):
    if c == ord("@"):
        return AT
    if c in PUNCTUATION_CODES:
        return JOINER
    if is_cjk(c) or is_pictograph(c):
        return CJK
    cat = category.get(c, "Cn")
    if cat[0] in "LM" or cat in ("Nl",):
        return LETTER
    if cat[0] == "N":
        return DIGIT
    # unassigned and private characters may be letters some day
    if cat in ("Cn", "Co") and not (c & 0xFFFE == 0xFFFE or 0xFDD0 <= c <= 0xFDEF):
        return LETTER
    return SEPARATOR


PUNCTUATION_CODES = {ord(c) for c in PUNCTUATION if c != "@"}

pool, fold_index, folds = bytearray(), {}, []


def entry(c):
    if 0xD800 <= c <= 0xDFFF:
        return SEPARATOR
    if 0xAC00 <= c <= 0xD7A3:
        return CJK                      # decomposed by arithmetic
    if c in decomposition and category[c] == "So" and decomposition[c][0] == "<super>":
        return SEPARATOR                # a trade mark is no part of a name
    f = fold(c)
    if not f:
        return IGNORED
    classes = [char_class(x) for x in f]
    if f == [c]:
        return classes[0]
    if category.get(c, "Cn")[0] in "SPZ" and c not in punctuation and (
            SEPARATOR in classes or not all(k in (LETTER, DIGIT, CJK, JOINER, AT) for k in classes)):
        return SEPARATOR
    key = tuple(f)
    if key not in fold_index:
        fold_index[key] = len(folds)
        text = "".join(map(chr, f)).encode()
        folds.append((len(pool), len(text)))
        pool.extend(text)
    return FIRST_FOLD + fold_index[key]


BLOCK = 128
LIMIT = 0x110000
blocks, block_index, index = [], {}, []
for start in range(0, LIMIT, BLOCK):
    block = tuple(entry(c) for c in range(start, start + BLOCK))
    if block not in block_index:
        block_index[block] = len(blocks)
        blocks.append(block)
    index.append(block_index[block])
while len(index) > 1 and index[-1] == index[-2]:
    index.pop()
assert len(blocks) < 65536 and FIRST_FOLD + len(folds) < 65536 and len(pool) < 65536


def rows(values, per_line):
    values = [str(v) for v in values]
    return ",\n".join("\t" + ", ".join(values[i:i + per_line]) for i in range(0, len(values), per_line))


print("""/*
 * fold_tables.c
 *		How characters are folded: generated, do not edit.
 *
 * Made by src/unicode/generate_fold_tables.py from the Unicode Character Database,
 * version %s.  Copyright (C) 1991-2022 Unicode, Inc.  All rights reserved.
 * Distributed under the Terms of Use in https://www.unicode.org/copyright.html
 * (SPDX: Unicode-DFS-2016).
 */
#include "fold_tables.h"

const char profiles_unicode_version[] = "%s";
""" % (version, version))
print("/* block of each %d characters; those behind are as the last one */" % BLOCK)
print("const int profiles_fold_index_length = %d;" % len(index))
print("const uint16_t profiles_fold_index[] = {\n%s\n};\n" % rows(index, 24))
print("/* per character: a class, or FOLD_FIRST and the number of a fold */")
print("const uint16_t profiles_fold_blocks[][FOLD_BLOCK] = {")
print(",\n".join("\t{\n%s\n\t}" % rows(b, 24) for b in blocks))
print("};\n")
print("/* folds: where in the pool they begin, and one end more */")
print("const uint16_t profiles_folds[] = {\n%s\n};\n" % rows([f[0] for f in folds] + [len(pool)], 20))
print("const unsigned char profiles_fold_pool[] = {\n%s\n};" % rows(pool, 28))
print("blocks %d index %d folds %d pool %d" % (len(blocks), len(index), len(folds), len(pool)), file=sys.stderr)
