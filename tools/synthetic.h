/* Checkpoints of any shape with random weights, for trying merges and measurements at true sizes.
 * Written front to back in bounded memory; the same shape and seeds give the same bytes. */
#ifndef UQM_TOOLS_SYNTHETIC_H
#define UQM_TOOLS_SYNTHETIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum synthetic_layout { SYNTHETIC_LLAVA_HF, SYNTHETIC_LLAVA, SYNTHETIC_LLAMA };
enum synthetic_dtype { SYNTHETIC_F16, SYNTHETIC_BF16, SYNTHETIC_F32 };

struct synthetic_shape {
    int layout, dtype; /* the enums above */
    int layers, hidden, inner, heads, kv_heads, vocab, max_positions;
    int vision_layers, vision_hidden, vision_inner, vision_heads, image_size, patch_size;
    uint64_t seed, vision_seed; /* one vision_seed: equal towers, whatever the seed */
    uint64_t shard_bytes;
};

enum { SYNTHETIC_NAME_MAX = 128 };
struct synthetic_tensor {
    char name[SYNTHETIC_NAME_MAX];
    uint64_t shape[4], n_elem, n_bytes;
    unsigned rank;
    bool around_one; /* a norm's weight: 1 + noise, not noise */
    uint64_t seed;
};

/* A checkpoint's tensors, ascending by name. */
struct synthetic_list {
    struct synthetic_tensor *v;
    size_t n, room;
    bool failed; /* out of memory */
};

unsigned synthetic_dtype_bytes(int dtype);
const char *synthetic_dtype_name(int dtype);
uint64_t synthetic_vocab_rows(const struct synthetic_shape *shape);

/* The model's own tensors; for the layout "llava" without the tower, which *tower gets (empty
 * otherwise). The caller frees both lists' v. */
bool synthetic_tensors(struct synthetic_list *model, struct synthetic_list *tower,
                       const struct synthetic_shape *shape);

/* config.json and its neighbours. NULL: out of memory. */
json_t *synthetic_config(const struct synthetic_shape *shape);
json_t *synthetic_tower_config(const struct synthetic_shape *shape);
json_t *synthetic_preprocessor(const struct synthetic_shape *shape);
json_t *synthetic_generation(const struct synthetic_shape *shape);

/* Weights to dir, in shards of at most shard_bytes, with an index when there are several. 0, or -1
 * with the reason in why[]. */
struct synthetic_why {
    char text[512];
};
int synthetic_write(const char *dir, const struct synthetic_list *list, int dtype,
                    uint64_t shard_bytes, struct synthetic_why *why);

/* A file that must not be there. value NULL: there was no memory for it. */
int synthetic_write_json(const char *path, const json_t *value, struct synthetic_why *why);
int synthetic_fail(struct synthetic_why *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
