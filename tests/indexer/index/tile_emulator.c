#include "tests/indexer/index/tile_emulator.h"

#if defined(__x86_64__)

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* Intel SDM volume 2: ldtilecfg, tilezero, tileloadd, tilestored, tdpb.., tilerelease. All have a
 * three-byte VEX prefix of map 2, with W and L zero. */
enum { TILES = 8, TILE_ROWS = 16, TILE_BYTES = 64 };
enum { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 };
enum { OPCODE_STATE = 0x49, OPCODE_MOVE = 0x4b, OPCODE_MULTIPLY = 0x5e };

struct tile {
    uint8_t rows; /* 0: not configured */
    uint16_t row_bytes;
    uint8_t data[TILE_ROWS][TILE_BYTES];
};

struct instruction {
    unsigned opcode, prefix;
    unsigned reg, rm, vvvv;
    bool in_memory;
    uintptr_t address; /* of its memory operand, without the index */
    bool indexed;
    uintptr_t step; /* the index, scaled */
    uintptr_t length;
};

static struct tile tiles[TILES];
static volatile unsigned long done;

static uintptr_t register_of(const greg_t *registers, unsigned number)
{
    static const int places[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                 REG_R12, REG_R13, REG_R14, REG_R15};

    return (uintptr_t)registers[places[number]];
}

/* The memory operand; `at` is behind ModRM. Returns where the instruction ends. */
static const uint8_t *decode_memory(const uint8_t *at, unsigned mod, unsigned extend_index,
                                    unsigned extend_base, const greg_t *registers,
                                    struct instruction *out)
{
    unsigned base = out->rm;
    bool from_next = false, no_base = false;
    int8_t near;
    int32_t far;

    if (out->rm == 4) {
        unsigned index = (*at >> 3 & 7) | extend_index;
        base = *at & 7;
        out->indexed = index != 4;
        if (out->indexed)
            out->step = register_of(registers, index) << (*at >> 6);
        at++;
        no_base = base == 5 && mod == 0;
    } else {
        from_next = base == 5 && mod == 0;
    }
    if (!no_base && !from_next)
        out->address = register_of(registers, base | extend_base);
    if (mod == 1) {
        memcpy(&near, at, sizeof(near));
        out->address += (uintptr_t)(intptr_t)near;
        return at + sizeof(near);
    }
    if (mod == 2 || no_base || from_next) {
        memcpy(&far, at, sizeof(far));
        at += sizeof(far);
        out->address += (uintptr_t)(intptr_t)far + (from_next ? (uintptr_t)at : 0);
    }
    return at;
}

static bool decode(const uint8_t *code, const greg_t *registers, struct instruction *out)
{
    const uint8_t *at = code + 5;
    unsigned mod = code[4] >> 6;

    *out = (struct instruction){.opcode = code[3],
                                .prefix = code[2] & 3,
                                .reg = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8),
                                .rm = code[4] & 7,
                                .vvvv = ~(code[2] >> 3) & 15,
                                .in_memory = mod != 3};
    if (code[0] != 0xc4 || (code[1] & 31) != 2 || (code[2] & 0x84) != 0 || out->reg >= TILES)
        return false;
    if (out->in_memory)
        at = decode_memory(at, mod, code[1] & 0x40 ? 0 : 8, code[1] & 0x20 ? 0 : 8, registers, out);
    out->length = (uintptr_t)(at - code);
    return true;
}

static bool load_config(const uint8_t *config)
{
    for (int i = 2; i < 16; i++)
        if (config[i] != 0)
            return false;
    if (config[0] != 1 || config[1] != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        struct tile tile = {.rows = config[48 + i]};
        memcpy(&tile.row_bytes, config + 16 + (size_t)i * 2, sizeof(tile.row_bytes));
        if (tile.rows > TILE_ROWS || tile.row_bytes > TILE_BYTES ||
            (tile.rows == 0) != (tile.row_bytes == 0) || (i >= TILES && tile.rows > 0))
            return false;
        if (i < TILES)
            tiles[i] = tile;
    }
    return true;
}

static bool change_state(const struct instruction *instruction)
{
    if (instruction->vvvv != 0)
        return false;
    if (instruction->prefix == NO_PREFIX && instruction->in_memory && instruction->reg == 0)
        return load_config((const uint8_t *)instruction->address);
    if (instruction->prefix == NO_PREFIX && !instruction->in_memory && instruction->reg == 0) {
        memset(tiles, 0, sizeof(tiles));
        return true;
    }
    if (instruction->prefix != PREFIX_F2 || instruction->in_memory ||
        tiles[instruction->reg].rows == 0)
        return false;
    memset(tiles[instruction->reg].data, 0, sizeof(tiles[instruction->reg].data));
    return true;
}

static bool move(const struct instruction *instruction)
{
    struct tile *tile = &tiles[instruction->reg];
    bool store = instruction->prefix == PREFIX_F3;

    if (!instruction->in_memory || instruction->rm != 4 || instruction->vvvv != 0 ||
        instruction->prefix == NO_PREFIX || tile->rows == 0)
        return false;
    if (!store)
        memset(tile->data, 0, sizeof(tile->data));
    for (unsigned row = 0; row < tile->rows; row++) {
        uintptr_t address =
            instruction->address + (instruction->indexed ? row : 0) * instruction->step;
        if (store)
            memcpy((void *)address, tile->data[row], tile->row_bytes);
        else
            memcpy(tile->data[row], (const void *)address, tile->row_bytes);
    }
    return true;
}

static int32_t byte_of(uint8_t byte, bool with_sign)
{
    return with_sign ? (int8_t)byte : byte;
}

/* Rows of the first times columns of the second, whose rows hold four bytes of each column. */
static bool multiply(const struct instruction *instruction)
{
    bool first_signed = instruction->prefix & 2, second_signed = instruction->prefix & 1;
    struct tile *sums = &tiles[instruction->reg];
    const struct tile *first, *second;

    if (instruction->in_memory || instruction->vvvv >= TILES)
        return false;
    first = &tiles[instruction->rm];
    second = &tiles[instruction->vvvv];
    if (sums == first || sums == second || first == second || sums->rows == 0 ||
        sums->rows != first->rows || sums->row_bytes != second->row_bytes ||
        first->row_bytes != 4 * second->rows || sums->row_bytes % 4 != 0)
        return false;
    for (unsigned row = 0; row < sums->rows; row++)
        for (unsigned column = 0; column < sums->row_bytes / 4U; column++) {
            int32_t sum;
            memcpy(&sum, &sums->data[row][column * 4], sizeof(sum));
            for (unsigned k = 0; k < second->rows; k++)
                for (unsigned i = 0; i < 4; i++)
                    sum += byte_of(first->data[row][k * 4 + i], first_signed) *
                           byte_of(second->data[k][column * 4 + i], second_signed);
            memcpy(&sums->data[row][column * 4], &sum, sizeof(sum));
        }
    return true;
}

static void on_illegal(int number, siginfo_t *info, void *context)
{
    static const char refused[] = "not a tile instruction, or one that no processor would do\n";
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct instruction instruction;
    bool known = decode((const uint8_t *)registers[REG_RIP], registers, &instruction);

    (void)info;
    if (known && instruction.opcode == OPCODE_STATE)
        known = change_state(&instruction);
    else if (known && instruction.opcode == OPCODE_MOVE)
        known = move(&instruction);
    else if (known && instruction.opcode == OPCODE_MULTIPLY)
        known = multiply(&instruction);
    else
        known = false;
    if (known) {
        registers[REG_RIP] += (greg_t)instruction.length;
        done++;
        return;
    }
    (void)!write(STDERR_FILENO, refused, sizeof(refused) - 1);
    signal(number, SIG_DFL); /* it is met again, and ends the process */
}

void tile_emulator_start(void)
{
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}

unsigned long tile_emulator_count(void)
{
    return done;
}

bool tile_emulator_idle(void)
{
    for (int i = 0; i < TILES; i++)
        if (tiles[i].rows > 0)
            return false;
    return true;
}

#endif
