/* Words of a text as Qdrant's default tokenizer sees them: runs of letters and digits, lower case.
 * Character classes come from the C library's C.UTF-8, whatever locale the process has. */
#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <wctype.h>

#include "indexer/query/filter.h"

static pthread_once_t classes_once = PTHREAD_ONCE_INIT;
static locale_t classes;

static void classes_load(void)
{
    classes = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Text was checked when it was stored or parsed; a broken byte counts as a character of its own. */
static uint32_t take_character(const char **at, const char *end)
{
    const uint8_t *bytes = (const uint8_t *)*at;
    size_t left = (size_t)(end - *at);
    size_t length = bytes[0] < 0xC0 ? 1 : bytes[0] < 0xE0 ? 2 : bytes[0] < 0xF0 ? 3 : 4;
    uint32_t character = length == 1 ? bytes[0] : bytes[0] & (0x7FU >> length);

    if (length > left)
        length = 1;
    for (size_t i = 1; i < length; i++)
        character = character << 6 | (bytes[i] & 0x3FU);
    *at += length;
    return character;
}

static size_t put_character(char *out, uint32_t character)
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (char)(0xC0 | character >> 6);
        out[1] = (char)(0x80 | (character & 0x3F));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (char)(0xE0 | character >> 12);
        out[1] = (char)(0x80 | (character >> 6 & 0x3F));
        out[2] = (char)(0x80 | (character & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | character >> 18);
    out[1] = (char)(0x80 | (character >> 12 & 0x3F));
    out[2] = (char)(0x80 | (character >> 6 & 0x3F));
    out[3] = (char)(0x80 | (character & 0x3F));
    return 4;
}

static bool is_word_character(uint32_t character)
{
    if (character < 0x80)
        return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
               (character >= '0' && character <= '9');
    return classes == (locale_t)0 || iswalnum_l((wint_t)character, classes);
}

static uint32_t lower(uint32_t character)
{
    if (character < 0x80)
        return character >= 'A' && character <= 'Z' ? character + 32 : character;
    return classes == (locale_t)0 ? character : (uint32_t)towlower_l((wint_t)character, classes);
}

bool filter_next_word(const char **at, const char *end, struct arena *arena,
                      struct filter_slice *word)
{
    const char *start;
    size_t used = 0;
    char *out;

    (void)pthread_once(&classes_once, classes_load);
    for (start = *at; *at < end; start = *at)
        if (is_word_character(take_character(at, end)))
            break;
    if (start == end)
        return false;
    while (*at < end) {
        const char *before = *at;
        if (!is_word_character(take_character(at, end))) {
            *at = before;
            break;
        }
    }
    /* Lower case takes at most one byte more than upper case (two become three). */
    out = arena_alloc(arena, (size_t)(*at - start) * 2, 1);
    if (!out)
        return false;
    for (const char *from = start; from < *at;)
        used += put_character(out + used, lower(take_character(&from, *at)));
    *word = (struct filter_slice){out, used};
    return true;
}

static bool same_word(const struct filter_slice *a, const struct filter_slice *b)
{
    return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

/* All wanted words, anywhere. */
static bool has_all(const struct filter_match *match, const char *at, const char *end,
                    struct arena *scratch)
{
    bool *found = arena_calloc(scratch, match->count, sizeof(*found));
    struct filter_slice word;
    uint32_t missing = match->count;

    while (found && missing > 0 && filter_next_word(&at, end, scratch, &word))
        for (uint32_t i = 0; i < match->count; i++)
            if (!found[i] && same_word(&match->values[i], &word)) {
                found[i] = true;
                missing--;
            }
    return missing == 0;
}

static bool has_any(const struct filter_match *match, const char *at, const char *end,
                    struct arena *scratch)
{
    struct filter_slice word;

    while (filter_next_word(&at, end, scratch, &word))
        for (uint32_t i = 0; i < match->count; i++)
            if (same_word(&match->values[i], &word))
                return true;
    return false;
}

/* All wanted words next to each other: tried again from behind each place where the first stands.
 */
static bool has_phrase(const struct filter_match *match, const char *at, const char *end,
                       struct arena *scratch)
{
    struct filter_slice word;

    while (filter_next_word(&at, end, scratch, &word)) {
        const char *next = at;
        uint32_t matched = 0;
        while (same_word(&match->values[matched], &word)) {
            if (++matched == match->count)
                return true;
            if (!filter_next_word(&next, end, scratch, &word))
                break;
        }
    }
    return false;
}

bool filter_match_words(const struct filter_match *match, const char *text, size_t length,
                        struct arena *scratch)
{
    if (match->count == 0)
        return false;
    switch (match->kind) {
    case FILTER_MATCH_TEXT:
        return has_all(match, text, text + length, scratch);
    case FILTER_MATCH_TEXT_ANY:
        return has_any(match, text, text + length, scratch);
    default:
        return has_phrase(match, text, text + length, scratch);
    }
}
