"""A check for schemathesis (test_schemathesis.py): what /openapi.json calls valid is taken. Loaded through SCHEMATHESIS_HOOKS."""

import json
import re

import schemathesis

# What keys mean together, which a schema does not say.
BEYOND_SCHEMAS = re.compile(
    r"needs 1 to \d+ searches|without defining a query|as many as there are searches|limit plus offset|nested deeper than"
    r"|the last point must be the first one|is no place|`first_id` belongs to a body of vectors|use an `offset` when using `order_by`"
    r"|neither an unsigned integer nor a string|64-bit integer|expected an unsigned integer|must be below `total`|of 32 bits|bytes are not rows of|must be 10000 or smaller"  # 3.0, and bytes
    r"|is not a finite number|neither in the payload nor in|values, expected one|is no score"  # of formulas
    r"|Not existing vector name error|expected a sparse vector|comes twice, must be unique|must be equally many"  # of sparse vectors
    r"|is not an unsigned number in digits|the vector's length \S+ is above|`lookup` and `range` are both"
    r"|At least one (positive )?example is needed|A target or at least one pair of examples is needed"
    r"|the id has \d+ bytes|%00 stands in no name|expected beside `filter` only|expected equally many ids|has no embedder, so that a query needs a vector"
)


@schemathesis.check
def valid_request_is_taken(ctx, response, case):
    if not case.meta or not case.meta.generation.mode.is_positive or response.status_code not in (400, 405, 413, 415, 422):
        return
    error = json.loads(response.content)["status"]["error"]
    if not BEYOND_SCHEMAS.search(error):
        raise AssertionError(f"a valid request was refused: {response.status_code} {error}")
