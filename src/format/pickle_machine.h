/* The values and the state of the pickle machine; shared by pickle*.c alone. */
#ifndef UQM_FORMAT_PICKLE_MACHINE_H
#define UQM_FORMAT_PICKLE_MACHINE_H

#include "src/format/pickle.h"

enum uqm_pk_kind {
    UQM_PK_NONE,
    UQM_PK_BOOL,
    UQM_PK_INT,
    UQM_PK_FLOAT,
    UQM_PK_STRING,
    UQM_PK_TUPLE,
    UQM_PK_LIST,
    UQM_PK_DICT,
    UQM_PK_ORDERED_DICT,
    UQM_PK_GLOBAL,
    UQM_PK_STORAGE,
    UQM_PK_TENSOR,
    UQM_PK_LEAF, /* a torch.Size or torch.device: known, and nothing to us */
};

/* What a GLOBAL may name. */
enum uqm_pk_role {
    UQM_PK_CALL_ORDERED_DICT,
    UQM_PK_CALL_TENSOR_V2,
    UQM_PK_CALL_TENSOR_V3,
    UQM_PK_CALL_PARAMETER,
    UQM_PK_CALL_LEAF,
    UQM_PK_STORAGE_CLASS,
    UQM_PK_UNTYPED_STORAGE,
    UQM_PK_DTYPE,
};

struct uqm_pk_global {
    const char *module, *name;
    enum uqm_pk_role role;
    enum uqm_dtype dtype; /* of storage classes and dtypes */
};

struct uqm_pk_storage {
    const char *key;
    bool untyped;
    enum uqm_dtype dtype;
    uint64_t n_elem; /* bytes, when untyped */
    /* legacy: these are elements [first_elem, first_elem + n_elem) of a root of root_elem */
    uint64_t first_elem, root_elem;
    const struct uqm_pk_storage *next; /* made before it */
};

/* Values are named by their index, for the array that holds them moves. */
typedef uint32_t uqm_pk_ref;

struct uqm_pk_items {
    uqm_pk_ref *v; /* keys and values in turn, for dicts */
    size_t n, cap;
};

struct uqm_pk_value {
    enum uqm_pk_kind kind;
    uint32_t len; /* of the string */
    union {
        int64_t i;                  /* INT, BOOL */
        const char *s;              /* STRING: in the pickle, not terminated */
        struct uqm_pk_items *items; /* TUPLE, LIST, DICT, ORDERED_DICT */
        const struct uqm_pk_global *global;
        const struct uqm_pk_storage *storage;
        const struct uqm_pickle_tensor *tensor; /* without a name */
    };
};

struct uqm_pk {
    const uint8_t *p;
    size_t len, at;
    size_t op_at; /* of the opcode being done, for messages */
    struct uqm_arena arena;
    struct uqm_pk_value *values;
    size_t n_values, cap_values;
    uqm_pk_ref *stack;
    size_t n_stack, cap_stack;
    size_t marks[UQM_PICKLE_MAX_MARKS]; /* heights of the stack */
    size_t n_marks;
    uqm_pk_ref *memo; /* UQM_PK_NO_REF where nothing was put */
    size_t n_memo;
    bool legacy;                           /* persistent ids have a sixth item */
    bool in_row;                           /* another pickle may follow STOP */
    const struct uqm_pk_storage *storages; /* the last that was made */
    struct uqm_err *err;
};

#define UQM_PK_NO_REF UINT32_MAX

/* "data.pkl+AT: WHAT" */
int uqm_pk_fail(struct uqm_pk *m, enum uqm_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
int uqm_pk_no_memory(struct uqm_pk *m);
const char *uqm_pk_kind_name(enum uqm_pk_kind kind);

/* Put a value on the stack. */
int uqm_pk_push(struct uqm_pk *m, struct uqm_pk_value value);

static inline const struct uqm_pk_value *uqm_pk_at(const struct uqm_pk *m, uqm_pk_ref ref)
{
    return &m->values[ref];
}

/* The global of these names, or NULL with the message in *err: refused by name. */
const struct uqm_pk_global *uqm_pk_global_find(struct uqm_pk *m, const char *module,
                                               size_t module_len, const char *name,
                                               size_t name_len);

/* Call a global with a tuple of arguments, or resolve a persistent id; the result is pushed. */
int uqm_pk_call(struct uqm_pk *m, const struct uqm_pk_global *callee,
                const struct uqm_pk_items *args);
int uqm_pk_persistent_id(struct uqm_pk *m, const struct uqm_pk_items *id);

/* PROTO 2 to STOP, from m->at on; *root is the value that is left. */
int uqm_pk_run(struct uqm_pk *m, uqm_pk_ref *root);
/* What the machine works with, but for its arena. */
void uqm_pk_finish(struct uqm_pk *m);

/* The state dict that the root value is or holds. Names and array go into the machine's arena. */
int uqm_pk_extract(struct uqm_pk *m, uqm_pk_ref root, struct uqm_state_dict *out);

#endif
