#include "src/uq/question.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/tokenizer.h"

char *uqm_question_text(const struct uqm_record *record, const struct uqm_task *task)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    if (record->hint)
        fprintf(f, "%s\n", record->hint);
    fputs(record->question, f);
    int letter = 'A';
    for (size_t i = 0; i < record->n_choices; i++)
        fprintf(f, "\n%c. %s", letter++, record->choices[i]);
    for (size_t i = 0; i < task->n_extra; i++)
        fprintf(f, "\n%c. %s", letter++, task->extra[i]);
    fputs(task->suffix, f);

    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        free(text);
        return NULL;
    }
    return text;
}

size_t uqm_question_marks(const char *text)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, "<image>")) != NULL; p += strlen("<image>"))
        n++;
    return n;
}

int uqm_question_prompt(char **out, const struct uqm_dataset *set, const struct uqm_record *record,
                        const struct uqm_task *task, const char *prefix, struct uqm_err *err)
{
    struct uqm_record_where where;
    char *text = uqm_question_text(record, task);
    if (!text)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its prompt",
                        uqm_record_where(&where, set, record));

    size_t marks = uqm_question_marks(text), pictures = record->image != NULL;
    if (marks > pictures) {
        free(text);
        return uqm_fail(err, UQM_ERR_FORMAT, "%s: its text has %zu <image> marks for %zu picture%s",
                        uqm_record_where(&where, set, record), marks, pictures,
                        pictures == 1 ? "" : "s");
    }
    *out = uqm_prompt_vicuna(prefix, task->system, pictures - marks, text);
    free(text);
    return *out ? UQM_OK
                : uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory for its prompt",
                           uqm_record_where(&where, set, record));
}
