"""Reads the vector files of big-ann-benchmarks: uint32 rows, uint32 dims, then row-major little-endian values."""

import struct

VALUE_FORMATS = {".hbin": ("e", 2), ".fbin": ("f", 4), ".u8bin": ("B", 1)}


def read_vectors(path):
    """Yields each row of PATH as a list of floats; refuses a file whose size disagrees with its header."""
    suffix = path[path.rindex("."):]
    code, width = VALUE_FORMATS[suffix]
    with open(path, "rb") as file:
        rows, dim = struct.unpack("<II", file.read(8))
        for row in range(rows):
            data = file.read(dim * width)
            if len(data) != dim * width:
                raise ValueError(f"{path}: ends in row {row} of {rows}")
            yield [float(value) for value in struct.unpack(f"<{dim}{code}", data)]
        if file.read(1):
            raise ValueError(f"{path}: more data than {rows} rows of {dim}")
