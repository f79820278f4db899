/*
 * Words to planes and back: a word is rotated left by one bit, so that a float's exponent fills the
 * first byte, and byte k of every word, from the highest, becomes plane k. Exponents of weights
 * are few and pack well; mantissas are noise and lie apart, out of the way.
 */
#ifndef UQM_ARCHIVE_PLANES_H
#define UQM_ARCHIVE_PLANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n_words little-endian words of 2 or 4 bytes, at any alignment; planes[k]: n_words bytes. */
void uqm_planes_split16(uint8_t *const planes[2], const uint8_t *words, size_t n_words);
void uqm_planes_join16(uint8_t *words, const uint8_t *const planes[2], size_t n_words);
void uqm_planes_split32(uint8_t *const planes[4], const uint8_t *words, size_t n_words);
void uqm_planes_join32(uint8_t *words, const uint8_t *const planes[4], size_t n_words);

/* out[i] = a[i] ^ b[i]; out may be a. */
void uqm_planes_xor(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n_bytes);

/* Whether entropy coding would gain about a hundredth or more, by a sample of the bytes: their
 * second-order entropy. Equal bytes give equal answers. */
bool uqm_planes_look_packable(const uint8_t *bytes, size_t n_bytes);

#endif
