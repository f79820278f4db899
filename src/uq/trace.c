#include "src/uq/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/fs.h"
#include "src/base/part.h"
#include "src/format/json.h"

struct uqm_trace {
    FILE *file;
    char *path, *part;
    bool committed;
};

int uqm_trace_create(struct uqm_trace **out, const char *path, struct uqm_err *err)
{
    int ret = UQM_OK;
    *out = NULL;
    if (!path)
        return UQM_OK;
    ret = uqm_check_replaceable(path, "{\"model\":", "a trace", err);
    if (ret < 0)
        return ret;
    int fd = -1;
    struct uqm_trace *t = calloc(1, sizeof *t);
    if (!t || !(t->path = strdup(path)) || asprintf(&t->part, "%s.part", path) < 0)
        ret = uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", path);
    else
        ret = uqm_part_open(&fd, t->part, path, false, err);
    if (ret == UQM_OK && !(t->file = fdopen(fd, "w"))) {
        ret = uqm_fail_errno(err, "%s", t->part);
        unlink(t->part);
        close(fd);
    }
    if (ret < 0)
        uqm_trace_destroy(&t);
    *out = t;
    return ret;
}

/* Takes `line` over, NULL included: no memory. */
static int put_line(struct uqm_trace *t, json_t *line, struct uqm_err *err)
{
    if (!line)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", t->path);
    char *text = uqm_json_dump_as(line, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(line);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", t->path);
    errno = 0;
    bool bad = fputs(text, t->file) == EOF || fputc('\n', t->file) == EOF;
    free(text);
    return bad ? uqm_fail_errno_of(err, errno ? errno : EIO, "%s", t->part) : UQM_OK;
}

static int add_line(struct uqm_trace *t, const char *model, const char *data, const char *id,
                    uint32_t j, const float *logits, struct uqm_err *err)
{
    double p[UQM_N_OPTIONS];
    uqm_option_softmax(p, logits);
    json_t *list = json_array();
    bool whole = list != NULL;
    for (int k = 0; k < UQM_N_OPTIONS && whole; k++)
        whole = json_array_append_new(list, uqm_measure_number(p[k])) == 0;
    if (!whole) {
        json_decref(list);
        list = NULL; /* json_pack() refuses it */
    }
    return put_line(t,
                    json_pack("{s:s, s:s, s:s, s:I, s:o}", "model", model, "data", data, "id", id,
                              "j", (json_int_t) j, "p", list),
                    err);
}

int uqm_trace_add(struct uqm_trace *trace, const struct uqm_survey *survey, const char *model,
                  const bool *wanted, const float *logits, struct uqm_err *err)
{
    if (!trace)
        return UQM_OK;
    for (size_t k = 0; k < survey->n_sets; k++)
        for (size_t i = 0; i < survey->sets[k].n_records; i++)
            for (uint32_t j = 0; j < survey->n_passes; j++, logits += UQM_N_OPTIONS) {
                int ret = UQM_OK;
                if (survey->tasks[k].kind == UQM_TASK_CHOICE &&
                    (!wanted || wanted[survey->first_record[k] + i]))
                    ret = add_line(trace, model, survey->sets[k].name,
                                   survey->sets[k].records[i].id, j, logits, err);
                if (ret < 0)
                    return ret;
            }
    return UQM_OK;
}

int uqm_trace_add_answers(struct uqm_trace *trace, const struct uqm_survey *survey,
                          const char *model, char *const *answers, const struct uqm_measure *m,
                          struct uqm_err *err)
{
    for (size_t k = 0; trace && k < survey->n_sets; k++) {
        const struct uqm_dataset *set = &survey->sets[k];
        for (size_t i = 0; survey->tasks[k].kind == UQM_TASK_GENERATION && i < set->n_records;
             i++) {
            json_t *line =
                json_pack("{s:s, s:s, s:s, s:s?, s:o}", "model", model, "data", set->name, "id",
                          set->records[i].id, "answer", answers[survey->first_record[k] + i],
                          "score", uqm_measure_number(m->values[k][i]));
            int ret = put_line(trace, line, err);
            if (ret < 0)
                return ret;
        }
    }
    return UQM_OK;
}

int uqm_trace_commit(struct uqm_trace *trace, struct uqm_err *err)
{
    if (!trace)
        return UQM_OK;
    bool bad = fflush(trace->file) != 0 || fsync(fileno(trace->file)) != 0;
    if (bad || rename(trace->part, trace->path) != 0)
        return uqm_fail_errno(err, "%s", trace->path);
    trace->committed = true;
    char *dir = uqm_path_dir(trace->path);
    int ret = dir ? uqm_fsync_dir(dir, err) : UQM_OK;
    free(dir);
    return ret;
}

void uqm_trace_destroy(struct uqm_trace **trace)
{
    struct uqm_trace *t = *trace;
    *trace = NULL;
    if (!t)
        return;
    if (t->file) {
        if (!t->committed)
            unlink(t->part);
        fclose(t->file); /* the lock goes last */
    }
    free(t->part);
    free(t->path);
    free(t);
}
