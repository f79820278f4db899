#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/checkpoint/load.h"
#include "src/checkpoint/strided.h"
#include "src/format/torch_zip.h"

/* What is read of one file of PyTorch; its weights stay where they are. */
struct torch_file {
    struct uqm_file *file;
    struct uqm_zip_input input;
    struct uqm_torch_zip zip;
    struct uqm_state_dict dict;
    bool big;             /* its numbers are big-endian */
    struct uqm_err inner; /* messages that lack the file's name */
    bool named;           /* inner came from the file itself, name and all */
};

static int read_input(void *ctx, void *buf, size_t len, uint64_t off_bytes, struct uqm_err *err)
{
    struct torch_file *t = ctx;
    int ret = uqm_file_read(t->file, buf, len, off_bytes, err);
    t->named = ret < 0;
    return ret;
}

/* "little" unless the record says otherwise; old files have none. */
static int check_byte_order(struct torch_file *t)
{
    const struct uqm_zip_record *record = uqm_torch_zip_find(&t->zip, "byteorder");
    uint8_t *text;
    if (!record)
        return UQM_OK;
    int ret = uqm_torch_zip_read(&text, record, &t->input, 64, &t->inner);
    if (ret < 0)
        return ret;
    bool little = record->n_bytes == 6 && memcmp(text, "little", 6) == 0;
    t->big = record->n_bytes == 3 && memcmp(text, "big", 3) == 0;
    free(text);
    if (little || t->big)
        return UQM_OK;
    return uqm_fail(&t->inner, UQM_ERR_FORMAT, "record byteorder: neither little nor big");
}

static int read_pickle(struct torch_file *t)
{
    uint8_t *pickle;
    const struct uqm_zip_record *record = uqm_torch_zip_find(&t->zip, "data.pkl");
    int ret = uqm_torch_zip_read(&pickle, record, &t->input, UQM_PICKLE_MAX_BYTES, &t->inner);
    if (ret < 0)
        return ret;
    ret = uqm_pickle_parse(&t->dict, pickle, (size_t) record->n_bytes, &t->inner);
    free(pickle);
    return ret;
}

static int remember_made(struct uqm_checkpoint *cp, struct uqm_file *made, struct uqm_err *err)
{
    struct uqm_file **more = reallocarray(cp->made, cp->n_made + 1, sizeof *more);
    if (!more)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for the index");
    cp->made = more;
    cp->made[cp->n_made++] = made;
    return UQM_OK;
}

/* Complex numbers are two of f32, each with its bytes in order. */
static unsigned swapped_bytes(enum uqm_dtype dtype)
{
    return dtype == UQM_C64 ? 4 : uqm_dtype_bits(dtype) / 8;
}

int uqm_torch_locate(struct uqm_found *found, struct uqm_loading *ld, size_t file,
                     const struct uqm_pickle_tensor *p, uint64_t begin, bool big,
                     struct uqm_err *inner)
{
    struct uqm_printable shown;
    const char *name = uqm_printable(&shown, p->name, strlen(p->name));
    const unsigned size = uqm_dtype_bits(p->dtype) / 8; /* products were checked by the pickle */
    const bool swap = big && swapped_bytes(p->dtype) > 1 && p->n_elem > 0;
    *found = (struct uqm_found){
        .name = p->name,
        .dtype = p->dtype,
        .rank = p->rank,
        .shape = p->shape,
        .n_elem = p->n_elem,
        .n_bytes = p->n_elem * size,
        .off_bytes = begin + (p->n_elem ? p->offset_elem * size : 0),
    };
    if (swap && p->untyped)
        return uqm_fail(
            inner, UQM_ERR_UNSUPPORTED,
            "tensor %s: big-endian numbers in an untyped storage, which torch.load does "
            "not put in order; save it again on a little-endian machine",
            name);
    if (p->contiguous && !swap)
        return UQM_OK;
    const struct uqm_strided strided = {
        .file = ld->cp->files[file],
        .begin = begin,
        .end = begin + p->storage_bytes,
        .offset_elem = p->offset_elem,
        .elem_bytes = size,
        .swap_bytes = swap ? swapped_bytes(p->dtype) : 0,
        .rank = p->rank,
        .shape = p->shape,
        .strides = p->strides,
    };
    int ret = uqm_strided_open(&found->made, &strided, name, inner);
    if (ret == UQM_OK && (ret = remember_made(ld->cp, found->made, inner)) < 0)
        uqm_file_close(&found->made);
    return ret;
}

/* Where a tensor's bytes lie, once its record proves to be what the pickle says. */
static int locate(struct uqm_loading *ld, size_t file, struct torch_file *t,
                  const struct uqm_pickle_tensor *p, struct uqm_found *found)
{
    struct uqm_printable shown;
    char key[256];
    const char *name = uqm_printable(&shown, p->name, strlen(p->name));

    snprintf(key, sizeof key, "data/%s", p->storage);
    const struct uqm_zip_record *record = uqm_torch_zip_find(&t->zip, key);
    if (!record)
        return uqm_fail(&t->inner, UQM_ERR_FORMAT, "tensor %s: no record %s", name, key);
    if (record->n_bytes != p->storage_bytes)
        return uqm_fail(&t->inner, UQM_ERR_FORMAT,
                        "tensor %s: record %s has %" PRIu64 " bytes, the pickle says %" PRIu64,
                        name, key, record->n_bytes, p->storage_bytes);
    return uqm_torch_locate(found, ld, file, p, record->begin, t->big, &t->inner);
}

static int take_tensors(struct uqm_loading *ld, size_t file, struct torch_file *t,
                        struct uqm_err *err)
{
    struct uqm_found found;
    if (t->dict.n_skipped > 0)
        uqm_log(ld->env, UQM_LOG_INFO, "%s: %zu entries of the state dict are no tensors, skipped",
                t->file->name, t->dict.n_skipped);
    for (size_t i = 0; i < t->dict.n_tensors; i++) {
        if (locate(ld, file, t, &t->dict.tensors[i], &found) < 0)
            return uqm_fail_in_file(err, t->file, &t->inner);
        int ret = uqm_load_tensor(ld, file, &found, err);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* The checksums of the storages, for whoever streams the file. */
static int remember_checksums(struct torch_file *t)
{
    const struct uqm_zip_record *r = t->zip.records;
    int ret = uqm_record_check_create(&t->file->records, t->zip.n_records, &t->inner);
    for (size_t i = 0; ret >= 0 && i < t->zip.n_records; i++)
        if (strncmp(r[i].name, "data/", 5) == 0)
            ret = uqm_record_check_add(t->file->records, r[i].name, r[i].begin, r[i].n_bytes,
                                       r[i].crc, &t->inner);
    return ret;
}

int uqm_load_torch(struct uqm_loading *ld, size_t file, struct uqm_err *err)
{
    struct torch_file t = { .file = ld->cp->files[file] };
    bool legacy;
    if (uqm_torch_is_legacy(&legacy, t.file, err) < 0)
        return err ? err->code : UQM_ERR_IO;
    if (legacy)
        return uqm_load_torch_legacy(ld, file, err);
    t.input = (struct uqm_zip_input){ .read = read_input,
                                      .ctx = &t,
                                      .size_bytes = t.file->size_bytes,
                                      .ignore_crc = ld->env->ignore_crc };

    int ret = uqm_torch_zip_open(&t.zip, &t.input, &t.inner);
    if (ret >= 0)
        ret = check_byte_order(&t);
    if (ret >= 0)
        ret = read_pickle(&t);
    if (ret >= 0 && !ld->env->ignore_crc)
        ret = remember_checksums(&t);
    if (ret >= 0)
        ret = take_tensors(ld, file, &t, err);
    else if (!t.named)
        uqm_fail_in_file(err, t.file, &t.inner);
    else if (err)
        *err = t.inner;
    uqm_state_dict_finish(&t.dict);
    uqm_torch_zip_finish(&t.zip);
    return ret;
}
