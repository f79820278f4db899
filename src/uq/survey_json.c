/* A survey as "config" of a result, and as a digest. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/fs.h"
#include "src/checkpoint/inspect.h"
#include "src/uq/survey.h"

/* Raised by a change of the program that changes values. */
enum { VALUES_VERSION = 1 };

/* JSON's integers are signed here; a seed beyond them stands as text. */
static json_t *seed_json(uint64_t seed)
{
    char text[32];
    if (seed <= INT64_MAX)
        return json_integer((json_int_t) seed);
    snprintf(text, sizeof text, "%llu", (unsigned long long) seed);
    return json_string(text);
}

static json_t *perturb_json(unsigned perturb)
{
    static const struct {
        unsigned bit;
        const char *name;
    } kinds[] = { { UQM_PERTURB_IMAGE, "image" },
                  { UQM_PERTURB_TEXT, "text" },
                  { UQM_PERTURB_MODEL, "model" } };
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof kinds / sizeof *kinds; i++)
        if (perturb & kinds[i].bit)
            json_array_append_new(list, json_string(kinds[i].name));
    return list;
}

static json_t *sample_json(const struct uqm_survey *s)
{
    if (s->sample_count > 0)
        return json_integer((json_int_t) s->sample_count);
    return s->sample_ratio > 0 ? json_real(s->sample_ratio) : json_null();
}

json_t *uqm_survey_config(const struct uqm_survey *survey)
{
    json_t *sets = json_array();
    for (size_t i = 0; sets && i < survey->n_sets; i++) {
        const struct uqm_dataset *set = &survey->sets[i];
        json_array_append_new(sets,
                              json_pack("{s:s, s:o, s:I, s:s}", "data", set->name, "path",
                                        uqm_inspect_text(set->path), "records",
                                        (json_int_t) set->n_records, "digest", set->digest.text));
    }
    return json_pack("{s:o, s:s, s:o, s:I, s:f, s:o, s:o}", "seed", seed_json(survey->env->seed),
                     "streams", survey->streams == UQM_STREAMS_AUTHORS ? "authors" : "own",
                     "perturb", perturb_json(survey->perturb), "repeats",
                     (json_int_t) survey->n_passes, "dropout", survey->dropout, "sample",
                     sample_json(survey), "datasets", sets);
}

/* Text and its terminator, so that two texts do not run into one. */
static void add_text(struct uqm_xxh3 *h, const char *text)
{
    uqm_xxh3_update(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void add_file(struct uqm_xxh3 *h, const char *path)
{
    struct stat st;
    char line[160] = "absent";
    /* The times of contents alone can be set back, and are by whatever copies a file with them. */
    if (stat(path, &st) == 0)
        snprintf(line, sizeof line, "%lld %llu %lld.%09ld %lld.%09ld", (long long) st.st_size,
                 (unsigned long long) st.st_ino, (long long) st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                 (long long) st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    add_text(h, path);
    add_text(h, line);
}

/* A model's files in the order of their names; not what lies in folders of its folder. */
static int add_model(struct uqm_xxh3 *h, const char *path, const char *own, struct uqm_err *err)
{
    char *real = realpath(path, NULL);
    struct dirent **names = NULL;
    if (!real)
        return uqm_fail_errno(err, "%s", path);
    const bool is_dir = uqm_is_dir(real);
    if (is_dir)
        add_text(h, real); /* its time is that of the last name in it, whosever that is */
    else
        add_file(h, real);
    int n = is_dir ? scandir(real, &names, NULL, alphasort) : 0;
    int ret = n < 0 ? uqm_fail_errno(err, "%s", path) : UQM_OK;
    for (int i = 0; i < n; i++) {
        char *file = uqm_path_join(real, names[i]->d_name);
        const bool is_own = file && own && strncmp(file, own, strlen(own)) == 0;
        if (file && uqm_is_file(file) && !is_own)
            add_file(h, file);
        else if (!file)
            ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its files' names", path);
        free(file);
        free(names[i]);
    }
    free(names);
    free(real);
    return ret;
}

static void add_set(struct uqm_xxh3 *h, const struct uqm_dataset *set, const struct uqm_task *task)
{
    add_text(h, set->name);
    add_text(h, set->digest.text);
    add_text(h, task->suffix);
    add_text(h, task->system);
    for (size_t i = 0; i < task->n_extra; i++)
        add_text(h, task->extra[i]);
    for (size_t i = 0; i < set->n_records; i++) {
        add_text(h, set->records[i].id);
        for (size_t k = 0; k < uqm_record_n_images(&set->records[i]); k++)
            add_file(h, uqm_record_image(&set->records[i], k));
    }
}

int uqm_survey_job(struct uqm_xxh3_hex *out, const struct uqm_survey *survey,
                   const char *vision_tower, struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a digest");
    char line[256];
    snprintf(line, sizeof line, "%d %llu %u %u %a %d", VALUES_VERSION,
             (unsigned long long) survey->env->seed, survey->perturb, (unsigned) survey->n_passes,
             survey->dropout, (int) survey->streams);
    add_text(h, line);
    for (size_t i = 0; i < survey->n_sets; i++)
        add_set(h, &survey->sets[i], &survey->tasks[i]);

    int ret = vision_tower ? add_model(h, vision_tower, NULL, err) : UQM_OK;
    *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return ret;
}

int uqm_survey_model(struct uqm_xxh3_hex *out, const char *path, const char *own,
                     struct uqm_err *err)
{
    struct uqm_xxh3 *h = uqm_xxh3_create();
    if (!h)
        return uqm_fail(err, UQM_ERR_NOMEM, "no memory for a digest");
    char *place = own ? uqm_path_place(own) : NULL;
    int ret = add_model(h, path, place, err);
    free(place);
    *out = uqm_xxh3_hex(h);
    uqm_xxh3_destroy(&h);
    return ret;
}
