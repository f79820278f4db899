/* What several merges of one run read together. */
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/merge/read_steps.h"
#include "src/merge/writer.h"

/* Bytes of a file that an output's tensor of this name is made of. */
struct extent {
    const char *name; /* canonical: merges are at tensors of one name at one time */
    dev_t dev;
    ino_t ino;
    uint64_t begin, end;
};

static int by_place(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0)
        order = (x->dev > y->dev) - (x->dev < y->dev);
    if (order == 0)
        order = (x->ino > y->ino) - (x->ino < y->ino);
    if (order == 0)
        order = (x->begin > y->begin) - (x->begin < y->begin);
    return order;
}

static size_t count_parts(const struct uqm_writer *w, size_t n)
{
    size_t n_parts = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < w[i].plan.n_order; k++)
            n_parts += w[i].rs->plan[w[i].plan.order[k]].n_parts;
    return n_parts;
}

/* false: its bytes come from no file that another merge could have read them of. */
static bool locate(struct extent *out, const struct uqm_writer *w, size_t tensor,
                   const struct uqm_plan_part *part)
{
    const struct uqm_checkpoint *cp = w->rs->inputs[part->input].checkpoint;
    if (part->source_of || cp->n_files == 0)
        return false;
    uint64_t begin;
    const struct uqm_file *file = uqm_location_file(cp, &cp->locations[part->tensor], &begin);
    *out = (struct extent){
        .name = w->rs->source.tensors[tensor].canonical,
        .dev = file->stat.st_dev,
        .ino = file->stat.st_ino,
        .begin = begin,
    };
    return true;
}

/* The extents of one merge; and what it reads beside them, or more than once. */
static void add_reads(struct extent *v, size_t *n, struct uqm_read_bytes *more,
                      const struct uqm_writer *w)
{
    struct uqm_cut cut;
    uqm_merge_stream_cut(&cut, w->rs, w->plan.tile_bytes, w->plan.stream_bytes);
    for (size_t k = 0; k < w->plan.n_order; k++) {
        size_t tensor = w->plan.order[k];
        const struct uqm_plan_tensor *pt = &w->rs->plan[tensor];
        uint64_t n_elem = w->rs->source.tensors[tensor].n_elem;
        const struct uqm_cut_reads read = uqm_cut_reads(&cut, w->rs, tensor);
        for (size_t p = 0; p < pt->n_parts; p++) {
            const struct uqm_plan_part *part = &pt->parts[p];
            uint64_t once = uqm_write_plan_part_bytes(w->rs, part, n_elem);
            more->likely += uqm_write_plan_part_bytes(w->rs, part, read.likely);
            more->most += uqm_write_plan_part_bytes(w->rs, part, read.most);
            if (n_elem == 0 || !locate(&v[*n], w, tensor, part))
                continue;
            v[*n].end = v[*n].begin + once; /* no more than is read of it: vocabularies are cut */
            ++*n;
            more->likely -= once;
            more->most -= once;
        }
    }
}

static uint64_t bytes_of_union(struct extent *v, size_t n)
{
    uint64_t sum = 0, covered = 0;
    qsort(v, n, sizeof *v, by_place);
    for (size_t i = 0; i < n; i++) {
        bool same_file = i > 0 && strcmp(v[i].name, v[i - 1].name) == 0 &&
                         v[i].dev == v[i - 1].dev && v[i].ino == v[i - 1].ino;
        uint64_t from = same_file ? uqm_max_u64(v[i].begin, covered) : v[i].begin;
        sum += v[i].end > from ? v[i].end - from : 0;
        covered = same_file ? uqm_max_u64(covered, v[i].end) : v[i].end;
    }
    return sum;
}

int uqm_writers_read_bytes(struct uqm_read_bytes *out, const struct uqm_writer *writers, size_t n,
                           struct uqm_err *err)
{
    *out = (struct uqm_read_bytes){ writers[0].plan.read_bytes, writers[0].plan.most_read_bytes };
    if (n == 1)
        return UQM_OK;
    struct extent *v = calloc(count_parts(writers, n) + 1, sizeof *v);
    size_t n_extents = 0;
    if (!v)
        return uqm_writer_no_memory(&writers[0], err);
    *out = (struct uqm_read_bytes){ 0 };
    for (size_t i = 0; i < n; i++)
        add_reads(v, &n_extents, out, &writers[i]);
    const uint64_t once = bytes_of_union(v, n_extents);
    out->likely += once;
    out->most += once;
    free(v);
    return UQM_OK;
}
