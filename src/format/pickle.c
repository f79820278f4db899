#include "src/format/pickle_machine.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/utf8.h"

int uqm_pk_fail(struct uqm_pk *m, enum uqm_status code, const char *fmt, ...)
{
    char what[420];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return uqm_fail(m->err, code, "%s+%zu: %s", m->legacy ? "pickle" : "data.pkl", m->op_at, what);
}

int uqm_pk_no_memory(struct uqm_pk *m)
{
    return uqm_pk_fail(m, UQM_ERR_NOMEM, "no memory for the pickle's values");
}

const char *uqm_pk_kind_name(enum uqm_pk_kind kind)
{
    static const char *const names[] = {
        [UQM_PK_NONE] = "None",       [UQM_PK_BOOL] = "a bool",
        [UQM_PK_INT] = "an int",      [UQM_PK_FLOAT] = "a float",
        [UQM_PK_STRING] = "a string", [UQM_PK_TUPLE] = "a tuple",
        [UQM_PK_LIST] = "a list",     [UQM_PK_DICT] = "a dict",
        [UQM_PK_GLOBAL] = "a global", [UQM_PK_ORDERED_DICT] = "an OrderedDict",
        [UQM_PK_TENSOR] = "a tensor", [UQM_PK_STORAGE] = "a storage",
        [UQM_PK_LEAF] = "an object",
    };
    return names[kind];
}

/* --- the stack --- */

/* Room for one more element of an array of `size`-byte elements. */
static bool grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 1024;
    void *bigger = realloc(*array, more * size);
    if (!bigger)
        return false;
    *array = bigger;
    *cap = more;
    return true;
}

static int push_ref(struct uqm_pk *m, uqm_pk_ref ref)
{
    void *stack = m->stack;
    if (!grow(&stack, m->n_stack, &m->cap_stack, sizeof *m->stack))
        return uqm_pk_no_memory(m);
    m->stack = stack;
    m->stack[m->n_stack++] = ref;
    return UQM_OK;
}

int uqm_pk_push(struct uqm_pk *m, struct uqm_pk_value value)
{
    void *values = m->values;
    if (m->n_values == UQM_PICKLE_MAX_VALUES)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "more than %d values", UQM_PICKLE_MAX_VALUES);
    if (!grow(&values, m->n_values, &m->cap_values, sizeof *m->values))
        return uqm_pk_no_memory(m);
    m->values = values;
    m->values[m->n_values++] = value;
    return push_ref(m, (uqm_pk_ref) (m->n_values - 1));
}

/* What lies above the topmost mark may be taken, no more. */
static int need(struct uqm_pk *m, size_t n, const char *op)
{
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;
    if (m->n_stack - floor < n)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: the stack has too few values", op);
    return UQM_OK;
}

/* Take everything above the topmost mark, and the mark: *items points into the stack. */
static int pop_mark(struct uqm_pk *m, uqm_pk_ref **items, size_t *n, const char *op)
{
    if (m->n_marks == 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: no mark is set", op);
    size_t floor = m->marks[--m->n_marks];
    *n = m->n_stack - floor;
    *items = m->stack + floor;
    m->n_stack = floor;
    return UQM_OK;
}

static int append_items(struct uqm_pk *m, struct uqm_pk_items *to, const uqm_pk_ref *refs, size_t n)
{
    if (n > to->cap - to->n) {
        size_t cap = (to->n + n) * 2;
        uqm_pk_ref *v = uqm_arena_alloc(&m->arena, cap, sizeof *v);
        if (!v)
            return uqm_pk_no_memory(m);
        if (to->n)
            memcpy(v, to->v, to->n * sizeof *v);
        to->v = v;
        to->cap = cap;
    }
    if (n)
        memcpy(to->v + to->n, refs, n * sizeof *refs);
    to->n += n;
    return UQM_OK;
}

/* A new tuple, list or dict of the given items (which may lie in the stack's free part). */
static int push_items(struct uqm_pk *m, enum uqm_pk_kind kind, const uqm_pk_ref *refs, size_t n)
{
    struct uqm_pk_items *items = uqm_arena_alloc(&m->arena, 1, sizeof *items);
    if (!items)
        return uqm_pk_no_memory(m);
    if (n) {
        items->v = uqm_arena_alloc(&m->arena, n, sizeof *items->v);
        if (!items->v)
            return uqm_pk_no_memory(m);
        memcpy(items->v, refs, n * sizeof *refs);
        items->n = items->cap = n;
    }
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = kind, .items = items });
}

/* --- arguments --- */

static int take(struct uqm_pk *m, const uint8_t **bytes, size_t n)
{
    if (m->len - m->at < n)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "the pickle ends inside an instruction");
    *bytes = m->p + m->at;
    m->at += n;
    return UQM_OK;
}

/* An unsigned little-endian number of n <= 8 bytes. */
static int take_uint(struct uqm_pk *m, uint64_t *out, size_t n)
{
    const uint8_t *b = NULL;
    int ret = take(m, &b, n);
    *out = 0;
    for (size_t i = n; ret >= 0 && i-- > 0;)
        *out = *out << 8 | b[i];
    return ret;
}

/* Two's complement of n <= 8 bytes; no bytes are 0. */
static int push_int(struct uqm_pk *m, size_t n, bool is_signed)
{
    uint64_t u;
    int ret = take_uint(m, &u, n);
    if (ret < 0)
        return ret;
    if (is_signed && n > 0 && n < 8 && u >> (8 * n - 1))
        u |= UINT64_MAX << 8 * n;
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_INT, .i = (int64_t) u });
}

static int push_string(struct uqm_pk *m, size_t n_len_bytes)
{
    const uint8_t *s = NULL;
    uint64_t n;
    int ret = take_uint(m, &n, n_len_bytes);
    if (ret >= 0)
        ret = take(m, &s, (size_t) n);
    if (ret < 0)
        return ret;
    if (!uqm_utf8_valid(s, (size_t) n))
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "a string is not UTF-8");
    return uqm_pk_push(m, (struct uqm_pk_value){
                              .kind = UQM_PK_STRING, .s = (const char *) s, .len = (uint32_t) n });
}

/* A line without its LF. */
static int take_line(struct uqm_pk *m, const char **s, size_t *n)
{
    const uint8_t *start = m->p + m->at;
    const uint8_t *lf = m->at < m->len ? memchr(start, '\n', m->len - m->at) : NULL;
    if (!lf)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "GLOBAL: a name without its line end");
    *s = (const char *) start;
    *n = (size_t) (lf - start);
    m->at += *n + 1;
    return UQM_OK;
}

/* --- instructions --- */

static int do_global(struct uqm_pk *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_len = 0, name_len = 0;
    int ret = take_line(m, &module, &module_len);
    if (ret >= 0)
        ret = take_line(m, &name, &name_len);
    if (ret < 0)
        return ret;
    const struct uqm_pk_global *g = uqm_pk_global_find(m, module, module_len, name, name_len);
    if (!g)
        return m->err ? (int) m->err->code : UQM_ERR_FORMAT;
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_GLOBAL, .global = g });
}

static int do_put(struct uqm_pk *m, size_t n_bytes)
{
    uint64_t index;
    int ret = take_uint(m, &index, n_bytes);
    if (ret >= 0)
        ret = need(m, 1, "PUT");
    if (ret < 0)
        return ret;
    if (index >= UQM_PICKLE_MAX_VALUES)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "PUT: memo index %llu is above the limit",
                           (unsigned long long) index);
    if (index >= m->n_memo) {
        size_t n = (size_t) index * 2 + 256;
        uqm_pk_ref *memo = realloc(m->memo, n * sizeof *memo);
        if (!memo)
            return uqm_pk_no_memory(m);
        memset(memo + m->n_memo, 0xFF, (n - m->n_memo) * sizeof *memo); /* UQM_PK_NO_REF */
        m->memo = memo;
        m->n_memo = n;
    }
    m->memo[index] = m->stack[m->n_stack - 1];
    return UQM_OK;
}

static int do_get(struct uqm_pk *m, size_t n_bytes)
{
    uint64_t index;
    int ret = take_uint(m, &index, n_bytes);
    if (ret < 0)
        return ret;
    if (index >= m->n_memo || m->memo[index] == UQM_PK_NO_REF)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "GET: nothing was put at memo index %llu",
                           (unsigned long long) index);
    return push_ref(m, m->memo[index]);
}

static int do_mark(struct uqm_pk *m)
{
    if (m->n_marks == UQM_PICKLE_MAX_MARKS)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "more than %d marks are open", UQM_PICKLE_MAX_MARKS);
    m->marks[m->n_marks++] = m->n_stack;
    return UQM_OK;
}

static int do_tuple(struct uqm_pk *m, size_t n)
{
    int ret = need(m, n, "TUPLE");
    if (ret < 0)
        return ret;
    m->n_stack -= n;
    return push_items(m, UQM_PK_TUPLE, m->stack + m->n_stack, n);
}

static int do_marked_tuple(struct uqm_pk *m)
{
    uqm_pk_ref *items = NULL;
    size_t n = 0;
    int ret = pop_mark(m, &items, &n, "TUPLE");
    return ret < 0 ? ret : push_items(m, UQM_PK_TUPLE, items, n);
}

/* Items go to the list or dict that is now on top of the stack. */
static int add_items(struct uqm_pk *m, const uqm_pk_ref *items, size_t n, bool dict, const char *op)
{
    int ret = need(m, 1, op);
    if (ret < 0)
        return ret;
    const struct uqm_pk_value *to = uqm_pk_at(m, m->stack[m->n_stack - 1]);
    bool fits =
        dict ? to->kind == UQM_PK_DICT || to->kind == UQM_PK_ORDERED_DICT : to->kind == UQM_PK_LIST;
    if (!fits)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s on %s", op, uqm_pk_kind_name(to->kind));
    if (dict && n % 2 != 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: a key without a value", op);
    for (size_t i = 0; dict && i < n; i += 2) {
        enum uqm_pk_kind key = uqm_pk_at(m, items[i])->kind;
        if (key != UQM_PK_STRING && key != UQM_PK_INT)
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "%s: a key is %s", op, uqm_pk_kind_name(key));
    }
    return append_items(m, to->items, items, n);
}

static int do_add(struct uqm_pk *m, size_t n, bool dict, const char *op)
{
    int ret = need(m, n, op);
    if (ret < 0)
        return ret;
    m->n_stack -= n;
    return add_items(m, m->stack + m->n_stack, n, dict, op);
}

static int do_add_marked(struct uqm_pk *m, bool dict, const char *op)
{
    uqm_pk_ref *items = NULL;
    size_t n = 0;
    int ret = pop_mark(m, &items, &n, op);
    return ret < 0 ? ret : add_items(m, items, n, dict, op);
}

static int do_persistent_id(struct uqm_pk *m)
{
    int ret = need(m, 1, "BINPERSID");
    if (ret < 0)
        return ret;
    const struct uqm_pk_value *id = uqm_pk_at(m, m->stack[--m->n_stack]);
    if (id->kind != UQM_PK_TUPLE)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BINPERSID on %s", uqm_pk_kind_name(id->kind));
    return uqm_pk_persistent_id(m, id->items);
}

static int do_reduce(struct uqm_pk *m)
{
    int ret = need(m, 2, "REDUCE");
    if (ret < 0)
        return ret;
    m->n_stack -= 2;
    const struct uqm_pk_value *callee = uqm_pk_at(m, m->stack[m->n_stack]);
    const struct uqm_pk_value *args = uqm_pk_at(m, m->stack[m->n_stack + 1]);
    if (callee->kind != UQM_PK_GLOBAL)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "REDUCE calls %s", uqm_pk_kind_name(callee->kind));
    if (args->kind != UQM_PK_TUPLE)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "REDUCE: the arguments are %s",
                           uqm_pk_kind_name(args->kind));
    return uqm_pk_call(m, callee->global, args->items);
}

/* A state becomes attributes, and one of such a name a method that the next BUILD would call. */
static int check_state(struct uqm_pk *m, const struct uqm_pk_items *state)
{
    struct uqm_printable shown;
    for (size_t i = 0; i < state->n; i += 2) {
        const struct uqm_pk_value *key = uqm_pk_at(m, state->v[i]);
        if (key->kind == UQM_PK_STRING && key->len >= 2 && memcmp(key->s, "__", 2) == 0)
            return uqm_pk_fail(m, UQM_ERR_FORMAT,
                               "BUILD: the state sets %s, which no state dict needs; not read",
                               uqm_printable(&shown, key->s, key->len));
    }
    return UQM_OK;
}

/* OrderedDict attributes (_metadata of a state dict): dropped. */
static int do_build(struct uqm_pk *m)
{
    int ret = need(m, 2, "BUILD");
    if (ret < 0)
        return ret;
    const struct uqm_pk_value *state = uqm_pk_at(m, m->stack[--m->n_stack]);
    const struct uqm_pk_value *object = uqm_pk_at(m, m->stack[m->n_stack - 1]);
    if (object->kind != UQM_PK_ORDERED_DICT)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BUILD on %s", uqm_pk_kind_name(object->kind));
    if (state->kind != UQM_PK_DICT)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "BUILD: the state is %s",
                           uqm_pk_kind_name(state->kind));
    return check_state(m, state->items);
}

static int do_long1(struct uqm_pk *m)
{
    uint64_t n;
    int ret = take_uint(m, &n, 1);
    if (ret < 0)
        return ret;
    if (n > 8)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "LONG1: an int of %llu bytes, above 8",
                           (unsigned long long) n);
    return push_int(m, (size_t) n, true);
}

static int do_float(struct uqm_pk *m)
{
    const uint8_t *b = NULL;
    int ret = take(m, &b, 8); /* its value is nothing to us */
    return ret < 0 ? ret : uqm_pk_push(m, (struct uqm_pk_value){ .kind = UQM_PK_FLOAT });
}

/* Opcodes whose names tell a reader of the message what the file tried. */
static int refuse_opcode(struct uqm_pk *m, uint8_t op)
{
    static const struct {
        uint8_t op;
        const char *name;
    } named[] = {
        { 'i', "INST" },      { 'o', "OBJ" },
        { 0x81, "NEWOBJ" },   { 0x92, "NEWOBJ_EX" },
        { 0x82, "EXT1" },     { 0x83, "EXT2" },
        { 0x84, "EXT4" },     { 'P', "PERSID" },
        { 'p', "PUT" },       { 'g', "GET" },
        { '0', "POP" },       { '1', "POP_MARK" },
        { '2', "DUP" },       { 'L', "LONG" },
        { 'I', "INT" },       { 'S', "STRING" },
        { 'T', "BINSTRING" }, { 'F', "FLOAT" },
        { 'V', "UNICODE" },   { 0x8B, "LONG4" },
        { 'B', "BINBYTES" },  { 'C', "SHORT_BINBYTES" },
    };
    if (op == 0x95 || op == 0x94 || op == 0x8C || op == 0x93 || op == 0x8D || op == 0x8E ||
        (op >= 0x8F && op <= 0x91) || (op >= 0x96 && op <= 0x98))
        return uqm_pk_fail(m, UQM_ERR_FORMAT,
                           "opcode 0x%02x belongs to pickle protocol 4 or 5, which torch's own "
                           "restricted loader refuses too; save again with torch.save's default "
                           "protocol",
                           op);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].op == op)
            return uqm_pk_fail(m, UQM_ERR_FORMAT,
                               "opcode 0x%02x (%s) is not one a state dict needs; not read", op,
                               named[i].name);
    return uqm_pk_fail(m, UQM_ERR_FORMAT, "opcode 0x%02x is not one a state dict needs; not read",
                       op);
}

static int do_simple(struct uqm_pk *m, enum uqm_pk_kind kind, int64_t i)
{
    return uqm_pk_push(m, (struct uqm_pk_value){ .kind = kind, .i = i });
}

static int do_op(struct uqm_pk *m, uint8_t op)
{
    switch (op) {
    case 'c': return do_global(m);
    case 'q': return do_put(m, 1);
    case 'r': return do_put(m, 4);
    case 'h': return do_get(m, 1);
    case 'j': return do_get(m, 4);
    case '(': return do_mark(m);
    case ')': return do_tuple(m, 0);
    case 't': return do_marked_tuple(m);
    case 0x85: return do_tuple(m, 1);
    case 0x86: return do_tuple(m, 2);
    case 0x87: return do_tuple(m, 3);
    case ']': return push_items(m, UQM_PK_LIST, NULL, 0);
    case 'a': return do_add(m, 1, false, "APPEND");
    case 'e': return do_add_marked(m, false, "APPENDS");
    case '}': return push_items(m, UQM_PK_DICT, NULL, 0);
    case 's': return do_add(m, 2, true, "SETITEM");
    case 'u': return do_add_marked(m, true, "SETITEMS");
    case 'N': return do_simple(m, UQM_PK_NONE, 0);
    case 0x88: return do_simple(m, UQM_PK_BOOL, 1);
    case 0x89: return do_simple(m, UQM_PK_BOOL, 0);
    case 'K': return push_int(m, 1, false);
    case 'M': return push_int(m, 2, false);
    case 'J': return push_int(m, 4, true);
    case 0x8A: return do_long1(m);
    case 'G': return do_float(m);
    case 'X': return push_string(m, 4);
    case 'U': return push_string(m, 1);
    case 'Q': return do_persistent_id(m);
    case 'R': return do_reduce(m);
    case 'b': return do_build(m);
    default: return refuse_opcode(m, op);
    }
}

/* From after PROTO to STOP, which must be the last byte and leave one value. */
static int run(struct uqm_pk *m, uqm_pk_ref *root)
{
    for (unsigned n_ops = 0;; n_ops++) {
        m->op_at = m->at;
        if (m->at == m->len)
            return uqm_pk_fail(m, UQM_ERR_FORMAT,
                               "the pickle ends without STOP; is the file "
                               "damaged?");
        if (n_ops == UQM_PICKLE_MAX_OPS)
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "more than %d instructions", UQM_PICKLE_MAX_OPS);
        uint8_t op = m->p[m->at++];
        if (op == '.')
            break;
        if (op == 0x80)
            return uqm_pk_fail(m, UQM_ERR_FORMAT, "PROTO for the second time");
        int ret = do_op(m, op);
        if (ret < 0)
            return ret;
    }
    if (m->n_marks > 0)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "STOP with an open mark");
    if (m->n_stack != 1)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "STOP with %zu values on the stack, not one",
                           m->n_stack);
    if (m->at != m->len && !m->in_row)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%zu bytes follow STOP", m->len - m->at);
    *root = m->stack[0];
    return UQM_OK;
}

int uqm_pk_run(struct uqm_pk *m, uqm_pk_ref *root)
{
    m->op_at = m->at;
    if (m->len - m->at < 2 || m->p[m->at] != 0x80)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "does not begin with PROTO: no pickle of torch.save");
    if (m->p[m->at + 1] != 2)
        return uqm_pk_fail(m, UQM_ERR_FORMAT,
                           "pickle protocol %u; only 2 is read: save again with torch.save's "
                           "default protocol",
                           m->p[m->at + 1]);
    m->at += 2;
    return run(m, root);
}

void uqm_pk_finish(struct uqm_pk *m)
{
    free(m->values);
    free(m->stack);
    free(m->memo);
    m->values = NULL;
    m->stack = m->memo = NULL;
}

static int parse(struct uqm_pk *m, struct uqm_state_dict *dict)
{
    uqm_pk_ref root = 0;
    if (m->len > UQM_PICKLE_MAX_BYTES)
        return uqm_pk_fail(m, UQM_ERR_FORMAT, "%zu bytes of pickle, above the limit of %d", m->len,
                           UQM_PICKLE_MAX_BYTES);
    int ret = uqm_pk_run(m, &root);
    return ret < 0 ? ret : uqm_pk_extract(m, root, dict);
}

int uqm_pickle_parse(struct uqm_state_dict *out, const uint8_t *pickle, size_t len,
                     struct uqm_err *err)
{
    struct uqm_pk m = { .p = pickle, .len = len, .err = err };
    struct uqm_state_dict dict = { 0 };
    int ret = parse(&m, &dict);

    uqm_pk_finish(&m);
    dict.arena = m.arena;
    if (ret < 0)
        uqm_state_dict_finish(&dict);
    else
        *out = dict;
    return ret;
}

void uqm_state_dict_finish(struct uqm_state_dict *dict)
{
    uqm_arena_finish(&dict->arena);
    *dict = (struct uqm_state_dict){ 0 };
}
