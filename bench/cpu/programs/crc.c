/* CRC-32 (reflected polynomial edb88320) by a table of bytes, and CRC-16 (polynomial 1021) bit by bit. */
#include "bench.h"

enum { LENGTH = 1 << 16, ROUNDS_32 = 1400, ROUNDS_16 = 100 };

static uint8_t data[LENGTH];
static uint32_t table[256];

static uint32_t crc32(uint32_t crc) {
  crc = ~crc;
  for (int i = 0; i < LENGTH; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
  return ~crc;
}

static uint16_t crc16(uint16_t crc) {
  for (int i = 0; i < LENGTH; i++) {
    crc ^= data[i] << 8;
    for (int bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
  }
  return crc;
}

int main(void) {
  uint32_t state = 3;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    table[i] = crc;
  }
  for (int i = 0; i < LENGTH; i++) data[i] = random32(&state);
  uint32_t wide = 0;
  for (int round = 0; round < ROUNDS_32; round++) wide = crc32(wide);
  uint16_t narrow = 0xffff;
  for (int round = 0; round < ROUNDS_16; round++) narrow = crc16(narrow);
  return report(fold(fold(SUM_START, wide), narrow));
}
