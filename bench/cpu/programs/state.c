/* A state machine that tells the numbers in a text apart: whole, with a fraction, with an exponent, and no number. */
#include "bench.h"

enum { LENGTH = 1 << 16, ROUNDS = 1300 };
enum state { START, SIGN, WHOLE, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, EXPONENT_DIGITS, INVALID, STATES };

static char text[LENGTH];

static enum state step(enum state state, char c) {
  int digit = c >= '0' && c <= '9';
  switch (state) {
    case START:
      return digit ? WHOLE : c == '-' || c == '+' ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN:
      return digit ? WHOLE : c == '.' ? POINT : INVALID;
    case WHOLE:
      return digit ? WHOLE : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case POINT:
    case FRACTION:
      return digit ? FRACTION : c == 'e' && state == FRACTION ? EXPONENT : INVALID;
    case EXPONENT:
      return digit ? EXPONENT_DIGITS : c == '-' || c == '+' ? EXPONENT_SIGN : INVALID;
    case EXPONENT_SIGN:
    case EXPONENT_DIGITS:
      return digit ? EXPONENT_DIGITS : INVALID;
    default:
      return INVALID;
  }
}

int main(void) {
  static const char letters[] = "0123456789012345678901234567890123456789,,,,,,,,,..ee+-x";
  uint32_t random = 11;
  uint32_t counts[STATES] = {0};
  uint64_t sum = SUM_START;
  for (int i = 0; i < LENGTH; i++) text[i] = letters[random32(&random) % (sizeof letters - 1)];
  for (int round = 0; round < ROUNDS; round++) {
    enum state state = START;
    for (int i = 0; i < LENGTH; i++) {
      if (text[i] == ',') {
        counts[state]++;
        state = START;
      } else {
        state = step(state, text[i]);
      }
    }
    text[random32(&random) % LENGTH] = letters[round % (sizeof letters - 1)];
    for (int i = 0; i < STATES; i++) sum = fold(sum, counts[i]);
  }
  return report(sum);
}
