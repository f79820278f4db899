#include "src/uq/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "src/base/checked.h"
#include "src/base/fs.h"
#include "src/base/utf8.h"
#include "src/format/json.h"
#include "src/uq/dataset_tsv.h"

struct loader {
    struct uqm_dataset *set;
    char **dirs; /* the file's folder and its parents, nearest first */
    size_t n_dirs;
    size_t n_room; /* records */
    struct uqm_err *err;
};

const char *uqm_record_where(struct uqm_record_where *buf, const struct uqm_dataset *set,
                             const struct uqm_record *record)
{
    struct uqm_printable id;
    snprintf(buf->text, sizeof buf->text,
             set->is_array ? "%s[%zu]: record %.64s" : "%s:%zu: record %.64s", set->path,
             record->line, uqm_printable(&id, record->id, strlen(record->id)));
    return buf->text;
}

static int no_memory(const struct loader *l)
{
    return uqm_fail(l->err, UQM_ERR_NOMEM, "%s: no memory for its records", l->set->path);
}

static int wrong(const struct loader *l, const struct uqm_record *r, const char *what)
{
    struct uqm_record_where where;
    return uqm_fail(l->err, UQM_ERR_FORMAT, "%s: %s", uqm_record_where(&where, l->set, r), what);
}

/* null, NaN (which the parser gives as null), "nan". */
static bool is_none(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && !strcasecmp(json_string_value(v), "nan"));
}

static const char *keep(const struct loader *l, const json_t *string)
{
    return uqm_arena_strndup(&l->set->arena, json_string_value(string), json_string_length(string));
}

/* A text member, or NULL where it is none. */
static int read_text(const struct loader *l, struct uqm_record *r, const char **out,
                     const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    *out = NULL;
    if (is_none(v))
        return UQM_OK;
    if (!json_is_string(v)) {
        char what[64];
        snprintf(what, sizeof what, "\"%s\" is no text", key);
        return wrong(l, r, what);
    }
    *out = keep(l, v);
    return *out ? UQM_OK : no_memory(l);
}

static int read_id(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    const json_t *v = json_object_get(object, "id");
    if (json_is_string(v))
        r->id = keep(l, v);
    else if (json_is_integer(v))
        r->id = uqm_arena_printf(&l->set->arena, "%lld", (long long) json_integer_value(v));
    else
        r->id = uqm_arena_printf(&l->set->arena, "%zu", r->line);
    if (!r->id)
        return no_memory(l);
    if (v && !json_is_null(v) && !json_is_string(v) && !json_is_integer(v))
        return wrong(l, r, "\"id\" is neither text nor a whole number");
    return UQM_OK;
}

/* Where a picture is that the file calls `name`. */
static int find_image(const struct loader *l, const struct uqm_record *r, const char **out,
                      const char *name)
{
    if (!*name)
        return wrong(l, r, "the image's path is empty; null means no picture");
    if (name[0] == '/')
        return wrong(l, r,
                     "the image's path is absolute; it must be relative to the file's folder "
                     "or to one of its parents");
    const char *dir = l->dirs[0];
    for (size_t i = 0; i < l->n_dirs; i++) {
        char *path = uqm_path_join(l->dirs[i], name);
        if (!path)
            return no_memory(l);
        bool found = uqm_is_file(path);
        free(path);
        if (found) {
            dir = l->dirs[i];
            break;
        }
    }
    const char *slash = dir[strlen(dir) - 1] == '/' ? "" : "/";
    *out = uqm_arena_printf(&l->set->arena, "%s%s%s", dir, slash, name);
    return *out ? UQM_OK : no_memory(l);
}

static int read_image_list(const struct loader *l, struct uqm_record *r, const json_t *list)
{
    const size_t n = json_array_size(list);
    if (n > UQM_MAX_IMAGES)
        return wrong(l, r, "more than 64 images");
    const char **paths = uqm_arena_alloc(&l->set->arena, n + 1, sizeof *paths);
    if (!paths)
        return no_memory(l);
    for (size_t k = 0; k < n; k++) {
        const char *name = json_string_value(json_array_get(list, k));
        int ret = name ? find_image(l, r, &paths[k], name) : wrong(l, r, "an image is no text");
        if (ret < 0)
            return ret;
    }
    if (n > 0) {
        r->image = paths[0];
        r->more_images = paths + 1;
        r->n_more_images = n - 1;
    }
    return UQM_OK;
}

static int read_image(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    static const char *const keys[] = { "image", "images", "image_path" };
    const char *name;
    size_t k = 0;
    while (k < 2 && is_none(json_object_get(object, keys[k])))
        k++;
    const json_t *v = json_object_get(object, keys[k]);
    if (json_is_array(v))
        return read_image_list(l, r, v);
    int ret = read_text(l, r, &name, object, keys[k]);
    return ret < 0 || !name ? ret : find_image(l, r, &r->image, name);
}

/* The numbers that a text names as `<image N>`, as bits; false: one is not among n. */
static bool find_numbers(uint64_t *named, const char *text, size_t n)
{
    static const char mark[] = "<image ";
    for (const char *p = text; p && (p = strstr(p, mark)) != NULL;) {
        size_t number = 0;
        p += sizeof mark - 1;
        const char *digits = p;
        while (*p >= '0' && *p <= '9' && number <= UQM_MAX_IMAGES)
            number = 10 * number + (size_t) (*p++ - '0');
        if (p == digits || *p != '>')
            continue; /* some other text */
        if (number < 1 || number > n)
            return false;
        *named |= (uint64_t) 1 << (number - 1);
    }
    return true;
}

/* Of a list of pictures those that the text names, if it names any. */
static int keep_named_images(const struct loader *l, struct uqm_record *r)
{
    const size_t n = uqm_record_n_images(r);
    uint64_t named = 0;
    if (!r->more_images)
        return UQM_OK;
    bool ok = find_numbers(&named, r->question, n) && find_numbers(&named, r->hint, n);
    for (size_t i = 0; ok && i < r->n_choices; i++)
        ok = find_numbers(&named, r->choices[i], n);
    if (!ok)
        return wrong(l, r, "its text names an <image N> that the list has not");
    if (!named)
        return UQM_OK;
    const char **kept = uqm_arena_alloc(&l->set->arena, n, sizeof *kept);
    size_t n_kept = 0;
    if (!kept)
        return no_memory(l);
    for (size_t k = 0; k < n; k++)
        if (named >> k & 1)
            kept[n_kept++] = uqm_record_image(r, k);
    r->image = kept[0];
    r->more_images = kept + 1;
    r->n_more_images = n_kept - 1;
    return UQM_OK;
}

static int read_choice_list(const struct loader *l, struct uqm_record *r, const json_t *list)
{
    if (!json_is_array(list))
        return wrong(l, r, "\"choices\" is no list");
    size_t n = json_array_size(list);
    if (n == 0 || n > UQM_MAX_CHOICES)
        return wrong(l, r, "\"choices\" has to hold 1 to 26 texts");
    const char **choices = uqm_arena_alloc(&l->set->arena, n, sizeof *choices);
    if (!choices)
        return no_memory(l);
    r->choices = choices;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (is_none(v))
            break;
        if (!json_is_string(v))
            return wrong(l, r, "a choice is no text");
        choices[i] = keep(l, v);
        if (!choices[i])
            return no_memory(l);
        r->n_choices++;
    }
    return r->n_choices ? UQM_OK : wrong(l, r, "\"choices\" holds no choice");
}

static int read_lettered_choices(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    static const char *const keys[] = { "A", "B", "C", "D" };
    const char **choices = uqm_arena_alloc(&l->set->arena, 4, sizeof *choices);
    if (!choices)
        return no_memory(l);
    r->choices = choices;
    for (size_t i = 0; i < 4; i++) {
        int ret = read_text(l, r, &choices[i], object, keys[i]);
        if (ret < 0)
            return ret;
        if (!choices[i])
            break;
        r->n_choices++;
    }
    return r->n_choices ? UQM_OK : wrong(l, r, "choice \"A\" is none");
}

/* A text, a whole number, or VQAv2's object with one. */
static int read_answer_text(const struct loader *l, struct uqm_record *r, const char **out,
                            const json_t *v)
{
    const json_t *text = json_is_object(v) ? json_object_get(v, "answer") : v;
    if (json_is_integer(text))
        *out = uqm_arena_printf(&l->set->arena, "%lld", (long long) json_integer_value(text));
    else if (json_is_string(text))
        *out = keep(l, text);
    else
        return wrong(l, r, "an answer is neither text nor a whole number");
    return *out ? UQM_OK : no_memory(l);
}

/* One answer, or a list of them; "nan" may be an answer. */
static int read_answers(const struct loader *l, struct uqm_record *r, const json_t *v)
{
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (!v || json_is_null(v) || n == 0)
        return UQM_OK;
    const char **answers = uqm_arena_alloc(&l->set->arena, n, sizeof *answers);
    if (!answers)
        return no_memory(l);
    r->answers = answers;
    for (; r->n_answers < n; r->n_answers++) {
        int ret = read_answer_text(l, r, &answers[r->n_answers],
                                   json_is_array(v) ? json_array_get(v, r->n_answers) : v);
        if (ret < 0)
            return ret;
    }
    return UQM_OK;
}

/* An index, a letter, or no label. */
static int read_answer(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    const json_t *v = json_object_get(object, "answer");
    r->answer = -1;
    if (r->n_choices == 0 || is_none(v))
        return UQM_OK;

    json_int_t index = -1;
    if (json_is_integer(v))
        index = json_integer_value(v);
    else if (json_is_string(v) && json_string_length(v) == 1)
        index = json_string_value(v)[0] - 'A';
    if (index < 0 || index >= UQM_MAX_CHOICES)
        return wrong(l, r, "\"answer\" is neither an index of the choices nor their letter");
    if ((size_t) index >= r->n_choices)
        return wrong(l, r, "\"answer\" lies beyond the choices");
    r->answer = (int) index;
    return UQM_OK;
}

/* No more than a note: one of another type is as good as none. */
static int read_category(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    const json_t *v = json_object_get(object, "category");
    if (!v)
        v = json_object_get(object, "dataset");
    if (!json_is_string(v))
        return UQM_OK;
    r->category = keep(l, v);
    return r->category ? UQM_OK : no_memory(l);
}

static int read_record(const struct loader *l, struct uqm_record *r, const json_t *object)
{
    int ret = read_id(l, r, object);
    if (ret < 0)
        return ret;
    if ((ret = read_text(l, r, &r->question, object, "question")) < 0)
        return ret;
    if (!r->question || !*r->question)
        return wrong(l, r, "it has no question");
    if ((ret = read_text(l, r, &r->hint, object, "hint")) < 0 ||
        (ret = read_image(l, r, object)) < 0)
        return ret;

    const json_t *choices = json_object_get(object, "choices");
    if (choices && !json_is_null(choices))
        ret = read_choice_list(l, r, choices);
    else if (!choices && json_object_get(object, "A"))
        ret = read_lettered_choices(l, r, object);
    if (ret < 0 || (ret = read_answer(l, r, object)) < 0 || (ret = read_category(l, r, object)) < 0)
        return ret;
    if ((ret = keep_named_images(l, r)) < 0)
        return ret;
    const json_t *answers = json_object_get(object, "answers");
    if ((!answers || json_is_null(answers)) && r->n_choices == 0)
        answers = json_object_get(object, "answer");
    return read_answers(l, r, answers);
}

static int add_record(struct loader *l, const json_t *object, size_t line)
{
    struct uqm_dataset *set = l->set;
    if (!json_is_object(object))
        return uqm_fail(l->err, UQM_ERR_FORMAT, "%s: record %zu is no JSON object", set->path,
                        line);
    if (set->n_records == UQM_DATASET_MAX_RECORDS)
        return uqm_fail(l->err, UQM_ERR_FORMAT, "%s: more than %d records", set->path,
                        UQM_DATASET_MAX_RECORDS);
    if (set->n_records == l->n_room) {
        size_t room = l->n_room ? 2 * l->n_room : 64;
        struct uqm_record *grown = realloc(set->records, room * sizeof *grown);
        if (!grown)
            return no_memory(l);
        set->records = grown;
        l->n_room = room;
    }
    struct uqm_record *r = &set->records[set->n_records];
    *r = (struct uqm_record){ .line = line };
    int ret = read_record(l, r, object);
    if (ret == UQM_OK)
        set->n_records++;
    return ret;
}

static int read_lines(struct loader *l, const char *text, size_t len)
{
    size_t line = 0;
    for (const char *p = text, *end = text + len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t) (end - p));
        size_t n = (size_t) ((stop ? stop : end) - p);
        line++;
        if (n > 0 && strspn(p, " \t\r") < n) {
            char *where = NULL;
            if (asprintf(&where, "%s:%zu", l->set->path, line) < 0)
                return no_memory(l);
            json_t *object = uqm_json_parse(p, n, where, true, l->err);
            free(where);
            if (!object)
                return l->err->code;
            int ret = add_record(l, object, line);
            json_decref(object);
            if (ret < 0)
                return ret;
        }
        p += n + 1;
    }
    return UQM_OK;
}

static int read_array(struct loader *l, const char *text, size_t len)
{
    json_t *array = uqm_json_parse(text, len, l->set->path, true, l->err);
    if (!array)
        return l->err->code;
    int ret = UQM_OK;
    for (size_t i = 0; i < json_array_size(array) && ret == UQM_OK; i++)
        ret = add_record(l, json_array_get(array, i), i + 1);
    json_decref(array);
    return ret;
}

/* ---- ids ---- */

static int by_id(const void *a, const void *b)
{
    const struct uqm_record *x = *(const struct uqm_record *const *) a;
    const struct uqm_record *y = *(const struct uqm_record *const *) b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Every record, by id and then by place; the caller's to free. NULL: no memory. */
static const struct uqm_record **sort_by_id(const struct loader *l)
{
    const struct uqm_dataset *set = l->set;
    const struct uqm_record **sorted = malloc((set->n_records + 1) * sizeof *sorted);
    for (size_t i = 0; sorted && i < set->n_records; i++)
        sorted[i] = &set->records[i];
    if (sorted)
        qsort(sorted, set->n_records, sizeof *sorted, by_id);
    return sorted;
}

static int check_ids(const struct loader *l)
{
    const struct uqm_dataset *set = l->set;
    const struct uqm_record **sorted = sort_by_id(l);
    if (!sorted)
        return no_memory(l);

    int ret = UQM_OK;
    for (size_t i = 1; i < set->n_records && ret == UQM_OK; i++) {
        if (strcmp(sorted[i - 1]->id, sorted[i]->id) != 0)
            continue;
        struct uqm_record_where where;
        ret = uqm_fail(l->err, UQM_ERR_FORMAT, "%s: the record at %zu has the same id",
                       uqm_record_where(&where, set, sorted[i]), sorted[i - 1]->line);
    }
    free(sorted);
    return ret;
}

static int against_id(const void *id, const void *record)
{
    return strcmp(id, (*(const struct uqm_record *const *) record)->id);
}

/* ---- tables ---- */

static int take_row(void *ctx, const json_t *row, size_t line, uint64_t at, size_t n_bytes)
{
    struct loader *l = ctx;
    int ret = add_record(l, row, line);
    if (ret < 0)
        return ret;
    struct uqm_record *r = &l->set->records[l->set->n_records - 1];
    const char *other = json_string_value(json_object_get(row, "picture_of"));
    if (n_bytes > 0)
        r->image = l->set->path;
    else if (other && !(r->image = uqm_arena_strndup(&l->set->arena, other, strlen(other))))
        return no_memory(l);
    r->image_at = at;
    r->image_bytes = n_bytes;
    return UQM_OK;
}

/* Rows that name another row's picture. */
static int find_pictures(const struct loader *l)
{
    struct uqm_dataset *set = l->set;
    const struct uqm_record **sorted = sort_by_id(l);
    if (!sorted)
        return no_memory(l);
    int ret = UQM_OK;
    for (size_t i = 0; i < set->n_records && ret == UQM_OK; i++) {
        struct uqm_record *r = &set->records[i];
        if (!r->image || r->image_bytes > 0)
            continue;
        const struct uqm_record *const *other =
            bsearch(r->image, sorted, set->n_records, sizeof *sorted, against_id);
        if (!other || (*other)->image_bytes == 0) {
            ret = wrong(l, r, "its image names a row that has none");
            continue;
        }
        r->image = set->path;
        r->image_at = (*other)->image_at;
        r->image_bytes = (*other)->image_bytes;
    }
    free(sorted);
    return ret;
}

static int read_table(struct loader *l, struct uqm_env *env)
{
    const uint64_t most = uqm_min_u64(UQM_DATASET_MAX_BYTES, uqm_budget_left(env) / 8);
    int ret = uqm_tsv_read(l->set->path, most, take_row, l, &l->set->digest, l->err);
    if (ret == UQM_OK)
        ret = find_pictures(l);
    if (ret == UQM_OK && l->set->n_records == 0)
        ret = uqm_fail(l->err, UQM_ERR_FORMAT, "%s: it holds no record", l->set->path);
    return ret;
}

/* "NAME=FILE" or FILE, into set->name and set->path. */
static int split_name(struct loader *l, const char *arg)
{
    struct uqm_arena *arena = &l->set->arena;
    const char *equals = strchr(arg, '='), *slash = strchr(arg, '/');
    if (equals && equals > arg && (!slash || slash > equals) && !uqm_is_file(arg)) {
        l->set->name = uqm_arena_strndup(arena, arg, (size_t) (equals - arg));
        l->set->path = uqm_arena_strndup(arena, equals + 1, strlen(equals + 1));
    } else {
        char *base = uqm_path_base(arg);
        if (base) {
            const char *dot = strrchr(base, '.');
            size_t n = dot && dot > base ? (size_t) (dot - base) : strlen(base);
            l->set->name = uqm_arena_strndup(arena, base, n);
        }
        free(base);
        l->set->path = uqm_arena_strndup(arena, arg, strlen(arg));
    }
    const char *name = l->set->name;
    struct uqm_printable shown;
    if (name && !uqm_utf8_valid((const uint8_t *) name, strlen(name))) { /* results are JSON */
        uqm_printable(&shown, name, strlen(name));
        l->set->name = uqm_arena_strndup(arena, shown.text, strlen(shown.text));
    }
    if (!l->set->name || !l->set->path)
        return uqm_fail(l->err, UQM_ERR_NOMEM, "%s: no memory for its name", arg);
    return UQM_OK;
}

/* The file's folder as it was given, so that messages and records stay short, then its parents. */
static int list_dirs(struct loader *l)
{
    char *dir = uqm_path_dir(l->set->path);
    char *real = dir ? realpath(dir, NULL) : NULL;
    size_t n = 1;
    for (const char *p = real; p && *p; p++)
        n += *p == '/';
    l->dirs = calloc(n + 1, sizeof *l->dirs);
    if (!dir || !l->dirs) {
        free(dir);
        free(real);
        return no_memory(l);
    }
    l->dirs[l->n_dirs++] = dir;
    while (real && strcmp(real, "/") != 0) {
        char *up = uqm_path_dir(real);
        free(real);
        real = up;
        if (!real || l->n_dirs > n)
            break;
        l->dirs[l->n_dirs] = strdup(real);
        if (l->dirs[l->n_dirs])
            l->n_dirs++;
    }
    free(real);
    return UQM_OK;
}

static int read_text_file(struct loader *l, struct uqm_env *env)
{
    char *text = NULL;
    size_t len;
    uint64_t cap = uqm_min_u64(UQM_DATASET_MAX_BYTES, uqm_budget_left(env) / 8);
    int ret = uqm_read_file(&text, &len, l->set->path, (size_t) cap, l->err);
    if (ret < 0)
        return ret;

    struct uqm_xxh3 *hash = uqm_xxh3_create();
    if (!hash) {
        ret = no_memory(l);
        goto out;
    }
    uqm_xxh3_update(hash, text, len);
    l->set->digest = uqm_xxh3_hex(hash);
    uqm_xxh3_destroy(&hash);

    const char *start = text;
    if (len >= 3 && !memcmp(start, "\xef\xbb\xbf", 3))
        start += 3;
    len -= (size_t) (start - text);
    size_t blank = strspn(start, " \t\r\n");
    l->set->is_array = start[blank] == '[';
    ret = l->set->is_array ? read_array(l, start, len) : read_lines(l, start, len);
    if (ret == UQM_OK && l->set->n_records == 0)
        ret = uqm_fail(l->err, UQM_ERR_FORMAT, "%s: it holds no record", l->set->path);
out:
    free(text);
    return ret;
}

int uqm_dataset_load(struct uqm_dataset *out, struct uqm_env *env, const char *arg,
                     struct uqm_err *err)
{
    *out = (struct uqm_dataset){ 0 };
    struct loader l = { .set = out, .err = err };
    int ret = split_name(&l, arg);
    if (ret == UQM_OK)
        ret = list_dirs(&l);
    if (ret == UQM_OK)
        ret = uqm_is_tsv_path(out->path) ? read_table(&l, env) : read_text_file(&l, env);
    if (ret == UQM_OK)
        ret = check_ids(&l);
    for (size_t i = 0; i < l.n_dirs; i++)
        free(l.dirs[i]);
    free(l.dirs);
    return ret;
}

void uqm_dataset_finish(struct uqm_dataset *set)
{
    free(set->records);
    uqm_arena_finish(&set->arena);
    *set = (struct uqm_dataset){ 0 };
}
