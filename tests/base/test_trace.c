#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "tests/support/test_main.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define SPAN   "b7ad6b7169203331"
#define ZEROS8 "0000000000000000"

START_TEST(a_traceparent_is_read_as_the_standard_says)
{
    static const struct {
        const char *text;
        bool good, sampled;
    } cases[] = {
        {"00-" TRACE "-" SPAN "-01", true, true},
        {"00-" TRACE "-" SPAN "-00", true, false},
        {"00-" TRACE "-" SPAN "-ff", true, true}, /* flags of later versions */
        {"01-" TRACE "-" SPAN "-01", true, true},
        {"01-" TRACE "-" SPAN "-01-more", true, true},
        {"00-" TRACE "-" SPAN "-01-more", false, false},
        {"01-" TRACE "-" SPAN "-01more", false, false},
        {"ff-" TRACE "-" SPAN "-01", false, false},
        {"00-" ZEROS8 ZEROS8 "-" SPAN "-01", false, false},
        {"00-" TRACE "-" ZEROS8 "-01", false, false},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false, false},
        {"00-" TRACE "-" SPAN "-0", false, false},
        {"00_" TRACE "-" SPAN "-01", false, false},
        {"", false, false},
        {"0", false, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trace_context context;
        bool good = trace_parse(cases[i].text, &context);
        ck_assert_msg(good == cases[i].good, "%s", cases[i].text);
        ck_assert(!good || context.sampled == cases[i].sampled);
    }
}
END_TEST

START_TEST(our_part_keeps_the_trace_and_names_its_parent)
{
    struct trace_context ours;
    char parent[TRACE_PARENT_BYTES], id[TRACE_ID_TEXT_BYTES], span[TRACE_SPAN_TEXT_BYTES];
    struct trace_context next;

    trace_begin(&ours, "00-" TRACE "-" SPAN "-01", 0);
    ck_assert_str_eq(trace_id_text(&ours, id), TRACE);
    ck_assert_str_eq(trace_span_text(ours.parent_id, span), SPAN);
    ck_assert_str_ne(trace_span_text(ours.span_id, span), SPAN);
    ck_assert(ours.sampled); /* the caller decided it */
    trace_begin(&next, trace_format(&ours, parent), 0);
    ck_assert_mem_eq(next.trace_id, ours.trace_id, TRACE_ID_BYTES);
    ck_assert_mem_eq(next.parent_id, ours.span_id, TRACE_SPAN_BYTES);
}
END_TEST

START_TEST(a_new_trace_is_sampled_by_the_ratio)
{
    static const uint8_t none[TRACE_SPAN_BYTES];
    struct trace_context first, second;
    unsigned sampled = 0;

    trace_begin(&first, "garbage", 0);
    trace_begin(&second, NULL, 1);
    ck_assert(!first.sampled && second.sampled);
    ck_assert_mem_eq(second.parent_id, none, TRACE_SPAN_BYTES);
    ck_assert_mem_ne(first.trace_id, second.trace_id, TRACE_ID_BYTES);
    for (int i = 0; i < 4000; i++) {
        trace_begin(&first, NULL, 0.25);
        sampled += first.sampled;
    }
    ck_assert_uint_gt(sampled, 700); /* 11 standard deviations below 1,000 */
    ck_assert_uint_lt(sampled, 1300);
}
END_TEST

TEST_TABLE(TEST(a_traceparent_is_read_as_the_standard_says),
           TEST(our_part_keeps_the_trace_and_names_its_parent),
           TEST(a_new_trace_is_sampled_by_the_ratio))
