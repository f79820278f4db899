#include "src/checkpoint/strided.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/checkpoint/source.h"

enum { WINDOW_BYTES = 64 << 10, LEAST_WINDOW_BYTES = 16 << 10 };

struct made {
    struct uqm_strided t;
    uint64_t packed[UQM_MAX_RANK]; /* strides of the row-major elements that are made */
    uint64_t counts[];             /* shape, strides */
};

/* The part of the storage that was read last. */
struct window {
    const struct uqm_strided *t;
    uint64_t begin, end; /* in the file; none: begin == end */
    uint8_t *bytes;      /* [WINDOW_BYTES] */
    struct uqm_err *err;
};

/* Make the window hold the byte `at` of the file, and what it can of the `wanted` from there. */
static int look(struct window *w, uint64_t at, uint64_t wanted)
{
    uint64_t n = uqm_min_u64(uqm_max_u64(wanted, LEAST_WINDOW_BYTES), WINDOW_BYTES);
    n = uqm_min_u64(n, w->t->end - at);
    w->begin = w->end = at;
    int ret = uqm_file_read(w->t->file, w->bytes, (size_t) n, at, w->err);
    if (ret == UQM_OK)
        w->end = at + n;
    return ret;
}

/* --- boxes --- */

struct axis {
    uint64_t n;
    uint64_t from, to; /* strides in elements: in the storage, in what is made */
};

/* One axis: n elements from the storage's element `from` to element `to` of the output. */
static int gather_run(struct window *w, const struct axis *a, uint64_t from, uint8_t *out,
                      uint64_t to)
{
    const unsigned size = w->t->elem_bytes;
    for (uint64_t i = 0; i < a->n;) {
        uint64_t at = w->t->begin + (from + i * a->from) * size;
        if (at < w->begin || at + size > w->end) {
            uint64_t left = (a->n - 1 - i) * a->from; /* checked: it is inside the storage */
            int ret = look(w, at, left * size + size);
            if (ret < 0)
                return ret;
        }
        const uint8_t *p = w->bytes + (at - w->begin);
        if (a->from == 1 && a->to == 1) {
            uint64_t n = uqm_min_u64(a->n - i, (w->end - at) / size);
            memcpy(out + (to + i) * size, p, (size_t) (n * size));
            i += n;
        } else {
            memcpy(out + (to + i * a->to) * size, p, size);
            i++;
        }
    }
    return UQM_OK;
}

/* Axes in the order of the storage, the tightest last: reads go forward as far as they can. */
static void sort_axes(struct axis *axes, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = i; k > 0 && axes[k - 1].from < axes[k].from; k--) {
            struct axis t = axes[k];
            axes[k] = axes[k - 1];
            axes[k - 1] = t;
        }
}

static int gather_box(struct window *w, struct axis *axes, unsigned n, uint64_t from, uint8_t *out)
{
    static const struct axis one = { 1, 0, 0 };
    uint64_t index[UQM_MAX_RANK] = { 0 }, to = 0;
    sort_axes(axes, n);
    const struct axis *last = n > 0 ? &axes[n - 1] : &one;
    for (;;) {
        int ret = gather_run(w, last, from, out, to);
        if (ret < 0)
            return ret;
        unsigned d = n > 0 ? n - 1 : 0;
        while (d > 0) { /* the next place on the other axes, as an odometer goes */
            d--;
            from += axes[d].from;
            to += axes[d].to;
            if (++index[d] < axes[d].n)
                break;
            from -= axes[d].from * axes[d].n;
            to -= axes[d].to * axes[d].n;
            index[d] = 0;
            if (d == 0)
                return UQM_OK;
        }
        if (n < 2)
            return UQM_OK;
    }
}

/* Elements [first, first + n) in boxes: each as many whole slabs of one dimension as there are. */
static int gather(const struct made *m, uint8_t *out, uint64_t first, uint64_t n, struct window *w)
{
    const struct uqm_strided *t = &m->t;
    while (n > 0) {
        struct axis axes[UQM_MAX_RANK];
        uint64_t from = t->offset_elem, count = 1;
        unsigned d = 0, n_axes = 0;
        while (d < t->rank && (first % m->packed[d] != 0 || n < m->packed[d]))
            d++;
        for (unsigned k = 0; k < t->rank; k++)
            from += first / m->packed[k] % t->shape[k] * t->strides[k];
        for (unsigned k = d; k < t->rank; k++) {
            uint64_t extent = t->shape[k];
            if (k == d)
                count = extent =
                    uqm_min_u64(n / m->packed[k], extent - first / m->packed[k] % extent);
            if (extent > 1)
                axes[n_axes++] = (struct axis){ extent, t->strides[k], m->packed[k] };
        }
        int ret = gather_box(w, axes, n_axes, from, out);
        if (ret < 0)
            return ret;
        uint64_t done = d < t->rank ? count * m->packed[d] : 1;
        out += done * t->elem_bytes;
        first += done;
        n -= done;
    }
    return UQM_OK;
}

static void swap(uint8_t *p, size_t n_bytes, unsigned unit)
{
    for (size_t i = 0; i + unit <= n_bytes; i += unit)
        for (unsigned a = 0, b = unit - 1; a < b; a++, b--) {
            uint8_t t = p[i + a];
            p[i + a] = p[i + b];
            p[i + b] = t;
        }
}

static int make_elems(const struct made *m, uint8_t *out, uint64_t first, uint64_t n,
                      struct window *w)
{
    int ret = gather(m, out, first, n, w);
    if (ret == UQM_OK && m->t.swap_bytes > 1)
        swap(out, (size_t) (n * m->t.elem_bytes), m->t.swap_bytes);
    return ret;
}

/* --- the made file --- */

/* Bytes from anywhere: an element that is cut is made beside, and its part taken. */
static int make_bytes(const struct made *m, uint8_t *out, size_t len, uint64_t off,
                      struct window *w)
{
    const unsigned size = m->t.elem_bytes;
    while (len > 0) {
        unsigned skip = (unsigned) (off % size);
        size_t n = len / size * size;
        int ret;
        if (skip == 0 && n > 0) {
            ret = make_elems(m, out, off / size, n / size, w);
        } else {
            uint8_t elem[8];
            n = (size_t) uqm_min_u64(size - skip, len);
            ret = make_elems(m, elem, off / size, 1, w);
            if (ret == UQM_OK)
                memcpy(out, elem + skip, n);
        }
        if (ret < 0)
            return ret;
        out += n;
        off += n;
        len -= n;
    }
    return UQM_OK;
}

static int read_made(struct uqm_file *file, void *buf, size_t len, uint64_t off_bytes,
                     struct uqm_err *err)
{
    const struct made *m = file->made_of;
    struct window w = { .t = &m->t, .bytes = malloc(WINDOW_BYTES), .err = err };
    int ret = w.bytes ? make_bytes(m, buf, len, off_bytes, &w)
                      : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory to read it", file->name);
    free(w.bytes);
    return ret;
}

static int check_unchanged(const struct uqm_file *file, struct uqm_err *err)
{
    const struct made *m = file->made_of;
    return uqm_file_check_unchanged(m->t.file, err);
}

static void close_made(struct uqm_file *file)
{
    free(file->made_of);
}

static const struct uqm_file_ops made_ops = {
    .read = read_made,
    .check_unchanged = check_unchanged,
    .close = close_made,
};

int uqm_strided_open(struct uqm_file **out, const struct uqm_strided *tensor, const char *name,
                     struct uqm_err *err)
{
    const size_t rank = tensor->rank;
    struct made *m = calloc(1, sizeof *m + 2 * rank * sizeof *m->counts);
    char *label = NULL;
    if (asprintf(&label, "%s: tensor %s", tensor->file->name, name) < 0)
        label = NULL;
    if (!m || !label) {
        free(m);
        free(label);
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", tensor->file->name);
    }
    assert(rank <= UQM_MAX_RANK && tensor->elem_bytes <= 8);
    m->t = *tensor;
    for (size_t d = 0; d < rank; d++) {
        m->counts[d] = tensor->shape[d];
        m->counts[rank + d] = tensor->strides[d];
    }
    m->t.shape = m->counts;
    m->t.strides = m->counts + rank;
    uint64_t n_elem = 1;
    for (size_t d = rank; d-- > 0; n_elem *= tensor->shape[d])
        m->packed[d] = n_elem;
    int ret = uqm_file_make(out, label, n_elem * tensor->elem_bytes, &made_ops, m, err);
    if (ret < 0)
        free(m);
    free(label);
    return ret;
}
