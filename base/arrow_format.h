/* Names of Arrow's IPC streams (arrow.apache.org/docs/format/Columnar.html; Message.fbs, Schema.fbs).
 *
 *     stream    message... [u32 0xffffffff, u32 0]
 *     message   u32 0xffffffff, i32 bytes of the metadata with padding, metadata, body
 *     metadata  FlatBuffer whose root is a Message, padded so that the body lies at a multiple of 8
 *     body      buffers of the columns, each at a multiple of 8
 *
 * The first message is the schema. A batch of records lists, for the columns in the order of the
 * schema and each before its children, nodes (length, nulls) and buffers (place, bytes). */
#ifndef BASE_ARROW_FORMAT_H
#define BASE_ARROW_FORMAT_H

#define ARROW_STREAM_TYPE "application/vnd.apache.arrow.stream"

enum { ARROW_ALIGNMENT = 8, ARROW_PREFIX_BYTES = 8, ARROW_METADATA_V4 = 3, ARROW_METADATA_V5 = 4 };
#define ARROW_CONTINUATION 0xffffffffU

/* Slots of tables. */
enum arrow_message_slot {
    ARROW_MESSAGE_VERSION,
    ARROW_MESSAGE_HEADER_TYPE,
    ARROW_MESSAGE_HEADER,
    ARROW_MESSAGE_BODY_BYTES
};
enum arrow_header { ARROW_HEADER_SCHEMA = 1, ARROW_HEADER_DICTIONARY, ARROW_HEADER_RECORDS };
enum arrow_schema_slot { ARROW_SCHEMA_ENDIANNESS, ARROW_SCHEMA_FIELDS, ARROW_SCHEMA_METADATA };
enum arrow_field_slot {
    ARROW_FIELD_NAME,
    ARROW_FIELD_NULLABLE,
    ARROW_FIELD_TYPE_TYPE,
    ARROW_FIELD_TYPE,
    ARROW_FIELD_DICTIONARY,
    ARROW_FIELD_CHILDREN
};
enum arrow_pair_slot { ARROW_PAIR_KEY, ARROW_PAIR_VALUE };
enum arrow_dictionary_slot { ARROW_DICTIONARY_ID, ARROW_DICTIONARY_INDEX_TYPE };
enum arrow_records_slot {
    ARROW_RECORDS_LENGTH,
    ARROW_RECORDS_NODES,
    ARROW_RECORDS_BUFFERS,
    ARROW_RECORDS_COMPRESSION,
    ARROW_RECORDS_VARIADIC_COUNTS
};
enum arrow_dictionary_batch_slot {
    ARROW_DICTIONARY_BATCH_ID,
    ARROW_DICTIONARY_BATCH_DATA,
    ARROW_DICTIONARY_BATCH_IS_DELTA
};
/* Type tables; others have none, or nothing that is needed here. */
enum arrow_int_slot { ARROW_INT_BITS, ARROW_INT_SIGNED };
enum {
    ARROW_FLOAT_PRECISION = 0,
    ARROW_LIST_SIZE = 0,
    ARROW_BINARY_BYTES = 0,
    ARROW_DATE_UNIT = 0
};
enum arrow_timestamp_slot { ARROW_TIMESTAMP_UNIT, ARROW_TIMESTAMP_ZONE };

enum arrow_precision { ARROW_HALF, ARROW_SINGLE, ARROW_DOUBLE };
enum arrow_time_unit { ARROW_SECOND, ARROW_MILLISECOND, ARROW_MICROSECOND, ARROW_NANOSECOND };
enum arrow_date_unit { ARROW_DATE_DAY, ARROW_DATE_MILLISECOND };

enum arrow_type {
    ARROW_NULL = 1,
    ARROW_INT,
    ARROW_FLOAT,
    ARROW_BINARY,
    ARROW_UTF8,
    ARROW_BOOL,
    ARROW_DECIMAL,
    ARROW_DATE,
    ARROW_TIME,
    ARROW_TIMESTAMP,
    ARROW_INTERVAL,
    ARROW_LIST,
    ARROW_STRUCT,
    ARROW_UNION,
    ARROW_FIXED_SIZE_BINARY,
    ARROW_FIXED_SIZE_LIST,
    ARROW_MAP,
    ARROW_DURATION,
    ARROW_LARGE_BINARY,
    ARROW_LARGE_UTF8,
    ARROW_LARGE_LIST,
    ARROW_RUN_END_ENCODED,
    ARROW_BINARY_VIEW,
    ARROW_UTF8_VIEW,
    ARROW_LIST_VIEW,
    ARROW_LARGE_LIST_VIEW,
    ARROW_TYPES_END
};

#endif
