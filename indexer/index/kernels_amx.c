/* AMX: one instruction multiplies 16 rows of 64 bytes by 64 bytes of 16 columns and adds the
 * products to 256 sums. Only all pairs of a block gain from it; for the rest the AVX-512 set is as
 * good. A panel of index_kernels.code_pack is already laid out as the second operand is. */
#include "indexer/index/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>

#include "indexer/index/kernels_avx512.h"

#define AMX __attribute__((target("amx-tile,amx-int8," AVX512_TARGET)))

enum { TILE_ROWS = 16, TILE_BYTES = 64, TILE_PANELS = 4 };

/* Tiles 0 to 3 hold the sums of four panels. Macros: gcc's intrinsics make text of the number. */
#define ROWS    4
#define COLUMNS 5
#define TILES   6

/* Operand of ldtilecfg (Intel SDM volume 1, chapter 18). */
struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

_Static_assert(sizeof(struct tile_config) == 64, "as the processor reads it");

AMX static void configure(uint32_t rows)
{
    struct tile_config config = {.palette = 1};

    for (int tile = 0; tile < TILES; tile++) {
        config.row_bytes[tile] = TILE_BYTES;
        config.rows[tile] = (uint8_t)(tile == COLUMNS ? TILE_ROWS : rows);
    }
    /* gcc 12's intrinsic says that it reads eight bytes of the 64. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

/* As many rows as the tiles are configured for, `stride` bytes each, against four panels. */
AMX static void tile_products(const uint8_t *rows, const uint8_t *const panels[TILE_PANELS],
                              uint32_t stride, int32_t products[TILE_PANELS][TILE_ROWS][16])
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (uint32_t i = 0; i < stride; i += TILE_BYTES) {
        size_t at = (size_t)i * INDEX_PANEL_COLUMNS;
        _tile_loadd(ROWS, rows + i, stride);
        _tile_loadd(COLUMNS, panels[0] + at, TILE_BYTES);
        _tile_dpbuud(0, ROWS, COLUMNS);
        _tile_loadd(COLUMNS, panels[1] + at, TILE_BYTES);
        _tile_dpbuud(1, ROWS, COLUMNS);
        _tile_loadd(COLUMNS, panels[2] + at, TILE_BYTES);
        _tile_dpbuud(2, ROWS, COLUMNS);
        _tile_loadd(COLUMNS, panels[3] + at, TILE_BYTES);
        _tile_dpbuud(3, ROWS, COLUMNS);
    }
    _tile_stored(0, products[0], TILE_BYTES);
    _tile_stored(1, products[1], TILE_BYTES);
    _tile_stored(2, products[2], TILE_BYTES);
    _tile_stored(3, products[3], TILE_BYTES);
}

struct block {
    const uint8_t *rows;
    const int32_t *row_norms;
    const uint8_t *panels;
    const int32_t *column_norms;
    int32_t *distances;
    uint32_t panel_count;
    uint32_t stride;
    uint32_t out_stride;
};

/* Rows [from, to), `step` at a time. Four panels lie in the first cache while all rows pass by; in
 * place of panels past the last the first is taken, and what that computes is not stored. */
AMX static void block_distances(const struct block *block, uint32_t from, uint32_t to,
                                uint32_t step)
{
    configure(step);
    for (uint32_t p = 0; p < block->panel_count; p += TILE_PANELS) {
        uint32_t filled =
            block->panel_count - p < TILE_PANELS ? block->panel_count - p : TILE_PANELS;
        const uint8_t *panels[TILE_PANELS];

        for (uint32_t i = 0; i < TILE_PANELS; i++)
            panels[i] = block->panels +
                        (size_t)(p + (i < filled ? i : 0)) * INDEX_PANEL_COLUMNS * block->stride;
        for (uint32_t row = from; row < to; row += step) {
            int32_t products[TILE_PANELS][TILE_ROWS][16];
            tile_products(block->rows + (size_t)row * block->stride, panels, block->stride,
                          products);
            for (uint32_t i = 0; i < step; i++)
                for (uint32_t j = 0; j < filled; j++) {
                    uint32_t column = (p + j) * INDEX_PANEL_COLUMNS;
                    index_avx512_store_distances(
                        block->row_norms[row + i], block->column_norms + column, products[j][i],
                        block->distances + (size_t)(row + i) * block->out_stride + column);
                }
        }
    }
}

AMX void index_amx_code_distances(const uint8_t *rows, const int32_t *row_norms, uint32_t row_count,
                                  const uint8_t *panels, const int32_t *column_norms,
                                  uint32_t column_count, uint32_t stride, int32_t *distances,
                                  uint32_t out_stride)
{
    const struct block block = {
        .rows = rows,
        .row_norms = row_norms,
        .panels = panels,
        .column_norms = column_norms,
        .distances = distances,
        .panel_count = (column_count + INDEX_PANEL_COLUMNS - 1) / INDEX_PANEL_COLUMNS,
        .stride = stride,
        .out_stride = out_stride,
    };
    uint32_t whole = row_count / TILE_ROWS * TILE_ROWS;

    if (whole > 0)
        block_distances(&block, 0, whole, TILE_ROWS);
    if (row_count > whole)
        block_distances(&block, whole, row_count, row_count - whole);
    _tile_release(); /* a thread without tiles in use is switched without saving them */
}

#endif
