/* Decimal numbers to doubles. Private to doc_*.c. */
#ifndef BASE_DOC_NUMBER_H
#define BASE_DOC_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/** digits x 10^exponent, correctly rounded. False when only strtod can tell. */
bool doc_number_scale(uint64_t digits, int64_t exponent, double *value);

enum { DOC_NUMBER_POWERS = 23 };

/** The powers of ten that a double holds exactly: 10^0 to 10^22. */
extern const double doc_number_powers_of_ten[DOC_NUMBER_POWERS];

/** The first 64 bits of 5^exponent, the highest of them set; exponent from -64 to 55. */
uint64_t doc_number_power(int64_t exponent);

#endif
