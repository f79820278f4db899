/* A model made up in memory, of any shape, as a source of weights: random numbers by name. */
#ifndef UQM_TESTS_MEMORY_SOURCE_H
#define UQM_TESTS_MEMORY_SOURCE_H

#include "src/checkpoint/source.h"
#include "src/format/model_config.h"

struct memory_source {
    struct uqm_source source;
    struct uqm_tensor tensors[128];
    struct memory_tensor {
        char name[128];
        uint64_t shape[4];
        void *data;
    } storage[128];
    size_t largest_tile; /* bytes, that was asked for */
    size_t n_streams;    /* opened so far */
    uint64_t bytes_read;
    size_t fail_after; /* tiles of a stream before it fails; 0: never */
    unsigned rng;
};

/* Every tensor that the config asks for, of this dtype. */
void memory_source_init(struct memory_source *m, struct uqm_env *env,
                        const struct uqm_model_config *config, enum uqm_dtype dtype);
void memory_source_finish(struct memory_source *m);

/* One tensor more, or the first of its name changed to this shape. */
void memory_source_add(struct memory_source *m, const char *name, enum uqm_dtype dtype,
                       unsigned rank, const uint64_t *shape, double scale);
void memory_source_remove(struct memory_source *m, const char *name);
/* All bytes of a tensor: 0 for zeros, 0xff for NaN. */
void memory_source_fill(struct memory_source *m, const char *name, int byte);
/* A tensor's numbers as double, malloc'ed. */
double *memory_source_values(const struct memory_source *m, const char *name);

#endif
