/* Words of a text as Qdrant's default tokenizer sees them: runs of letters and digits, lower case.
 * Character classes come from the C library's C.UTF-8, whatever locale the process has. */
#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <wctype.h>

#include "base/bytes.h"
#include "indexer/query/filter/filter.h"

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

/* The word [*start, *at) at or behind the former *at. */
static bool find_word(const char **at, const char *end, const char **start)
{
    (void)pthread_once(&classes_once, classes_load);
    for (*start = *at; *at < end; *start = *at)
        if (is_word_character(take_character(at, end)))
            break;
    if (*start == end)
        return false;
    while (*at < end) {
        const char *before = *at;
        if (!is_word_character(take_character(at, end))) {
            *at = before;
            break;
        }
    }
    return true;
}

/* Lower case takes at most one byte more than upper case (two become three). */
static size_t lower_bytes_max(const char *start, const char *end)
{
    return (size_t)(end - start) * 2;
}

static size_t write_lower(const char *start, const char *end, char *out)
{
    size_t used = 0;

    while (start < end)
        used += put_character(out + used, lower(take_character(&start, end)));
    return used;
}

bool filter_next_word(const char **at, const char *end, struct arena *arena,
                      struct filter_slice *word)
{
    const char *start;
    char *out;

    if (!find_word(at, end, &start))
        return false;
    out = arena_alloc(arena, lower_bytes_max(start, *at), 1);
    if (!out)
        return false;
    *word = (struct filter_slice){out, write_lower(start, *at, out)};
    return true;
}

/* Matching. */

struct text_walk {
    const struct filter_match *match;
    struct filter_subject *subject;
    const char *end;
    struct filter_slice word; /* until the next one */
    char *out;
    size_t room;
};

/* A word costs two steps of the meter, a comparison with a wanted word a quarter of one. */
static bool next_word(struct text_walk *walk, const char **at)
{
    const char *start;
    size_t needed;

    if (!filter_may_go_on(walk->subject, 2 + walk->match->count / 4) ||
        !find_word(at, walk->end, &start))
        return false;
    needed = lower_bytes_max(start, *at);
    if (needed > walk->room) {
        walk->room = 2 * needed;
        walk->out = arena_alloc(walk->subject->scratch, walk->room, 1);
        if (!walk->out)
            return false;
    }
    walk->word = (struct filter_slice){walk->out, write_lower(start, *at, walk->out)};
    return true;
}

static bool same_word(const struct filter_slice *a, const struct filter_slice *b)
{
    return bytes_equal(a->bytes, a->size_bytes, b->bytes, b->size_bytes);
}

/* All wanted words, anywhere. */
static bool has_all(struct text_walk *walk, const char *at)
{
    const struct filter_match *match = walk->match;
    bool *found = arena_calloc(walk->subject->scratch, match->count, sizeof(*found));
    uint32_t missing = match->count;

    while (found && missing > 0 && next_word(walk, &at))
        for (uint32_t i = 0; i < match->count; i++)
            if (!found[i] && same_word(&match->values[i], &walk->word)) {
                found[i] = true;
                missing--;
            }
    return missing == 0;
}

static bool has_any(struct text_walk *walk, const char *at)
{
    while (next_word(walk, &at))
        for (uint32_t i = 0; i < walk->match->count; i++)
            if (same_word(&walk->match->values[i], &walk->word))
                return true;
    return false;
}

/* All wanted words next to each other: tried again from behind each place where the first stands.
 */
static bool has_phrase(struct text_walk *walk, const char *at)
{
    while (next_word(walk, &at)) {
        const char *next = at;
        uint32_t matched = 0;
        while (same_word(&walk->match->values[matched], &walk->word)) {
            if (++matched == walk->match->count)
                return true;
            if (!next_word(walk, &next))
                break;
        }
    }
    return false;
}

bool filter_match_words(const struct filter_match *match, const char *text, size_t length,
                        struct filter_subject *subject)
{
    struct text_walk walk = {.match = match, .subject = subject, .end = text + length};

    if (match->count == 0)
        return false;
    switch (match->kind) {
    case FILTER_MATCH_TEXT:
        return has_all(&walk, text);
    case FILTER_MATCH_TEXT_ANY:
        return has_any(&walk, text);
    default:
        return has_phrase(&walk, text);
    }
}
