/* The beginning of a GGUF file, handed over as a whole and cut: what is accepted must be safe to
 * read. */
#include "src/format/gguf.h"
#include "tests/fuzz/fuzz.h"

static void check_value(const struct uqm_gguf_value *v, const uint8_t *data, size_t size)
{
    FUZZ_CHECK(v->type < UQM_GGUF_N_TYPES && v->elem != UQM_GGUF_ARRAY);
    FUZZ_CHECK(uqm_gguf_type_name(v->type) && uqm_gguf_type_name(v->elem));
    FUZZ_CHECK(v->data >= data && v->n_bytes <= size - (size_t) (v->data - data));
    uint64_t n;
    if (v->type != UQM_GGUF_STRING && v->type != UQM_GGUF_ARRAY)
        uqm_gguf_u64(&n, v);
    if (v->type == UQM_GGUF_ARRAY && v->elem == UQM_GGUF_STRING) {
        struct uqm_gguf_texts texts = uqm_gguf_texts(v);
        const uint8_t *text;
        size_t len;
        for (n = 0; uqm_gguf_next_text(&text, &len, &texts); n++)
            FUZZ_CHECK(text >= v->data && len <= v->n_bytes - (size_t) (text - v->data));
        FUZZ_CHECK(n == v->n);
    }
}

static void check_index(const struct uqm_gguf_index *index, const uint8_t *data, size_t size,
                        uint64_t file_bytes)
{
    FUZZ_CHECK(index->align > 0 && (index->align & (index->align - 1)) == 0);
    for (size_t i = 0; i < index->n_pairs; i++) {
        FUZZ_CHECK(index->pairs[i].key[0]);
        FUZZ_CHECK(uqm_gguf_find(index, index->pairs[i].key) == &index->pairs[i].value);
        check_value(&index->pairs[i].value, data, size);
    }
    uint64_t end = index->header_bytes;
    for (size_t i = 0; i < index->n_tensors; i++) {
        const struct uqm_gguf_tensor *t = &index->tensors[i];
        const struct uqm_ggml_type *type = uqm_ggml_type(t->type);
        FUZZ_CHECK(type && t->name[0] && strlen(t->name) <= UQM_GGUF_MAX_NAME);
        FUZZ_CHECK(t->n_elem % type->n_elem == 0);
        FUZZ_CHECK(t->n_bytes == t->n_elem / type->n_elem * type->n_bytes);
        FUZZ_CHECK(t->offset % index->align == 0 && t->offset >= end);
        FUZZ_CHECK(t->offset - end < index->align);
        FUZZ_CHECK(t->offset <= file_bytes && t->n_bytes <= file_bytes - t->offset);
        end = t->offset + t->n_bytes;
    }
}

/* *accepted: the whole header was there, and good. */
static void parse(bool *accepted, const uint8_t *data, size_t size, uint64_t file_bytes)
{
    struct uqm_gguf_index index;
    struct uqm_err err = { 0 };
    bool more = true;
    int ret = uqm_gguf_parse(&index, &more, data, size, file_bytes, &err);
    *accepted = ret == UQM_OK;
    if (ret < 0) {
        fuzz_check_refusal(ret, &err);
        FUZZ_CHECK(!index.pairs && !index.tensors && index.n_tensors == 0);
        FUZZ_CHECK(!more || size < file_bytes);
        return;
    }
    FUZZ_CHECK(!more);
    check_index(&index, data, size, file_bytes);
    uqm_gguf_finish(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool whole, cut;
    parse(&whole, data, size, size);
    /* the same file, of which less is at hand; and a longer one */
    parse(&cut, data, size / 2, size);
    FUZZ_CHECK(whole || !cut);
    parse(&cut, data, size, size + 4096);

    size_t prefix;
    uint32_t part, n_parts;
    char name[64];
    size_t n = size < sizeof name ? size : sizeof name - 1;
    if (n > 0)
        memcpy(name, data, n);
    name[n] = '\0';
    if (uqm_gguf_split_name(&prefix, &part, &n_parts, name))
        FUZZ_CHECK(prefix < n && part >= 1 && part <= n_parts && n_parts <= 99999);
    return 0;
}
